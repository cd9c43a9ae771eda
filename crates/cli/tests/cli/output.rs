//! What goes where: standard output, standard error, files.

use std::fs;

use crate::tool::{Run, lab_with_sealed};
use sealift_testkit::image::{Format, IndexBuilder};
use serde_json::{Value, json};

#[test]
fn standard_output_is_the_digest_alone() {
    let (lab, image) = lab_with_sealed();
    let run = lab.sealift(&["decrypt", "oci:sealed:v1", "oci:opened:v1", "-k", "key.pem"]);
    assert_eq!(run.stdout, format!("{}\n", image.digest()));
    // Plain progress, because standard error is no terminal: one line for each layer.
    assert_eq!(
        run.stderr
            .lines()
            .filter(|line| line.starts_with("opened sha256:"))
            .count(),
        3,
        "{}",
        run.stderr
    );
    assert!(!run.stderr.contains('\u{1b}'));
    let quiet = lab.sealift(&[
        "decrypt",
        "-q",
        "oci:sealed:v1",
        "oci:opened:v2",
        "-k",
        "key.pem",
    ]);
    assert_eq!((quiet.stderr.as_str(), quiet.code), ("", 0));
    let none = lab.sealift(&[
        "decrypt",
        "--progress",
        "none",
        "oci:sealed:v1",
        "oci:opened:v3",
        "-k",
        "key.pem",
    ]);
    assert_eq!((none.stderr.as_str(), none.code), ("", 0));
}

#[test]
fn json_has_the_promised_shape() {
    let (lab, image) = lab_with_sealed();
    let run = lab.sealift(&[
        "decrypt",
        "--json",
        "oci:sealed:v1",
        "oci:opened:v1",
        "-k",
        "key.pem",
    ]);
    assert_eq!(run.stderr, "");
    let mut result = run.json();
    assert!(result["seconds"].is_number() && result["bytes"].as_u64().unwrap() > 60_000);
    result["seconds"] = Value::Null;
    result["bytes"] = Value::Null;
    let expected = json!({
        "schemaVersion": 1, "reference": "oci:opened:v1", "digest": image.digest(),
        "sourceDigest": lab.digest_in_layout("sealed", "v1"), "layers": 3, "layersChanged": 3, "bytes": null, "seconds": null,
        "network": {"requests": 0, "retries": 0, "bytesSent": 0, "bytesReceived": 0},
    });
    assert_eq!(result, expected);

    let inspected = lab.sealift(&["inspect", "--json", "oci:sealed:v1"]).json();
    assert_eq!(inspected["schemaVersion"], 1);
    assert_eq!(inspected["reference"], "oci:sealed:v1");
    assert_eq!(inspected["digest"], lab.digest_in_layout("sealed", "v1"));
    assert_eq!(
        inspected["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    let manifest = &inspected["manifests"][0];
    assert_eq!(
        (&manifest["configSealed"], &manifest["digest"]),
        (&false.into(), &inspected["digest"])
    );
    assert_eq!(
        manifest["platform"],
        json!({"architecture": "amd64", "os": "linux"})
    );
    let layer = &manifest["layers"][1];
    let names: Vec<&str> = layer
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        names,
        [
            "index",
            "digest",
            "size",
            "mediaType",
            "sealed",
            "cipher",
            "recipients"
        ]
    );
    assert_eq!(layer["cipher"], "C2SP_CHUNKED_AES_256_GCM");
    let recipient = &layer["recipients"][0];
    let names: Vec<&str> = recipient
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        names,
        ["scheme", "algorithm", "keyId", "fingerprint", "where"]
    );
    assert_eq!(
        (&recipient["scheme"], &recipient["algorithm"]),
        (&"jwe".into(), &"ECDH-ES+A256KW".into())
    );

    for (arguments, expected) in [(&["-k", "key.pem"][..], json!(true)), (&[], Value::Null)] {
        let arguments: Vec<&str> = ["verify", "--json", "oci:sealed:v1"]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        let verified = lab.sealift(&arguments).json();
        assert_eq!(
            verified["manifests"][0]["layers"][0]["authenticated"],
            expected
        );
    }
}

#[test]
fn errors_are_json_too() {
    let (lab, _) = lab_with_sealed();
    let run = lab.sealift(&[
        "decrypt",
        "--json",
        "oci:absent",
        "oci:opened",
        "-k",
        "key.pem",
    ]);
    let error: Value = serde_json::from_str(&run.stderr).unwrap();
    let names: Vec<&str> = error
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(names, ["error", "causes", "hint", "exit"]);
    assert_eq!(
        (run.code, &error["exit"], run.stdout.as_str()),
        (7, &7.into(), "")
    );
}

