//! `doctor` and `config`: what a node with containerd is told.
#![cfg(unix)]

use std::fs;

use serde_json::Value;

use crate::tool::{Lab, set_mode};

impl Lab {
    /// Writes a program that prints a line.
    fn program(&self, name: &str, line: &str) {
        fs::write(self.path(name), format!("#!/bin/sh\necho '{line}'\n")).unwrap();
        set_mode(&self.path(name), 0o755);
    }

    /// Runs `doctor` for a configuration.
    fn doctor(&self, config: &str) -> (i32, Vec<Value>) {
        self.doctor_with(config, &[])
    }

    fn doctor_with(&self, config: &str, more: &[&str]) -> (i32, Vec<Value>) {
        fs::write(self.path("config.toml"), config).unwrap();
        let arguments = [
            "doctor",
            "--json",
            "--containerd",
            "./containerd",
            "--containerd-config",
            "config.toml",
        ];
        let run = self.sealift(&[&arguments, more].concat());
        let answer: Value = serde_json::from_str(&run.stdout).unwrap();
        (run.code, answer["findings"].as_array().unwrap().clone())
    }
}

fn says(findings: &[Value], severity: &str, what: &str) -> bool {
    findings.iter().any(|finding| {
        finding["severity"] == severity && finding["what"].as_str().unwrap().contains(what)
    })
}

#[test]
fn what_config_prints_is_what_doctor_calls_good() {
    for version in ["1.6.20", "1.7.27", "2.0.3", "2.3.1"] {
        let lab = Lab::new();
        lab.program(
            "containerd",
            &format!("containerd github.com/containerd/containerd {version} abc"),
        );
        lab.program("sealift-decoder", "sealift-decoder 0.1.0");
        fs::create_dir(lab.path("keys")).unwrap();
        let decoder = lab.path("sealift-decoder").display().to_string();
        let keys = lab.path("keys").display().to_string();
        let stanza = lab
            .sealift(&[
                "config",
                "containerd",
                "--containerd",
                "./containerd",
                "--decoder",
                &decoder,
                "--keys-dir",
                &keys,
            ])
            .succeeds();
        assert!(stanza.contains(version), "{stanza}");
        let (code, findings) = lab.doctor(&stanza);
        assert_eq!(code, 1, "{findings:#?}");
        assert!(
            says(&findings, "problem", "neither a private key nor an agent"),
            "{findings:#?}"
        );

        lab.key("keys/node");
        fs::remove_file(lab.path("keys/node.pub.pem")).unwrap();
        let (code, findings) = lab.doctor(&stanza);
        assert_eq!(code, 0, "{findings:#?}");
        assert!(says(&findings, "good", "is sealift-decoder"));
        assert!(says(&findings, "good", "1 private keys"));
        let severities: Vec<_> = findings.iter().map(|one| one["severity"].clone()).collect();
        assert!(!severities.contains(&"warning".into()), "{findings:#?}");

        // A Kubernetes secret: links into a folder that begins with two dots.
        fs::create_dir(lab.path("keys/..data")).unwrap();
        fs::rename(lab.path("keys/node.pem"), lab.path("keys/..data/node.pem")).unwrap();
        std::os::unix::fs::symlink("..data/node.pem", lab.path("keys/node.pem")).unwrap();
        let (code, findings) = lab.doctor(&stanza);
        assert_eq!(code, 0, "{findings:#?}");
        assert!(says(&findings, "good", "1 private keys"));
        set_mode(&lab.path("keys/node.pem"), 0o644);
        assert!(says(
            &lab.doctor(&stanza).1,
            "warning",
            "other users of this machine can read"
        ));
    }
}

