use std::fs;
#[cfg(unix)]
use std::os::unix::fs::symlink;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sealift_keywrap::customer_key::CustomerKey;
use sealift_keywrap::keys::{KeyType, generate, parse_public};
use sealift_keywrap::{Password, openpgp};
use sealift_layer::{Cipher, Embedding};
use sealift_oci::Digest;

use crate::lab::{GZIP, LEN, Lab, Layer, any, key_file, testdata};

#[test]
fn opens_a_layer_that_describes_itself_without_payload() {
    let layer = Layer::chunked();
    Lab::new(&["rsa.pem"])
        .decoder()
        .run(&layer.blob)
        .opened(&layer.plain);
}

#[test]
fn opens_layers_of_every_length_around_a_chunk() {
    for len in [0, 1, 16_383, 16_384, 16_385, 32_768] {
        for cipher in [Cipher::Chunked, Cipher::CtrHmac] {
            let layer = Layer::seal(cipher, Embedding::AnnotationsOnly, GZIP, len);
            let lab = Lab::new(&["rsa.pem"]);
            lab.decoder()
                .payload(&layer)
                .run(&layer.blob)
                .opened(&layer.plain);
        }
    }
}

#[test]
fn opens_both_formats_with_the_payload_of_kubernetes() {
    for layer in [Layer::chunked(), Layer::not_embedded(), Layer::ocicrypt()] {
        let lab = Lab::new(&["rsa.pem"]);
        lab.decoder()
            .payload(&layer)
            .run(&layer.blob)
            .opened(&layer.plain);
    }
}

#[test]
fn opens_with_a_key_that_came_with_the_payload() {
    let layer = Layer::ocicrypt();
    let key = STANDARD.encode(fs::read(key_file("rsa.pem")).unwrap());
    let lab = Lab::new(&[]);
    let decoder = lab.decoder().payload_json(serde_json::json!({
        "DecryptConfig": {"Parameters": {"privkeys": [key], "privkeys-passwords": [null]}},
        "Descriptor": layer.descriptor(),
    }));
    decoder.run(&layer.blob).opened(&layer.plain);
}

/// Layer 0 of what skopeo sealed for a certificate: its descriptor and its ciphertext.
fn sealed_for_a_certificate() -> (serde_json::Value, Vec<u8>) {
    let blobs = testdata().join("pkcs7/blobs/sha256");
    let manifest =
        fs::read(blobs.join("2df22a9e786214bd6e290825cb4ae431720c10d7bd67efadbcb5d9d5040604da"))
            .unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let descriptor = manifest["layers"][0].clone();
    let digest = descriptor["digest"].as_str().unwrap().to_owned();
    (descriptor, fs::read(blobs.join(&digest[7..])).unwrap())
}

#[test]
fn opens_with_a_certificate_in_the_folder_of_its_key() {
    let (descriptor, blob) = sealed_for_a_certificate();
    let payload = serde_json::json!({"Descriptor": descriptor});
    let opened = |files: &[&str]| {
        let lab = Lab::new(files);
        lab.decoder().payload_json(payload.clone()).run(&blob)
    };
    let plain = opened(&["x509.key.pem", "x509.cert.pem", "ec384.pem"]).stdout;
    let digest = Digest::sha256(&plain).to_string();
    let expected = "sha256:6d684c383388cfdd6c85ff2d6c51586aae1ca64fbb56c9b1735448085e213186";
    assert_eq!(digest, expected);
    let lacking = ["no key fits", "no certificate was given with the key"];
    opened(&["x509.key.pem"]).refused(3, &lacking, b"");
    let missing = ["no key fits", "keys at hand: 0"];
    opened(&["x509.cert.pem"]).refused(3, &missing, b"");
}

