//! What a holder keeps on disk: one SQLite file, changed by whole batches only.
//!
//! A batch of [`Change`]s is durable as a whole (one transaction, one flush) or not at all. Nothing here decides:
//! the writer thread computes the batch, the store keeps it. Tests put faults behind the same trait.

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};
use thiserror::Error;

/// One change of a batch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// Sets a fact about the store itself.
    Meta {
        /// Name.
        name: String,
        /// Value.
        value: Vec<u8>,
    },
    /// Appends a row to the audit record.
    Audit {
        /// Position, the next one.
        seq: u64,
        /// JSON of the row.
        row: String,
        /// Hash of the row.
        hash: [u8; 32],
    },
    /// Closes a segment of the audit record.
    Segment {
        /// Index, from 0.
        index: u64,
        /// Merkle root over the hashes of its rows.
        root: [u8; 32],
    },
    /// Appends an applied command.
    Command {
        /// Position, the next one.
        seq: u64,
        /// SHA-256 of its payload.
        digest: [u8; 32],
        /// Octets of its envelope.
        envelope: Vec<u8>,
        /// Unix milliseconds.
        applied_at: u64,
    },
    /// Ties an unlabelled wrap to a repository.
    PutRegistration(Registration),
    /// Remembers that a wrap was released to a request.
    Answered(Answered),
    /// Forgets releases to requests made before.
    ForgetAnswered {
        /// Unix milliseconds of the requests' own times.
        issued_before: u64,
    },
    /// Keeps a sealed secret, in place of an older one.
    PutSecret {
        /// What it is, such as `authority`.
        kind: String,
        /// Which of that kind.
        name: String,
        /// Sealed octets.
        blob: Vec<u8>,
    },
    /// Destroys a sealed secret.
    DeleteSecret {
        /// What it is.
        kind: String,
        /// Which of that kind.
        name: String,
    },
    /// Keeps a sealed active share, in place of an older one.
    PutShare {
        /// Whose.
        id: ShareId,
        /// Sealed octets.
        blob: Vec<u8>,
    },
    /// Destroys a sealed active share.
    DeleteShare {
        /// Whose.
        id: ShareId,
    },
    /// Keeps what one run of a ceremony has made so far, sealed, in place of an older one.
    PutCandidate {
        /// Whose.
        id: ShareId,
        /// The run.
        ceremony: String,
        /// Sealed octets.
        blob: Vec<u8>,
    },
    /// Destroys what ceremonies for a generation have made, of one run or of all.
    DeleteCandidates {
        /// Whose.
        id: ShareId,
        /// The run; none for all.
        ceremony: Option<String>,
    },
    /// Ties a node's name to its key.
    PutPin {
        /// The node's name.
        node: String,
        /// DER of its SubjectPublicKeyInfo.
        spki: Vec<u8>,
        /// Unix milliseconds.
        enrolled_at: u64,
    },
    /// Unties it.
    DeletePin {
        /// The node's name.
        node: String,
    },
}

impl Change {
    /// Returns whether something secret goes, which must not stay behind in the file.
    const fn destroys(&self) -> bool {
        matches!(
            self,
            Self::DeleteSecret { .. } | Self::DeleteShare { .. } | Self::DeleteCandidates { .. }
        )
    }
}

/// Which share: of a key, an epoch and a generation.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ShareId {
    /// The key.
    pub key_id: String,
    /// Its epoch.
    pub epoch: u32,
    /// The generation of shares.
    pub generation: u32,
}

/// A wrap that was released to a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answered {
    /// Leaf hash of the request.
    pub request_hash: [u8; 32],
    /// Digest of the wrap.
    pub wrap_digest: [u8; 32],
    /// The request's own time, Unix milliseconds.
    pub issued_at: u64,
    /// First time it was answered, Unix milliseconds.
    pub answered_at: u64,
}

/// A command as it was applied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredCommand {
    /// Position in the order of this holder.
    pub seq: u64,
    /// SHA-256 of its payload.
    pub digest: [u8; 32],
    /// Octets of its envelope.
    pub envelope: Vec<u8>,
    /// Unix milliseconds.
    pub applied_at: u64,
}

