//! A disk that is small enough to be full.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{call, run};
use crate::lab::{Lab, skip};

/// A file system of its own in the laboratory; it goes with the value.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of `size` (as mount writes it) at `name`, or says that nothing can be mounted here.
    ///
    /// # Panics
    /// Under `CI=true` where it cannot.
    #[track_caller]
    pub fn mount(lab: &Lab, name: &str, size: &str) -> Option<Self> {
        let path = lab.path(name);
        fs::create_dir(&path).unwrap();
        let size = format!("size={size},mode=0700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path);
        let outcome = run(&mut mount);
        if outcome.code == Some(0) {
            return Some(Self(path));
        }
        skip(&format!("a file system cannot be mounted: {outcome}"));
        None
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes until not one octet more fits.
    #[track_caller]
    pub fn fill(&self) {
        let mut ballast = File::options()
            .create(true)
            .append(true)
            .open(self.ballast())
            .unwrap();
        for len in [64 * 1024, 4096, 1] {
            let error = loop {
                if let Err(error) = ballast.write_all(&vec![0; len]) {
                    break error;
                }
            };
            assert_eq!(error.kind(), ErrorKind::StorageFull);
        }
    }

    /// Takes away what filled it.
    #[track_caller]
    pub fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that a failed test left may still have files there.
        call("umount", &["-l".as_ref(), self.0.as_os_str()]);
    }
}
