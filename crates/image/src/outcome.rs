use sealift_oci::{Digest, MediaType, Platform};

use crate::attached::Attachment;
use crate::progress::Action;
use crate::tree::{Image, Tree};

/// What an operation would do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Digest of the source's manifest or index.
    pub digest: Digest,
    /// Every layer of every chosen image, in order.
    pub layers: Vec<PlannedLayer>,
    /// What belongs to the image and goes along with it.
    pub attached: Vec<Attachment>,
}

impl Plan {
    /// Lists what is done with every layer of the chosen images.
    pub(crate) fn new(tree: &Tree, chosen: &[(&Image, Vec<Action>)]) -> Self {
        let layers = chosen.iter().flat_map(|(image, actions)| {
            let layers = image.manifest.layers().iter().zip(actions).enumerate();
            layers.map(|(index, (layer, action))| PlannedLayer {
                platform: image.platform.clone(),
                index,
                digest: layer.digest().clone(),
                size: layer.size(),
                media_type: layer.media_type().clone(),
                action: *action,
            })
        });
        Self {
            digest: tree.digest.clone(),
            layers: layers.collect(),
            attached: Vec::new(),
        }
    }
}

/// What would be done with one layer.
#[derive(Clone, Debug)]
pub struct PlannedLayer {
    /// Platform of the image.
    pub platform: Option<Platform>,
    /// Place in the image, 0 is the base.
    pub index: usize,
    /// The layer as the source names it.
    pub digest: Digest,
    /// Its length in octets.
    pub size: u64,
    /// Its type in the source.
    pub media_type: MediaType,
    /// What is done.
    pub action: Action,
}

/// What an operation did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// Digest of the manifest or index at the destination.
    pub digest: Digest,
    /// Digest of the source's manifest or index.
    pub source_digest: Digest,
    /// Layers of all chosen images.
    pub layers: usize,
    /// Layers that were sealed or opened.
    pub layers_changed: usize,
    /// Octets of blobs that were read and written.
    pub bytes: u64,
}