#[test]
fn opens_with_a_certificate_that_came_with_the_payload() {
    let (descriptor, blob) = sealed_for_a_certificate();
    let file = |name| STANDARD.encode(fs::read(key_file(name)).unwrap());
    let lab = Lab::new(&["x509.key.pem"]);
    let run = |parameters| {
        let payload = serde_json::json!({
            "DecryptConfig": {"Parameters": parameters}, "Descriptor": descriptor,
        });
        lab.decoder().payload_json(payload).run(&blob)
    };
    let keys = [file("ec384.pem"), file("x509.key.pem")];
    let complete = serde_json::json!({"privkeys": keys, "x509s": [file("x509.cert.pem"), null]});
    assert_eq!(run(complete).stdout.len(), 629);
    // The certificate may have come with the payload and the key lie in the folder.
    let certificate = serde_json::json!({"x509s": [file("x509.cert.pem")]});
    assert_eq!(run(certificate).stdout.len(), 629);
    let none = serde_json::json!({"x509s": [file("rsa.pub.pem")]});
    let words = [
        "no key fits",
        "certificate 0 of the payload: this is no certificate",
    ];
    run(none).refused(3, &words, b"");
}

/// Layer 0 of what skopeo sealed for an OpenPGP key: its descriptor and its ciphertext.
fn sealed_for_openpgp() -> (serde_json::Value, Vec<u8>) {
    let blobs = testdata().join("pgp/blobs/sha256");
    let index = fs::read(testdata().join("pgp/index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    let manifest = index["manifests"][0]["digest"].as_str().unwrap();
    let manifest = fs::read(blobs.join(&manifest[7..])).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let descriptor = manifest["layers"][0].clone();
    let digest = descriptor["digest"].as_str().unwrap().to_owned();
    (descriptor, fs::read(blobs.join(&digest[7..])).unwrap())
}

#[test]
fn opens_with_an_openpgp_key_in_the_folder_or_in_the_payload() {
    let (descriptor, blob) = sealed_for_openpgp();
    let payload = serde_json::json!({"Descriptor": descriptor});
    let opened = |files: &[&str]| {
        let lab = Lab::new(files);
        lab.decoder().payload_json(payload.clone()).run(&blob)
    };
    let plain = opened(&["ec384.pem", "pgp2.sec.gpg"]).stdout;
    let digest = Digest::sha256(&plain).to_string();
    let expected = "sha256:6d684c383388cfdd6c85ff2d6c51586aae1ca64fbb56c9b1735448085e213186";
    assert_eq!(digest, expected);
    let missing = ["no key fits", "pgp RSA kid `5ca2df8f994b8ec8`"];
    opened(&["ec384.pem"]).refused(3, &missing, b"");

    let key = STANDARD.encode(fs::read(key_file("pgp2.sec.gpg")).unwrap());
    let parameters =
        serde_json::json!({"gpg-privatekeys": [key], "gpg-privatekeys-passwords": [null]});
    let payload = serde_json::json!({
        "DecryptConfig": {"Parameters": parameters}, "Descriptor": descriptor,
    });
    let lab = Lab::new(&[]);
    assert_eq!(
        lab.decoder().payload_json(payload).run(&blob).stdout.len(),
        629
    );
}

#[test]
fn an_openpgp_key_in_the_folder_takes_its_passphrase_from_the_file_beside_it() {
    let vectors = testdata().join("../keywrap/openpgp");
    let file = |name: &str| fs::read(vectors.join(name)).unwrap();
    let certificate = openpgp::parse_certificates(&file("rsa2048.pub.gpg"))
        .unwrap()
        .remove(0);
    let recipient = certificate.unwrap().encryption_key(1_800_000_000).unwrap();
    let embedding = Embedding::AnnotationsAndHeader;
    let layer = Layer::seal_for(Box::new(recipient), Cipher::Chunked, embedding, GZIP, LEN);
    for name in ["rsa2048.sec.gpg", "rsa2048.sec.asc", "rsa2048-stub.sec.gpg"] {
        let lab = Lab::new(&[]);
        let path = lab.path("keys").join(name);
        fs::write(&path, file(name)).unwrap();
        let missing = format!("{name}: key is encrypted and no password was given");
        let run = lab.decoder().run(&layer.blob);
        run.refused(3, &["no key fits", &missing], b"");
        let password = lab.path("keys").join(format!("{name}.password"));
        fs::write(&password, "incorrect\n").unwrap();
        let wrong = format!("{name}: wrong password");
        lab.decoder().run(&layer.blob).refused(3, &[&wrong], b"");
        fs::write(&password, "correct\n").unwrap();
        lab.decoder().run(&layer.blob).opened(&layer.plain);
    }
}

#[test]
fn opens_what_skopeo_sealed_with_the_payload_of_containerd() {
    let blobs = testdata().join("jwe-rsa2048/blobs/sha256");
    let manifest =
        fs::read(blobs.join("7e1bc14b1113e8c2e0173f3fe2fb85b5adc49a9d94abd99645b4d6c9d1477e18"))
            .unwrap();
    // The payload is the descriptor's exact text, which is compact in this manifest.
    let manifest = std::str::from_utf8(&manifest).unwrap();
    let start = manifest.find(r#""layers":["#).unwrap() + 10;
    let end = manifest[start..].find("}}").unwrap() + start + 2;
    let json = format!(
        r#"{{"DecryptConfig":{{"Parameters":null}},"Descriptor":{}}}"#,
        &manifest[start..end]
    );
    let payload = any(json.as_bytes());
    assert_eq!(payload.len(), 1505);
    let blob =
        fs::read(blobs.join("dc5081c00d10ddd7b2474c4de7586c12fb6abb193d0308cdef1a43fa0b2f040e"))
            .unwrap();
    let run = Lab::new(&["rsa.pem"])
        .decoder()
        .payload_octets(payload)
        .run(&blob);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        Digest::sha256(&run.stdout).to_string(),
        "sha256:6d684c383388cfdd6c85ff2d6c51586aae1ca64fbb56c9b1735448085e213186"
    );
}

#[test]
fn finds_the_description_in_the_content_store_without_payload() {
    for layer in [Layer::not_embedded(), Layer::ocicrypt()] {
        let lab = Lab::new(&["rsa.pem"]);
        lab.store_blob(b"{ not a manifest");
        lab.store_blob(&layer.blob);
        lab.store_manifest(&[
            Layer::ocicrypt().descriptor(),
            Layer::chunked().descriptor(),
        ]);
        lab.store_manifest(&[Layer::chunked().descriptor(), layer.descriptor()]);
        lab.decoder().run(&layer.blob).opened(&layer.plain);
    }
}

#[test]
fn finds_recipients_in_the_content_store_that_the_blob_does_not_know() {
    let layer = Layer::chunked();
    let lab = Lab::new(&["rsa.pem"]);
    lab.store_manifest(&[layer.descriptor()]);
    // The header's only wrapped key is spoilt, as if it had been made for somebody else.
    let mut blob = layer.blob.clone();
    let at = blob
        .windows(8)
        .position(|window| window == b"keys.jwe")
        .unwrap()
        + 40;
    blob[at] ^= 1;
    lab.decoder().run(&blob).opened(&layer.plain);
}

#[test]
#[cfg(unix)]
fn follows_the_symbolic_links_of_a_kubernetes_volume() {
    let layer = Layer::chunked();
    let lab = Lab::new(&[]);
    let keys = lab.path("keys");
    fs::create_dir(keys.join("..2026_11_21")).unwrap();
    fs::copy(key_file("rsa.pem"), keys.join("..2026_11_21/key.pem")).unwrap();
    symlink("..2026_11_21", keys.join("..data")).unwrap();
    symlink("..data/key.pem", keys.join("key.pem")).unwrap();
    lab.decoder().run(&layer.blob).opened(&layer.plain);
    // What the volume keeps behind the links is not its content: it may be yesterday's.
    fs::remove_file(keys.join("key.pem")).unwrap();
    lab.decoder()
        .run(&layer.blob)
        .refused(3, &["keys at hand: 0"], b"");
}

#[test]
#[cfg(unix)]
fn passes_over_files_that_are_no_keys_and_loops_of_links() {
    let layer = Layer::chunked();
    let lab = Lab::new(&["ec384.pem"]);
    let keys = lab.path("keys");
    fs::write(keys.join("README"), "keys of this node\n").unwrap();
    symlink(".", keys.join("again")).unwrap();
    symlink("nowhere", keys.join("dangling")).unwrap();
    fs::create_dir(keys.join("zone")).unwrap();
    fs::copy(key_file("rsa.pem"), keys.join("zone/rsa.pem")).unwrap();
    lab.decoder().run(&layer.blob).opened(&layer.plain);
}

#[test]
fn takes_further_key_folders_by_both_names() {
    let layer = Layer::chunked();
    let lab = Lab::new(&["rsa.pem"]);
    fs::create_dir(lab.path("empty")).unwrap();
    let mut decoder = lab.decoder();
    decoder.arguments[1] = lab.path("empty").into();
    decoder
        .run(&layer.blob)
        .refused(3, &["no key", "no key in"], &layer.plain);
    let decoder = decoder
        .argument("--decryption-keys-path")
        .argument(lab.path("keys"));
    decoder.run(&layer.blob).opened(&layer.plain);
}

#[test]
fn takes_the_password_of_an_encrypted_key_from_the_file_beside_it() {
    let pair = generate(KeyType::P256, Some(&Password::from("open, please"))).unwrap();
    let public = parse_public(pair.public_pem.as_bytes()).unwrap().remove(0);
    let layer = Layer::seal_for(
        Box::new(public),
        Cipher::Chunked,
        Embedding::AnnotationsAndHeader,
        GZIP,
        LEN,
    );
    let lab = Lab::new(&[]);
    let keys = lab.path("keys");
    fs::write(keys.join("node.pem"), &*pair.private_pem).unwrap();
    let missing = [
        "no key fits",
        "jwe ECDH-ES+A256KW",
        "node.pem: key is encrypted and no password was given",
    ];
    lab.decoder().run(&layer.blob).refused(3, &missing, b"");
    fs::write(keys.join("node.pem.password"), "open, pleese\n").unwrap();
    lab.decoder()
        .run(&layer.blob)
        .refused(3, &["node.pem: wrong password"], b"");
    fs::write(keys.join("node.pem.password"), "open, please\n").unwrap();
    lab.decoder().run(&layer.blob).opened(&layer.plain);
}

#[test]
fn opens_with_a_customers_key() {
    let key = CustomerKey::generate().unwrap();
    let lab = Lab::new(&["rsa.pem"]);
    fs::write(lab.path("keys").join("customer.key"), &*key.to_file()).unwrap();
    let layer = Layer::seal_for(
        Box::new(key),
        Cipher::Chunked,
        Embedding::AnnotationsAndHeader,
        GZIP,
        LEN,
    );
    lab.decoder().run(&layer.blob).opened(&layer.plain);
    fs::remove_file(lab.path("keys").join("customer.key")).unwrap();
    lab.decoder()
        .run(&layer.blob)
        .refused(3, &["no key fits", "aes256"], b"");
}

#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_the_layer() {
    for cipher in [Cipher::Chunked, Cipher::CtrHmac] {
        let layer = Layer::seal(cipher, Embedding::AnnotationsOnly, GZIP, 48 << 20);
        let lab = Lab::new(&["rsa.pem"]);
        let peak = lab.decoder().payload(&layer).peak_memory(&layer.blob);
        assert!(peak < 16 * 1024, "{peak} KiB for {cipher}");
    }
}

#[test]
fn opens_zstd_and_plain_tar_and_docker_types() {
    for (sealed_as, told) in [
        (
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "application/vnd.oci.image.layer.v1.tar+zstd+encrypted",
        ),
        (
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.v1.tar+encrypted",
        ),
        (
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "application/vnd.docker.image.rootfs.diff.tar.gzip+encrypted",
        ),
    ] {
        let layer = Layer::seal(
            Cipher::Chunked,
            Embedding::AnnotationsAndHeader,
            sealed_as,
            LEN,
        );
        let lab = Lab::new(&["rsa.pem"]);
        lab.decoder()
            .media_type(told)
            .run(&layer.blob)
            .opened(&layer.plain);
    }
}

#[test]
fn works_under_the_name_of_ctd_decoder() {
    let layer = Layer::chunked();
    let lab = Lab::new(&["rsa.pem"]);
    let mut decoder = lab.decoder();
    let other = lab.path(&format!("ctd-decoder{}", std::env::consts::EXE_SUFFIX));
    fs::copy(&decoder.program, &other).unwrap();
    decoder.program = other.into();
    decoder.arguments = vec!["--decryption-keys-path".into(), lab.path("keys").into()];
    decoder.run(&layer.blob).opened(&layer.plain);
}

#[test]
fn refuses_a_layer_for_another_key_and_says_whom_it_is_for() {
    for layer in [Layer::chunked(), Layer::ocicrypt()] {
        let lab = Lab::new(&["ec384.pem"]);
        let run = lab.decoder().payload(&layer).run(&layer.blob);
        let id = layer.sealed.id.to_string();
        run.refused(
            3,
            &["no key fits layer", &id, "jwe RSA-OAEP", "keys at hand: 1"],
            b"",
        );
    }
}

#[test]
fn refuses_a_layer_without_any_key_and_says_where_keys_were_looked_for() {
    let layer = Layer::chunked();
    let lab = Lab::new(&[]);
    let keys = lab.path("keys");
    fs::write(keys.join("README"), "no keys here\n").unwrap();
    let run = lab.decoder().run(&layer.blob);
    run.refused(
        3,
        &[
            "no key fits",
            keys.to_str().unwrap(),
            "README: not a key",
            "keys at hand: 0",
        ],
        b"",
    );
    let mut decoder = lab.decoder();
    decoder.arguments[1] = lab.path("missing").into();
    decoder
        .run(&layer.blob)
        .refused(3, &["no key fits", "missing: ", not_found()], b"");
}

/// How the system says that a folder is not there: Windows (`ERROR_PATH_NOT_FOUND`) in many languages.
fn not_found() -> &'static str {
    match cfg!(windows) {
        true => "(os error 3)",
        false => "No such file",
    }
}

