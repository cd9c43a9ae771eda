//! `sealift recipients`

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sealift_image::{
    Attached, Change, Embedded, Identities, InspectedManifest, InspectedRecipient, Inspection,
    Place, Rewrap, Selection, SourceCheck,
};
use sealift_keywrap::{Keyring, Scheme};
use sealift_registry::{ImageRef, LayoutName, Mirrors, Source, Transport};
use serde_json::{Value, json};

use crate::args::{
    OaepHashName, PgpArgs, RecipientArgs, RecipientsArgs, RecipientsChangeArgs, RecipientsCommand,
    RecipientsListArgs, RecipientsRemoveArgs, ReferrersChoice,
};
use crate::console::{Console, Form};
use crate::deliver::Delivery;
use crate::encrypt::repository_of;
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::keyholders::layers::Asking;
use crate::keys::{self, RecipientMeans};
use crate::places::{parse, tell_routes, transport, transport_asking};
use crate::progress::Reporter;
use crate::report::{
    SCHEMA_VERSION, Table, plan_json, plan_text, platform_json, platform_text, recipient_json,
    recipient_text,
};
use crate::text::printable;
use crate::tokens::Wrapping;
use crate::transfer::{jobs_between, refuse_shared_login};
use crate::trust::Trust;

pub(crate) fn run(
    args: &RecipientsArgs,
    console: &Console,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    match &args.command {
        RecipientsCommand::List(args) => list(args, console),
        RecipientsCommand::Add(args) => {
            let job = Job::prepare(&args.change)?;
            let recipients = job.recipients_of(&args.recipients, console)?;
            let (keys, asking) = job.identities(&args.keys.keys, console)?;
            let change = Change::Add {
                recipients: &recipients,
                keys: &keys,
            };
            job.run(change, Embedded::Leave, &asking, console, interrupt)
        }
        RecipientsCommand::Rotate(args) => {
            let job = Job::prepare(&args.change)?;
            let recipients = job.recipients_of(&args.recipients, console)?;
            let (keys, asking) = job.identities(&args.keys.keys, console)?;
            let change = Change::Rotate {
                recipients: &recipients,
                keys: &keys,
            };
            job.run(change, Embedded::Leave, &asking, console, interrupt)?;
            if !args.change.rewrite_blobs && !args.change.dry_run {
                console.note("wrapped keys in front of the layers themselves, where there are any, still open with the old key: `recipients remove -k OLD --rewrite-blobs` takes them out");
            }
            Ok(())
        }
        RecipientsCommand::Remove(args) => remove(args, console, interrupt),
    }
}

fn remove(
    args: &RecipientsRemoveArgs,
    console: &Console,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let job = Job::prepare(&args.change)?;
    let mut names = args.ids.clone();
    for recipient in job.recipients(&args.recipients, &args.pgp, OaepHashName::Sha256, console)? {
        let fingerprint = recipient.fingerprint();
        if recipient.scheme() == Scheme::Pgp {
            // Elements of other programs name an OpenPGP key by the end of its fingerprint.
            names.extend(fingerprint.get(24..).map(str::to_owned));
        }
        names.push(fingerprint);
    }
    let (keys, asking) = job.identities(&args.keys, console)?;
    let change = Change::Remove {
        names: &names,
        keys: (!keys.is_empty()).then_some(&keys as Identities<'_>),
    };
    let embedded = match args.annotations_only {
        true => Embedded::Leave,
        false => Embedded::Refuse,
    };
    job.run(change, embedded, &asking, console, interrupt)?;
    if !args.change.dry_run {
        console.note("who could open the image may have kept its content, its keys, and the manifest as it was, which stays under its digest until it is deleted");
    }
    Ok(())
}

/// A change whose arguments make sense; nothing has been read or written.
struct Job<'a> {
    args: &'a RecipientsChangeArgs,
    source: ImageRef,
    destination: Option<ImageRef>,
    delivery: Delivery,
}

impl<'a> Job<'a> {
    fn prepare(args: &'a RecipientsChangeArgs) -> Result<Self, Failure> {
        let source = parse(&args.source)?;
        let destination = args.destination.as_deref().map(parse).transpose()?;
        match destination.as_ref().unwrap_or(&source) {
            ImageRef::DockerArchive { .. } => {
                return Err(Failure::new(
                    Code::Usage,
                    "docker-archive: has no place for sealed layers",
                )
                .hint("write oci-archive:FILE or oci:DIR"));
            }
            ImageRef::Registry(reference)
                if destination.is_none() && reference.digest().is_some() =>
            {
                return Err(Failure::new(
                    Code::Usage,
                    "the changed image has another digest, and needs a name",
                )
                .hint("give a tag for it as second argument: sealift recipients … REF@DIGEST REPO:TAG"));
            }
            _ => {}
        }
        refuse_shared_login(
            &args.registry,
            &args.registry_pair,
            &source,
            destination.as_ref().unwrap_or(&source),
        )?;
        Ok(Self {
            args,
            source,
            destination,
            delivery: Delivery::prepare(&args.report)?,
        })
    }

