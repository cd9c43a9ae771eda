//! Sealed layers made by hand, as no command makes them.

use std::fs;

use indexmap::IndexMap;
use sealift_layer::chunked::Salt;
use sealift_layer::{
    AeadLibrary, Binding, Cipher, CounterBlock, Embedding, LayerKey, Material, Plan, Sealer,
};
use sealift_oci::Digest;
use sealift_testkit::image::{Format, ImageBuilder, Layer, Packing};
use serde_json::json;

use crate::lab::Lab;

/// A sealed layer and what a descriptor says about it.
#[derive(Clone)]
pub(crate) struct Sealed {
    pub(crate) blob: Vec<u8>,
    pub(crate) media_type: String,
    pub(crate) annotations: IndexMap<String, String>,
    plain: Vec<u8>,
}

impl Sealed {
    /// Seals `plain`, always under the same key and salt.
    pub(crate) fn new(lab: &Lab, plain: &[u8], adjust: impl FnOnce(&mut Plan)) -> Self {
        Self::under(7, lab, plain, adjust)
    }

    /// Seals `plain` under one of many keys.
    pub(crate) fn under(key: u8, lab: &Lab, plain: &[u8], adjust: impl FnOnce(&mut Plan)) -> Self {
        let mut plan = Plan {
            cipher: Cipher::Chunked,
            aead: AeadLibrary::default(),
            media_type: "application/vnd.oci.image.layer.v1.tar".parse().unwrap(),
            plain_digest: Some(Digest::sha256(plain)),
            recipients: lab.recipients().into(),
            embedding: Embedding::AnnotationsAndHeader,
            binding: Binding::default(),
        };
        adjust(&mut plan);
        let key = LayerKey::from_octets(&[key; LayerKey::LEN]).unwrap();
        let material = match plan.cipher {
            Cipher::Chunked => Material::Chunked {
                key,
                salt: Salt([9; Salt::LEN]),
            },
            Cipher::CtrHmac => Material::CtrHmac {
                key,
                nonce: CounterBlock([9; CounterBlock::LEN]),
            },
        };
        let mut sealer = Sealer::with_material(plan, material).unwrap();
        let mut blob = Vec::new();
        sealer.update(plain, &mut blob).unwrap();
        let finished = sealer.finish(&mut blob).unwrap();
        let layer = finished.describe(&Digest::sha256(&blob)).unwrap();
        Self {
            blob,
            media_type: layer.media_type.to_string(),
            annotations: layer.annotations,
            plain: plain.to_vec(),
        }
    }

    /// The header's place in the blob.
    pub(crate) fn header(&self) -> std::ops::Range<usize> {
        let len: [u8; 4] = self.blob[8..12].try_into().unwrap();
        12..12 + usize::try_from(u32::from_be_bytes(len)).unwrap()
    }

    /// Where the first chunk begins.
    pub(crate) fn first_chunk(&self) -> usize {
        self.header().end + 56
    }

    /// Writes another header, to the same effect or not.
    pub(crate) fn with_header(mut self, change: impl FnOnce(&str) -> String) -> Self {
        let range = self.header();
        let header = change(std::str::from_utf8(&self.blob[range.clone()]).unwrap());
        self.blob[8..12].copy_from_slice(&u32::try_from(header.len()).unwrap().to_be_bytes());
        self.blob.splice(range, header.into_bytes());
        self
    }

    pub(crate) fn without_annotation(mut self, key: &str) -> Self {
        self.annotations.shift_remove(key).unwrap();
        self
    }

    /// Writes the layout of an image with this layer alone.
    pub(crate) fn write(&self, lab: &Lab, layout: &str) {
        // The configuration lists what is in the layer.
        let layer = Layer::of(self.plain.clone(), Packing::Plain);
        let image = ImageBuilder::new(Format::Oci).layer(layer).build();
        let digest = Digest::sha256(&self.blob);
        let image = image.edited(|manifest| {
            manifest["layers"] = json!([{
                "mediaType": self.media_type,
                "digest": digest.to_string(),
                "size": self.blob.len(),
                "annotations": self.annotations,
            }]);
        });
        let folder = lab.folder.join(layout);
        image.write_layout(&folder, "t");
        fs::write(folder.join("blobs/sha256").join(digest.hex()), &self.blob).unwrap();
    }
}