/// A node's key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pin {
    /// The node's name.
    pub node: String,
    /// DER of its SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// Unix milliseconds.
    pub enrolled_at: u64,
}

/// The repository of an unlabelled wrap.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Registration {
    /// The key.
    pub key_id: String,
    /// Digest of the wrap.
    pub wrap: [u8; 32],
    /// The repository.
    pub repo: String,
    /// Unix milliseconds.
    pub registered_at: u64,
}

/// A sealed thing with its name.
pub type Named = (String, Vec<u8>);

/// Where a holder keeps its state.
pub trait Store: fmt::Debug + Send + Sync {
    /// Makes all changes durable, or none.
    fn commit(&self, changes: &[Change]) -> Result<(), StoreError>;
    /// Reads a fact about the store itself.
    fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Reads all commands in the order in which they were applied.
    fn commands(&self) -> Result<Vec<StoredCommand>, StoreError>;
    /// Reads all pins.
    fn pins(&self) -> Result<Vec<Pin>, StoreError>;
    /// Reads all registrations of unlabelled wraps.
    fn registrations(&self) -> Result<Vec<Registration>, StoreError>;
    /// Reads the remembered releases.
    fn answered(&self) -> Result<Vec<Answered>, StoreError>;
    /// Reads up to `limit` audit rows (JSON) after the row `since`.
    fn audit(&self, since: u64, limit: usize) -> Result<Vec<String>, StoreError>;
    /// Returns the position of the last audit row; 0 when there is none.
    fn audit_len(&self) -> Result<u64, StoreError>;
    /// Reads the roots of the closed segments, in order.
    fn segments(&self) -> Result<Vec<[u8; 32]>, StoreError>;
    /// Reads a sealed secret.
    fn secret(&self, kind: &str, name: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Reads all sealed secrets of a kind.
    fn secrets(&self, kind: &str) -> Result<Vec<Named>, StoreError>;
    /// Reads a sealed active share.
    fn share(&self, id: &ShareId) -> Result<Option<Vec<u8>>, StoreError>;
    /// Lists the active shares.
    fn shares(&self) -> Result<Vec<ShareId>, StoreError>;
    /// Reads what one run of a ceremony has made.
    fn candidate(&self, id: &ShareId, ceremony: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Reads what all runs for a generation have made, with their names.
    fn candidates(&self, id: &ShareId) -> Result<Vec<Named>, StoreError>;
    /// Copies the whole store into a new file while it is in use.
    fn backup(&self, path: &Path) -> Result<(), StoreError>;
}

/// Why the store did not do what it was asked to.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The batch was rolled back for want of space; the next one may succeed.
    #[error("no space for the store")]
    Full(#[source] rusqlite::Error),
    /// Another process uses the store; the next attempt may succeed.
    #[error("the store is in use")]
    Busy(#[source] rusqlite::Error),
    /// The file is not what was written. Nothing may be served from it.
    #[error("the store is corrupt: {detail}")]
    Corrupt {
        /// What does not fit.
        detail: String,
    },
    /// The file is a store of another version, or no store.
    #[error(
        "not a holder's store of this version (application {application:#x}, version {version})"
    )]
    Foreign {
        /// SQLite application id found.
        application: i64,
        /// Schema version found.
        version: i64,
    },
    /// Any other failure; whether the last batch is durable is not known.
    #[error("the store failed")]
    Failed(#[source] rusqlite::Error),
    /// The writer has stopped after a failure or a shutdown.
    #[error("the store is closed")]
    Closed,
    /// More waits for the writer than it takes.
    #[error("the store is overloaded")]
    Overloaded,
    /// The batch was not written; the first job that failed with it has the cause.
    #[error("the batch was not written")]
    Batch,
    /// The writer could not be started.
    #[error("the writer could not be started")]
    Thread(#[source] std::io::Error),
}

impl StoreError {
    /// Returns whether the batch is known not to be durable, so that work can go on.
    pub const fn is_clean(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Busy(_) | Self::Overloaded)
    }

    /// Makes the error of data that does not fit.
    pub fn corrupt(detail: impl fmt::Display) -> Self {
        Self::Corrupt {
            detail: detail.to_string(),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(error),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy(error),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::corrupt(error),
            _ => Self::Failed(error),
        }
    }
}

/// The embedded store.
pub struct SqliteStore {
    writer: Mutex<Connection>,
    /// Pages of the audit record are read beside the writer.
    reader: Mutex<Connection>,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SqliteStore")
    }
}

impl SqliteStore {
    /// Makes a new, empty store; refuses a file that is there.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        let (application, version) = kind(&connection)?;
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if (application, version, tables) != (0, 0, 0) {
            return Err(StoreError::Foreign {
                application,
                version,
            });
        }
        configure(&connection)?;
        connection.execute_batch(&format!(
            "BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; {SCHEMA} COMMIT;"
        ))?;
        drop(connection);
        Self::open(path)
    }

