//! What the commands answer, as text and as JSON (schemaVersion 1).

use std::fmt::Write as _;

use sealift_image::{
    Action, Attachment, InspectedLayer, InspectedManifest, InspectedRecipient, Inspection, Outcome,
    Plan,
};
use sealift_oci::Platform;
use sealift_registry::Traffic;
use serde_json::{Value, json};

use crate::progress::name;
use crate::text::{human, printable, short};

/// Version of every JSON shape; it grows when a member is removed or changes its meaning.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// Answer of `encrypt`, `decrypt` and `copy`.
pub(crate) fn outcome_json(
    reference: &str,
    outcome: &Outcome,
    traffic: Traffic,
    seconds: f64,
) -> Value {
    json!({
        "schemaVersion": SCHEMA_VERSION,
        "reference": reference,
        "digest": outcome.digest.to_string(),
        "sourceDigest": outcome.source_digest.to_string(),
        "layers": outcome.layers,
        "layersChanged": outcome.layers_changed,
        "bytes": outcome.bytes,
        "seconds": (seconds * 1000.0).round() / 1000.0,
        "network": network_json(traffic),
    })
}

/// What a command has sent and received.
pub(crate) fn network_json(traffic: Traffic) -> Value {
    json!({
        "requests": traffic.requests,
        "retries": traffic.retries,
        "bytesSent": traffic.sent,
        "bytesReceived": traffic.received,
    })
}

/// Answer of `--dry-run`.
pub(crate) fn plan_json(reference: &str, plan: &Plan) -> Value {
    let layers: Vec<Value> = plan
        .layers
        .iter()
        .map(|layer| {
            json!({
                "platform": layer.platform.as_ref().map(platform_json),
                "index": layer.index,
                "digest": layer.digest.to_string(),
                "size": layer.size,
                "mediaType": layer.media_type.as_str(),
                "action": name(layer.action),
                "reason": reason(layer.action),
            })
        })
        .collect();
    json!({
        "schemaVersion": SCHEMA_VERSION,
        "dryRun": true,
        "reference": reference,
        "sourceDigest": plan.digest.to_string(),
        "layers": layers,
        "layersChanged": changed(plan).count(),
        "bytes": changed_octets(plan),
        "referrers": attachments_json(&plan.attached),
    })
}

/// Answer of `--dry-run` for people.
pub(crate) fn plan_text(reference: &str, plan: &Plan) -> String {
    let mut table = Table::new(&["PLATFORM", "LAYER", "DIGEST", "SIZE", "ACTION", "REASON"]);
    for layer in &plan.layers {
        table.row(vec![
            platform_text(layer.platform.as_ref()),
            layer.index.to_string(),
            short(&layer.digest),
            human(layer.size),
            name(layer.action).to_owned(),
            reason(layer.action).to_owned(),
        ]);
    }
    let mut text = format!(
        "source       {}\ndestination  {}\n\n",
        plan.digest,
        printable(reference)
    );
    text.push_str(&table.render());
    if !plan.attached.is_empty() {
        text.push_str(&attachments_text(&plan.attached));
    }
    let signatures = plan.attached.iter().filter(|one| one.tag.is_some()).count();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "\n{} of {} layers change, {}; referrers taken along: {}, signatures: {signatures}; nothing was written",
        changed(plan).count(),
        plan.layers.len(),
        human(changed_octets(plan)),
        plan.attached.len() - signatures,
    );
    text
}

/// Answer of `inspect` and `verify`; `verify` adds whether a layer authenticated.
pub(crate) fn inspection_json(reference: &str, inspection: &Inspection, purpose: Purpose) -> Value {
    let manifests: Vec<Value> = inspection
        .manifests
        .iter()
        .map(|manifest| {
            json!({
                "digest": manifest.digest.to_string(),
                "mediaType": manifest.media_type.as_str(),
                "platform": manifest.platform.as_ref().map(platform_json),
                "configSealed": manifest.config_sealed,
                "layers": manifest.layers.iter().map(|layer| layer_json(layer, purpose)).collect::<Vec<_>>(),
            })
        })
        .collect();
    let mut value = json!({
        "schemaVersion": SCHEMA_VERSION,
        "reference": reference,
        "digest": inspection.digest.to_string(),
        "mediaType": inspection.media_type.as_str(),
        "manifests": manifests,
    });
    if let (Purpose::Verify, Some(members)) = (purpose, value.as_object_mut()) {
        let opened = inspection.opened.as_ref().map(ToString::to_string);
        members.insert("openedDigest".to_owned(), json!(opened));
    }
    value
}

