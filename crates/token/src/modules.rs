//! Which shared library is the module, and whether it may be loaded.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sealift_keywrap::pkcs11::{MAX_YAML_LEN, ModulePolicy, TokenUri};

use crate::TokenError;
use crate::error::printable;

/// What decides where the list of modules is looked for; the programs fill it in.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `OCICRYPT_CONFIG`: `internal`, or the path of a file, which must be there then.
    pub ocicrypt_config: Option<OsString>,
    /// `XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<OsString>,
    /// `HOME`.
    pub home: Option<OsString>,
}

impl Surroundings {
    /// Returns the list of modules that may be loaded.
    ///
    /// # Errors
    /// [`TokenError::NoPolicy`] if nobody wrote one: then none may. [`TokenError::Policy`] if the first that is there
    /// cannot be used: a later one would say something else.
    pub fn policy(&self) -> Result<ModulePolicy, TokenError> {
        self.policy_or(Path::new(SYSTEM_FILE))
    }

    fn policy_or(&self, system: &Path) -> Result<ModulePolicy, TokenError> {
        let set = |value: &Option<OsString>| value.clone().filter(|value| !value.is_empty());
        if let Some(config) = set(&self.ocicrypt_config) {
            if config == "internal" {
                return Ok(ModulePolicy::internal(std::env::consts::ARCH));
            }
            let path = PathBuf::from(config);
            return read_policy(&path)?.ok_or_else(|| policy_error(&path, "there is no such file"));
        }
        let xdg = set(&self.xdg_config_home).map(PathBuf::from);
        let home = set(&self.home).map(|home| PathBuf::from(home).join(".config"));
        for folder in [xdg, home].into_iter().flatten() {
            if let Some(policy) = read_policy(&folder.join(FILE))? {
                return Ok(policy);
            }
        }
        // Absolute: ocicrypt looks below the working directory, where whoever owns that may have put one.
        read_policy(system)?.ok_or(TokenError::NoPolicy)
    }
}

fn policy_error(path: &Path, reason: &str) -> TokenError {
    TokenError::Policy {
        path: shown(path),
        reason: reason.into(),
    }
}

/// Reads a policy; `None` if the file is not there.
fn read_policy(path: &Path) -> Result<Option<ModulePolicy>, TokenError> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(policy_error(path, &error.to_string())),
    };
    not_for_everybody(path, &file)?;
    let mut octets = Vec::new();
    let limit = u64::try_from(MAX_YAML_LEN).unwrap_or(u64::MAX);
    file.take(limit.saturating_add(1))
        .read_to_end(&mut octets)
        .map_err(|error| policy_error(path, &error.to_string()))?;
    let policy = ModulePolicy::parse(&octets);
    policy
        .map(Some)
        .map_err(|error| policy_error(path, &error.to_string()))
}

/// Finds the module that a URI names, and returns its real path if the policy allows it.
pub(crate) fn resolve(uri: &TokenUri, policy: &ModulePolicy) -> Result<PathBuf, TokenError> {
    let candidates = match (uri.module_path(), uri.module_name()) {
        (None, None) => return Err(TokenError::NoModule),
        (Some(path), name) if Path::new(path).is_dir() => match name {
            Some(name) => named(name, [path].into_iter())?,
            None => return Err(TokenError::NoModule),
        },
        (Some(path), _) => vec![PathBuf::from(path)],
        (None, Some(name)) => named(name, policy.directories())?,
    };
    let mut refused = None;
    for candidate in candidates {
        let real = fs::canonicalize(&candidate).map_err(|_| TokenError::ModuleNotFound {
            name: shown(&candidate),
            searched: "the file system".into(),
        })?;
        if is_allowed(&real, policy) {
            let file = fs::File::open(&real).map_err(|error| TokenError::ModuleLoad {
                reason: printable(&format!("{}: {error}", real.display())),
            })?;
            not_for_everybody(&real, &file)?;
            return Ok(real);
        }
        refused.get_or_insert(TokenError::ModuleNotAllowed { path: shown(&real) });
    }
    Err(refused.unwrap_or(TokenError::NoModule))
}

/// Returns the files of folders that have a module's name, with or without `lib` before and a suffix behind it.
fn named<'a>(
    name: &str,
    folders: impl Iterator<Item = &'a str>,
) -> Result<Vec<PathBuf>, TokenError> {
    let wanted = name.to_lowercase();
    let mut searched = Vec::new();
    let mut found = Vec::new();
    for folder in folders {
        searched.push(folder);
        let Ok(entries) = fs::read_dir(folder) else {
            continue;
        };
        let entries = entries.take(MAX_ENTRIES).flatten();
        let files: BTreeSet<PathBuf> = entries
            .filter(|entry| {
                let file = entry.file_name().to_string_lossy().to_lowercase();
                let bare = file.strip_prefix("lib").unwrap_or(&file);
                [file.as_str(), bare].iter().any(|file| {
                    file.strip_prefix(&wanted)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                })
            })
            .map(|entry| entry.path())
            .collect();
        found.extend(files);
    }
    if found.is_empty() {
        return Err(TokenError::ModuleNotFound {
            name: printable(name),
            searched: match &searched[..] {
                [] => "no folder: `module-directories` is empty".into(),
                folders => printable(&folders.join(", ")),
            },
        });
    }
    Ok(found)
}

