//! The help is public interface: a change of it is a change of the tool.

use crate::tool::Lab;

#[test]
fn help_is_what_it_was() {
    let lab = Lab::new();
    for command in [
        None,
        Some("encrypt"),
        Some("decrypt"),
        Some("copy"),
        Some("inspect"),
        Some("verify"),
        Some("keygen"),
        Some("completion"),
        Some("version"),
    ] {
        let arguments: Vec<&str> = command.into_iter().chain(["--help"]).collect();
        let help = lab.sealift(&arguments).succeeds();
        insta::assert_snapshot!(format!("help-{}", command.unwrap_or("sealift")), help);
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
        &["encrypt", "oci:a", "oci:b", "-r", "k", "--seal-config"],
        &["copy", "oci:a", "oci:b", "--jobs", "0"],
        &["copy", "oci:a", "oci:b", "-q", "-v"],
        &["copy", "oci:a", "oci:b", "--client-cert", "c.pem"],
        &["inspect", "oci:a", "--platform", "linux"],
        &["inspect", "oci:a", "--raw", "--json"],
        &["keygen", "--type", "rsa2048", "-o", "k"],
        &["completion", "tcsh"],
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
