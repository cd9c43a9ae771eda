//! containerd, as far as opening sealed layers depends on it: what each version does, and how it is configured.

mod config_file;
mod stanza;
mod version;

pub(crate) use config_file::{ConfigFile, ConfigFileError, Processor, VERIFIERS_PLUGIN};
pub(crate) use stanza::Stanza;
pub(crate) use version::{KubernetesPayload, Version};

/// Sealed layer types that images have, plain tar last.
pub(crate) const SEALED_TYPES: [&str; 3] = [
    "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
    "application/vnd.oci.image.layer.v1.tar+zstd+encrypted",
    "application/vnd.oci.image.layer.v1.tar+encrypted",
];

/// The only processors that Kubernetes' pulls hand layer descriptors to (imgcrypt, `PayloadToolIDs`).
pub(crate) const PAYLOAD_IDS: [&str; 2] = [
    "io.containerd.ocicrypt.decoder.v1.tar.gzip",
    "io.containerd.ocicrypt.decoder.v1.tar",
];

/// Where containerd looks for its configuration.
pub(crate) fn default_config() -> std::path::PathBuf {
    match cfg!(windows) {
        true => program_files().join(r"containerd\config.toml"),
        false => "/etc/containerd/config.toml".into(),
    }
}

/// Where ctd-decoder, and sealift-decoder with it, looks for keys.
pub(crate) fn default_keys() -> std::path::PathBuf {
    match cfg!(windows) {
        true => program_files().join(r"containerd\ocicrypt\keys"),
        false => "/etc/containerd/ocicrypt/keys".into(),
    }
}

/// Where containerd looks for image verifiers.
pub(crate) fn default_verifiers() -> std::path::PathBuf {
    match cfg!(windows) {
        true => program_files().join(r"containerd\image-verifier\bin"),
        false => "/opt/containerd/image-verifier/bin".into(),
    }
}

fn program_files() -> std::path::PathBuf {
    let programs = std::env::var_os("ProgramFiles");
    programs
        .unwrap_or_else(|| r"C:\Program Files".into())
        .into()
}
