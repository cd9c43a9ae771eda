//! `sealift config`

use std::process::Command;

use serde_json::json;
use toml::Value;

use crate::args::{
    ConfigArgs, ConfigCommand, ConfigContainerdArgs, ConfigCrioArgs, ConfigKeyproviderArgs,
};
use crate::console::Console;
use crate::containerd::{Stanza, Version, default_keys};
use crate::exit::{Code, Failure};

pub(crate) fn run(args: &ConfigArgs, console: &Console) -> Result<(), Failure> {
    let text = match &args.command {
        ConfigCommand::Containerd(args) => containerd(args)?,
        ConfigCommand::Crio(args) => crio(args),
        ConfigCommand::Keyprovider(args) => keyprovider(args),
    };
    console.result(text.as_bytes())
}

fn containerd(args: &ConfigContainerdArgs) -> Result<String, Failure> {
    let hint = "give it with --containerd-version, such as 2.3";
    let version = match &args.containerd_version {
        Some(text) => Version::parse(text).ok_or_else(|| {
            Failure::new(Code::Usage, format!("`{text}` is no version")).hint(hint)
        })?,
        None => installed(&args.containerd).ok_or_else(|| {
            let what = format!("`{} --version` says no version", args.containerd);
            Failure::new(Code::NotFound, what).hint(hint)
        })?,
    };
    let stanza = Stanza {
        version,
        decoder: args.decoder.clone(),
        keys: args.keys_dir.clone().unwrap_or_else(default_keys),
        agent: args.agent.clone(),
        root: args.containerd_root.clone(),
        verifiers: args.image_verifiers.clone(),
    };
    if stanza.verifiers.is_some() && !version.asks_image_verifiers() {
        let what = format!("containerd {version} asks no image verifiers when Kubernetes pulls");
        return Err(Failure::new(Code::Usage, what).hint("containerd 2.1 and later do"));
    }
    Ok(stanza.render())
}

fn installed(program: &str) -> Option<Version> {
    let output = Command::new(program).arg("--version").output().ok()?;
    Version::parse(&String::from_utf8_lossy(&output.stdout))
}

fn crio(args: &ConfigCrioArgs) -> String {
    let keys = Value::from(args.keys_dir.display().to_string());
    format!(
        "# CRI-O opens images in ocicrypt's format by itself: seal them with --cipher ocicrypt.\n[crio.runtime]\ndecryption_keys_path = {keys}\n"
    )
}

/// The file that ocicrypt reads (ocicrypt, `config/keyprovider-config`).
fn keyprovider(args: &ConfigKeyproviderArgs) -> String {
    let provider = match &args.grpc {
        None => {
            let mut arguments = vec!["keyprovider".to_owned()];
            for (option, values) in [("-r", &args.recipients), ("-k", &args.keys)] {
                for value in values {
                    arguments.extend([option.to_owned(), value.clone()]);
                }
            }
            json!({ "cmd": { "path": args.program.display().to_string(), "args": arguments } })
        }
        Some(address) => {
            let mut provider = json!({ "grpc": address });
            let mut tls = serde_json::Map::new();
            for (member, file) in [
                ("root-ca-file", &args.root_ca),
                ("cert-file", &args.cert),
                ("key-file", &args.cert_key),
            ] {
                if let Some(file) = file {
                    tls.insert(member.to_owned(), json!(file.display().to_string()));
                }
            }
            if let (Some(members), false) = (provider.as_object_mut(), tls.is_empty()) {
                members.insert("grpc-tls".to_owned(), tls.into());
            }
            provider
        }
    };
    let mut providers = serde_json::Map::new();
    providers.insert(args.name.clone(), provider);
    format!("{:#}\n", json!({ "key-providers": providers }))
}
