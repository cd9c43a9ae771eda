//! The verbs of key holders: everything between the command line and `sealift-holder`.

#[cfg(unix)]
mod agent;
#[cfg(target_os = "linux")]
mod arrivals;
mod audit;
pub(crate) mod change;
#[cfg(all(feature = "server", unix))]
mod dev;
pub(crate) mod group_keys;
mod holders_file;
pub(crate) mod layers;
pub(crate) mod lifetime;
#[cfg(any(feature = "server", unix))]
mod log;
mod nodes;
pub(crate) mod operator;
pub(crate) mod posture;
#[cfg(unix)]
mod prefetch;
mod registrations;
#[cfg(feature = "server")]
mod server;
pub(crate) mod session;
mod status;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sealift_holder::Clock;
use tokio::runtime::{Builder, Runtime};

use crate::args::{
    AgentCommand, AuditCommand, Command, HolderCommand, KeyCommand, NodeCommand, OperatorCommand,
    PostureCommand, RevokeCommand,
};
use crate::console::Console;
use crate::exit::{Code, Failure};
use crate::shamir;

/// Does what one of their verbs says.
pub(crate) fn run(command: &Command, console: &Arc<Console>) -> Result<(), Failure> {
    match command {
        Command::Holder(args) => holder(&args.command, console),
        Command::Operator(args) => match &args.command {
            OperatorCommand::New(args) => operator::new(args, console),
            OperatorCommand::Grant(args) => operator::grant(args, console),
            OperatorCommand::Withdraw(args) => operator::withdraw(args, console),
        },
        Command::Key(args) => key(&args.command, console),
        Command::Node(args) => match &args.command {
            NodeCommand::Token(args) => nodes::token(args, console),
            NodeCommand::List(args) => nodes::list(args, console),
            NodeCommand::Show(args) => nodes::show(args, console),
            NodeCommand::Revoke(args) => nodes::revoke(args, console),
            NodeCommand::Unrevoke(args) => nodes::unrevoke(args, console),
        },
        Command::Revoke(args) => match &args.command {
            RevokeCommand::Node(args) => nodes::revoke(args, console),
        },
        Command::Agent(args) => match &args.command {
            AgentCommand::Enrol(args) => nodes::enrol(args, console),
            #[cfg(unix)]
            AgentCommand::Serve(args) => agent::serve(args, console),
            #[cfg(unix)]
            AgentCommand::Status(args) => agent::status(args, console),
            #[cfg(unix)]
            AgentCommand::Prefetch(args) => prefetch::run(args, console),
        },
        #[cfg(feature = "server")]
        Command::Policy(args) => policy(&args.command, console),
        Command::Posture(args) => match &args.command {
            PostureCommand::Sign(args) => posture::sign(args, console),
        },
        Command::Audit(args) => match &args.command {
            AuditCommand::Show(args) => audit::show(args, console),
            AuditCommand::Export(args) => audit::export(args, console),
            AuditCommand::Verify(args) => audit::verify(args, console),
        },
        _ => Ok(()),
    }
}

fn holder(command: &HolderCommand, console: &Console) -> Result<(), Failure> {
    match command {
        #[cfg(feature = "server")]
        HolderCommand::Init(args) => server::init(args, console),
        #[cfg(feature = "server")]
        HolderCommand::Join(args) => server::join(args, console),
        #[cfg(feature = "server")]
        HolderCommand::Serve(args) => server::serve(args, console),
        HolderCommand::Status(args) => status::run(args, console),
        #[cfg(feature = "server")]
        HolderCommand::Backup(args) => server::backup(args, console),
        #[cfg(feature = "server")]
        HolderCommand::Restore(args) => server::restore(args, console),
        #[cfg(all(feature = "server", unix))]
        HolderCommand::Dev(args) => dev::run(args, console),
    }
}

fn key(command: &KeyCommand, console: &Console) -> Result<(), Failure> {
    match command {
        KeyCommand::Create(args) => group_keys::create(args, console),
        KeyCommand::Import(args) => group_keys::import(args, console),
        KeyCommand::List(args) => group_keys::list(args, console),
        KeyCommand::Show(args) => group_keys::show(args, console),
        KeyCommand::Export(args) => group_keys::export(args, console),
        KeyCommand::Refresh(args) => group_keys::refresh(args, console),
        KeyCommand::Reshare(args) => group_keys::reshare(args, console),
        KeyCommand::Repair(args) => group_keys::repair(args, console),
        KeyCommand::Disable(args) => group_keys::disable(args, console),
        KeyCommand::Enable(args) => group_keys::enable(args, console),
        KeyCommand::Register(args) => registrations::register(args, console),
        KeyCommand::MinEpoch(args) => group_keys::min_epoch(args, console),
        KeyCommand::ScheduleDeletion(args) => group_keys::schedule_deletion(args, console),
        KeyCommand::CancelDeletion(args) => group_keys::cancel_deletion(args, console),
        KeyCommand::Split(args) => shamir::split(args, console),
        KeyCommand::Combine(args) => shamir::combine(args, console),
    }
}

#[cfg(feature = "server")]
fn policy(command: &crate::args::PolicyCommand, console: &Console) -> Result<(), Failure> {
    use crate::args::PolicyCommand;
    use crate::policy;
    match command {
        PolicyCommand::New(args) => policy::new(args, console),
        PolicyCommand::Validate(args) => policy::check(args, console),
        PolicyCommand::Push(args) => policy::push(args, console),
        PolicyCommand::Test(args) => policy::test(args, console),
        PolicyCommand::Explain(args) => policy::explain_cases(args, console),
        PolicyCommand::Diff(args) => policy::compare(args, console),
    }
}

/// The clock that everything below is handed.
fn clock() -> Clock {
    Arc::new(now_ms)
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Unix milliseconds, now.
fn now_ms() -> u64 {
    let age = SystemTime::now().duration_since(UNIX_EPOCH);
    age.map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}

/// What conversations with holders run on.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Code::Other, "cannot start").because(&error))
}
