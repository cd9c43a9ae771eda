//! Who must have made an image: options and the policy file become demands, which are checked before any key is used.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sealift_image::{ImageError, Signed};
use sealift_registry::{ImageRef, Source};
use sealift_signature::{
    CertificateIdentity, Decision, Demand, Pattern, PublicKey, Rule, Signer, TransparencyLog,
    TrustPolicy, TrustedRoots,
};
use serde_json::{Value, json};

use crate::args::TrustArgs;
use crate::console::Console;
use crate::exit::{Code, Failure};
use crate::files::read_limited;
use crate::interrupt::Interrupt;

/// Everything that is demanded of one image.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    demands: Vec<Demand>,
}

impl Trust {
    /// Reads what the command line and the policy demand of a reference.
    ///
    /// Fails if the policy takes no image of that name.
    pub(crate) fn prepare(args: &TrustArgs, reference: &ImageRef) -> Result<Self, Failure> {
        let mut trust = Self::default();
        trust.demands.extend(asked(args)?);
        if let Some(policy) = Policy::find(args.policy.trust_policy.as_deref())? {
            trust.demands.extend(policy.demand(reference)?);
        }
        Ok(trust)
    }

    /// Checks an image, and pins it: what is read afterwards is what was proven.
    ///
    /// Nothing is checked, and nothing said, where nothing is demanded.
    pub(crate) fn check<'a>(
        &self,
        source: &'a dyn Source,
        interrupt: &Interrupt,
        console: &Console,
    ) -> Result<Signed<'a>, Failure> {
        let signed = interrupt.explain_reading(self.prove(source))?;
        for signer in signed.signers() {
            console.note(&format!("signed by {signer}"));
        }
        Ok(signed)
    }

    /// The same without a word.
    pub(crate) fn prove<'a>(&self, source: &'a dyn Source) -> Result<Signed<'a>, ImageError> {
        self.demands
            .iter()
            .try_fold(Signed::unchecked(source)?, |signed, demand| {
                signed.and(demand)
            })
    }
}

impl From<Demand> for Trust {
    fn from(demand: Demand) -> Self {
        Self {
            demands: vec![demand],
        }
    }
}

/// Who signed, for machines.
pub(crate) fn signers_json(signers: &[Signer]) -> Value {
    let one = |signer: &Signer| match signer {
        Signer::Key(fingerprint) => json!({ "key": fingerprint }),
        Signer::Identity { identity, issuer } => json!({ "identity": identity, "issuer": issuer }),
        // Others to come have a text, too.
        other => json!({ "other": other.to_string() }),
    };
    Value::Array(signers.iter().map(one).collect())
}

/// A policy, and where its files are.
#[derive(Debug)]
pub(crate) struct Policy {
    path: PathBuf,
    rules: TrustPolicy,
}

impl Policy {
    /// Reads the policy that was named, or the one that this machine has.
    pub(crate) fn find(named: Option<&Path>) -> Result<Option<Self>, Failure> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => match default_place() {
                // Whether it is there is asked without following it: a link to nowhere is no reason to do without.
                Some(path) if path.symlink_metadata().is_ok() => path,
                _ => return Ok(None),
            },
        };
        refuse_writable(&path)?;
        let wrong = || format!("`{}` is not a trust policy", path.display());
        let octets = read_limited(&path, TrustPolicy::MAX_LEN)?;
        let text = std::str::from_utf8(&octets)
            .map_err(|error| Failure::new(Code::Other, wrong()).because(&error))?;
        let rules = TrustPolicy::from_toml(text)
            .map_err(|error| Failure::new(Code::Other, wrong()).because(&error))?;
        Ok(Some(Self { path, rules }))
    }

    /// Says what is demanded of a reference; nothing where it need not be signed.
    pub(crate) fn demand(&self, reference: &ImageRef) -> Result<Option<Demand>, Failure> {
        let repository = match reference {
            ImageRef::Registry(reference) => Some(format!(
                "{}/{}",
                reference.registry(),
                reference.repository()
            )),
            _ => None,
        };
        let rule = match self.rules.decide(repository.as_deref()) {
            Decision::Unsigned => return Ok(None),
            Decision::Signed(rule) => rule,
            Decision::Refused => {
                let name = repository.as_deref().unwrap_or("local");
                let what = format!(
                    "the trust policy `{}` has no rule for {name}",
                    self.path.display()
                );
                return Err(Failure::new(Code::Denied, what).hint(
                    "add a rule with `images`, and `keys`, `identities` or `unsigned = true`",
                ));
            }
        };
        self.demand_of(rule).map(Some)
    }

    /// Reads the files that the rules name, so that what is wrong with them shows before an image is asked for.
    pub(crate) fn read_all(&self) -> Result<(), Failure> {
        self.rules
            .demanding()
            .try_for_each(|rule| self.demand_of(rule).map(drop))
    }

    fn demand_of(&self, rule: &Rule) -> Result<Demand, Failure> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let keys: Vec<PathBuf> = rule.keys.iter().map(|file| folder.join(file)).collect();
        let demand = Demand {
            keys: read_keys(&keys)?,
            identities: rule.identities.clone(),
            roots: roots(
                rule.trusted_root.as_ref().map(|file| folder.join(file)),
                !rule.identities.is_empty() || rule.log == TransparencyLog::Required,
            )?,
            log: rule.log,
            signers: rule.signers,
        };
        let distinct: BTreeSet<&str> = demand.keys.iter().map(PublicKey::fingerprint).collect();
        if distinct.len() + demand.identities.len() < demand.signers {
            let what = format!(
                "the trust policy `{}` asks for {} signers, and names the same key twice",
                self.path.display(),
                demand.signers
            );
            return Err(Failure::new(Code::Other, what));
        }
        Ok(demand)
    }
}

