//! Which files say where images are: the options' word, else the places of Podman, Docker and containerd.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sealift_registry::{Mirrors, RegistriesConf, Routes};

use crate::args::RegistryArgs;
use crate::exit::{Code, Failure};

/// Reads `registries.conf`, and names the folders in which more is found once a host is known.
pub(crate) fn routes(args: &RegistryArgs, home: Option<&Path>) -> Result<Routes, Failure> {
    let own = env::var_os("XDG_CONFIG_HOME")
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
        .or_else(|| home.map(|home| home.join(".config")))
        .map(|config| config.join("containers"));
    let elsewhere = env::var_os("CONTAINERS_REGISTRIES_CONF").filter(|file| !file.is_empty());
    let registries = match (&args.registries_conf, elsewhere) {
        (Some(file), _) => read(file)?,
        (None, Some(file)) => read(Path::new(&file))?,
        (None, None) => usual(own.as_deref())?,
    };
    let certs_dirs = match &args.certs_dir {
        Some(folder) => vec![existing(folder)?],
        None => own
            .iter()
            .map(|own| own.join("certs.d"))
            .chain(["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from))
            .collect(),
    };
    let hosts_dirs = match &args.hosts_dir {
        Some(folder) => vec![existing(folder)?],
        None => vec![PathBuf::from("/etc/containerd/certs.d")],
    };
    Ok(Routes {
        registries,
        hosts_dirs,
        certs_dirs,
        mirrors: Mirrors::Ask,
    })
}

/// The user's file or else the system's, then the drop-ins of both.
fn usual(own: Option<&Path>) -> Result<RegistriesConf, Failure> {
    let system = Path::new("/etc/containers");
    let folders: Vec<&Path> = [Some(system), own].into_iter().flatten().collect();
    let mut files = folders.iter().rev().map(|folder| folder.join(FILE));
    let mut conf = match files.find(|file| file.is_file()) {
        Some(file) => read(&file)?,
        None => RegistriesConf::default(),
    };
    for folder in folders {
        for file in drop_ins(&folder.join(format!("{FILE}.d")))? {
            conf = conf.overridden_by(read(&file)?);
        }
    }
    Ok(conf)
}

fn drop_ins(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let cannot = |error: std::io::Error| {
        let what = format!("cannot read `{}`", folder.display());
        Failure::new(Code::Other, what).because(&error)
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(cannot(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.map_err(cannot)?.path();
        if file.extension().is_some_and(|ending| ending == "conf") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> Result<RegistriesConf, Failure> {
    let text = fs::read_to_string(file).map_err(|error| {
        let code = match error.kind() {
            ErrorKind::NotFound => Code::NotFound,
            _ => Code::Other,
        };
        Failure::new(code, format!("cannot read `{}`", file.display())).because(&error)
    })?;
    RegistriesConf::parse(&text).map_err(|error| {
        let what = format!("cannot use `{}`", file.display());
        Failure::new(Code::Usage, what)
            .because(&error)
            .hint("--registries-conf FILE names another file")
    })
}

fn existing(folder: &Path) -> Result<PathBuf, Failure> {
    match folder.is_dir() {
        true => Ok(folder.to_owned()),
        false => {
            let what = format!("`{}` is not a folder", folder.display());
            Err(Failure::new(Code::NotFound, what))
        }
    }
}

const FILE: &str = "registries.conf";
