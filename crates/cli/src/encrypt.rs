//! `sealift encrypt`

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sealift_image::{
    Attestations, LazyPullAnnotations, Metadata, OriginalManifest, Seal, Selection, Signatures,
    SourceCheck,
};
use sealift_layer::{Cipher, Embedding};
use sealift_oci::Digest;
use sealift_registry::ImageRef;

use crate::args::{AttestationChoice, CipherName, EncryptArgs, OriginalChoice, SignatureChoice};
use crate::console::Console;
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::keys::{self, RecipientMeans};
use crate::progress::Reporter;
use crate::statement::Statement;
use crate::tokens::Wrapping;
use crate::transfer::{Transfer, jobs_between};

pub(crate) fn run(
    args: &EncryptArgs,
    console: &Console,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    if args.seal_config && args.original == OriginalChoice::None {
        return Err(Failure::new(
            Code::Usage,
            "--seal-config needs the original manifest to travel along",
        )
        .hint("leave out --original none"));
    }
    let transfer = Transfer::prepare(&args.transfer)?;
    let check = if args.no_verify_source {
        SourceCheck::Trust
    } else {
        SourceCheck::Verify
    };
    if let (SourceCheck::Trust, ImageRef::Registry(_)) = (check, &transfer.source) {
        return Err(
            Failure::new(Code::Usage, "--no-verify-source is for local sources only")
                .hint("leave it out: what a registry sends is always checked"),
        );
    }
    let repository = args
        .holders
        .label_repo
        .clone()
        .or_else(|| repository_of(&transfer.destination));
    let means = RecipientMeans {
        holders: &args.holders,
        providers: Some(&args.providers),
        pgp: &args.recipients.pgp,
        wrapping: Wrapping {
            hash: args.recipients.oaep_hash,
            secret_len: match args.cipher {
                CipherName::Chunked => 0,
                CipherName::Ocicrypt => OCICRYPT_SECRET_LEN,
            },
        },
        repository: repository.as_deref(),
    };
    let recipients = keys::recipients(&args.recipients.recipients, &means, console)?;
    let statement = args
        .statement_out
        .as_deref()
        .map(|file| Statement::prepare(file, args.statement_digests))
        .transpose()?;
    let ends = transfer.open(&args.transfer, interrupt, check)?;
    let progress = Reporter::new(console);
    let seal = Seal {
        source: &ends.source,
        sink: &*ends.sink,
        recipients: recipients.into(),
        cipher: match args.cipher {
            CipherName::Chunked => Cipher::Chunked,
            CipherName::Ocicrypt => Cipher::CtrHmac,
        },
        embedding: if args.no_embedded_keys {
            Embedding::AnnotationsOnly
        } else {
            Embedding::AnnotationsAndHeader
        },
        selection: Selection {
            platforms: args.transfer.platforms.platforms.clone(),
            layers: args.layers.layers.clone(),
            include_nondistributable: args.layers.include_nondistributable,
        },
        original: match args.original {
            OriginalChoice::Keep => OriginalManifest::Keep,
            OriginalChoice::None => OriginalManifest::Omit,
        },
        attestations: match args.attestations {
            AttestationChoice::Drop => Attestations::Drop,
            AttestationChoice::Keep => Attestations::Keep,
        },
        signatures: match args.signatures {
            None => Signatures::Refuse,
            Some(SignatureChoice::Drop | SignatureChoice::Resign) => Signatures::Drop,
            Some(SignatureChoice::Detach) => Signatures::Detach,
        },
        metadata: match args.seal_config {
            true => Metadata::Sealed {
                keep: args.keep_config.clone(),
            },
            false => Metadata::Clear,
        },
        lazy_pull: if args.keep_annotations {
            LazyPullAnnotations::Keep
        } else {
            LazyPullAnnotations::Drop
        },
        source_check: check,
        repository,
        created_at: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .ok()
            .map(|age| age.as_secs()),
        aead: args.aead.library(),
        jobs: jobs_between(
            args.transfer.jobs,
            &[&transfer.source, &transfer.destination],
        ),
        progress: &progress,
    };
    if args.transfer.dry_run {
        let plan = interrupt.explain(seal.plan(), &progress).map_err(advise)?;
        return transfer.show_plan(console, &plan);
    }
    let began = Instant::now();
    let outcome = interrupt.explain(seal.run(), &progress);
    ends.tell_way(console);
    let outcome = outcome.map_err(advise)?;
    drop(progress);
    transfer.deliver(console, &outcome, ends.traffic(), began.elapsed())?;
    if let Some(statement) = statement {
        statement.write(&transfer.destination, &outcome, console)?;
    }
    if args.signatures == Some(SignatureChoice::Resign) {
        console.note(&format!(
            "the sealed image is not signed yet: {}",
            sign_command(&transfer.destination, &outcome.digest)
        ));
    }
    Ok(())
}

/// Says how cosign signs an image.
fn sign_command(destination: &ImageRef, digest: &Digest) -> String {
    match destination {
        ImageRef::Registry(reference) => format!(
            "cosign sign [--key KEY] {}/{}@{digest}",
            reference.registry(),
            reference.repository()
        ),
        _ => format!("push it, then cosign sign [--key KEY] REPOSITORY@{digest}"),
    }
}

/// Says what else can be done where nothing was left to seal.
fn advise(failure: Failure) -> Failure {
    let hint = "`sealift recipients add` wraps the keys of sealed layers for others";
    let advice = (failure.code == Code::NothingToDo).then_some(hint);
    failure.or_hint(advice)
}

/// Returns the repository that wrapped keys are bound to where the envelope can: host, port and path, no tag.
pub(crate) fn repository_of(destination: &ImageRef) -> Option<String> {
    match destination {
        ImageRef::Registry(reference) => Some(format!(
            "{}/{}",
            reference.registry(),
            reference.repository()
        )),
        _ => None,
    }
}

/// Octets of the private options in ocicrypt's format, with a SHA-256 digest in them.
const OCICRYPT_SECRET_LEN: usize = 193;
