//! Layers whose keys an ocicrypt key provider unwraps.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::lab::{Lab, key_file, testdata};

/// The layers of the image that ocicrypt 1.1.10 sealed through the provider `demo`: descriptor, blob, digest when plain.
fn layers() -> Vec<(Value, Vec<u8>, String)> {
    let expected = fs::read(testdata().join("expected.json")).unwrap();
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    let expected = &expected["provider-cmd"];
    let blob = |digest: &Value| {
        let name = digest.as_str().unwrap().replace(':', "/");
        fs::read(testdata().join("provider-cmd/blobs").join(name)).unwrap()
    };
    let manifest: Value = serde_json::from_slice(&blob(&expected["manifest"])).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    let plain = expected["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 3);
    layers
        .iter()
        .zip(plain)
        .map(|(layer, plain)| {
            let plain = plain["plain_digest"].as_str().unwrap().to_owned();
            (layer.clone(), blob(&layer["digest"]), plain)
        })
        .collect()
}

/// A lab with a copy of the provider and a configuration of it.
fn lab(providers: &[&str]) -> Lab {
    let lab = Lab::new(&["rsa.pem"]);
    for name in ["keyprovider.py", "kek.bin"] {
        fs::copy(key_file("provider").join(name), lab.path(name)).unwrap();
    }
    let program = lab.path("keyprovider.py");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let entry = json!({"cmd": {"path": program}});
    let entries: serde_json::Map<String, Value> = providers
        .iter()
        .map(|name| ((*name).to_owned(), entry.clone()))
        .collect();
    let config = json!({"key-providers": entries});
    fs::write(lab.path("providers.json"), config.to_string()).unwrap();
    lab
}

fn payload(descriptor: &Value) -> Value {
    json!({"DecryptConfig": {"Parameters": null}, "Descriptor": descriptor})
}

const CONFIG: &str = "OCICRYPT_KEYPROVIDER_CONFIG";

#[test]
fn layers_that_ocicrypt_sealed_through_a_provider_open_through_it() {
    let lab = lab(&["demo", "other"]);
    for (descriptor, blob, plain) in layers() {
        let run = lab
            .decoder()
            .payload_json(payload(&descriptor))
            .environment(CONFIG, lab.path("providers.json"))
            .environment("KP_LOG", lab.path("log"))
            .run(&blob);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
        let digest = sealift_oci::Digest::sha256(&run.stdout).to_string();
        assert_eq!(digest, plain);
    }
    // One call for each layer, and no key of the folder in any of them.
    let log = fs::read_to_string(lab.path("log")).unwrap();
    assert_eq!(log.lines().count(), 3);
    for line in log.lines() {
        let call: Value = serde_json::from_str(line).unwrap();
        let parameters = &call["in"]["keyunwrapparams"]["dc"]["Parameters"];
        assert_eq!(*parameters, json!({"demo": ["RW5hYmxlZA=="]}));
    }
}

#[test]
fn without_a_file_there_are_no_providers_and_the_message_says_so() {
    let lab = lab(&["demo"]);
    let (descriptor, blob, _) = layers().remove(0);
    let missing = lab.path("missing.json");
    let run = lab
        .decoder()
        .payload_json(payload(&descriptor))
        .environment(CONFIG, &missing)
        .run(&blob);
    let note = format!("no key providers: {}: No such file", missing.display());
    run.refused(3, &["provider.demo", &note], b"");

    let run = lab.decoder().payload_json(payload(&descriptor)).run(&blob);
    run.refused(3, &["provider.demo", "keys at hand: 1"], b"");
}

#[test]
fn a_malformed_file_matters_only_to_layers_that_need_a_provider() {
    let lab = lab(&["demo"]);
    fs::write(lab.path("broken.json"), "{\"key-providers\":\n 1}").unwrap();
    let (descriptor, blob, _) = layers().remove(0);
    let run = lab
        .decoder()
        .payload_json(payload(&descriptor))
        .environment(CONFIG, lab.path("broken.json"))
        .run(&blob);
    let note = "malformed key-provider configuration at line 2";
    run.refused(3, &["provider.demo", note], b"");

    let layer = crate::lab::Layer::ocicrypt();
    let run = lab
        .decoder()
        .payload(&layer)
        .environment(CONFIG, lab.path("broken.json"))
        .run(&layer.blob);
    run.opened(&layer.plain);
}

#[test]
fn what_keeps_a_provider_from_opening_is_told() {
    let (descriptor, blob, _) = layers().remove(0);
    let lab = lab(&["demo"]);
    let run = lab
        .decoder()
        .payload_json(payload(&descriptor))
        .environment(CONFIG, lab.path("providers.json"))
        .environment("KP_FAIL", "the vault is sealed")
        .run(&blob);
    let text = "key provider `demo`: exit status: 3; it says: the vault is sealed";
    run.refused(3, &[text], b"");

    let slow = json!({"key-providers": {"demo": {"cmd": {"path": "sleep", "args": ["60"]}}}});
    fs::write(lab.path("slow.json"), slow.to_string()).unwrap();
    let run = lab
        .decoder()
        .payload_json(payload(&descriptor))
        .argument("--provider-timeout=1")
        .environment(CONFIG, lab.path("slow.json"))
        .run(&blob);
    let text = "key provider `demo` unavailable: no answer within 1 s";
    run.refused(5, &[text], b"");

    let native = json!({"key-providers": {"demo": {"native": "attestation-agent"}}});
    fs::write(lab.path("native.json"), native.to_string()).unwrap();
    let run = lab
        .decoder()
        .payload_json(payload(&descriptor))
        .environment(CONFIG, lab.path("native.json"))
        .run(&blob);
    run.refused(3, &["key provider `demo`: `native` is not supported"], b"");
}

#[test]
fn a_provider_does_not_inherit_our_own_variables() {
    let lab = lab(&[]);
    let (descriptor, blob, _) = layers().remove(0);
    let script = "env >\"$0\"; exit 1";
    let seen = lab.path("seen");
    let config = json!({"key-providers": {"demo": {"cmd": {"path": "/bin/sh", "args": ["-c", script, seen]}}}});
    fs::write(lab.path("recorder.json"), config.to_string()).unwrap();
    lab.decoder()
        .payload_json(payload(&descriptor))
        .environment(CONFIG, lab.path("recorder.json"))
        .environment("SEALIFT_TOKEN", "hunter2")
        .environment("VAULT_ADDR", "http://vault")
        .run(&blob)
        .refused(3, &["exit status: 1"], b"");
    let seen = fs::read_to_string(seen).unwrap();
    assert!(seen.contains("VAULT_ADDR=http://vault"), "{seen}");
    assert!(!seen.contains("SEALIFT_"), "{seen}");
}
