//! What a content store full of other people's manifests can, and cannot, do to a layer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sealift_layer::{Cipher, Embedding};
use serde_json::Value;

use crate::lab::{GZIP, Lab, Layer};

const JWE: &str = "org.opencontainers.image.enc.keys.jwe";
const VAULT: &str = "org.opencontainers.image.enc.keys.provider.vault";
const TAR: &str = "application/vnd.oci.image.layer.v1.tar+encrypted";

/// The layer's descriptor for other recipients.
fn described(layer: &Layer, annotation: &str, elements: &[String]) -> Value {
    let mut descriptor = layer.descriptor();
    let annotations = descriptor["annotations"].as_object_mut().unwrap();
    annotations.remove(JWE);
    annotations.insert(annotation.into(), elements.join(",").into());
    descriptor
}

fn strangers(names: std::ops::Range<usize>) -> Vec<String> {
    names
        .map(|name| STANDARD.encode(format!("stranger {name}")))
        .collect()
}

/// A layer that cannot be opened without its descriptor, which lies in the store behind `first`.
fn lab_with(layer: &Layer, first: Vec<Value>) -> Lab {
    let lab = Lab::new(&["rsa.pem"]);
    lab.store_manifest(&[first, vec![layer.descriptor()]].concat());
    lab
}

#[test]
fn descriptions_beyond_the_limit_are_not_heeded_even_of_one_manifest() {
    for layer in [Layer::not_embedded(), Layer::ocicrypt()] {
        let first = |count| vec![described(&layer, VAULT, &strangers(0..1)); count];
        lab_with(&layer, first(63))
            .decoder()
            .run(&layer.blob)
            .opened(&layer.plain);
        let run = lab_with(&layer, first(64)).decoder().run(&layer.blob);
        run.refused(3, &["no key fits", "provider.vault: no key for it"], b"");
    }
    let layer = Layer::not_embedded();
    let first = vec![described(&layer, VAULT, &strangers(0..1)); 64];
    let run = lab_with(&layer, first).decoder().run(&layer.blob);
    run.refused(3, &["more than 64 descriptions of one layer"], b"");
}

#[test]
fn wrapped_keys_of_all_descriptions_count_together() {
    for layer in [Layer::not_embedded(), Layer::ocicrypt()] {
        let first = |count| {
            (0..count)
                .map(|name| described(&layer, JWE, &strangers(name..name + 1)))
                .collect()
        };
        lab_with(&layer, first(60))
            .decoder()
            .run(&layer.blob)
            .opened(&layer.plain);
        let crowd = vec![
            described(&layer, JWE, &strangers(0..40)),
            described(&layer, JWE, &strangers(40..64)),
        ];
        let run = lab_with(&layer, crowd).decoder().run(&layer.blob);
        run.refused(3, &["more than 64 wrapped keys of one scheme"], b"");
    }
}

#[test]
fn a_wrong_tag_elsewhere_does_not_hide_the_right_one() {
    let layer = Layer::ocicrypt();
    let other = Layer::seal(Cipher::CtrHmac, Embedding::AnnotationsOnly, GZIP, 7);
    // The other layer's keys and tag, said of this one.
    let mut wrong = other.descriptor();
    wrong["digest"] = layer.descriptor()["digest"].clone();
    // This one's keys with the other's tag.
    let mut half = layer.descriptor();
    let public = "org.opencontainers.image.enc.pubopts";
    half["annotations"][public] = other.descriptor()["annotations"][public].clone();
    lab_with(&layer, vec![wrong.clone(), half.clone()])
        .decoder()
        .run(&layer.blob)
        .opened(&layer.plain);
    let lab = Lab::new(&["rsa.pem"]);
    lab.store_manifest(&[wrong, half]);
    lab.decoder()
        .run(&layer.blob)
        .refused(4, &["layer failed authentication"], b"");
}

#[test]
fn options_that_are_malformed_send_to_the_store_too() {
    let layer = Layer::not_embedded();
    let lab = lab_with(&layer, vec![]);
    let jwe = garbage_for_the_same_key();
    let payload = serde_json::json!({"Descriptor": described(&layer, JWE, &[jwe])});
    lab.decoder()
        .payload_json(payload.clone())
        .run(&layer.blob)
        .opened(&layer.plain);
    let lab = Lab::new(&["rsa.pem"]);
    // A stranger's manifest does not replace what the own descriptor says.
    lab.store_manifest(&[described(&layer, VAULT, &strangers(0..5))]);
    let run = lab.decoder().payload_json(payload).run(&layer.blob);
    run.refused(4, &["malformed private options"], b"");
}

#[test]
fn manifests_that_contradict_do_not_replace_the_list_of_recipients() {
    let layer = Layer::not_embedded();
    let lab = Lab::new(&["ec384.pem"]);
    let mut tar = layer.descriptor();
    tar["mediaType"] = TAR.into();
    lab.store_manifest(&[tar]);
    let run = lab.decoder().payload(&layer).run(&layer.blob);
    run.refused(3, &["no key fits", "jwe RSA-OAEP"], b"");
    lab.store_manifest(&[described(&layer, VAULT, &strangers(0..1))]);
    let run = lab.decoder().payload(&layer).run(&layer.blob);
    run.refused(3, &["jwe RSA-OAEP", "provider.vault"], b"");
}

#[test]
fn the_store_must_agree_with_the_runtime_about_the_media_type() {
    let layer = Layer::ocicrypt();
    let lab = lab_with(&layer, vec![]);
    let run = lab.decoder().media_type(TAR).run(&layer.blob);
    run.refused(
        4,
        &["media type differs between descriptor and runtime"],
        b"",
    );
    let mut tar = layer.descriptor();
    tar["mediaType"] = TAR.into();
    lab_with(&layer, vec![tar])
        .decoder()
        .run(&layer.blob)
        .opened(&layer.plain);
}

// Windows says of a file in the place of a folder that the path is not there, as of an empty store.
#[test]
#[cfg(unix)]
fn a_store_that_cannot_be_read_is_not_taken_for_an_empty_one() {
    let lab = Lab::new(&["rsa.pem"]);
    std::fs::remove_dir_all(lab.path("containerd")).unwrap();
    std::fs::write(lab.path("containerd"), "not a folder").unwrap();
    let layer = Layer::ocicrypt();
    let run = lab.decoder().run(&layer.blob);
    run.refused(7, &["there is none in", "Not a directory"], b"");
    let layer = Layer::not_embedded();
    let run = lab.decoder().run(&layer.blob);
    run.refused(
        3,
        &["no key fits", "Not a directory", "keys at hand: 1"],
        b"",
    );
}

/// A JWE for the key in `rsa.pem` that holds no private options.
fn garbage_for_the_same_key() -> String {
    use sealift_keywrap::keys::parse_public;
    use sealift_keywrap::{LayerSecret, Recipient, WrapContext};
    let key = std::fs::read(crate::lab::key_file("rsa.pub.pem")).unwrap();
    let key = parse_public(&key).unwrap().remove(0);
    let secret = LayerSecret::new(b"[]".to_vec().into());
    let wrapped = key.wrap_key(&secret, &WrapContext::default()).unwrap();
    STANDARD.encode(wrapped.element)
}
