//! `sealift copy`

use std::time::Instant;

use sealift_image::{Attached, Copy, SourceCheck};

use crate::args::{AttachedChoice, CopyArgs};
use crate::console::Console;
use crate::exit::Failure;
use crate::interrupt::Interrupt;
use crate::progress::Reporter;
use crate::transfer::{Transfer, jobs_between};
use crate::trust::Trust;

pub(crate) fn run(
    args: &CopyArgs,
    console: &Console,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let transfer = Transfer::prepare(&args.transfer)?;
    let trust = Trust::prepare(&args.trust, &transfer.source)?;
    let ends = transfer.open(&args.transfer, interrupt, SourceCheck::Verify)?;
    let source = trust.check(&ends.source, interrupt, console)?;
    let progress = Reporter::new(console);
    let copy = Copy {
        source: &source,
        sink: &*ends.sink,
        platforms: args.transfer.platforms.platforms.clone(),
        referrers: attached(args.referrers),
        signatures: attached(args.signatures),
        jobs: jobs_between(
            args.transfer.jobs,
            &[&transfer.source, &transfer.destination],
        ),
        progress: &progress,
    };
    if args.transfer.dry_run {
        let plan = interrupt.explain(copy.plan(), &progress)?;
        return transfer.show_plan(console, &plan);
    }
    let began = Instant::now();
    let outcome = interrupt.explain(copy.run(), &progress);
    ends.tell_way(console);
    let outcome = outcome?;
    drop(progress);
    transfer.deliver(console, &outcome, ends.traffic(), began.elapsed())
}

fn attached(choice: AttachedChoice) -> Attached {
    match choice {
        AttachedChoice::Drop => Attached::Drop,
        AttachedChoice::Keep => Attached::Keep,
    }
}
