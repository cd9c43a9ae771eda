//! References, and the way to the registries they name: options and environment become the registry crate's own terms.

use std::env;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use sealift_registry::{
    ClientCertificate, Credential, Credentials, Environment, ImageRef, ImageRefError, Mirrors,
    Options, Proxies, RetryPolicy, Routes, Tls, Transport,
};

use crate::args::{Login, RegistryArgs};
use crate::console::Console;
use crate::exit::{Code, Failure};
use crate::routes::routes;

/// Parses a reference.
pub(crate) fn parse(text: &str) -> Result<ImageRef, Failure> {
    text.parse().map_err(|error: ImageRefError| {
        let failure = Failure::of(Code::Usage, &error);
        match error {
            ImageRefError::Foreign { export, .. } => failure.hint(export),
            _ => failure.hint("write HOST/REPO:TAG, oci:DIR[:REF], oci-archive:FILE[:REF] or docker-archive:FILE[:REF]"),
        }
    })
}

/// Prepares the way to registries, local directories and files.
pub(crate) fn transport(args: &RegistryArgs, login: Option<&Login>) -> Result<Transport, Failure> {
    transport_asking(Mirrors::Ask, args, login)
}

/// The same, with or without mirrors.
pub(crate) fn transport_asking(
    mirrors: Mirrors,
    args: &RegistryArgs,
    login: Option<&Login>,
) -> Result<Transport, Failure> {
    let explicit =
        match login.or(args.creds.as_ref()) {
            Some(login) => Some(login.credential().ok_or_else(|| {
                Failure::new(Code::Usage, "credentials are written USER:PASSWORD")
            })?),
            None => None,
        };
    let client = match (&args.client_cert, &args.client_key) {
        (Some(chain), Some(key)) => Some(ClientCertificate {
            chain: chain.clone(),
            key: key.clone(),
        }),
        _ => None,
    };
    let retry = match args.retry {
        Some(retries) => RetryPolicy {
            attempts: retries.saturating_add(1),
            ..RetryPolicy::default()
        },
        None => RetryPolicy::default(),
    };
    let environment = environment();
    let options = Options {
        routes: Routes {
            mirrors,
            ..routes(args, environment.home.as_deref())?
        },
        credentials: Credentials {
            explicit,
            auth_file: args.authfile.clone(),
            environment,
        },
        tls: Tls {
            authorities: args.tls_ca.iter().cloned().collect(),
            client,
        },
        proxies: proxies(),
        plain_http: args.plain_http,
        retry,
        rate_limit: args.limit_rate.clone(),
        parallel_ranges: args.parallel_ranges.unwrap_or(NonZeroUsize::MIN),
        journal: cache().map(|cache| cache.join("sealift/uploads")),
        ..Options::default()
    };
    Ok(Transport::new(options)?)
}

/// Tells who wants to know everything which mirrors were used, and which were not.
pub(crate) fn tell_routes(transport: &Transport, console: &Console) {
    for note in transport.client().take_notes() {
        console.detail(&note);
    }
}

impl Login {
    fn credential(&self) -> Option<Credential> {
        let (user, password) = self.parts()?;
        Some(Credential::new(user.to_owned(), password))
    }
}

fn environment() -> Environment {
    let home = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
    Environment {
        home: folder(home),
        variables: env::vars_os().collect(),
    }
}

/// The user's folder for what can be done without.
fn cache() -> Option<PathBuf> {
    if cfg!(windows) {
        return folder("LOCALAPPDATA");
    }
    let below_home = if cfg!(target_os = "macos") {
        "Library/Caches"
    } else {
        ".cache"
    };
    // A relative one is to be ignored (XDG base directory specification).
    folder("XDG_CACHE_HOME")
        .filter(|folder| folder.is_absolute())
        .or_else(|| Some(folder("HOME")?.join(below_home)))
}

fn folder(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// The proxies that every program of its kind reads. `HTTP_PROXY` in capitals is not among them: where a web server
/// starts programs, strangers set it.
fn proxies() -> Proxies {
    let first = |names: &[&str]| {
        let values = names.iter().filter_map(|name| env::var(name).ok());
        values
            .into_iter()
            .find(|value| !value.is_empty())
            .map(String::into_boxed_str)
    };
    Proxies {
        http: first(&["http_proxy", "all_proxy", "ALL_PROXY"]),
        https: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
        except: first(&["no_proxy", "NO_PROXY"]).unwrap_or_default(),
    }
}
