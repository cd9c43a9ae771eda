//! The installer for Kubernetes nodes, on folders in place of a node's root.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sealift_peers::Lab;
use sealift_peers::keys::{KeyPair, KeyType};

const STANZAS: &str = "etc/containerd/conf.d/sealift.toml";
const CONFIG: &str = "etc/containerd/config.toml";
const PROGRAM: &str = "opt/sealift/bin/sealift-decoder";
const KEYS: &str = "etc/containerd/ocicrypt/keys";

/// A node's root, and a Secret as kubelet mounts it.
struct Node {
    folder: tempfile::TempDir,
}

impl Node {
    fn new(lab: &Lab) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["root", "secret", "bin"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let node = Self { folder };
        // The decoder is only copied; sealift prints the stanzas.
        fs::write(node.path("bin/sealift-decoder"), "a program").unwrap();
        symlink(lab.binary("sealift"), node.path("bin/sealift")).unwrap();
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn host(&self, name: &str) -> PathBuf {
        self.path("root").join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../stream-processor/deploy/install.sh");
        Command::new("sh")
            .arg(script)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOST_ROOT", self.path("root"))
            .env("BINARIES", self.path("bin"))
            .env("KEYS_FROM", self.path("secret"))
            .env("CONTAINERD_VERSION", "2.1.4")
            .output()
            .unwrap()
    }

    #[track_caller]
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Puts keys into the Secret, as kubelet does: a new folder, and a link moved to it.
    fn mount(&self, version: &str, keys: &[(&str, &str)]) {
        let data = self.path("secret").join(format!("..{version}"));
        fs::create_dir(&data).unwrap();
        for (name, content) in keys {
            fs::write(data.join(name), content).unwrap();
        }
        let _ = fs::remove_file(self.path("secret/..data"));
        symlink(&data, self.path("secret/..data")).unwrap();
        for entry in fs::read_dir(self.path("secret")).unwrap() {
            let path = entry.unwrap().path();
            if !path
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("..")
            {
                fs::remove_file(path).unwrap();
            }
        }
        for (name, _) in keys {
            symlink(format!("..data/{name}"), self.path("secret").join(name)).unwrap();
        }
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.host(name)).unwrap().permissions().mode() & 0o777
    }
}

/// Every file below a folder with its content.
fn tree(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(tree(&path));
        } else {
            files.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}

#[test]
fn a_dry_run_says_everything_and_does_nothing() {
    let Some(lab) = Lab::needing(&[]) else {
        return;
    };
    let node = Node::new(&lab);
    fs::create_dir_all(node.host("etc/containerd")).unwrap();
    fs::write(
        node.host(CONFIG),
        "version = 3\n[debug]\n  level = 'info'\n",
    )
    .unwrap();
    let before = tree(&node.path("root"));
    let said = node.says(&["--dry-run", "install"]);
    for what in [PROGRAM, STANZAS, CONFIG, "restart containerd"] {
        assert!(said.contains(what), "{what}\n{said}");
    }
    node.mount("1", &[("node.pem", "key")]);
    assert!(node.says(&["--dry-run", "sync"]).contains("node.pem"));
    assert_eq!(tree(&node.path("root")), before);
}

#[test]
fn what_is_installed_is_complete_and_stays_as_it_is() {
    let Some(lab) = Lab::needing(&[]) else {
        return;
    };
    let node = Node::new(&lab);
    fs::create_dir_all(node.host("etc/containerd")).unwrap();
    let own = "version = 3\n[debug]\n  level = 'info'\n";
    fs::write(node.host(CONFIG), own).unwrap();
    fs::set_permissions(node.host(CONFIG), fs::Permissions::from_mode(0o600)).unwrap();
    node.says(&["install"]);
    assert_eq!(node.mode(CONFIG), 0o600);
    assert_eq!(fs::read(node.host(PROGRAM)).unwrap(), b"a program");
    assert_eq!((node.mode(PROGRAM), node.mode(STANZAS)), (0o755, 0o644));
    let stanzas = fs::read_to_string(node.host(STANZAS)).unwrap();
    assert!(
        stanzas.contains("version = 2") && stanzas.contains("/opt/sealift/bin/sealift-decoder")
    );
    let config = fs::read_to_string(node.host(CONFIG)).unwrap();
    assert!(config.starts_with("imports = [\"/etc/containerd/conf.d/sealift.toml\"]"));
    assert!(config.ends_with(own));
    let after = tree(&node.path("root"));
    assert_eq!(node.says(&["install"]), "nothing to do\n");
    assert_eq!(tree(&node.path("root")), after);

    fs::write(node.path("bin/sealift-decoder"), "a newer program").unwrap();
    let said = node.says(&["install"]);
    assert!(
        said.contains(PROGRAM) && said.contains("nothing to do"),
        "{said}"
    );
    assert_eq!(fs::read(node.host(PROGRAM)).unwrap(), b"a newer program");

    node.says(&["uninstall"]);
    assert_eq!(fs::read_to_string(node.host(CONFIG)).unwrap(), own);
    assert!(!node.host(PROGRAM).exists() && !node.host(STANZAS).exists());
}