#[test]
fn refuses_a_flipped_bit_anywhere() {
    let layer = Layer::chunked();
    let lab = Lab::new(&["rsa.pem"]);
    for at in [
        layer.blob.len() - 1,
        layer.blob.len() / 2,
        layer.blob.len() - 700_000,
    ] {
        let mut blob = layer.blob.clone();
        blob[at] ^= 1;
        let id = layer.sealed.id.to_string();
        lab.decoder()
            .run(&blob)
            .refused(4, &["layer failed authentication", &id], &layer.plain);
    }
    let layer = Layer::ocicrypt();
    for at in [0, layer.blob.len() / 2, layer.blob.len() - 1] {
        let mut blob = layer.blob.clone();
        blob[at] ^= 1;
        let run = lab.decoder().payload(&layer).run(&blob);
        run.refused(
            4,
            &["layer failed authentication", &layer.sealed.id.to_string()],
            b"",
        );
    }
}

#[test]
fn refuses_a_layer_that_was_cut() {
    let layer = Layer::chunked();
    let lab = Lab::new(&["rsa.pem"]);
    let last = LEN as usize % 16_384 + 16;
    let cut = |octets: usize| lab.decoder().run(&layer.blob[..layer.blob.len() - octets]);
    cut(1).refused(4, &["layer failed authentication"], &layer.plain);
    cut(last).refused(4, &["layer is truncated after chunk 41"], &layer.plain);
    cut(last - 15).refused(4, &["layer is truncated after chunk 41"], &layer.plain);
    let run = lab.decoder().payload(&layer).run(&layer.blob[..4]);
    run.refused(4, &["layer is truncated before its first chunk"], b"");
    let layer = Layer::ocicrypt();
    let run = lab
        .decoder()
        .payload(&layer)
        .run(&layer.blob[..layer.blob.len() - 1]);
    run.refused(4, &["layer failed authentication"], b"");
}

