//! Where an image may be had: its mirrors, then its registry, each with its own trust.
//!
//! `registries.conf` decides for the images that it names, a `hosts.toml` for the others. Pushes know the registry only.

use std::path::{Path, PathBuf};

use reqwest::Url;
use sealift_oci::Reference;

use crate::error::Error;
use crate::hosts_toml::{HostEntry, HostsToml};
use crate::registries_conf::{Location, RegistriesConf};
use crate::tls::{ClientCertificate, Tls, Verification};

/// The files that say where images are and who is trusted there. Which they are is for the caller to know.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// `registries.conf` and its drop-ins, read.
    pub registries: RegistriesConf,
    /// Folders with `HOST/hosts.toml`, as containerd's `config_path`.
    pub hosts_dirs: Vec<PathBuf>,
    /// Folders with `HOST[:PORT]/*.crt`, `*.cert` and `*.key`, as Docker's and Podman's `certs.d`.
    pub certs_dirs: Vec<PathBuf>,
    /// Whether mirrors are asked.
    pub mirrors: Mirrors,
}

/// Whether mirrors are asked for what they may have.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mirrors {
    /// Before the registry.
    #[default]
    Ask,
    /// Not at all: for what is changed where it is, which a mirror may not have heard of yet.
    Pass,
}

/// One place for an image.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) role: Role,
    /// Registry and repository there.
    pub(crate) reference: Reference,
    /// The root of its API, where a file gives it; else it follows from the registry's name.
    pub(crate) root: Option<Url>,
    pub(crate) tls: Tls,
    pub(crate) verification: Verification,
    /// The registry whose images a mirror is asked for.
    pub(crate) namespace: Option<Box<str>>,
}

/// What a place is to an image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    /// A copy, which may lack the image, and which is never given what was meant for the registry.
    Mirror,
    /// The registry itself.
    Origin,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wanted {
    /// What a tag names.
    Tag,
    /// What a digest names.
    Digest,
}

impl Routes {
    /// Returns the places to ask, the registry last. `given` is what the caller trusts everywhere.
    pub(crate) fn of(
        &self,
        reference: &Reference,
        wanted: Wanted,
        given: &Tls,
    ) -> Result<Vec<Route>, Error> {
        let mut routes = self.all_of(reference, wanted, given)?;
        if self.mirrors == Mirrors::Pass {
            routes.retain(|route| route.role == Role::Origin);
        }
        Ok(routes)
    }

    fn all_of(
        &self,
        reference: &Reference,
        wanted: Wanted,
        given: &Tls,
    ) -> Result<Vec<Route>, Error> {
        let located = self
            .registries
            .locate(reference)
            .map_err(|error| Error::unsupported(format!("cannot use `{reference}`: {error}")))?;
        if let Some(found) = located {
            let mirrors = found.mirrors.into_iter().map(|one| (Role::Mirror, one));
            let all = mirrors.chain([(Role::Origin, found.origin)]);
            return all
                .map(|(role, place)| self.by_location(role, place, given))
                .collect();
        }
        if let Some((folder, hosts)) = self.hosts_toml(reference.registry())? {
            return self.by_hosts(reference, wanted, given, &folder, hosts);
        }
        let place = Location {
            reference: reference.clone(),
            insecure: false,
        };
        Ok(vec![self.by_location(Role::Origin, place, given)?])
    }

    fn by_location(&self, role: Role, place: Location, given: &Tls) -> Result<Route, Error> {
        let tls = self.trust(place.reference.registry(), role, given)?;
        Ok(Route {
            role,
            reference: place.reference,
            root: None,
            tls,
            verification: verification(place.insecure),
            namespace: None,
        })
    }

    fn by_hosts(
        &self,
        reference: &Reference,
        wanted: Wanted,
        given: &Tls,
        folder: &Path,
        hosts: HostsToml,
    ) -> Result<Vec<Route>, Error> {
        let knows = |host: &HostEntry| match wanted {
            Wanted::Tag => host.resolves,
            Wanted::Digest => host.pulls,
        };
        let mut routes = Vec::new();
        for host in hosts.hosts.into_iter().filter(knows) {
            routes.push(self.by_host(Role::Mirror, reference, given, folder, host)?);
        }
        routes.push(match hosts.server {
            Some(server) => self.by_host(Role::Origin, reference, given, folder, server)?,
            None => {
                let place = Location {
                    reference: reference.clone(),
                    insecure: false,
                };
                self.by_location(Role::Origin, place, given)?
            }
        });
        Ok(routes)
    }

