//! What `encrypt`, `decrypt` and `copy` share: two places, a plan or a result.

use std::num::NonZeroUsize;
use std::time::Duration;

use sealift_image::{Outcome, Plan, SourceCheck};
use sealift_registry::{ImageRef, Sink, Traffic, Transport};

use crate::args::{CredentialPair, RegistryArgs, TransferArgs};
use crate::console::{Console, Form};
use crate::deliver::Delivery;
use crate::exit::{Code, Failure};
use crate::interrupt::{Interrupt, Watched};
use crate::machine::Machine;
use crate::places::{parse, tell_routes, transport};
use crate::report::{plan_json, plan_text};
use crate::text::human;

/// A transfer whose arguments make sense; nothing has been read or written.
#[derive(Debug)]
pub(crate) struct Transfer {
    pub(crate) source: ImageRef,
    pub(crate) destination: ImageRef,
    delivery: Delivery,
}

/// Both ends of a transfer.
pub(crate) struct Ends {
    pub(crate) source: Watched,
    pub(crate) sink: Box<dyn Sink>,
    /// Carry both ends, so they are dropped last.
    transports: [Option<Transport>; 2],
}

impl Ends {
    /// Tells who wants to know everything where the image came from, and what that cost.
    pub(crate) fn tell_way(&self, console: &Console) {
        for transport in self.transports.iter().flatten() {
            tell_routes(transport, console);
        }
        let traffic = self.traffic();
        if traffic.requests > 0 {
            console.detail(&format!(
                "{} requests, {} retries; {} sent, {} received",
                traffic.requests,
                traffic.retries,
                human(traffic.sent),
                human(traffic.received)
            ));
        }
    }

    /// What both ends have moved so far.
    pub(crate) fn traffic(&self) -> Traffic {
        traffic(self.transports.iter().flatten())
    }
}

impl Transfer {
    pub(crate) fn prepare(args: &TransferArgs) -> Result<Self, Failure> {
        let source = parse(&args.source)?;
        let destination = parse(&args.destination)?;
        if let ImageRef::DockerArchive { .. } = destination {
            return Err(Failure::new(
                Code::Usage,
                "docker-archive: cannot be written: it has no place for sealed layers",
            )
            .hint("write oci-archive:FILE instead; skopeo and podman read it"));
        }
        Ok(Self {
            source,
            destination,
            delivery: Delivery::prepare(&args.report)?,
        })
    }

    /// Opens both ends.
    pub(crate) fn open(
        &self,
        args: &TransferArgs,
        interrupt: &Interrupt,
        check: SourceCheck,
    ) -> Result<Ends, Failure> {
        let pair = &args.registry_pair;
        refuse_shared_login(&args.registry, pair, &self.source, &self.destination)?;
        let first = transport(&args.registry, pair.src_creds.as_ref())?;
        let second = match (&pair.src_creds, &pair.dest_creds) {
            (None, None) => None,
            (_, login) => Some(transport(&args.registry, login.as_ref())?),
        };
        let source = first.source(&self.source)?;
        let sink = second.as_ref().unwrap_or(&first).sink(&self.destination)?;
        Ok(Ends {
            source: interrupt.watch(source, check),
            sink,
            transports: [Some(first), second],
        })
    }

    pub(crate) fn show_plan(&self, console: &Console, plan: &Plan) -> Result<(), Failure> {
        let reference = self.destination.to_string();
        match console.form {
            Form::Json => console.result_json(&plan_json(&reference, plan)),
            Form::Text => console.result(plan_text(&reference, plan).as_bytes()),
        }
    }

    pub(crate) fn deliver(
        &self,
        console: &Console,
        outcome: &Outcome,
        traffic: Traffic,
        took: Duration,
    ) -> Result<(), Failure> {
        let reference = self.destination.to_string();
        self.delivery
            .deliver(console, &reference, outcome, traffic, took.as_secs_f64())
    }
}

/// A password must not be offered to a registry it is not for.
pub(crate) fn refuse_shared_login(
    registry: &RegistryArgs,
    pair: &CredentialPair,
    source: &ImageRef,
    destination: &ImageRef,
) -> Result<(), Failure> {
    let shared = registry.creds.is_some() && pair.src_creds.is_none() && pair.dest_creds.is_none();
    match (source, destination) {
        (ImageRef::Registry(source), ImageRef::Registry(destination))
            if shared && source.registry() != destination.registry() =>
        {
            let what = format!(
                "--creds would be sent to two registries, {} and {}",
                source.registry(),
                destination.registry()
            );
            Err(Failure::new(Code::Usage, what).hint("give --src-creds, --dest-creds, or both"))
        }
        _ => Ok(()),
    }
}

/// Adds up what the ends of a transfer have moved so far.
pub(crate) fn traffic<'a>(transports: impl Iterator<Item = &'a Transport>) -> Traffic {
    let mut sum = Traffic::default();
    for transport in transports {
        let traffic = transport.client().traffic();
        sum.requests += traffic.requests;
        sum.retries += traffic.retries;
        sum.sent += traffic.sent;
        sum.received += traffic.received;
    }
    sum
}

/// Returns how many layers are on their way at the same time.
pub(crate) fn jobs_between(asked: Option<NonZeroUsize>, ends: &[&ImageRef]) -> NonZeroUsize {
    let is_far = ends.iter().any(|end| matches!(end, ImageRef::Registry(_)));
    asked.unwrap_or_else(|| Machine::here().jobs(is_far))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_layers_are_on_their_way_where_an_end_is_a_registry() {
        let (far, near): (ImageRef, ImageRef) = (
            "docker://registry.example/app:v1".parse().unwrap(),
            "oci:folder:v1".parse().unwrap(),
        );
        let machine = Machine::here();
        assert_eq!(jobs_between(None, &[&near, &near]), machine.jobs(false));
        for ends in [[&far, &near], [&near, &far], [&far, &far]] {
            assert_eq!(jobs_between(None, &ends), machine.jobs(true));
            let one = NonZeroUsize::MIN;
            assert_eq!(jobs_between(Some(one), &ends), one);
        }
    }
}
