use std::path::{Path, PathBuf};

use clap::Parser;
use clap::builder::{OsStringValueParser, TypedValueParser as _};

/// Opens one sealed container layer: sealed octets on standard input, plain octets on standard output.
///
/// containerd starts this program for every layer whose media type ends with `+encrypted`. Nothing is ever written
/// that has not been authenticated; a layer that fails is cut short and the program exits with an error.
#[derive(Debug, Parser)]
#[command(
    version,
    name = "sealift-decoder",
    bin_name = "sealift-decoder",
    after_long_help = AFTER_HELP,
    max_term_width = 100
)]
pub(crate) struct Args {
    /// Folder with private keys; may be given several times.
    ///
    /// PEM, DER, JWK and AES-256 key files, in sub-folders too, certificates of RSA keys, which layers sealed for
    /// `pkcs7:` need beside the key, and YAML files that name keys in PKCS #11 tokens, as ocicrypt has them; their modules
    /// must be listed in /etc/ocicrypt.conf, or in the file that OCICRYPT_CONFIG names. Symbolic links are followed, other
    /// files are passed over. The password of an encrypted key NAME is the content of NAME.password beside it.
    #[arg(long, value_name = "DIR")]
    keys_dir: Vec<PathBuf>,

    /// The same, under the name that containerd's default configuration uses
    #[arg(long, value_name = "DIR")]
    decryption_keys_path: Option<PathBuf>,

    /// Socket of this node's agent, which asks the key holders when no key at hand fits
    #[arg(long, value_name = "SOCKET", env = "SEALIFT_AGENT")]
    pub(crate) agent: Option<PathBuf>,

    /// File that says how ocicrypt key providers are reached; each configured one is asked for what stands under its name
    ///
    /// A file that does not exist names none. What else is wrong with it matters only to a layer that no other key opens,
    /// and is told then.
    #[arg(
        long,
        value_name = "FILE",
        env = "OCICRYPT_KEYPROVIDER_CONFIG",
        value_parser = OsStringValueParser::new().map(PathBuf::from)
    )]
    keyprovider_config: Option<PathBuf>,

    /// How many seconds a key provider may take for one key
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u16).range(1..=3600),
        env = "SEALIFT_PROVIDER_TIMEOUT"
    )]
    pub(crate) provider_timeout: u16,

    /// containerd's root folder, whose content store tells about layers when containerd itself does not
    #[arg(long, value_name = "DIR", default_value = DEFAULT_CONTAINERD_ROOT)]
    pub(crate) containerd_root: PathBuf,

    /// Folder for temporary files, which hold sealed octets only [default: $TMPDIR, or /var/tmp]
    #[arg(long, value_name = "DIR")]
    spool_dir: Option<PathBuf>,

    /// File that gets one line of JSON per layer
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
}

impl Args {
    /// Returns the folders to look for keys in; without any option, where ctd-decoder looks.
    pub(crate) fn key_folders(&self) -> Vec<PathBuf> {
        let mut folders = self.keys_dir.clone();
        folders.extend(self.decryption_keys_path.clone());
        if folders.is_empty() {
            folders.push(default_keys());
        }
        folders
    }

    /// Returns the configuration of key providers; an empty variable counts as none, as in ocicrypt.
    pub(crate) fn keyprovider_config(&self) -> Option<&Path> {
        let file = self.keyprovider_config.as_deref();
        file.filter(|file| !file.as_os_str().is_empty())
    }

    /// Returns the folder for temporary files. `/tmp` often lies in memory, `/var/tmp` does not.
    pub(crate) fn spool_dir(&self) -> PathBuf {
        if let Some(folder) = &self.spool_dir {
            return folder.clone();
        }
        let var_tmp = PathBuf::from("/var/tmp");
        if cfg!(unix) && std::env::var_os("TMPDIR").is_none() && var_tmp.is_dir() {
            return var_tmp;
        }
        std::env::temp_dir()
    }
}

fn default_keys() -> PathBuf {
    if cfg!(windows) {
        let programs =
            std::env::var_os("ProgramFiles").unwrap_or_else(|| r"C:\Program Files".into());
        return PathBuf::from(programs).join(r"containerd\ocicrypt\keys");
    }
    PathBuf::from("/etc/containerd/ocicrypt/keys")
}

#[cfg(windows)]
const DEFAULT_CONTAINERD_ROOT: &str = r"C:\ProgramData\containerd\root";
#[cfg(not(windows))]
const DEFAULT_CONTAINERD_ROOT: &str = "/var/lib/containerd";

const AFTER_HELP: &str = "\
What containerd hands over:
  STREAM_PROCESSOR_MEDIATYPE  the media type of the sealed layer
  file descriptor 3           a pipe with the layer's descriptor, for pulls by
                              Kubernetes; since containerd 2.0 only with
                              `use_local_image_pull = true` (2.1.7, 2.2.2 and
                              later), and never for pulls by ctr

Without descriptor, layers of the default cipher tell themselves what is needed.
For those of the ocicrypt cipher, and for recipients that were added later, the
manifest is looked for in containerd's content store.

In containerd's config.toml; for plain tar the same with id …decoder.v1.tar:
  [stream_processors.\"io.containerd.ocicrypt.decoder.v1.tar.gzip\"]
    accepts = [\"application/vnd.oci.image.layer.v1.tar+gzip+encrypted\",
               \"application/vnd.oci.image.layer.v1.tar+zstd+encrypted\"]
    returns = \"application/vnd.oci.image.layer.v1.tar+gzip\"
    path = \"/usr/local/bin/sealift-decoder\"
    args = [\"--decryption-keys-path\", \"/etc/containerd/ocicrypt/keys\"]
Installed in containerd's PATH as ctd-decoder, it needs no configuration for
gzip and plain tar.

By hand:
  T=application/vnd.oci.image.layer.v1.tar+gzip+encrypted
  STREAM_PROCESSOR_MEDIATYPE=$T sealift-decoder --keys-dir keys <blob >layer.tgz

Exit codes:
  0  done                         4  the layer, or what describes it, is refused
  1  input or output failed       5  the agent or the key holders are unavailable
  2  usage                        6  denied by key holders
  3  no key fits                  7  nothing describes the layer";