#[test]
fn imports_that_are_there_are_kept() {
    let Some(lab) = Lab::needing(&[]) else {
        return;
    };
    for (config, outcome) in [
        (
            "imports = []\n",
            Some("imports = [\"/etc/containerd/conf.d/sealift.toml\"]"),
        ),
        (
            "imports = [\"/etc/containerd/conf.d/*.toml\"]\n",
            Some("imports = [\"/etc/containerd/conf.d/*.toml\"]\n"),
        ),
        (
            "imports = ['/etc/containerd/conf.d/*.toml']\n",
            Some("imports = ['/etc/containerd/conf.d/*.toml']\n"),
        ),
        ("imports = [\"/other.toml\"]\n", None),
        (
            "# /etc/containerd/conf.d/sealift.toml\nimports = [\"/other.toml\"]\n",
            None,
        ),
    ] {
        let node = Node::new(&lab);
        fs::create_dir_all(node.host("etc/containerd")).unwrap();
        fs::write(node.host(CONFIG), config).unwrap();
        let output = node.run(&["install"]);
        let now = fs::read_to_string(node.host(CONFIG)).unwrap();
        match outcome {
            Some(start) => {
                assert!(output.status.success(), "{output:?}");
                assert!(now.starts_with(start), "{now}");
            }
            None => {
                assert_eq!(output.status.code(), Some(1));
                let text = String::from_utf8(output.stderr).unwrap();
                assert!(text.contains("has imports already"), "{text}");
                assert_eq!(now, config);
                assert!(!node.host(PROGRAM).exists());
            }
        }
    }
}

#[test]
fn what_an_administrator_imports_is_not_taken_away() {
    let Some(lab) = Lab::needing(&[]) else {
        return;
    };
    let node = Node::new(&lab);
    node.says(&["install"]);
    let own = format!("imports = [\"/other.toml\", \"/{STANZAS}\"]\n");
    fs::write(node.host(CONFIG), own).unwrap();
    assert_eq!(node.run(&["uninstall"]).status.code(), Some(1));
    assert!(node.host(STANZAS).exists());
}

#[test]
fn keys_of_a_secret_come_change_and_go() {
    let Some(lab) = Lab::needing(&[]) else {
        return;
    };
    let node = Node::new(&lab);
    node.mount("1", &[("a.pem", "1"), ("b.pem", "2")]);
    node.says(&["sync"]);
    fs::write(node.host(KEYS).join("own.pem"), "not ours").unwrap();
    let read = |name: &str| fs::read_to_string(node.host(KEYS).join(name)).ok();
    assert_eq!(
        (read("a.pem"), read("b.pem")),
        (Some("1".into()), Some("2".into()))
    );
    assert_eq!(node.mode(KEYS), 0o700);
    assert_eq!(node.mode(&format!("{KEYS}/a.pem")), 0o600);
    assert_eq!(node.says(&["sync"]), "");

    node.mount("2", &[("b.pem", "3"), ("c.pem", "4")]);
    node.says(&["sync"]);
    assert_eq!(
        (read("a.pem"), read("b.pem"), read("c.pem")),
        (None, Some("3".into()), Some("4".into()))
    );
    node.says(&["uninstall"]);
    assert_eq!((read("b.pem"), read("c.pem")), (None, None));
    assert_eq!(read("own.pem"), Some("not ours".into()));
    fs::remove_dir_all(node.path("secret")).unwrap();
    assert_eq!(node.run(&["sync"]).status.code(), Some(1));
}

#[test]
fn what_is_missing_stops_it_before_anything_is_written() {
    let Some(lab) = Lab::needing(&[]) else {
        return;
    };
    let node = Node::new(&lab);
    fs::remove_file(node.path("bin/sealift-decoder")).unwrap();
    assert_eq!(node.run(&["install"]).status.code(), Some(1));
    assert_eq!(node.run(&["instal"]).status.code(), Some(2));
    assert_eq!(tree(&node.path("root")), []);
}

#[test]
fn what_the_github_action_runs_seals_for_every_line_and_tells_the_digest() {
    let Some(lab) = Lab::needing(&[]) else {
        return;
    };
    let source = lab.tiny_image();
    let keys = ["a", "b"].map(|name| KeyPair::generate(&lab, name, KeyType::P256));
    let sealed = lab.layout("sealed");
    let output = lab.path("github-output");
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.github/actions/encrypt/seal.sh");
    let action = |recipients: &str, options: &str| {
        let path = std::env::var("PATH").unwrap();
        let binaries = lab.binary("sealift");
        Command::new("bash")
            .arg(&script)
            .env(
                "PATH",
                format!("{}:{path}", binaries.parent().unwrap().display()),
            )
            .env("GITHUB_OUTPUT", &output)
            .env("SOURCE", source.reference("tiny"))
            .env("DESTINATION", sealed.reference("tiny"))
            .env("RECIPIENTS", recipients)
            .env("OPTIONS", options)
            .output()
            .unwrap()
    };
    let files = keys.each_ref().map(KeyPair::recipient);
    let done = action(
        &format!("{}\n\n{}\n", files[0], files[1]),
        "--cipher=ocicrypt\n",
    );
    assert!(done.status.success(), "{done:?}");
    let digest = String::from_utf8(done.stdout).unwrap();
    let told = fs::read_to_string(&output).unwrap();
    assert!(
        told.contains(&format!("digest={}\n", digest.trim_end())),
        "{told}"
    );
    for key in &keys {
        lab.sealift(&["verify", &sealed.reference("tiny"), "-k", &key.identity()])
            .succeeded();
    }
    // A line is one argument, whatever stands in it.
    let refused = action(&files[0], "--cipher ocicrypt; touch pwned");
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert_eq!(action("", "").status.code(), Some(2));
}
