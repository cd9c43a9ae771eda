use std::collections::BTreeMap;

use serde_json::Value;

use super::{Document, Format, Image, ImageBuilder, IndexBuilder, Layer, Packing, Tar};

/// Makes an image of `count` layers, all the same one.
pub fn many_layers(count: usize) -> Image {
    let layer = Layer::new(Tar::new().file("a", b"a"), Packing::Gzip);
    let layers = std::iter::repeat_n(layer, count);
    ImageBuilder::new(Format::Oci).layers(layers).build()
}

/// Makes an image below `depth` indexes.
pub fn deep(depth: usize) -> Image {
    (0..depth).fold(many_layers(1), |inner, _| {
        IndexBuilder::new(Format::Oci).child(inner).build()
    })
}

/// Makes something that has a media type and octets, and nothing below.
pub fn bare(media_type: &str, bytes: &[u8]) -> Image {
    Image {
        documents: vec![Document {
            media_type: media_type.into(),
            bytes: bytes.to_vec(),
            platform: None,
            annotations: Value::Null,
        }],
        blobs: BTreeMap::new(),
        foreign: Vec::new(),
    }
}