/// What the options demand.
fn asked(args: &TrustArgs) -> Result<Option<Demand>, Failure> {
    let pattern = |text: &str| {
        Pattern::matching(text).map_err(|error| {
            Failure::new(Code::Usage, "--certificate-identity-regexp").because(&error)
        })
    };
    let identity = match (
        &args.certificate_identity,
        &args.certificate_identity_regexp,
    ) {
        (Some(exact), _) => Some(Pattern::exact(exact)),
        (None, Some(expression)) => Some(pattern(expression)?),
        (None, None) => None,
    };
    let identities: Vec<CertificateIdentity> = match (identity, &args.certificate_oidc_issuer) {
        (Some(identity), Some(issuer)) => vec![CertificateIdentity {
            identity,
            issuer: Pattern::exact(issuer),
        }],
        (Some(_), None) | (None, Some(_)) => {
            let what = "--certificate-identity and --certificate-oidc-issuer need each other";
            return Err(Failure::new(Code::Usage, what));
        }
        (None, None) => Vec::new(),
    };
    if args.verify_keys.is_empty() && identities.is_empty() {
        if args.require_transparency_log {
            let what = "--require-transparency-log says how, and nothing says who";
            return Err(Failure::new(Code::Usage, what)
                .hint("give --verify-key or --certificate-identity, too"));
        }
        return Ok(None);
    }
    let log = match args.require_transparency_log {
        true => TransparencyLog::Required,
        false => TransparencyLog::Optional,
    };
    Ok(Some(Demand {
        keys: read_keys(&args.verify_keys)?,
        roots: roots(
            args.trusted_root.clone(),
            !identities.is_empty() || log == TransparencyLog::Required,
        )?,
        identities,
        log,
        signers: 1,
    }))
}

fn read_keys(files: &[PathBuf]) -> Result<Vec<PublicKey>, Failure> {
    let read = |path: &PathBuf| {
        let octets = read_limited(path, MAX_KEY_LEN)?;
        let text = String::from_utf8_lossy(&octets);
        PublicKey::from_pem(&text).map_err(|error| {
            let what = format!("`{}` is not a key that signs images", path.display());
            Failure::new(Code::Usage, what).because(&error)
        })
    };
    files.iter().map(read).collect()
}

fn roots(named: Option<PathBuf>, needed: bool) -> Result<Option<Arc<TrustedRoots>>, Failure> {
    let roots = match named {
        // It is read even where it is not needed: what is named must be there.
        Some(path) => {
            let octets = read_limited(&path, MAX_ROOT_LEN)?;
            TrustedRoots::from_json(&String::from_utf8_lossy(&octets)).map_err(|error| {
                let what = format!("cannot use `{}`", path.display());
                Failure::new(Code::Usage, what).because(&error)
            })?
        }
        None if !needed => return Ok(None),
        None => TrustedRoots::public().map_err(|error| Failure::of(Code::Other, &error))?,
    };
    Ok(Some(Arc::new(roots)))
}

/// Where a machine has its policy.
fn default_place() -> Option<PathBuf> {
    if cfg!(windows) {
        return Some(PathBuf::from(env::var_os("ProgramData")?).join(r"sealift\trust.toml"));
    }
    Some(PathBuf::from("/etc/sealift/trust.toml"))
}

/// Refuses a policy that others could have written.
#[cfg(unix)]
fn refuse_writable(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::MetadataExt;

    let Ok(metadata) = path.metadata() else {
        // Reading it says what is wrong.
        return Ok(());
    };
    let owner = metadata.uid();
    let is_ours = owner == 0 || owner == rustix::process::geteuid().as_raw();
    if is_ours && metadata.mode() & 0o002 == 0 {
        return Ok(());
    }
    let what = format!("anybody could have written `{}`", path.display());
    Err(Failure::new(Code::Other, what).hint(format!(
        "it must belong to root or to you: chmod go-w {}",
        path.display()
    )))
}

#[cfg(not(unix))]
fn refuse_writable(_: &Path) -> Result<(), Failure> {
    Ok(())
}

/// Longest file of a key.
const MAX_KEY_LEN: usize = 64 * 1024;
/// Longest file of trusted roots.
const MAX_ROOT_LEN: usize = 1 << 20;
