use std::collections::HashMap;
use std::io::Write;
use std::num::NonZeroUsize;

use indexmap::IndexMap;
use sealift_layer::{AeadLibrary, ORIGINAL_CONFIG, elements};
use sealift_oci::Descriptor;
use sealift_registry::{Sink, Source};

use crate::copy::copy_blob;
use crate::crew::Crew;
use crate::error::ImageError;
use crate::opening::{
    Identities, LANES, Manner, OpenedLayer, SealedDigest, claims_of, open_layer, prepare,
};
use crate::outcome::{Outcome, Plan};
use crate::progress::{Action, Event, Progress};
use crate::restore::Restorer;
use crate::selection::Selection;
use crate::tree::{Image, Tree};
use crate::work::{in_parallel, restarting};

/// Opens the sealed layers of an image.
pub struct Open<'a> {
    /// Where the sealed image is.
    pub source: &'a dyn Source,
    /// Where the opened image goes.
    pub sink: &'a dyn Sink,
    /// Whose keys are tried.
    pub identities: Identities<'a>,
    /// What is opened.
    pub selection: Selection,
    /// What opens the chunks of layers.
    pub aead: AeadLibrary,
    /// Layers in flight.
    pub jobs: NonZeroUsize,
    /// Receives what happens.
    pub progress: &'a dyn Progress,
}

impl Open<'_> {
    /// Returns what [`run`](Self::run) would do.
    ///
    /// # Errors
    /// [`ImageError`] when it would fail for a reason that shows without reading layers.
    pub fn plan(&self) -> Result<Plan, ImageError> {
        let tree = Tree::load(self.source, &self.selection.platforms)?;
        Ok(Plan::new(&tree, &self.choose(&tree)?))
    }

    /// Opens the selected layers, writes blobs, then manifests, then the tag.
    ///
    /// Where the sealer kept the original manifests and everything they name was opened, they come back octet for octet.
    ///
    /// # Errors
    /// [`ImageError`]; the destination's tag is untouched then.
    pub fn run(&self) -> Result<Outcome, ImageError> {
        let tree = Tree::load(self.source, &self.selection.platforms)?;
        let chosen = self.choose(&tree)?;
        let mut jobs = IndexMap::new();
        for (image, actions) in &chosen {
            for (layer, action) in image.manifest.layers().iter().zip(actions) {
                if *action != Action::SkipNondistributable {
                    // A layer may be opened in one place and kept sealed in another.
                    let key = (layer.digest(), *action == Action::Open);
                    jobs.entry(key).or_insert((layer, *action));
                }
            }
        }
        let jobs: Vec<(&Descriptor, Action)> = jobs.into_values().collect();
        let opened = jobs.iter().filter(|(_, action)| *action == Action::Open);
        prepare(self.identities, opened.map(|(layer, _)| *layer));
        let done = in_parallel(
            self.jobs,
            LANES,
            &jobs,
            |(layer, _)| layer.size(),
            |(layer, action), crew| self.layer(layer, *action, crew),
        )?;
        let mut opened = HashMap::new();
        let mut bytes = 0;
        for ((layer, _), done) in jobs.iter().zip(done) {
            bytes += layer.size();
            if let Some(done) = done {
                opened.insert(layer.digest().clone(), done);
            }
        }
        let layers_changed = chosen
            .iter()
            .flat_map(|(_, actions)| actions)
            .filter(|action| **action == Action::Open)
            .count();
        let layers = chosen
            .iter()
            .map(|(image, _)| image.manifest.layers().len())
            .sum();
        let restorer = Restorer {
            sink: Some(self.sink),
            progress: self.progress,
            chosen: &chosen,
            opened: &opened,
        };
        let root = restorer.put_below(&tree.root)?.raw;
        self.sink.finish(&root)?;
        Ok(Outcome {
            digest: root.digest,
            source_digest: tree.digest.clone(),
            layers,
            layers_changed,
            bytes,
        })
    }

    fn choose<'t>(&self, tree: &'t Tree) -> Result<Vec<(&'t Image, Vec<Action>)>, ImageError> {
        let chosen = choose(tree, &self.selection)?;
        let mut actions = chosen.iter().flat_map(|(_, actions)| actions);
        if actions.any(|action| *action == Action::Open) {
            Ok(chosen)
        } else {
            Err(ImageError::NothingToDo {
                reason: "no selected layer is sealed".into(),
            })
        }
    }

    fn layer(
        &self,
        layer: &Descriptor,
        action: Action,
        crew: &Crew,
    ) -> Result<Option<OpenedLayer>, ImageError> {
        if action != Action::Open {
            copy_blob(
                self.source,
                self.sink,
                layer,
                action,
                self.progress,
                crew.stop(),
            )?;
            return Ok(None);
        }
        let digest = layer.digest();
        self.progress.event(Event::Started {
            digest,
            size: layer.size(),
            action,
        });
        let opened = restarting(|| {
            let mut writer = self.sink.blob(None)?;
            writer.leave_digest();
            let opened = open_layer(
                layer,
                self.source,
                Manner {
                    check: SealedDigest::CompareWhereNeeded,
                    aead: self.aead,
                },
                self.identities,
                self.progress,
                crew,
                &mut |plain| {
                    writer
                        .write_all(plain)
                        .map_err(|error| ImageError::from_io("write a blob", error))
                },
            )?;
            writer.commit(&opened.digest, opened.size)?;
            Ok(opened)
        })?;
        self.progress.event(Event::Finished { digest });
        Ok(Some(opened))
    }
}