    fn by_host(
        &self,
        role: Role,
        reference: &Reference,
        given: &Tls,
        folder: &Path,
        host: HostEntry,
    ) -> Result<Route, Error> {
        let name = authority(&host.root);
        let mut tls = self.trust(&name, role, given)?;
        // Paths in the file are relative to it.
        let files = host.authorities.iter().map(|file| folder.join(file));
        tls.authorities.extend(files);
        if let Some((chain, key)) = &host.client {
            tls.client = Some(ClientCertificate {
                chain: folder.join(chain),
                key: folder.join(key),
            });
        }
        let namespace = (role == Role::Mirror).then(|| reference.registry().into());
        // The registry keeps its name, under which its logins are known; a mirror has its own.
        let reference = match role {
            Role::Origin => reference.clone(),
            Role::Mirror => at(&name, reference)?,
        };
        Ok(Route {
            namespace,
            role,
            reference,
            root: Some(host.root),
            tls,
            verification: verification(host.skip_verify),
        })
    }

    /// Returns what a host is trusted by, and what we show it.
    fn trust(&self, host: &str, role: Role, given: &Tls) -> Result<Tls, Error> {
        let mut tls = Tls {
            authorities: given.authorities.clone(),
            client: given.client.clone().filter(|_| role == Role::Origin),
        };
        for folder in self.certs_dirs.iter().chain(&self.hosts_dirs) {
            let Some(folder) = folder_of_host(folder, host) else {
                continue;
            };
            let files = listed(&folder)?;
            let with = |ending: &'static str| {
                let files = files.iter();
                files.filter(move |file| file.extension().is_some_and(|own| own == ending))
            };
            tls.authorities.extend(with("crt").cloned());
            // As Docker has it: `x.cert` goes with `x.key`, the first pair is used.
            for chain in with("cert") {
                let key = chain.with_extension("key");
                if !files.contains(&key) {
                    let what = format!("`{}`", chain.display());
                    return Err(Error::malformed(what, "there is no `.key` beside it"));
                }
                if tls.client.is_none() {
                    let chain = chain.clone();
                    tls.client = Some(ClientCertificate { chain, key });
                }
            }
        }
        Ok(tls)
    }

    /// Finds the file for a registry, and the folder in which it lies.
    fn hosts_toml(&self, registry: &str) -> Result<Option<(PathBuf, HostsToml)>, Error> {
        for root in &self.hosts_dirs {
            let default = root.join("_default");
            let own = folder_of_host(root, registry);
            let own = own.filter(|folder| folder.join(HOSTS).is_file());
            let folder = own.unwrap_or(default);
            let file = folder.join(HOSTS);
            if !file.is_file() {
                continue;
            }
            let text = std::fs::read_to_string(&file).map_err(Error::io("read", &file))?;
            let parsed = HostsToml::parse(&text).map_err(|error| {
                Error::malformed(format!("`{}`", file.display()), error.to_string())
            })?;
            return Ok(Some((folder, parsed)));
        }
        Ok(None)
    }
}

/// Returns the folder for `host[:port]`, also in the spelling without a colon that containerd has for Windows.
fn folder_of_host(root: &Path, host: &str) -> Option<PathBuf> {
    let without_colon = host
        .rsplit_once(':')
        .map(|(name, port)| format!("{name}_{port}_"));
    let names = without_colon.into_iter().chain([host.to_owned()]);
    names.map(|name| root.join(name)).find(|path| path.is_dir())
}

/// Lists a folder, sorted, so that the same files mean the same every time.
fn listed(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = std::fs::read_dir(folder).map_err(Error::io("read", folder))?;
    let mut files = Vec::new();
    for entry in entries {
        files.push(entry.map_err(Error::io("read", folder))?.path());
    }
    files.sort();
    Ok(files)
}

/// Returns the same image at another host.
fn at(host: &str, reference: &Reference) -> Result<Reference, Error> {
    let mut text = format!("{host}/{}", reference.repository());
    if let Some(tag) = reference.tag() {
        text = format!("{text}:{tag}");
    }
    if let Some(digest) = reference.digest() {
        text = format!("{text}@{digest}");
    }
    text.parse().map_err(|_| {
        let host = sealift_oci::json::excerpt(host);
        Error::malformed(
            format!("host `{host}`"),
            "it has no name as registries have",
        )
    })
}

/// Returns `host[:port]` of a URL, with a port where it would look like the beginning of a path.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let is_clear = host.contains('.') || host == "localhost";
    let port = url
        .port()
        .or(url.port_or_known_default().filter(|_| !is_clear));
    match port {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn verification(insecure: bool) -> Verification {
    match insecure {
        true => Verification::Skipped,
        false => Verification::Full,
    }
}

const HOSTS: &str = "hosts.toml";
