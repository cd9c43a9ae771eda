use indexmap::IndexSet;
use sealift_keywrap::WrappedKey;
use sealift_oci::{Descriptor, Manifest, Platform};
use sealift_registry::Source;

use crate::error::ImageError;
use crate::opening::claims_of;
use crate::tree::Tree;

/// Returns the wrapped keys of an image's sealed layers, each once: what whoever runs it will ask for.
///
/// Reads manifests and configurations, no layers. With `platforms`, only of those.
///
/// # Errors
/// [`ImageError`] when the image cannot be read.
pub fn wrapped_keys(
    source: &dyn Source,
    platforms: &[Platform],
) -> Result<Vec<WrappedKey>, ImageError> {
    let tree = Tree::load(source, platforms)?;
    let images = tree.images();
    let images = images.iter().filter(|image| !image.attestation);
    Ok(of_layers(images.flat_map(|image| image.manifest.layers())))
}

/// The same for one manifest.
pub fn wrapped_keys_of(manifest: &Manifest) -> Vec<WrappedKey> {
    of_layers(manifest.layers().iter())
}

/// Passes over layers that are not sealed or whose annotations are refused: those are reported when it is their turn.
pub(crate) fn of_layers<'a>(layers: impl Iterator<Item = &'a Descriptor>) -> Vec<WrappedKey> {
    let mut wraps = IndexSet::new();
    for layer in layers.filter(|layer| layer.media_type().is_sealed()) {
        if let Ok(claims) = claims_of(layer) {
            wraps.extend(claims.wraps.as_slice().iter().cloned());
        }
    }
    wraps.into_iter().collect()
}
