//! What is written is there again; what was altered is noticed.

use std::sync::Arc;

use sealift_holder::server::store::{Change, ShareId, SqliteStore, Store, StoreError};
use sealift_holder::server::{Server, StartError, audit};

use crate::rig::{Rig, sqlite};

fn share_id(generation: u32) -> ShareId {
    ShareId {
        key_id: "default".to_owned(),
        epoch: 1,
        generation,
    }
}

#[test]
fn sealed_things_are_put_read_and_destroyed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.sqlite");
    let store = SqliteStore::create(&path).unwrap();
    let secret = |name: &str, blob: &[u8]| Change::PutSecret {
        kind: "authority".to_owned(),
        name: name.to_owned(),
        blob: blob.to_vec(),
    };
    let candidate = |ceremony: &str, blob: &[u8]| Change::PutCandidate {
        id: share_id(1),
        ceremony: ceremony.to_owned(),
        blob: blob.to_vec(),
    };
    let changes = [
        Change::Meta {
            name: "seal".to_owned(),
            value: b"salt".to_vec(),
        },
        secret("a", b"1"),
        secret("b", b"2"),
        secret("a", b"3"),
        candidate("one", b"4"),
        candidate("two", b"5"),
        Change::PutShare {
            id: share_id(1),
            blob: b"6".to_vec(),
        },
        Change::PutShare {
            id: share_id(2),
            blob: b"7".to_vec(),
        },
    ];
    store.commit(&changes).unwrap();
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.meta("seal").unwrap(), Some(b"salt".to_vec()));
    assert_eq!(store.secret("authority", "a").unwrap(), Some(b"3".to_vec()));
    let both = vec![
        ("a".to_owned(), b"3".to_vec()),
        ("b".to_owned(), b"2".to_vec()),
    ];
    assert_eq!(store.secrets("authority").unwrap(), both);
    assert_eq!(
        store.candidate(&share_id(1), "one").unwrap(),
        Some(b"4".to_vec())
    );
    assert_eq!(store.candidates(&share_id(1)).unwrap().len(), 2);
    assert_eq!(store.shares().unwrap(), [share_id(1), share_id(2)]);
    let changes = [
        Change::DeleteShare { id: share_id(1) },
        Change::DeleteSecret {
            kind: "authority".to_owned(),
            name: "a".to_owned(),
        },
        Change::DeleteCandidates {
            id: share_id(1),
            ceremony: Some("one".to_owned()),
        },
    ];
    store.commit(&changes).unwrap();
    assert_eq!(store.share(&share_id(1)).unwrap(), None);
    assert_eq!(store.share(&share_id(2)).unwrap(), Some(b"7".to_vec()));
    assert_eq!(store.secret("authority", "a").unwrap(), None);
    assert_eq!(
        store.candidates(&share_id(1)).unwrap(),
        [("two".to_owned(), b"5".to_vec())]
    );
    store
        .commit(&[Change::DeleteCandidates {
            id: share_id(1),
            ceremony: None,
        }])
        .unwrap();
    assert_eq!(store.candidates(&share_id(1)).unwrap(), []);
}

#[test]
fn a_destroyed_share_is_not_left_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.sqlite");
    let store = SqliteStore::create(&path).unwrap();
    let blob = b"the sealed share that must go".to_vec();
    store
        .commit(&[Change::PutShare {
            id: share_id(1),
            blob: blob.clone(),
        }])
        .unwrap();
    store
        .commit(&[Change::DeleteShare { id: share_id(1) }])
        .unwrap();
    // Not while the holder runs either, for months perhaps.
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let file = std::fs::read(&path).unwrap();
        let is_there = file.windows(blob.len()).any(|window| window == blob);
        assert!(!is_there, "{}", path.display());
    }
    drop(store);
    // The last connection writes the log back into the file and removes it.
    let file = std::fs::read(&path).unwrap();
    assert!(!file.windows(blob.len()).any(|window| window == blob));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_batch_is_written_as_a_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(&dir.path().join("store.sqlite")).unwrap();
    let row = |seq| Change::Audit {
        seq,
        row: "{}".to_owned(),
        hash: [0; 32],
    };
    store.commit(&[row(1)]).unwrap();
    assert!(matches!(
        store.commit(&[row(2), row(1)]),
        Err(StoreError::Failed(_))
    ));
    assert_eq!(store.audit_len().unwrap(), 1);
}

#[test]
fn a_backup_has_everything_while_the_store_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(&dir.path().join("store.sqlite")).unwrap();
    store
        .commit(&[Change::PutShare {
            id: share_id(1),
            blob: vec![1],
        }])
        .unwrap();
    store.backup(&dir.path().join("copy.sqlite")).unwrap();
    let copy = SqliteStore::open(&dir.path().join("copy.sqlite")).unwrap();
    assert_eq!(copy.share(&share_id(1)).unwrap(), Some(vec![1]));
}

#[test]
fn a_backup_ends_however_busy_the_store_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.sqlite");
    let store = SqliteStore::create(&path).unwrap();
    let share = |generation, blob| Change::PutShare {
        id: share_id(generation),
        blob,
    };
    // Many times what is copied at once.
    store.commit(&[share(1, vec![1; 16 << 20])]).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Another process that backs up, as far as SQLite can tell.
        let (other, done) = (SqliteStore::open(&path).unwrap(), &done);
        let copy = dir.path().join("copy.sqlite");
        scope.spawn(move || {
            let result = other.backup(&copy);
            done.store(true, std::sync::atomic::Ordering::SeqCst);
            result.unwrap();
        });
        for generation in 2.. {
            if done.load(std::sync::atomic::Ordering::SeqCst) {
                break;
            }
            store.commit(&[share(generation, vec![2])]).unwrap();
        }
    });
    let copy = SqliteStore::open(&dir.path().join("copy.sqlite")).unwrap();
    assert_eq!(copy.share(&share_id(1)).unwrap(), Some(vec![1; 16 << 20]));
}