/// Answer of `inspect` and `verify` for people.
pub(crate) fn inspection_text(
    reference: &str,
    inspection: &Inspection,
    purpose: Purpose,
) -> String {
    let mut text = format!(
        "reference   {}\ndigest      {}\nmedia type  {}\n",
        printable(reference),
        inspection.digest,
        printable(inspection.media_type.as_str()),
    );
    if let Some(opened) = &inspection.opened {
        let _ = writeln!(text, "opens as    {opened}");
    }
    for manifest in &inspection.manifests {
        text.push('\n');
        text.push_str(&manifest_text(manifest, purpose));
    }
    text
}

/// What belongs to an image, for `inspect --referrers`.
pub(crate) fn attachments_json(attachments: &[Attachment]) -> Value {
    attachments
        .iter()
        .map(|attachment| {
            let descriptor = &attachment.descriptor;
            json!({
                "subject": attachment.subject.to_string(),
                "digest": descriptor.digest().to_string(),
                "mediaType": descriptor.media_type().as_str(),
                "artifactType": descriptor.artifact_type(),
                "size": descriptor.size(),
                "tag": attachment.tag,
                "annotations": descriptor.annotations(),
            })
        })
        .collect()
}

/// The same for people.
pub(crate) fn attachments_text(attachments: &[Attachment]) -> String {
    if attachments.is_empty() {
        return "\nnothing refers to it\n".to_owned();
    }
    let mut table = Table::new(&["REFERRER", "SUBJECT", "SIZE", "TYPE", "TAG"]);
    for attachment in attachments {
        let descriptor = &attachment.descriptor;
        let kind = descriptor
            .artifact_type()
            .unwrap_or_else(|| descriptor.media_type().as_str().to_owned());
        table.row(vec![
            short(descriptor.digest()),
            short(&attachment.subject),
            human(descriptor.size()),
            kind,
            attachment.tag.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    format!("\n{}", table.render())
}

/// What an inspection is shown for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    /// `inspect`: what the manifests say.
    Inspect,
    /// `verify`: and what was found to be true.
    Verify,
}

fn layer_json(layer: &InspectedLayer, purpose: Purpose) -> Value {
    let recipients: Vec<Value> = layer.recipients.iter().map(recipient_json).collect();
    let mut value = json!({
        "index": layer.index,
        "digest": layer.digest.to_string(),
        "size": layer.size,
        "mediaType": layer.media_type.as_str(),
        "sealed": layer.sealed,
        "cipher": layer.cipher,
        "recipients": recipients,
    });
    if let (Purpose::Verify, Some(members)) = (purpose, value.as_object_mut()) {
        members.insert("authenticated".to_owned(), json!(layer.authenticated));
    }
    value
}

/// What is told of one recipient of a layer.
pub(crate) fn recipient_json(recipient: &InspectedRecipient) -> Value {
    let places = [
        ("annotation", recipient.in_annotation),
        ("header", recipient.in_header),
    ];
    let places: Vec<&str> = places
        .into_iter()
        .filter(|(_, there)| *there)
        .map(|(place, _)| place)
        .collect();
    let mut value = json!({
        "scheme": recipient.scheme,
        "algorithm": recipient.algorithm,
        "keyId": recipient.key_id,
        "fingerprint": recipient.fingerprint,
        "where": places,
    });
    if let (Some(name), Some(members)) = (&recipient.certificate, value.as_object_mut()) {
        let name = json!({ "issuer": name.issuer, "serial": name.serial });
        members.insert("certificate".to_owned(), name);
    }
    value
}

fn manifest_text(manifest: &InspectedManifest, purpose: Purpose) -> String {
    let sealed = manifest.layers.iter().filter(|layer| layer.sealed).count();
    let mut text = format!(
        "{}  {}  {} of {} layers sealed{}\n",
        platform_text(manifest.platform.as_ref()),
        manifest.digest,
        sealed,
        manifest.layers.len(),
        if manifest.config_sealed {
            ", configuration sealed"
        } else {
            ""
        },
    );
    let mut columns = vec!["LAYER", "DIGEST", "SIZE", "STATE", "CIPHER", "RECIPIENTS"];
    if purpose == Purpose::Verify {
        columns.insert(4, "AUTHENTIC");
    }
    let mut table = Table::new(&columns);
    for layer in &manifest.layers {
        let state = if layer.sealed { "sealed" } else { "clear" };
        let mut row = vec![
            layer.index.to_string(),
            short(&layer.digest),
            human(layer.size),
            state.to_owned(),
            layer.cipher.clone().unwrap_or_else(|| "-".to_owned()),
            recipients_text(layer),
        ];
        if purpose == Purpose::Verify {
            let authentic = match layer.authenticated {
                Some(true) => "yes",
                Some(false) => "no",
                None => "-",
            };
            row.insert(4, authentic.to_owned());
        }
        table.row(row);
    }
    text.push_str(&table.render());
    text
}

/// Names a recipient shortly: scheme, then the first known of certificate, fingerprint, key id and algorithm.
pub(crate) fn recipient_text(recipient: &InspectedRecipient) -> String {
    let start = |text: &str, chars| text.chars().take(chars).collect::<String>();
    let known = if let Some(name) = &recipient.certificate {
        format!("{}#{}", start(&name.issuer, 40), start(&name.serial, 16))
    } else if let Some(fingerprint) = &recipient.fingerprint {
        start(fingerprint, 16)
    } else if let Some(key_id) = &recipient.key_id {
        start(key_id, 40)
    } else {
        recipient.algorithm.clone().unwrap_or_default()
    };
    let separator = if known.is_empty() { "" } else { ":" };
    format!("{}{separator}{known}", recipient.scheme)
}

/// Lists recipients shortly.
fn recipients_text(layer: &InspectedLayer) -> String {
    let mut listed: Vec<String> = layer
        .recipients
        .iter()
        .take(MAX_LISTED)
        .map(recipient_text)
        .collect();
    if let Some(more) = layer
        .recipients
        .len()
        .checked_sub(MAX_LISTED)
        .filter(|more| *more > 0)
    {
        listed.push(format!("and {more} more"));
    }
    if listed.is_empty() {
        "-".to_owned()
    } else {
        listed.join(", ")
    }
}

pub(crate) fn platform_json(platform: &Platform) -> Value {
    serde_json::to_value(platform).unwrap_or(Value::Null)
}

pub(crate) fn platform_text(platform: Option<&Platform>) -> String {
    platform.map_or_else(
        || "-".to_owned(),
        |platform| printable(&platform.to_string()),
    )
}

/// Sizes of the layers that a plan changes.
fn changed(plan: &Plan) -> impl Iterator<Item = u64> + '_ {
    let layers = plan.layers.iter();
    layers
        .filter(|layer| {
            matches!(
                layer.action,
                Action::Seal | Action::Open | Action::Rewrap | Action::RewriteHeader
            )
        })
        .map(|layer| layer.size)
}

/// Sizes are claims of a manifest nobody has checked: their sum may exceed what a number holds.
fn changed_octets(plan: &Plan) -> u64 {
    changed(plan).fold(0, u64::saturating_add)
}

fn reason(action: Action) -> &'static str {
    match action {
        Action::Seal => "selected",
        Action::Open => "selected and sealed",
        Action::Copy => "taken along unchanged",
        Action::KeepSealed => "sealed already",
        Action::Rewrap => "wrapped for others in the manifest only",
        Action::RewriteHeader => "wrapped keys in front of it change",
        Action::LeaveClear => "not selected, stays in clear",
        Action::SkipNondistributable => "must not be stored in registries",
        _ => "",
    }
}

/// Columns of text, each as wide as its widest cell.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heading: &[&str]) -> Self {
        Self {
            rows: vec![heading.iter().map(|&cell| cell.to_owned()).collect()],
        }
    }

    /// Adds a row; cells may hold text from outside.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows
            .push(cells.iter().map(|cell| printable(cell)).collect());
    }

    pub(crate) fn render(&self) -> String {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::from(" ");
            for (cell, width) in row.iter().zip(&widths) {
                let _ = write!(line, " {cell:width$} ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Most recipients that one line of a table names.
const MAX_LISTED: usize = 4;