#[test]
fn says_what_is_missing_when_nothing_describes_the_layer() {
    let layer = Layer::ocicrypt();
    let lab = Lab::new(&["rsa.pem"]);
    let digest = Digest::sha256(&layer.blob).to_string();
    let run = lab.decoder().run(&layer.blob);
    run.refused(
        7,
        &[
            &digest,
            "use_local_image_pull = true",
            lab.path("containerd").to_str().unwrap(),
        ],
        b"",
    );
}

#[test]
fn refuses_plain_octets_under_a_sealed_type() {
    let layer = Layer::chunked();
    let lab = Lab::new(&["rsa.pem"]);
    let run = lab
        .decoder()
        .payload(&layer)
        .run(b"\x1f\x8b\x08\0\0\0\0\0\0\x03 plain gzip");
    run.refused(4, &["it begins with 1f8b080000000000 (gzip)"], b"");
    let run = lab
        .decoder()
        .run(b"\x1f\x8b\x08\0\0\0\0\0\0\x03 plain gzip");
    run.refused(4, &["it begins with 1f8b080000000000 (gzip)"], b"");
}

#[test]
fn names_the_layer_whose_header_is_malformed() {
    let layer = Layer::chunked();
    let lab = Lab::new(&["rsa.pem"]);
    let mut blob = layer.blob.clone();
    blob[8] = 1;
    let digest = Digest::sha256(&layer.blob).to_string();
    let run = lab.decoder().payload(&layer).run(&blob);
    run.refused(
        4,
        &[
            "malformed layer header",
            "longer than 1048576 octets",
            &digest,
        ],
        b"",
    );
}

