//! `sealift completion`

use clap::CommandFactory;

use crate::args::{Cli, CompletionArgs};
use crate::console::Console;
use crate::exit::Failure;

pub(crate) fn run(args: &CompletionArgs, console: &Console) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sealift", &mut script);
    console.result(&script)
}