    /// The repository that new wrapped keys are bound to where the envelope can.
    fn repository(&self) -> Option<String> {
        let label = self.args.holders.recipient().label_repo;
        label.or_else(|| repository_of(self.destination.as_ref().unwrap_or(&self.source)))
    }

    fn identities(
        &self,
        specs: &[String],
        console: &Console,
    ) -> Result<(Keyring, Asking), Failure> {
        let holders = self.args.holders.identity();
        keys::identities(specs, &holders, Some(&self.args.providers), console)
    }

    fn recipients_of(
        &self,
        args: &RecipientArgs,
        console: &Console,
    ) -> Result<Vec<Box<dyn sealift_keywrap::Recipient>>, Failure> {
        self.recipients(&args.recipients, &args.pgp, args.oaep_hash, console)
    }

    fn recipients(
        &self,
        specs: &[String],
        pgp: &PgpArgs,
        hash: OaepHashName,
        console: &Console,
    ) -> Result<Vec<Box<dyn sealift_keywrap::Recipient>>, Failure> {
        let repository = self.repository();
        let means = RecipientMeans {
            holders: &self.args.holders.recipient(),
            providers: Some(&self.args.providers),
            pgp,
            wrapping: Wrapping {
                hash,
                secret_len: 0,
            },
            repository: repository.as_deref(),
        };
        keys::recipients(specs, &means, console)
    }

    fn run(
        &self,
        change: Change<'_>,
        embedded: Embedded,
        asking: &Asking,
        console: &Console,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        let args = self.args;
        let pair = &args.registry_pair;
        // What is changed in its place is read there: a mirror may have an older image under the tag.
        let mirrors = match self.destination {
            Some(_) => Mirrors::Ask,
            None => Mirrors::Pass,
        };
        let first = transport_asking(mirrors, &args.registry, pair.src_creds.as_ref())?;
        let second = match (&pair.src_creds, &pair.dest_creds) {
            (None, None) => None,
            (_, login) => Some(transport(&args.registry, login.as_ref())?),
        };
        let source = interrupt.watch(first.source(&self.source)?, SourceCheck::Verify);
        let proven =
            Trust::prepare(&args.trust, &self.source)?.check(&source, interrupt, console)?;
        let destination = match &self.destination {
            Some(destination) => destination.clone(),
            None => in_place(&self.source, &source)?,
        };
        if let (None, ImageRef::OciArchive { .. }) = (&self.destination, &self.source) {
            // It is written anew, and whatever is about the image as it was would be gone.
            let attached = sealift_image::attachments(&source)?;
            if !attached.is_empty() {
                let what = format!(
                    "{} referrers or signatures are about the image in this archive, and would be lost",
                    attached.len()
                );
                return Err(Failure::new(Code::Usage, what)
                    .hint("give a second argument to write to, or copy it to oci:DIR first"));
            }
        }
        let sink = second.as_ref().unwrap_or(&first).sink(&destination)?;
        let progress = Reporter::new(console);
        let rewrap = Rewrap {
            source: &source,
            image: proven.digest(),
            sink: &*sink,
            place: match (&self.destination, &self.source) {
                // An archive is written anew.
                (None, ImageRef::Registry(_) | ImageRef::Layout { .. }) => Place::Same,
                _ => Place::Other,
            },
            change,
            selection: Selection {
                platforms: args.platforms.platforms.clone(),
                layers: args.layers.clone(),
                include_nondistributable: true,
            },
            embedded: match args.rewrite_blobs {
                true => Embedded::Rewrite,
                false => embedded,
            },
            referrers: match args.referrers {
                ReferrersChoice::Keep => Attached::Keep,
                ReferrersChoice::Drop => Attached::Drop,
            },
            repository: self.repository(),
            created_at: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .ok()
                .map(|age| age.as_secs()),
            jobs: jobs_between(args.jobs, &[&self.source, &destination]),
            progress: &progress,
        };
        let reference = destination.to_string();
        if args.dry_run {
            let plan = interrupt.explain(rewrap.plan(), &progress)?;
            return match console.form {
                Form::Json => console.result_json(&plan_json(&reference, &plan)),
                Form::Text => console.result(plan_text(&reference, &plan).as_bytes()),
            };
        }
        let began = Instant::now();
        let outcome = interrupt.explain(rewrap.run(), &progress);
        let transports: Vec<&Transport> = [Some(&first), second.as_ref()]
            .into_iter()
            .flatten()
            .collect();
        for transport in &transports {
            tell_routes(transport, console);
        }
        drop(progress);
        asking.accuse(console);
        let outcome = outcome?;
        let traffic = crate::transfer::traffic(transports.into_iter());
        self.delivery.deliver(
            console,
            &reference,
            &outcome,
            traffic,
            began.elapsed().as_secs_f64(),
        )
    }
}