#[test]
fn only_an_empty_place_becomes_a_store_and_only_a_store_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.sqlite");
    drop(SqliteStore::create(&path).unwrap());
    assert!(matches!(
        SqliteStore::create(&path),
        Err(StoreError::Foreign { version: 2, .. })
    ));
    let other = dir.path().join("other.sqlite");
    sqlite(&other).execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(matches!(
        SqliteStore::open(&other),
        Err(StoreError::Foreign {
            application: 0,
            version: 0
        })
    ));
    assert!(matches!(
        SqliteStore::create(&other),
        Err(StoreError::Foreign { .. })
    ));
    let text = dir.path().join("text");
    std::fs::write(&text, vec![b'x'; 8192]).unwrap();
    assert!(matches!(
        SqliteStore::open(&text),
        Err(StoreError::Corrupt { .. })
    ));
    assert!(matches!(
        SqliteStore::open(&dir.path().join("missing")),
        Err(StoreError::Failed(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_known_is_known_again_after_a_restart() {
    let rig = Rig::new(3, 2);
    let group = rig.deal("default", false);
    let running = rig.start(0, &group).await;
    let before = running.service().writer.state();
    running.shutdown().await;
    drop(before);
    let running = Server::start(rig.config(0, rig.open_store(0)))
        .await
        .unwrap();
    let state = running.service().writer.state();
    assert_eq!(state.commands().len(), 4);
    assert_eq!(state.pin("tokyo-7"), Some(rig.node.key.public()));
    let epoch = &state.keys()["default"].epochs[&1];
    assert_eq!(epoch.group.public_key(), group.public_key());
    epoch.share.as_ref().unwrap().verify(&group).unwrap();
    assert!(state.policy().is_some());
    assert_eq!(
        state.next_version(
            "policy",
            &sealift_holder::command::Order::Policy { set: rig.policy() }
        ),
        2
    );
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_altered_audit_row_is_noticed() {
    let rig = Rig::new(1, 1);
    let group = rig.deal("default", false);
    rig.start(0, &group).await.shutdown().await;
    let path = rig.holders[0].store_path();
    let rows = audit::verify(&*rig.open_store(0)).unwrap().len();
    assert_eq!(rows, 4);
    for seq in 1..=rows {
        let store = sqlite(&path);
        let row: String = store
            .query_row("SELECT row FROM audit WHERE seq = ?1", [seq], |row| {
                row.get(0)
            })
            .unwrap();
        let altered = row.replace("\"allow\"", "\"deny\"");
        assert_ne!(altered, row);
        let put = |row: &str| {
            store
                .execute(
                    "UPDATE audit SET row = ?1 WHERE seq = ?2",
                    rusqlite::params![row, seq],
                )
                .unwrap();
        };
        put(&altered);
        let found = audit::verify(&*rig.open_store(0)).unwrap_err();
        assert_eq!(
            found.to_string(),
            format!("the store is corrupt: audit row {seq} is not what was written")
        );
        put(&row);
    }
    sqlite(&path)
        .execute("DELETE FROM audit WHERE seq = 2", [])
        .unwrap();
    let found = audit::verify(&*rig.open_store(0)).unwrap_err();
    assert_eq!(
        found.to_string(),
        "the store is corrupt: audit row 3 stands where row 2 belongs"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_served_from_a_store_that_does_not_check() {
    let damages = [
        (
            "UPDATE audit SET row = replace(row, 'allow', 'deny') WHERE seq = 3",
            "audit row 3 is not what was written",
        ),
        (
            "DELETE FROM commands WHERE seq = 1",
            "command 1 is not what was written",
        ),
        (
            "UPDATE commands SET envelope = x'7b7d' WHERE seq = 2",
            "command 2 does not verify: malformed DSSE envelope",
        ),
        ("UPDATE pins SET spki = x'00'", "the key of node `tokyo-7`"),
    ];
    for (damage, found) in damages {
        let rig = Rig::new(1, 1);
        let group = rig.deal("default", false);
        rig.start(0, &group).await.shutdown().await;
        sqlite(&rig.holders[0].store_path())
            .execute(damage, [])
            .unwrap();
        match Server::start(rig.config(0, rig.open_store(0))).await {
            Err(StartError::Store(error)) => {
                assert_eq!(error.to_string(), format!("the store is corrupt: {found}"))
            }
            other => panic!("{damage}: {other:?}"),
        }
        let refused = std::net::TcpStream::connect(rig.holders[0].addr).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

#[test]
fn a_damaged_file_is_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.sqlite");
    let store = SqliteStore::create(&path).unwrap();
    let rows = (1..500).map(|seq| Change::Audit {
        seq,
        row: "x".repeat(200),
        hash: [0; 32],
    });
    store.commit(&rows.collect::<Vec<_>>()).unwrap();
    drop(store);
    let mut octets = std::fs::read(&path).unwrap();
    let middle = octets.len() / 2 / 4096 * 4096;
    octets[middle..middle + 64].fill(0xFF);
    std::fs::write(&path, octets).unwrap();
    assert!(matches!(
        SqliteStore::open(&path).map(Arc::new),
        Err(StoreError::Corrupt { .. })
    ));
}