#[test]
fn refuses_what_contradicts_itself() {
    let layer = Layer::chunked();
    let lab = Lab::new(&["rsa.pem"]);
    let tar = "application/vnd.oci.image.layer.v1.tar+encrypted";
    let run = lab
        .decoder()
        .media_type(tar)
        .payload(&layer)
        .run(&layer.blob);
    run.refused(
        4,
        &["media type differs between descriptor and runtime"],
        b"",
    );
    let run = lab.decoder().media_type(tar).run(&layer.blob);
    run.refused(
        4,
        &["media type differs between descriptor and layer header"],
        b"",
    );
    let run = lab.decoder().payload(&Layer::chunked()).run(&layer.blob);
    run.refused(
        4,
        &["commitment differs between descriptor and layer blob"],
        b"",
    );
    let run = lab.decoder().payload(&Layer::ocicrypt()).run(&layer.blob);
    run.refused(
        4,
        &["cipher differs between descriptor and layer blob"],
        b"",
    );
}

#[test]
fn refuses_a_type_that_is_not_sealed_and_no_type_at_all() {
    let layer = Layer::chunked();
    let lab = Lab::new(&["rsa.pem"]);
    lab.decoder().media_type(GZIP).run(&layer.blob).refused(
        4,
        &["not that of a sealed layer"],
        b"",
    );
    let mut decoder = lab.decoder();
    decoder.media_type = None;
    decoder
        .run(&layer.blob)
        .refused(2, &["STREAM_PROCESSOR_MEDIATYPE"], b"");
}