    /// Opens a store and checks that every page is sound.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let writer = Connection::open_with_flags(path, flags)?;
        let (application, version) = kind(&writer)?;
        if (application, version) != (APPLICATION_ID, SCHEMA_VERSION) {
            return Err(StoreError::Foreign {
                application,
                version,
            });
        }
        configure(&writer)?;
        let found: String = writer.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if found != "ok" {
            return Err(StoreError::corrupt(found));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(path, flags)?;
        reader.busy_timeout(BUSY)?;
        Ok(Self {
            writer: Mutex::new(writer),
            reader: Mutex::new(reader),
        })
    }

    fn read(&self) -> MutexGuard<'_, Connection> {
        // A statement that panicked changed nothing: this connection only reads.
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for SqliteStore {
    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut connection = self.writer.lock().map_err(|_| StoreError::Closed)?;
        let transaction = connection.transaction()?;
        for change in changes {
            write(&transaction, change)?;
        }
        transaction.commit()?;
        if changes.iter().any(Change::destroys) {
            // Until the log is written back, file and log still have what was destroyed. A reader in the way puts that
            // off to the next checkpoint; the batch is durable in any case.
            let _best_effort =
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
        Ok(())
    }

    fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT value FROM meta WHERE name = ?1";
        Ok(self
            .read()
            .query_row(sql, [name], |row| row.get(0))
            .optional()?)
    }