#[test]
fn doctor_knows_whether_the_trust_policy_decides_what_is_pulled() {
    let lab = Lab::new();
    lab.program("containerd", "containerd containerd.io 2.3.1 abc");
    fs::create_dir(lab.path("verifiers")).unwrap();
    let folder = lab.path("verifiers").display().to_string();
    let containerd = ["config", "containerd", "--containerd", "./containerd"];
    let stanza = lab
        .sealift(&[&containerd[..], &["--image-verifiers", &folder]].concat())
        .succeeds();
    let link = lab.path("verifiers/sealift-image-verifier");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_sealift"), &link).unwrap();
    let policy = lab.path("trust.toml");
    let asked = |severity: &str, what: &str| {
        let (_, findings) = lab.doctor_with(&stanza, &["--trust-policy", "trust.toml"]);
        assert!(says(&findings, severity, what), "{what}: {findings:#?}");
    };
    asked("problem", "takes no image");
    fs::write(
        &policy,
        "version = 1\n[[rule]]\nimages = [\"*\"]\nkeys = [\"a.pub\"]\n",
    )
    .unwrap();
    asked("warning", "a.pub");
    fs::write(
        &policy,
        "version = 1\n[[rule]]\nimages = [\"*\"]\nunsigned = true\n",
    )
    .unwrap();
    asked("good", "decides by the trust policy what is pulled");
    fs::remove_file(&link).unwrap();
    asked("warning", "does not decide what containerd pulls");

    lab.program("containerd", "containerd containerd.io 1.7.27 abc");
    asked("note", "decides for sealift alone");
    let run = lab.sealift(&[&containerd[..], &["--image-verifiers", &folder]].concat());
    assert_eq!(run.code, 2, "{}", run.stderr);
}

#[test]
fn a_node_without_anything_is_told_what_is_missing() {
    let lab = Lab::new();
    lab.program("containerd", "containerd containerd.io 1.7.27 abc");
    let run = lab.sealift(&[
        "doctor",
        "--containerd",
        "./absent",
        "--containerd-config",
        "absent.toml",
    ]);
    run.fails(7, "configuration `absent.toml` does not exist");
    fs::write(lab.path("config.toml"), "version = ").unwrap();
    let broken = ["doctor", "--containerd-config", "config.toml"];
    lab.sealift(&broken).fails(1, "is not TOML");
    let (code, findings) = lab.doctor("");
    assert_eq!(code, 1);
    assert!(says(
        &findings,
        "warning",
        "no stream processor accepts `tar+zstd+encrypted`"
    ));
    let text = lab.sealift(&[
        "doctor",
        "--containerd",
        "./containerd",
        "--containerd-config",
        "config.toml",
    ]);
    assert_eq!(text.code, 1);
    let last = text.stdout.lines().last().unwrap();
    assert!(
        last.trim_start().starts_with("hint: ") || last.starts_with("problem"),
        "{text:?}"
    );
    lab.program("containerd", "something else");
    lab.sealift(&["config", "containerd", "--containerd", "./containerd"])
        .fails(7, "says no version");
    lab.sealift(&["config", "containerd", "--containerd-version", "new"])
        .fails(2, "`new` is no version");
}

#[test]
fn a_program_that_hangs_or_fails_does_not_stop_the_doctor() {
    let lab = Lab::new();
    lab.program("containerd", "containerd x 1.7.0 y");
    fs::write(lab.path("decoder"), "#!/bin/sh\nexit 3\n").unwrap();
    set_mode(&lab.path("decoder"), 0o755);
    let stanza = |path: &str| {
        format!(
            "[stream_processors.'io.containerd.ocicrypt.decoder.v1.tar.gzip']\naccepts = ['application/vnd.oci.image.layer.v1.tar+gzip+encrypted']\nreturns = 'x'\npath = '{path}'\n"
        )
    };
    let path = lab.path("decoder").display().to_string();
    assert!(says(
        &lab.doctor(&stanza(&path)).1,
        "warning",
        "is not sealift-decoder"
    ));
    set_mode(&lab.path("decoder"), 0o644);
    assert!(says(
        &lab.doctor(&stanza(&path)).1,
        "problem",
        "cannot be executed"
    ));
    assert!(says(
        &lab.doctor(&stanza("no-such-program-xyz")).1,
        "problem",
        "`no-such-program-xyz` is not there"
    ));
}

#[test]
fn crio_gets_its_key_folder() {
    let lab = Lab::new();
    let text = lab
        .sealift(&["config", "crio", "--keys-dir", "/k"])
        .succeeds();
    assert!(
        text.ends_with("[crio.runtime]\ndecryption_keys_path = \"/k\""),
        "{text}"
    );
}