/// Names the place where an image is, so that another one can take it.
fn in_place(reference: &ImageRef, source: &dyn Source) -> Result<ImageRef, Failure> {
    let mut place = reference.clone();
    let (ImageRef::Layout { name, .. } | ImageRef::OciArchive { name, .. }) = &mut place else {
        return Ok(place);
    };
    if name.as_ref().is_some_and(|name| name.digest().is_some()) {
        return Err(Failure::new(
            Code::Usage,
            "the changed image has another digest, and needs a name",
        )
        .hint("give the image by its name, or a second argument to write to"));
    }
    match source.names()?.as_slice() {
        [] => {}
        [only] => {
            let parsed = only.parse::<LayoutName>();
            *name = Some(parsed.map_err(|error| Failure::of(Code::Usage, &error))?);
        }
        several => {
            let what = format!(
                "the image has several names here: {}",
                printable(&several.join(", "))
            );
            return Err(Failure::new(Code::Usage, what).hint("say which of them is meant"));
        }
    }
    Ok(place)
}

fn list(args: &RecipientsListArgs, console: &Console) -> Result<(), Failure> {
    let reference = parse(&args.source.reference)?;
    let transport = transport(&args.source.registry, None)?;
    let source = transport.source(&reference)?;
    let inspection = sealift_image::inspect(&*source, &args.source.platforms.platforms);
    tell_routes(&transport, console);
    let inspection = inspection?;
    let reference = reference.to_string();
    match console.form {
        Form::Json => console.result_json(&list_json(&reference, &inspection)),
        Form::Text => console.result(list_text(&reference, &inspection).as_bytes()),
    }
}

fn list_json(reference: &str, inspection: &Inspection) -> Value {
    let manifests = inspection.manifests.iter().map(|manifest| {
        let layers = manifest.layers.iter().map(|layer| {
            let recipients = layer.recipients.iter().map(|recipient| {
                let mut value = recipient_json(recipient);
                if let Some(members) = value.as_object_mut() {
                    members.insert("element".to_owned(), json!(recipient.element));
                }
                value
            });
            json!({
                "index": layer.index,
                "digest": layer.digest.to_string(),
                "sealed": layer.sealed,
                "recipients": recipients.collect::<Vec<_>>(),
            })
        });
        json!({
            "digest": manifest.digest.to_string(),
            "platform": manifest.platform.as_ref().map(platform_json),
            "layers": layers.collect::<Vec<_>>(),
        })
    });
    json!({
        "schemaVersion": SCHEMA_VERSION,
        "reference": reference,
        "digest": inspection.digest.to_string(),
        "manifests": manifests.collect::<Vec<_>>(),
    })
}

fn list_text(reference: &str, inspection: &Inspection) -> String {
    let mut text = format!(
        "reference   {}\ndigest      {}\n",
        printable(reference),
        inspection.digest
    );
    for manifest in &inspection.manifests {
        text.push_str(&format!(
            "\n{}  {}\n",
            printable(&platform_text(manifest.platform.as_ref())),
            manifest.digest
        ));
        text.push_str(&manifest_table(manifest));
    }
    text
}

/// One row for each recipient, with the layers it can open.
fn manifest_table(manifest: &InspectedManifest) -> String {
    let mut order: Vec<(String, String, &'static str)> = Vec::new();
    let mut layers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for layer in &manifest.layers {
        for recipient in &layer.recipients {
            let key = row_of(recipient);
            let place = order.iter().position(|row| *row == key).unwrap_or_else(|| {
                order.push(key);
                order.len() - 1
            });
            let of = layers.entry(place).or_default();
            if of.last() != Some(&layer.index) {
                of.push(layer.index);
            }
        }
    }
    if order.is_empty() {
        return "  no layer is sealed\n".to_owned();
    }
    let mut table = Table::new(&["RECIPIENT", "ALGORITHM", "WHERE", "LAYERS"]);
    for (place, (name, algorithm, places)) in order.into_iter().enumerate() {
        let of = layers.get(&place).map(Vec::as_slice).unwrap_or_default();
        table.row(vec![name, algorithm, places.to_owned(), ranges(of)]);
    }
    table.render()
}

fn row_of(recipient: &InspectedRecipient) -> (String, String, &'static str) {
    let places = match (recipient.in_annotation, recipient.in_header) {
        (true, true) => "manifest, layer",
        (true, false) => "manifest",
        (false, _) => "layer",
    };
    (
        recipient_text(recipient),
        recipient
            .algorithm
            .clone()
            .unwrap_or_else(|| "-".to_owned()),
        places,
    )
}

/// Writes ascending numbers with runs drawn together: `0-3,5`.
fn ranges(numbers: &[usize]) -> String {
    let mut text = String::new();
    let mut numbers = numbers.iter().copied().peekable();
    while let Some(first) = numbers.next() {
        let mut last = first;
        while let Some(next) = numbers.next_if(|next| *next == last + 1) {
            last = next;
        }
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&first.to_string());
        if last > first {
            text.push_str(&format!("-{last}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_layers_are_drawn_together() {
        for (numbers, text) in [
            (&[][..], ""),
            (&[0], "0"),
            (&[0, 1], "0-1"),
            (&[0, 1, 2, 4, 6, 7], "0-2,4,6-7"),
            (&[3, 5], "3,5"),
        ] {
            assert_eq!(ranges(numbers), text);
        }
    }
}
