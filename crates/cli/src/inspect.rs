//! `sealift inspect`

use sealift_registry::{ImageRef, Transport};

use crate::args::InspectArgs;
use crate::console::{Console, Form};
use crate::exit::Failure;
use crate::places::{parse, tell_routes, transport};
use crate::report::{
    Purpose, attachments_json, attachments_text, inspection_json, inspection_text,
};

pub(crate) fn run(args: &InspectArgs, console: &Console) -> Result<(), Failure> {
    let reference = parse(&args.source.reference)?;
    let transport = transport(&args.source.registry, None)?;
    let outcome = show(args, console, &transport, &reference);
    tell_routes(&transport, console);
    outcome
}

fn show(
    args: &InspectArgs,
    console: &Console,
    transport: &Transport,
    reference: &ImageRef,
) -> Result<(), Failure> {
    let source = transport.source(reference)?;
    if args.raw {
        return console.result(&source.root()?.bytes);
    }
    let inspection = sealift_image::inspect(&*source, &args.source.platforms.platforms)?;
    let attachments = match args.referrers {
        true => Some(sealift_image::attachments(&*source)?),
        false => None,
    };
    let reference = reference.to_string();
    match console.form {
        Form::Json => {
            let mut value = inspection_json(&reference, &inspection, Purpose::Inspect);
            if let (Some(attachments), Some(members)) = (&attachments, value.as_object_mut()) {
                members.insert("referrers".to_owned(), attachments_json(attachments));
            }
            console.result_json(&value)
        }
        Form::Text => {
            let mut text = inspection_text(&reference, &inspection, Purpose::Inspect);
            if let Some(attachments) = &attachments {
                text.push_str(&attachments_text(attachments));
            }
            console.result(text.as_bytes())
        }
    }
}
