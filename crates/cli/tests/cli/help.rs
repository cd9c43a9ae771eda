//! The help is public interface: a change of it is a change of the tool.

use crate::tool::Lab;

#[test]
fn help_is_what_it_was() {
    let lab = Lab::new();
    for command in [
        "",
        "encrypt",
        "decrypt",
        "copy",
        "inspect",
        "verify",
        "recipients",
        "recipients list",
        "recipients add",
        "recipients rotate",
        "recipients remove",
        "cat",
        "ls",
        "tags",
        "delete",
        "keygen",
        "doctor",
        "config",
        "config containerd",
        "config crio",
        "config keyprovider",
        "keyprovider",
        "keyprovider serve",
        "image-verifier",
        "completion",
        "version",
        "holder",
        "holder init",
        "holder join",
        "holder serve",
        "holder status",
        "holder backup",
        "holder restore",
        "operator",
        "operator new",
        "operator grant",
        "operator withdraw",
        "key",
        "key create",
        "key import",
        "key list",
        "key show",
        "key export",
        "key refresh",
        "key reshare",
        "key repair",
        "key disable",
        "key enable",
        "key min-epoch",
        "key register",
        "key schedule-deletion",
        "key cancel-deletion",
        "key split",
        "key combine",
        "node",
        "node token",
        "node list",
        "node show",
        "node revoke",
        "node unrevoke",
        "revoke node",
        "agent",
        "agent enrol",
        "policy",
        "policy new",
        "policy validate",
        "policy push",
        "policy test",
        "policy explain",
        "policy diff",
        "posture",
        "posture sign",
        "audit",
        "audit show",
        "audit export",
        "audit verify",
    ] {
        let arguments: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let help = lab.sealift(&arguments).succeeds();
        let name = match command {
            "" => "sealift".to_owned(),
            command => command.replace(' ', "-"),
        };
        insta::assert_snapshot!(format!("help-{name}"), help);
    }
}

/// Windows has no `agent serve`, whose socket asks who its peer is.
#[cfg(unix)]
#[test]
fn help_of_what_runs_on_unix_is_what_it_was() {
    let lab = Lab::new();
    for command in [
        "holder dev",
        "agent serve",
        "agent prefetch",
        "agent status",
    ] {
        let arguments: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let help = lab.sealift(&arguments).succeeds();
        insta::assert_snapshot!(format!("help-{}", command.replace(' ', "-")), help);
    }
}

#[test]
fn a_command_line_without_sense_exits_2() {
    let lab = Lab::new();
    for arguments in [
        &[][..],
        &["frobnicate"],
        &["encrypt"],
        &["encrypt", "oci:a", "oci:b"],
        &["decrypt", "oci:a", "oci:b"],
        &["encrypt", "oci:a", "oci:b", "-r", "k", "--cipher", "rot13"],
        &["encrypt", "oci:a", "oci:b", "-r", "k", "--layer", "top"],
        &["encrypt", "oci:a", "oci:b", "-r", "k", "--no-such-option"],
        &["copy", "oci:a", "oci:b", "--jobs", "0"],
        &["copy", "oci:a", "oci:b", "-q", "-v"],
        &["copy", "oci:a", "oci:b", "--client-cert", "c.pem"],
        &["inspect", "oci:a", "--platform", "linux"],
        &["inspect", "oci:a", "--raw", "--json"],
        &["keygen", "--type", "rsa2048", "-o", "k"],
        &["completion", "tcsh"],
        &["holder"],
        &["holder", "init", "--dir", "fra"],
        &[
            "holder",
            "serve",
            "--dir",
            "fra",
            "--seal",
            "credential:../x",
        ],
        &["holder", "dev", "--dir", "d", "--holders", "6"],
        &["holder", "dev", "--dir", "d", "--threshold", "4"],
        &["operator", "new", "Alice"],
        &["operator", "grant", "a", "--role", "king"],
        &["key", "create", "k", "-t", "2", "--holders", "fra,gru"],
        &[
            "key",
            "create",
            "k",
            "-t",
            "0",
            "--holders",
            "fra",
            "--reason",
            "r",
            "--sign-with",
            "a.pem",
        ],
        &[
            "key",
            "min-epoch",
            "k",
            "0",
            "--reason",
            "r",
            "--sign-with",
            "a.pem",
        ],
        &["key", "list"],
        &["key", "split", "f", "-n", "2", "-t", "3", "-o", "d"],
        &["node", "revoke", "n", "--reason", "r"],
        &["node", "token", "--name", "n", "--ttl", "1y"],
        &[
            "posture", "sign", "--node", "n", "--score", "101", "--key", "k",
        ],
        &["audit", "verify", "--contains", "fra"],
        &["encrypt", "oci:a", "oci:b", "-r", "holders:k"],
        &["decrypt", "oci:a", "oci:b", "-k", "holders:k"],
    ] {
        let run = lab.sealift(arguments);
        assert_eq!(
            (run.code, run.stdout.as_str()),
            (2, ""),
            "{arguments:?}: {}",
            run.stderr
        );
        assert!(!run.stderr.is_empty(), "{arguments:?}");
    }
    assert_eq!(lab.files(""), Vec::<String>::new());
}

#[test]
fn a_usage_error_is_json_when_json_is_asked_for() {
    let run = Lab::new().sealift(&["copy", "--json", "oci:a"]);
    let error: serde_json::Value = serde_json::from_str(&run.stderr).unwrap();
    assert_eq!((run.code, &error["exit"]), (2, &2.into()));
    assert_eq!(
        error["error"],
        "the following required arguments were not provided:"
    );
}

#[test]
fn every_shell_gets_a_completion_script() {
    let lab = Lab::new();
    for (shell, mark) in [
        ("bash", "complete -F _sealift"),
        ("zsh", "#compdef sealift"),
        ("fish", "complete -c sealift"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let script = lab.sealift(&["completion", shell]).succeeds();
        assert!(script.contains(mark), "{shell}");
        assert!(script.contains("no-embedded-keys"), "{shell}");
    }
}

#[test]
fn version_is_text_or_json() {
    let lab = Lab::new();
    let version = env!("CARGO_PKG_VERSION");
    for arguments in [&["version"][..], &["--version"]] {
        assert_eq!(
            lab.sealift(arguments).succeeds(),
            format!("sealift {version}")
        );
    }
    let expected = serde_json::json!({"schemaVersion": 1, "name": "sealift", "version": version});
    assert_eq!(lab.sealift(&["version", "--json"]).json(), expected);
}