impl std::fmt::Debug for Open<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open")
            .field("source", &self.source)
            .field("sink", &self.sink)
            .finish_non_exhaustive()
    }
}

/// Says for each image what becomes of each of its layers when those that are selected are opened.
pub(crate) fn choose<'t>(
    tree: &'t Tree,
    selection: &Selection,
) -> Result<Vec<(&'t Image, Vec<Action>)>, ImageError> {
    let mut chosen = Vec::new();
    for image in tree.images() {
        let layers = image.manifest.layers();
        // Attestations have layers of their own, which nobody counts.
        let selected = if image.attestation {
            vec![false; layers.len()]
        } else {
            selection.layers_of(layers.len())?
        };
        let action = |(layer, selected): (&Descriptor, bool)| match layer.media_type() {
            kind if kind.is_sealed() && selected => Action::Open,
            kind if kind.is_sealed() => Action::KeepSealed,
            kind if kind.is_nondistributable() && !layer.urls().is_empty() => {
                Action::SkipNondistributable
            }
            _ => Action::Copy,
        };
        let actions: Vec<Action> = layers.iter().zip(selected).map(action).collect();
        refuse_to_strand_config(image, &actions)?;
        chosen.push((image, actions));
    }
    Ok(chosen)
}

/// Fails if the key of a sealed configuration would go while layers stay sealed: it would be lost, or readable too early.
fn refuse_to_strand_config(image: &Image, actions: &[Action]) -> Result<(), ImageError> {
    let Some(annotation) = image.manifest.annotations().get(ORIGINAL_CONFIG) else {
        return Ok(());
    };
    if !actions.contains(&Action::KeepSealed) {
        return Ok(());
    }
    let refused = |source| ImageError::Open {
        digest: image.raw.digest.clone(),
        source,
    };
    let keys = elements(annotation).map_err(refused)?;
    for (layer, action) in image.manifest.layers().iter().zip(actions) {
        let id = claims_of(layer)
            .ok()
            .and_then(|claims| claims.layer_id(layer.digest()));
        let id = id.map(|id| id.to_string());
        if *action == Action::Open && keys.iter().any(|(key, _)| Some(*key) == id.as_deref()) {
            return Err(ImageError::ConfigNeedsLayer {
                manifest: image.raw.digest.clone(),
                layer: layer.digest().clone(),
            });
        }
    }
    Ok(())
}