#[test]
fn progress_as_json_is_one_object_per_line() {
    let (lab, _) = lab_with_sealed();
    let run = lab.sealift(&[
        "decrypt",
        "--progress",
        "json",
        "oci:sealed:v1",
        "oci:opened:v1",
        "-k",
        "key.pem",
    ]);
    let events: Vec<Value> = run
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for kind in ["started", "finished"] {
        let count = events
            .iter()
            .filter(|event| event["event"] == kind && event["action"] == "open")
            .count();
        assert_eq!(count, 3, "{kind}: {}", run.stderr);
    }
}

#[test]
fn the_result_also_goes_to_files() {
    let (lab, image) = lab_with_sealed();
    let mut command = lab.command(&[
        "decrypt",
        "oci:sealed:v1",
        "oci:opened:v1",
        "-k",
        "key.pem",
        "--digestfile",
        "digest",
        "--metadata-file",
        "meta.json",
        "--github-output",
    ]);
    lab.write("github", b"before=1\n");
    Run::of(command.env("GITHUB_OUTPUT", lab.path("github"))).succeeds();
    assert_eq!(
        fs::read_to_string(lab.path("digest")).unwrap(),
        image.digest()
    );
    let metadata: Value =
        serde_json::from_slice(&fs::read(lab.path("meta.json")).unwrap()).unwrap();
    assert_eq!(
        (&metadata["digest"], &metadata["schemaVersion"]),
        (&image.digest().into(), &1.into())
    );
    // What buildx writes.
    assert_eq!(
        (&metadata["containerimage.digest"], &metadata["image.name"]),
        (&image.digest().into(), &"oci:opened:v1".into())
    );
    let sealed = lab.digest_in_layout("sealed", "v1");
    let expected = format!(
        "before=1\ndigest={}\nreference=oci:opened:v1\nsource-digest={sealed}\n",
        image.digest()
    );
    assert_eq!(fs::read_to_string(lab.path("github")).unwrap(), expected);
}

#[test]
fn what_cannot_be_delivered_is_refused_before_any_work() {
    let (lab, _) = lab_with_sealed();
    for (option, what) in [
        (
            &["--digestfile", "no/folder/digest"][..],
            "cannot write `no/folder/digest`",
        ),
        (&["--metadata-file", "plain"], "cannot write `plain`"),
        (&["--github-output"], "GITHUB_OUTPUT"),
    ] {
        let arguments: Vec<&str> = ["copy", "oci:sealed:v1", "oci:copied:v1"]
            .iter()
            .chain(option)
            .copied()
            .collect();
        lab.sealift(&arguments).fails(2, what);
        assert!(!lab.path("copied").exists());
    }
}

