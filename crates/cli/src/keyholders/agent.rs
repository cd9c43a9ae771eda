//! `sealift agent serve|status`

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use sealift_agent::server::{Access, Agent, Limits, Parts, bind};
use sealift_agent::{AgentIdentity, AskError};
use serde_json::json;

use super::lifetime::End;
use super::{clock, log, runtime, session};
use crate::args::{AgentServeArgs, AgentStatusArgs, DeploymentArgs};
use crate::console::{Console, Form};
use crate::exit::{Code, Failure};
use crate::files::{Readers, replace};
use crate::report::{SCHEMA_VERSION, Table};

pub(crate) fn serve(args: &AgentServeArgs, console: &Console) -> Result<(), Failure> {
    log::begin();
    // Keys of layers are in this process; a core file of it would be a copy of them.
    sealift_sys::no_core_dumps().map_err(|error| {
        Failure::new(Code::Other, "cannot forbid core files of this process").because(&error)
    })?;
    let deployment = session::load(&args.dir.join("holders.toml"))?;
    let client = deployment.client.clone().ok_or_else(|| {
        Failure::new(Code::Usage, "the holders file has no [client] section").hint(format!(
            "sealift agent enrol --dir {} …",
            args.dir.display()
        ))
    })?;
    let socket = args
        .socket
        .clone()
        .or_else(|| client.agent.clone())
        .unwrap_or_else(|| args.dir.join("agent.sock"));
    let credentials = session::credentials(&deployment, None)?;
    let certificate = client.certificate;
    let parts = Parts {
        deployment,
        chain: credentials.certificate,
        key: credentials.key,
        lease: args.lease,
        clock: clock(),
        boot: Arc::new(sealift_sys::boottime),
        jitter: Arc::new(|| {
            let mut octets = [0; 4];
            // Spreads renewals over time; a draw that fails costs the spreading only.
            let _drawn = SystemRandom::new().fill(&mut octets);
            u32::from_ne_bytes(octets)
        }),
        keep: Arc::new(move |chain: &str| {
            replace(certificate.clone(), chain.as_bytes(), Readers::Everybody)
                .map_err(|failure| std::io::Error::other(failure.what))
        }),
    };
    let mut access = Access::usual(rustix::process::geteuid().as_raw(), None);
    access.users.extend(&args.allow_uids);
    let cannot = |error: &(dyn std::error::Error + 'static)| Failure::of(Code::Other, error);
    runtime()?.block_on(async {
        let mut end = End::listen(args.ends_with_stdin)?;
        let agent = Agent::new(parts).map_err(|error| cannot(&error))?;
        #[cfg(target_os = "linux")]
        if let Some(root) = &args.prefetch_from {
            let resident = Arc::clone(agent.resident());
            super::arrivals::follow(root, resident, tokio::runtime::Handle::current()).map_err(
                |error| {
                    let what = format!("cannot watch containerd's content store in `{}`", root.display());
                    Failure::new(Code::Other, what)
                        .because(&error)
                        .hint("name containerd's root folder; the agent must be able to read it, and containerd have run once")
                },
            )?;
        }
        let listener = bind(&socket, None).map_err(|error| {
            Failure::new(Code::Other, format!("cannot serve `{}`", socket.display()))
                .because(&error)
        })?;
        console.result(format!("agent listening on {}\n", socket.display()).as_bytes())?;
        tokio::select! {
            () = agent.serve(listener, access, Limits::default()) => {}
            () = end.wait() => {}
        }
        // Whoever comes now shall see at once that nobody is there.
        let _ = std::fs::remove_file(&socket);
        Ok(())
    })
}

pub(crate) fn status(args: &AgentStatusArgs, console: &Console) -> Result<(), Failure> {
    let socket = socket(args.socket.as_deref(), &args.deployment)?;
    let (node, status) = AgentIdentity::new(&socket)
        .status()
        .map_err(|error| unreachable(&socket, &error))?;
    if console.form == Form::Json {
        let mut value = json!({"schemaVersion": SCHEMA_VERSION, "node": node});
        if let (Some(members), Ok(serde_json::Value::Object(more))) =
            (value.as_object_mut(), serde_json::to_value(&status))
        {
            members.extend(more);
        }
        return console.result_json(&value);
    }
    let mut text = format!(
        "node           {node}\nrevoked        {}\nkept keys      {}{}\n",
        if status.revoked { "YES" } else { "no" },
        status.leases,
        if status.locked {
            ""
        } else {
            ", NOT in locked memory"
        },
    );
    if let Some(until) = status.certificate_until {
        text.push_str(&format!(
            "certificate    until {}\n",
            super::audit::utc(until.saturating_mul(1000))
        ));
    }
    text.push('\n');
    let mut table = Table::new(&["HOLDER", "LAST HEARD"]);
    for holder in &status.holders {
        let silent = holder.silent_for.map_or_else(
            || "never".to_owned(),
            |milliseconds| format!("{milliseconds} ms ago"),
        );
        table.row(vec![holder.name.clone(), silent]);
    }
    text.push_str(&table.render());
    console.result(text.as_bytes())
}

/// Returns the agent's socket, as the command line or else the holders file says.
pub(super) fn socket(
    named: Option<&Path>,
    deployment: &DeploymentArgs,
) -> Result<PathBuf, Failure> {
    if let Some(socket) = named {
        return Ok(socket.to_owned());
    }
    let deployment = session::load(&session::path(deployment.file.as_deref())?)?;
    let socket = deployment.client.and_then(|client| client.agent);
    socket.ok_or_else(|| {
        Failure::new(Code::Usage, "no socket of an agent was named")
            .hint("set SEALIFT_AGENT to it, or give --socket SOCKET")
    })
}

/// Says that the agent gave no answer, and how it is run.
pub(super) fn unreachable(socket: &Path, error: &AskError) -> Failure {
    Failure::of(Code::Network, error).hint(format!(
        "sealift agent serve --dir DIR --socket {}",
        socket.display()
    ))
}
