//! `sealift decrypt`

use std::time::Instant;

use sealift_image::{Open, Selection, SourceCheck};

use crate::args::DecryptArgs;
use crate::console::Console;
use crate::exit::Failure;
use crate::interrupt::Interrupt;
use crate::keys;
use crate::progress::Reporter;
use crate::transfer::{Transfer, jobs_between};
use crate::trust::Trust;

pub(crate) fn run(
    args: &DecryptArgs,
    console: &Console,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    keys::check_identities(&args.keys.keys, &args.holders)?;
    let transfer = Transfer::prepare(&args.transfer)?;
    let trust = Trust::prepare(&args.trust, &transfer.source)?;
    let ends = transfer.open(&args.transfer, interrupt, SourceCheck::Verify)?;
    // Whoever could not prove to have made the image learns nothing of the keys, not even whether there are any.
    let source = trust.check(&ends.source, interrupt, console)?;
    let (identities, asking) = keys::identities(
        &args.keys.keys,
        &args.holders,
        Some(&args.providers),
        console,
    )?;
    let progress = Reporter::new(console);
    let open = Open {
        source: &source,
        sink: &*ends.sink,
        identities: &identities,
        selection: Selection {
            platforms: args.transfer.platforms.platforms.clone(),
            layers: args.layers.layers.clone(),
            include_nondistributable: args.layers.include_nondistributable,
        },
        aead: args.aead.library(),
        jobs: jobs_between(
            args.transfer.jobs,
            &[&transfer.source, &transfer.destination],
        ),
        progress: &progress,
    };
    if args.transfer.dry_run {
        let plan = interrupt.explain(open.plan(), &progress)?;
        return transfer.show_plan(console, &plan);
    }
    let began = Instant::now();
    let outcome = interrupt.explain(open.run(), &progress);
    ends.tell_way(console);
    drop(progress);
    asking.accuse(console);
    let outcome = outcome?;
    transfer.deliver(console, &outcome, ends.traffic(), began.elapsed())
}