/// Compares real paths, so that a symbolic link leads out of no folder.
fn is_allowed(real: &Path, policy: &ModulePolicy) -> bool {
    policy.allowed().any(|entry| {
        let Ok(allowed) = fs::canonicalize(entry) else {
            return false;
        };
        if entry.ends_with('/') {
            real.parent() == Some(&allowed)
        } else {
            real == allowed
        }
    })
}

/// Refuses a file that decides which code runs and that everybody can change.
#[cfg(unix)]
fn not_for_everybody(path: &Path, file: &fs::File) -> Result<(), TokenError> {
    use std::os::unix::fs::PermissionsExt;

    let mode = file
        .metadata()
        .map(|metadata| metadata.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o002 == 0) {
        return Ok(());
    }
    Err(TokenError::Writable { path: shown(path) })
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "has a reason to fail on Unix")]
fn not_for_everybody(_: &Path, _: &fs::File) -> Result<(), TokenError> {
    Ok(())
}

fn shown(path: &Path) -> Box<str> {
    printable(&path.display().to_string())
}

const FILE: &str = "ocicrypt.conf";
const SYSTEM_FILE: &str = "/etc/ocicrypt.conf";

/// Most files of one folder that are looked at.
const MAX_ENTRIES: usize = 10_000;

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> String {
            // The scratch folder itself may lie behind a link.
            let root = fs::canonicalize(self.0.path()).unwrap();
            root.join(name).to_str().unwrap().to_owned()
        }

        fn file(&self, name: &str, content: &str) -> String {
            let path = self.path(name);
            fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            path
        }
    }

    fn policy(directories: &[&str], allowed: &[&str]) -> ModulePolicy {
        let text = format!(
            "pkcs11: {{module-directories: [{}], allowed-module-paths: [{}]}}",
            directories.join(","),
            allowed.join(",")
        );
        ModulePolicy::parse(text.as_bytes()).unwrap()
    }

    fn module(query: &str, policy: &ModulePolicy) -> Result<String, TokenError> {
        let uri = TokenUri::parse(&format!("pkcs11:token=x{query}")).unwrap();
        resolve(&uri, policy).map(|path| path.to_str().unwrap().to_owned())
    }

    #[test]
    fn only_listed_modules_are_found() {
        let lab = Folder::new();
        let good = lab.file("good/libhsm.so.2", "");
        let bad = lab.file("bad/libhsm.so", "");
        let inner = lab.file("good/inner/libhsm.so", "");
        let (folder, elsewhere) = (lab.path("good/"), lab.path("bad/"));
        let by_path = |path: &str| format!("?module-path={path}");
        let not_allowed = |path: &str| Err(TokenError::ModuleNotAllowed { path: path.into() });
        let listed = policy(&[&folder], &[&folder]);
        assert_eq!(module(&by_path(&good), &listed), Ok(good.clone()));
        assert_eq!(module("?module-name=hsm", &listed), Ok(good.clone()));
        assert_eq!(module("?module-name=LIBHSM", &listed), Ok(good.clone()));
        assert_eq!(module("?module-name=libhsm.so", &listed), Ok(good.clone()));
        assert_eq!(module(&by_path(&bad), &listed), not_allowed(&bad));
        // A folder on the list says nothing about folders in it.
        assert_eq!(module(&by_path(&inner), &listed), not_allowed(&inner));
        let dotted = format!("?module-path={folder}inner/../../bad/libhsm.so");
        assert_eq!(module(&dotted, &listed), not_allowed(&bad));
        let both = format!("?module-path={folder}&module-name=hsm");
        assert_eq!(module(&both, &listed), Ok(good.clone()));
        // Of two folders that have it the first one that is allowed counts.
        let second = policy(&[&elsewhere, &folder], &[&good]);
        assert_eq!(module("?module-name=hsm", &second), Ok(good.clone()));
        let none = policy(&[&folder], &[]);
        assert_eq!(module("?module-name=hsm", &none), not_allowed(&good));
        // Without its slash a folder is a file that no module is.
        let file = policy(&[&folder], &[folder.trim_end_matches('/')]);
        assert_eq!(module("?module-name=hsm", &file), not_allowed(&good));
    }

    #[test]
    fn a_link_does_not_lead_out_of_a_folder() {
        let lab = Folder::new();
        let outside = lab.file("outside/libhsm.so", "");
        lab.file("good/x", "");
        let link = lab.path("good/libhsm.so");
        symlink(&outside, &link).unwrap();
        let folder = lab.path("good/");
        let listed = policy(&[&folder], &[&folder]);
        let refused = TokenError::ModuleNotAllowed {
            path: outside.as_str().into(),
        };
        assert_eq!(
            module(&format!("?module-path={link}"), &listed),
            Err(refused.clone())
        );
        assert_eq!(module("?module-name=hsm", &listed), Err(refused));
        // Who lists the link itself means what it leads to.
        let named = policy(&[], &[&link]);
        assert_eq!(module(&format!("?module-path={link}"), &named), Ok(outside));
    }

    #[test]
    fn what_is_not_there_is_said() {
        let lab = Folder::new();
        lab.file("good/libsofthsm2.so", "");
        let folder = lab.path("good/");
        let listed = policy(&[&folder], &[&folder]);
        for query in ["", &format!("?module-path={folder}")] {
            assert_eq!(module(query, &listed), Err(TokenError::NoModule), "{query}");
        }
        for name in ["softhsm", "hsm2", "2", "libsofthsm2.so.1"] {
            let error = module(&format!("?module-name={name}"), &listed);
            assert!(
                matches!(error, Err(TokenError::ModuleNotFound { .. })),
                "{name}: {error:?}"
            );
        }
        let error = module("?module-path=/no/such/module.so", &listed);
        assert!(
            matches!(error, Err(TokenError::ModuleNotFound { .. })),
            "{error:?}"
        );
    }

    #[test]
    fn what_everybody_can_change_is_refused() {
        let lab = Folder::new();
        let path = lab.file("good/libhsm.so", "");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o646)).unwrap();
        let refused = TokenError::Writable {
            path: path.as_str().into(),
        };
        let listed = policy(&[], &[&path]);
        assert_eq!(
            module(&format!("?module-path={path}"), &listed),
            Err(refused)
        );

        let conf = lab.file("ocicrypt.conf", "pkcs11: {}");
        fs::set_permissions(&conf, fs::Permissions::from_mode(0o666)).unwrap();
        let surroundings = Surroundings {
            ocicrypt_config: Some(conf.clone().into()),
            ..Surroundings::default()
        };
        let refused = TokenError::Writable { path: conf.into() };
        assert_eq!(surroundings.policy(), Err(refused));
    }

    #[test]
    fn the_first_list_that_is_there_counts() {
        let lab = Folder::new();
        let list = |name: &str| {
            lab.file(
                name,
                &format!("pkcs11: {{allowed-module-paths: [/{name}]}}"),
            )
        };
        let system = lab.path("etc/ocicrypt.conf");
        let first = |surroundings: &Surroundings| {
            let policy = surroundings.policy_or(Path::new(&system))?;
            Ok(policy.allowed().next().unwrap_or_default().to_owned())
        };
        let mut surroundings = Surroundings {
            ocicrypt_config: Some("".into()),
            xdg_config_home: Some(lab.path("xdg").into()),
            home: Some(lab.path("home").into()),
        };
        assert_eq!(first(&surroundings), Err(TokenError::NoPolicy));
        list("etc/ocicrypt.conf");
        assert_eq!(first(&surroundings), Ok("/etc/ocicrypt.conf".into()));
        list("home/.config/ocicrypt.conf");
        assert_eq!(
            first(&surroundings),
            Ok("/home/.config/ocicrypt.conf".into())
        );
        list("xdg/ocicrypt.conf");
        assert_eq!(first(&surroundings), Ok("/xdg/ocicrypt.conf".into()));
        surroundings.ocicrypt_config = Some(list("own.conf").into());
        assert_eq!(first(&surroundings), Ok("/own.conf".into()));
        surroundings.ocicrypt_config = Some("internal".into());
        assert_eq!(first(&surroundings), Ok("/usr/lib64/pkcs11/".into()));
        // One that was asked for and is not there, or not understood, is never passed over.
        for (name, content) in [("missing.conf", None), ("bad.conf", Some("pkcs11: 1"))] {
            let path = match content {
                Some(content) => lab.file(name, content),
                None => lab.path(name),
            };
            surroundings.ocicrypt_config = Some(path.into());
            let error = first(&surroundings);
            assert!(
                matches!(error, Err(TokenError::Policy { .. })),
                "{name}: {error:?}"
            );
        }
        surroundings.ocicrypt_config = None;
        lab.file("xdg/ocicrypt.conf", "pkcs11: {allowed: []}");
        let error = first(&surroundings);
        assert!(matches!(error, Err(TokenError::Policy { .. })), "{error:?}");
    }
}