#[test]
fn refuses_a_payload_of_another_kind() {
    let layer = Layer::chunked();
    let lab = Lab::new(&["rsa.pem"]);
    let decoder = lab.decoder().payload_octets(b"not protobuf".to_vec());
    decoder
        .run(&layer.blob)
        .refused(4, &["payload is not a protobuf message"], b"");
}

#[test]
#[cfg(unix)]
fn takes_only_a_pipe_for_a_payload() {
    let layer = Layer::chunked();
    let lab = Lab::new(&["rsa.pem"]);
    let decoder = lab.decoder();
    fs::write(lab.path("file"), "not a payload").unwrap();
    let mut through_shell = lab.decoder();
    through_shell.program = "sh".into();
    for redirection in [r#"3<"$0/file""#, r#"3>"$0/file2""#, "3>&1", "3</dev/null"] {
        through_shell.arguments = vec!["-c".into(), format!(r#"exec "$@" {redirection}"#).into()];
        through_shell.arguments.push(lab.path(".").into());
        through_shell.arguments.push(decoder.program.clone());
        through_shell
            .arguments
            .extend(decoder.arguments.iter().cloned());
        through_shell.run(&layer.blob).opened(&layer.plain);
    }
}

#[test]
fn goes_quietly_when_nobody_reads_the_output() {
    let lab = Lab::new(&["rsa.pem"]);
    for layer in [Layer::chunked(), Layer::ocicrypt()] {
        let run = lab
            .decoder()
            .payload(&layer)
            .run_with_broken_pipe(&layer.blob);
        assert_eq!((run.code, run.stderr.as_str()), (Some(1), ""));
    }
}

#[test]
fn spools_a_long_layer_to_a_file_that_leaves_no_trace() {
    let layer = Layer::seal(Cipher::CtrHmac, Embedding::AnnotationsOnly, GZIP, 5_000_000);
    let lab = Lab::new(&["rsa.pem"]);
    fs::create_dir(lab.path("spool")).unwrap();
    let decoder = lab
        .decoder()
        .argument("--spool-dir")
        .argument(lab.path("spool"))
        .payload(&layer);
    decoder.run(&layer.blob).opened(&layer.plain);
    assert_eq!(fs::read_dir(lab.path("spool")).unwrap().count(), 0);
    let decoder = lab
        .decoder()
        .argument("--spool-dir")
        .argument(lab.path("missing"))
        .payload(&layer);
    decoder
        .run(&layer.blob)
        .refused(1, &["cannot keep the sealed layer", "--spool-dir"], b"");
}

#[test]
fn notes_every_layer_in_the_log() {
    let layer = Layer::chunked();
    let lab = Lab::new(&["rsa.pem"]);
    let decoder = lab.decoder().argument("--log").argument(lab.path("log"));
    decoder.run(&layer.blob).opened(&layer.plain);
    decoder
        .run(&layer.blob[..50_000])
        .refused(4, &[], &layer.plain);
    let log = fs::read_to_string(lab.path("log")).unwrap();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["exit"], &lines[0]["outcome"]),
        (&0.into(), &"700000 octets".into())
    );
    assert_eq!(lines[1]["exit"], 4);
    assert_eq!(lines[1]["mediaType"], format!("{GZIP}+encrypted"));
}

#[test]
fn usage_errors_are_one_line_and_help_is_help() {
    let lab = Lab::new(&[]);
    let run = lab.decoder().argument("--no-such").run(b"");
    run.refused(2, &["unexpected argument '--no-such' found", "--help"], b"");
    let run = lab.decoder().argument("surplus").run(b"");
    run.refused(2, &["unexpected argument 'surplus' found"], b"");
    for (flag, text) in [("--help", "Exit codes:"), ("--version", "sealift-decoder ")] {
        let run = lab.decoder().argument(flag).run(b"");
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
        assert!(String::from_utf8(run.stdout).unwrap().contains(text));
    }
}

#[test]
fn a_crowd_of_files_that_are_no_keys_does_not_flood_the_message() {
    let layer = Layer::chunked();
    let lab = Lab::new(&[]);
    for name in 0..40 {
        fs::write(lab.path("keys").join(name.to_string()), "").unwrap();
    }
    let run = lab.decoder().run(&layer.blob);
    // One line says how many keys the folder has.
    run.refused(3, &["keys at hand: 0", "25 more notes on keys"], b"");
    assert_eq!(run.stderr.matches("not a key").count(), 15);
}
