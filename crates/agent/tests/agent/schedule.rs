use std::fs;
use std::time::Duration;

use sealift_agent::server::{PostureFile, Renewal, Retries};

#[test]
fn certificates_are_renewed_between_seventeen_thirtieths_and_two_thirds_of_their_life() {
    let hour = Renewal {
        not_before: 1_000_000,
        not_after: 1_000_000 + 3_600_000,
    };
    assert_eq!(hour.at(0), 1_000_000 + 2_400_000);
    assert_eq!(hour.at(u32::MAX), 1_000_000 + 2_040_000);
    assert_eq!(hour.wait(1_000_000, 0), Some(Duration::from_secs(2400)));
    assert_eq!(hour.wait(4_000_000, 0), Some(Duration::ZERO));
    assert_eq!(hour.wait(4_600_000, 0), None);
    let absurd = Renewal {
        not_before: u64::MAX,
        not_after: 0,
    };
    assert_eq!(absurd.at(u32::MAX), u64::MAX);
    assert_eq!(absurd.wait(0, 7), None);
}

#[test]
fn failed_renewals_wait_twice_as_long_each_time_up_to_a_limit() {
    let mut retries = Retries::default();
    let waits: Vec<u64> = (0..11).map(|_| retries.next_wait().as_secs()).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 256, 256]);
    retries.reset();
    assert_eq!(retries.next_wait(), Duration::from_secs(1));
}

#[test]
fn a_posture_file_is_read_again_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("posture");
    let posture = PostureFile::new(&path);
    let missing = posture.octets().unwrap_err();
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
    for text in ["one", "three"] {
        fs::write(&path, text).unwrap();
        for _ in 0..2 {
            assert_eq!(posture.octets().unwrap(), text.as_bytes());
        }
    }
    fs::write(&path, vec![b' '; 65_537]).unwrap();
    let long = posture.octets().unwrap_err();
    assert_eq!(long.to_string(), "posture statement is too long");
    fs::remove_file(&path).unwrap();
    let gone = posture.octets().unwrap_err();
    assert_eq!(gone.kind(), std::io::ErrorKind::NotFound);
}