#[test]
fn a_dry_run_shows_the_plan_and_writes_nothing() {
    let (lab, image) = lab_with_sealed();
    let arguments = [
        "encrypt",
        "oci:plain:v1",
        "oci:new:v1",
        "-r",
        "key.pub.pem",
        "--layer",
        "0",
        "--dry-run",
    ];
    let text = lab.sealift(&arguments).succeeds();
    assert!(
        text.contains(&image.digest()) && text.contains("nothing was written"),
        "{text}"
    );
    let plan = Run::of(lab.command(&arguments).arg("--json")).json();
    assert_eq!(
        (&plan["dryRun"], &plan["layersChanged"]),
        (&true.into(), &1.into())
    );
    let actions: Vec<&Value> = plan["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| &layer["action"])
        .collect();
    assert_eq!(actions, ["seal", "leave-clear", "leave-clear"]);
    let plan = lab
        .sealift(&[
            "decrypt",
            "oci:sealed:v1",
            "oci:new:v1",
            "-k",
            "key.pem",
            "--dry-run",
            "--json",
        ])
        .json();
    assert_eq!(plan["layersChanged"], 3);
    let plan = lab
        .sealift(&["copy", "oci:sealed:v1", "oci:new:v1", "--dry-run", "--json"])
        .json();
    assert_eq!(plan["layersChanged"], 0);
    assert!(!lab.path("new").exists());
}

#[test]
fn inspect_is_a_table_for_people_and_raw_octets_on_demand() {
    let (lab, image) = lab_with_sealed();
    let table = lab.sealift(&["inspect", "oci:sealed:v1"]).succeeds();
    assert!(
        table.contains("linux/amd64") && table.contains("3 of 3 layers sealed"),
        "{table}"
    );
    assert_eq!(
        table.matches("C2SP_CHUNKED_AES_256_GCM  jwe:").count(),
        3,
        "{table}"
    );
    let raw = lab.sealift(&["inspect", "--raw", "oci:plain:v1"]);
    assert_eq!(raw.stdout.as_bytes(), image.bytes());
}

#[test]
fn what_an_image_says_cannot_move_the_cursor() {
    let (lab, image) = lab_with_sealed();
    let index = IndexBuilder::new(Format::Oci).child(image).build();
    let evil =
        index.edited(|index| index["manifests"][0]["platform"]["os"] = "\u{1b}[2Jlinux".into());
    evil.write_layout(&lab.path("evil"), "v1");
    let run = lab.sealift(&["inspect", "oci:evil:v1"]);
    assert!(run.stdout.contains("\\u{1b}[2Jlinux/amd64"), "{run:?}");
    assert!(!run.stdout.contains('\u{1b}'), "{run:?}");
    let refused = lab
        .sealift(&["inspect", "oci:evil:v1", "--platform", "linux/arm64"])
        .fails(7, "\\u{1b}[2J");
    assert!(!refused.stderr.contains('\u{1b}'), "{refused:?}");
}

#[test]
fn variables_stand_in_for_options() {
    let (lab, image) = lab_with_sealed();
    let mut command = lab.command(&["decrypt", "oci:sealed:v1", "oci:opened:v1"]);
    command
        .env("SEALIFT_KEY", "key.pem")
        .env("SEALIFT_JSON", "1")
        .env("SEALIFT_PROGRESS", "none")
        .env("SEALIFT_JOBS", "1");
    let run = Run::of(&mut command);
    assert_eq!(run.stderr, "");
    assert_eq!(run.json()["digest"], image.digest());
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let (lab, _) = lab_with_sealed();
    let mut command = lab.command(&["inspect", "oci:sealed:v1"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command.stdout(writer).output().unwrap();
    assert_eq!(
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap()
        ),
        (Some(0), String::new())
    );
}

#[test]
fn the_doctor_tells_every_stage_and_what_it_allows() {
    let lab = lab_with_sealed().0;
    let run = lab.sealift(&["doctor", "--bench", "--folder", ".", "--json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let told: Value = serde_json::from_str(&run.stdout).unwrap();
    let processors = told["machine"]["processors"].as_u64().unwrap();
    assert_eq!(told["jobs"]["local"], json!(processors.min(8)));
    assert_eq!(told["jobs"]["registry"], json!(processors.clamp(6, 8)));
    let stages = told["stagesGibPerSecond"].as_object().unwrap();
    assert_eq!(stages.len(), 7);
    let library = told["aead"]["faster"].as_str().unwrap();
    assert!(["aws-lc", "ring"].contains(&library), "{library}");
    assert_eq!(told["aead"]["used"], "aws-lc");
    for (stage, rate) in stages {
        assert!(rate.as_f64().unwrap() > 0.0, "{stage}: {rate}");
    }
    for job in [
        "encrypt",
        "encryptNoVerifySource",
        "encryptOcicrypt",
        "encryptOcicryptNoVerifySource",
        "decrypt",
    ] {
        for layers in ["oneLayer", "manyLayers"] {
            let limit = &told["limits"][job][layers];
            let by = limit["boundBy"].as_str().unwrap();
            assert!(
                by == "processors" || stages.contains_key(by),
                "{job}: {limit}"
            );
            let fastest = stages
                .values()
                .filter_map(Value::as_f64)
                .fold(0.0, f64::max);
            let rate = limit["gibPerSecond"].as_f64().unwrap();
            // No job has a single stage.
            assert!(
                rate > 0.0 && rate < fastest * processors as f64,
                "{job}: {limit}"
            );
        }
    }
    let chosen = lab
        .sealift(&["doctor", "--bench", "--json", "--aead", "auto"])
        .json();
    assert_eq!(chosen["aead"]["used"], library);
    let text = lab.sealift(&["doctor", "--bench", "--aead", "ring"]);
    for line in [
        "SHA-256",
        "encrypt --cipher ocicrypt",
        "layers at the same time",
        "AES-256-GCM: ring (change with --aead)",
    ] {
        assert!(text.stdout.contains(line), "{}", text.stdout);
    }
    let nowhere = lab.sealift(&["doctor", "--bench", "--folder", "nowhere"]);
    assert_eq!(nowhere.code, 1);
    assert!(
        nowhere.stderr.contains("cannot measure files in `nowhere`"),
        "{}",
        nowhere.stderr
    );
}
