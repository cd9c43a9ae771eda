//! Locked memory as the kernel sees it.
#![cfg(test)]

use sealift_sys::LockedBytes;

#[test]
fn a_secret_is_zero_first_and_then_what_is_written() {
    for len in [0, 1, 32, 4096, 10_000] {
        let mut secret = LockedBytes::zeroed(len).unwrap();
        assert_eq!((secret.len(), secret.is_empty()), (len, len == 0));
        assert_eq!(secret.expose(), vec![0; len]);
        secret.expose_mut().fill(7);
        assert_eq!(secret.expose(), vec![7; len]);
    }
}

#[test]
fn taking_a_secret_wipes_where_it_was() {
    let mut source = *b"correct horse battery staple";
    let secret = LockedBytes::take(&mut source).unwrap();
    assert_eq!(secret.expose(), b"correct horse battery staple");
    assert_eq!(source, [0; 28]);
}

#[test]
fn a_secret_does_not_show() {
    let secret = LockedBytes::take(&mut b"hunter2".to_owned()).unwrap();
    assert_eq!(format!("{secret:?}"), "LockedBytes { .. }");
}

#[cfg(target_os = "linux")]
mod on_linux {
    use std::fs;

    use super::*;

    /// Returns the flags of the mapping that holds `address`, or none if nothing is mapped there.
    fn flags(address: usize) -> Option<Vec<String>> {
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in maps.lines() {
            let first = line.split_whitespace().next().unwrap();
            if let Some((from, to)) = first.split_once('-') {
                let bound = |text| usize::from_str_radix(text, 16).unwrap();
                inside = (bound(from)..bound(to)).contains(&address);
            } else if inside && first == "VmFlags:" {
                return Some(line.split_whitespace().skip(1).map(str::to_owned).collect());
            }
        }
        None
    }

    #[test]
    fn the_pages_are_locked_and_left_out_of_dumps() {
        let secret = LockedBytes::take(&mut [9; 5000]).unwrap();
        let address = secret.expose().as_ptr() as usize;
        assert_eq!(address % 4096, 0);
        for page in [address, address + 4096] {
            let flags = flags(page).unwrap();
            assert!(flags.iter().any(|f| f == "dd"), "{flags:?}");
            assert_eq!(
                flags.iter().any(|f| f == "lo"),
                secret.locked(),
                "{flags:?}"
            );
        }
        // Any user may lock a few pages (RLIMIT_MEMLOCK is 64 KiB or more wherever it is not lowered on purpose).
        assert!(secret.locked());
    }

    #[test]
    fn a_secret_that_cannot_be_locked_says_so() {
        // The limit is of this process: nextest gives every test one of its own, and so does the child here.
        let output = std::process::Command::new("prlimit")
            .args(["--memlock=0:0", "--"])
            .arg(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "--ignored",
                "--test-threads=1",
                "on_linux::locks_nothing",
            ])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("1 passed"), "{said}");
    }

    /// What the child of the test above runs.
    #[test]
    #[ignore = "needs a process that may lock nothing"]
    fn locks_nothing() {
        let mut secret = LockedBytes::zeroed(32).unwrap();
        secret.expose_mut().fill(1);
        let address = secret.expose().as_ptr() as usize;
        let locked = flags(address).unwrap().iter().any(|f| f == "lo");
        assert_eq!(secret.locked(), locked);
        assert_eq!(secret.expose(), [1; 32]);
    }
}
