//! `sealift audit …`: the record of each holder, read, exported and verified.

use sealift_holder::Octets;
use sealift_holder::audit_row::{AuditRow, Chain};
use serde_json::{Value, json};

use super::session::{Session, failure_of};
use crate::args::{AuditExportArgs, AuditShowArgs, AuditSourceArgs, AuditVerifyArgs};
use crate::console::{Console, Form};
use crate::exit::{Code, Failure};
use crate::report::{SCHEMA_VERSION, Table};

pub(crate) fn show(args: &AuditShowArgs, console: &Console) -> Result<(), Failure> {
    let session = open(&args.source)?;
    let mut shown = Vec::new();
    for (holder, rows) in records(&session, &args.source)? {
        let mut rows: Vec<AuditRow> = rows
            .into_iter()
            .filter(|row| args.event.as_ref().is_none_or(|event| row.event == *event))
            .filter(|row| {
                let about = args.about.as_ref();
                about.is_none_or(|about| row.actor == *about || row.subject == *about)
            })
            .collect();
        let surplus = rows.len().saturating_sub(args.last);
        rows.drain(..surplus);
        shown.extend(rows.into_iter().map(|row| (holder.clone(), row)));
    }
    if console.form == Form::Json {
        let rows: Vec<Value> = shown
            .iter()
            .map(|(holder, row)| row_json(holder, row))
            .collect();
        return console.result_json(&json!({"schemaVersion": SCHEMA_VERSION, "rows": rows}));
    }
    let mut table = Table::new(&[
        "HOLDER", "ROW", "TIME", "EVENT", "ACTOR", "SUBJECT", "DECISION", "REASON",
    ]);
    for (holder, row) in shown {
        table.row(vec![
            holder,
            row.seq.to_string(),
            utc(row.time_ms),
            row.event,
            dash(row.actor),
            dash(row.subject),
            dash(row.decision),
            row.reason,
        ]);
    }
    console.result(table.render().as_bytes())
}

pub(crate) fn export(args: &AuditExportArgs, console: &Console) -> Result<(), Failure> {
    let session = open(&args.source)?;
    for (holder, rows) in records(&session, &args.source)? {
        for row in rows {
            console.result_json(&row_json(&holder, &row))?;
        }
    }
    Ok(())
}

pub(crate) fn verify(args: &AuditVerifyArgs, console: &Console) -> Result<(), Failure> {
    let expected = args
        .contains
        .iter()
        .map(|text| Head::parse(text))
        .collect::<Result<Vec<_>, _>>()?;
    let session = open(&args.source)?;
    let mut heads = Vec::new();
    for (holder, rows) in records(&session, &args.source)? {
        let head = check(&holder, &rows)?;
        for known in expected.iter().filter(|known| known.holder == holder) {
            let position = usize::try_from(known.seq)
                .ok()
                .and_then(|seq| seq.checked_sub(1));
            let there = position.and_then(|position| rows.get(position));
            if there.is_none_or(|row| row.hash != known.hash) {
                let what = format!(
                    "the record of holder `{holder}` does not contain its head of row {}: it was rewritten",
                    known.seq
                );
                return Err(Failure::new(Code::Integrity, what)
                    .hint("compare with an earlier `sealift audit export`"));
            }
        }
        heads.push(head);
    }
    match console.form {
        Form::Json => {
            let heads: Vec<Value> = heads
                .iter()
                .map(|head| json!({"holder": head.holder, "rows": head.seq, "head": head.hash}))
                .collect();
            console.result_json(&json!({"schemaVersion": SCHEMA_VERSION, "records": heads}))
        }
        Form::Text => {
            let lines: Vec<String> = heads
                .iter()
                .map(|head| format!("{}:{}:{}\n", head.holder, head.seq, head.hash.to_text()))
                .collect();
            console.result(lines.concat().as_bytes())
        }
    }
}

/// The last row of a record, and through its chain all before.
struct Head {
    holder: String,
    seq: u64,
    hash: Octets,
}

impl Head {
    fn parse(text: &str) -> Result<Self, Failure> {
        let mut parts = text.splitn(3, ':');
        let parsed = (|| {
            let holder = parts.next()?.to_owned();
            let seq = parts.next()?.parse().ok()?;
            let hash = Octets::from_text(parts.next()?)?;
            Some(Self { holder, seq, hash })
        })();
        parsed.ok_or_else(|| {
            Failure::new(Code::Usage, format!("`{text}` is not a head"))
                .hint("`sealift audit verify` prints heads: HOLDER:SEQ:HASH")
        })
    }
}

/// Checks that nothing is missing in a record and nothing was changed.
fn check(holder: &str, rows: &[AuditRow]) -> Result<Head, Failure> {
    let mut chain = Chain::new();
    for row in rows {
        chain.check(row).map_err(|error| {
            Failure::new(
                Code::Integrity,
                format!("the record of holder `{holder}` is broken"),
            )
            .because(&error)
            .hint("compare with an earlier `sealift audit export`")
        })?;
    }
    Ok(Head {
        holder: holder.to_owned(),
        seq: chain.len(),
        hash: chain.head().as_slice().into(),
    })
}

fn open(args: &AuditSourceArgs) -> Result<Session, Failure> {
    Session::open(
        args.deployment.file.as_deref(),
        args.identity.operator.as_deref(),
    )
}

/// Fetches the whole records of the holders that were named, or of all.
fn records(
    session: &Session,
    args: &AuditSourceArgs,
) -> Result<Vec<(String, Vec<AuditRow>)>, Failure> {
    for name in &args.holder {
        session.client(name)?;
    }
    let mut records = Vec::new();
    for (name, client) in session.clients() {
        if !args.holder.is_empty() && !args.holder.iter().any(|holder| holder == name) {
            continue;
        }
        let mut rows = Vec::new();
        let mut since = 0;
        loop {
            let page = session
                .runtime
                .block_on(client.audit(since, PAGE))
                .map_err(|error| failure_of(name, &error))?;
            if page.rows.is_empty() || page.next <= since {
                break;
            }
            since = page.next;
            rows.extend(page.rows);
        }
        records.push((name.to_owned(), rows));
    }
    Ok(records)
}

fn row_json(holder: &str, row: &AuditRow) -> Value {
    let mut value = json!({"holder": holder});
    if let (Some(members), Ok(Value::Object(more))) =
        (value.as_object_mut(), serde_json::to_value(row))
    {
        members.extend(more);
    }
    value
}

fn dash(text: String) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

/// Writes Unix milliseconds as a date and time of day (civil calendar from days, H. Hinnant).
pub(crate) fn utc(ms: u64) -> String {
    let (seconds, ms) = (ms / 1000, ms % 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Rows that are asked for at once.
const PAGE: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn times_are_dates() {
        assert_eq!(utc(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(951_827_696_789), "2000-02-29T12:34:56.789Z");
        assert_eq!(utc(1_795_564_799_999), "2026-11-24T23:59:59.999Z");
        assert_eq!(utc(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }
}