    fn commands(&self) -> Result<Vec<StoredCommand>, StoreError> {
        let connection = self.read();
        let mut rows = connection
            .prepare("SELECT seq, digest, envelope, applied_at FROM commands ORDER BY seq")?;
        let rows = rows.query_map([], |row| {
            Ok(StoredCommand {
                seq: row.get(0)?,
                digest: row.get(1)?,
                envelope: row.get(2)?,
                applied_at: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn pins(&self) -> Result<Vec<Pin>, StoreError> {
        let connection = self.read();
        let mut rows =
            connection.prepare("SELECT node, spki, enrolled_at FROM pins ORDER BY node")?;
        let rows = rows.query_map([], |row| {
            Ok(Pin {
                node: row.get(0)?,
                spki: row.get(1)?,
                enrolled_at: row.get(2)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn registrations(&self) -> Result<Vec<Registration>, StoreError> {
        let connection = self.read();
        let mut rows = connection.prepare(
            "SELECT key_id, wrap, repo, registered_at FROM registrations ORDER BY key_id, wrap",
        )?;
        let rows = rows.query_map([], |row| {
            Ok(Registration {
                key_id: row.get(0)?,
                wrap: row.get(1)?,
                repo: row.get(2)?,
                registered_at: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn answered(&self) -> Result<Vec<Answered>, StoreError> {
        let connection = self.read();
        let mut rows = connection
            .prepare("SELECT request_hash, wrap_digest, issued_at, answered_at FROM answered")?;
        let rows = rows.query_map([], |row| {
            Ok(Answered {
                request_hash: row.get(0)?,
                wrap_digest: row.get(1)?,
                issued_at: row.get(2)?,
                answered_at: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn audit(&self, since: u64, limit: usize) -> Result<Vec<String>, StoreError> {
        let connection = self.read();
        let mut rows = connection
            .prepare_cached("SELECT row FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = rows.query_map(params![since, limit], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn audit_len(&self) -> Result<u64, StoreError> {
        Ok(self
            .read()
            .query_row("SELECT coalesce(max(seq), 0) FROM audit", [], |row| {
                row.get(0)
            })?)
    }

    fn segments(&self) -> Result<Vec<[u8; 32]>, StoreError> {
        let connection = self.read();
        let mut rows = connection.prepare("SELECT root FROM segments ORDER BY number")?;
        let rows = rows.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn secret(&self, kind: &str, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT blob FROM secrets WHERE kind = ?1 AND name = ?2";
        Ok(self
            .read()
            .query_row(sql, [kind, name], |row| row.get(0))
            .optional()?)
    }

    fn secrets(&self, kind: &str) -> Result<Vec<Named>, StoreError> {
        let connection = self.read();
        let mut rows =
            connection.prepare("SELECT name, blob FROM secrets WHERE kind = ?1 ORDER BY name")?;
        let rows = rows.query_map([kind], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn share(&self, id: &ShareId) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT blob FROM shares WHERE key_id = ?1 AND epoch = ?2 AND generation = ?3";
        let key = params![id.key_id, id.epoch, id.generation];
        Ok(self
            .read()
            .query_row(sql, key, |row| row.get(0))
            .optional()?)
    }

    fn shares(&self) -> Result<Vec<ShareId>, StoreError> {
        let connection = self.read();
        let mut rows = connection.prepare(
            "SELECT key_id, epoch, generation FROM shares ORDER BY key_id, epoch, generation",
        )?;
        let rows = rows.query_map([], |row| {
            Ok(ShareId {
                key_id: row.get(0)?,
                epoch: row.get(1)?,
                generation: row.get(2)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn candidate(&self, id: &ShareId, ceremony: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT blob FROM candidates WHERE key_id = ?1 AND epoch = ?2 AND generation = ?3 AND ceremony = ?4";
        let key = params![id.key_id, id.epoch, id.generation, ceremony];
        Ok(self
            .read()
            .query_row(sql, key, |row| row.get(0))
            .optional()?)
    }

    fn candidates(&self, id: &ShareId) -> Result<Vec<Named>, StoreError> {
        let connection = self.read();
        let sql = "SELECT ceremony, blob FROM candidates WHERE key_id = ?1 AND epoch = ?2 AND generation = ?3";
        let mut rows = connection.prepare(sql)?;
        let rows = rows.query_map(params![id.key_id, id.epoch, id.generation], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn backup(&self, path: &Path) -> Result<(), StoreError> {
        let connection = self.read();
        // Within a transaction one snapshot is copied. Outside of one SQLite begins anew whenever somebody has written, and
        // a busy holder writes all the time.
        let snapshot = connection.unchecked_transaction()?;
        let _begun: i64 =
            snapshot.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok(snapshot.backup(
            rusqlite::MAIN_DB,
            path,
            None::<fn(rusqlite::backup::Progress)>,
        )?)
    }
}

fn kind(connection: &Connection) -> Result<(i64, i64), StoreError> {
    let application = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let version = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok((application, version))
}

fn configure(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    // `secure_delete`: a destroyed share is overwritten, not merely unlinked from its page.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;
         PRAGMA trusted_schema = OFF;",
    )?;
    Ok(())
}

fn write(connection: &Connection, change: &Change) -> Result<(), StoreError> {
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
        connection.prepare_cached(sql)?.execute(values)
    };
    match change {
        Change::Meta { name, value } => run(
            "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)",
            params![name, value],
        )?,
        Change::Audit { seq, row, hash } => run(
            "INSERT INTO audit (seq, row, hash) VALUES (?1, ?2, ?3)",
            params![seq, row, hash],
        )?,
        Change::Segment { index, root } => run(
            "INSERT INTO segments (number, root) VALUES (?1, ?2)",
            params![index, root],
        )?,
        Change::Command {
            seq,
            digest,
            envelope,
            applied_at,
        } => run(
            "INSERT INTO commands (seq, digest, envelope, applied_at) VALUES (?1, ?2, ?3, ?4)",
            params![seq, digest, envelope, applied_at],
        )?,
        Change::PutRegistration(Registration {
            key_id,
            wrap,
            repo,
            registered_at,
        }) => run(
            "INSERT INTO registrations (key_id, wrap, repo, registered_at) VALUES (?1, ?2, ?3, ?4)",
            params![key_id, wrap, repo, registered_at],
        )?,
        Change::Answered(answered) => run(
            "INSERT INTO answered (request_hash, wrap_digest, issued_at, answered_at) VALUES (?1, ?2, ?3, ?4)",
            params![
                answered.request_hash,
                answered.wrap_digest,
                answered.issued_at,
                answered.answered_at
            ],
        )?,
        Change::ForgetAnswered { issued_before } => run(
            "DELETE FROM answered WHERE issued_at < ?1",
            params![issued_before],
        )?,
        Change::PutSecret { kind, name, blob } => run(
            "INSERT OR REPLACE INTO secrets (kind, name, blob) VALUES (?1, ?2, ?3)",
            params![kind, name, blob],
        )?,
        Change::DeleteSecret { kind, name } => run(
            "DELETE FROM secrets WHERE kind = ?1 AND name = ?2",
            params![kind, name],
        )?,
        Change::PutShare { id, blob } => run(
            "INSERT OR REPLACE INTO shares (key_id, epoch, generation, blob) VALUES (?1, ?2, ?3, ?4)",
            params![id.key_id, id.epoch, id.generation, blob],
        )?,
        Change::DeleteShare { id } => run(
            "DELETE FROM shares WHERE key_id = ?1 AND epoch = ?2 AND generation = ?3",
            params![id.key_id, id.epoch, id.generation],
        )?,
        Change::PutCandidate { id, ceremony, blob } => run(
            "INSERT OR REPLACE INTO candidates (key_id, epoch, generation, ceremony, blob) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![id.key_id, id.epoch, id.generation, ceremony, blob],
        )?,
        Change::DeleteCandidates { id, ceremony } => run(
            "DELETE FROM candidates WHERE key_id = ?1 AND epoch = ?2 AND generation = ?3
             AND (?4 IS NULL OR ceremony = ?4)",
            params![id.key_id, id.epoch, id.generation, ceremony],
        )?,
        Change::PutPin {
            node,
            spki,
            enrolled_at,
        } => run(
            "INSERT OR REPLACE INTO pins (node, spki, enrolled_at) VALUES (?1, ?2, ?3)",
            params![node, spki, enrolled_at],
        )?,
        Change::DeletePin { node } => run("DELETE FROM pins WHERE node = ?1", params![node])?,
    };
    Ok(())
}

/// `slft`.
const APPLICATION_ID: i64 = 0x736c_6674;
const SCHEMA_VERSION: i64 = 2;
const BUSY: std::time::Duration = std::time::Duration::from_secs(5);
const SCHEMA: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE commands (
    seq INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, envelope BLOB NOT NULL, applied_at INTEGER NOT NULL
) STRICT;
CREATE TABLE audit (seq INTEGER PRIMARY KEY, row TEXT NOT NULL, hash BLOB NOT NULL) STRICT;
CREATE TABLE segments (number INTEGER PRIMARY KEY, root BLOB NOT NULL) STRICT;
CREATE TABLE answered (
    request_hash BLOB NOT NULL, wrap_digest BLOB NOT NULL, issued_at INTEGER NOT NULL, answered_at INTEGER NOT NULL
) STRICT;
CREATE TABLE secrets (kind TEXT NOT NULL, name TEXT NOT NULL, blob BLOB NOT NULL, PRIMARY KEY (kind, name)) STRICT;
CREATE TABLE shares (
    key_id TEXT NOT NULL, epoch INTEGER NOT NULL, generation INTEGER NOT NULL, blob BLOB NOT NULL,
    PRIMARY KEY (key_id, epoch, generation)
) STRICT;
CREATE TABLE candidates (
    key_id TEXT NOT NULL, epoch INTEGER NOT NULL, generation INTEGER NOT NULL, ceremony TEXT NOT NULL,
    blob BLOB NOT NULL, PRIMARY KEY (key_id, epoch, generation, ceremony)
) STRICT;
CREATE TABLE registrations (
    key_id TEXT NOT NULL, wrap BLOB NOT NULL, repo TEXT NOT NULL, registered_at INTEGER NOT NULL,
    PRIMARY KEY (key_id, wrap)
) STRICT;
CREATE TABLE pins (node TEXT PRIMARY KEY, spki BLOB NOT NULL, enrolled_at INTEGER NOT NULL) STRICT;
";
