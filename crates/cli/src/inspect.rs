//! `sealift inspect`

use crate::args::InspectArgs;
use crate::console::{Console, Form};
use crate::exit::Failure;
use crate::places::{parse, transport};
use crate::report::{Purpose, inspection_json, inspection_text};

pub(crate) fn run(args: &InspectArgs, console: &Console) -> Result<(), Failure> {
    let reference = parse(&args.source.reference)?;
    let transport = transport(&args.source.registry, None)?;
    let source = transport.source(&reference)?;
    if args.raw {
        return console.result(&source.root()?.bytes);
    }
    let inspection = sealift_image::inspect(&*source, &args.source.platforms.platforms)?;
    let reference = reference.to_string();
    match console.form {
        Form::Json => {
            console.result_json(&inspection_json(&reference, &inspection, Purpose::Inspect))
        }
        Form::Text => {
            console.result(inspection_text(&reference, &inspection, Purpose::Inspect).as_bytes())
        }
    }
}
