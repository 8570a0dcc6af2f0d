//! Where servers live.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{OnceLock, atomic::Ordering},
};

use crate::SERIAL;

/// Linux has a file system in memory there, in containers often a tiny one.
const MEMORY: &str = "/dev/shm";
/// Enough for a dozen servers with their logs.
const ENOUGH_KIB: u64 = 4 << 20;

/// The path of a folder that does not exist yet: named after this process and numbered.
pub(crate) fn unused(kind: &str) -> PathBuf {
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    root().join(format!("{kind}-{}-{serial}", std::process::id()))
}

/// In memory, if there is room: each database is some 300 files, which come and go with every test.
fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        if free_kib(MEMORY).is_some_and(|free| free >= ENOUGH_KIB) {
            MEMORY.into()
        } else {
            std::env::temp_dir()
        }
    })
}

/// The fourth column of the second line, as POSIX has it.
fn free_kib(folder: &str) -> Option<u64> {
    let output = Command::new("df").args(["-Pk", folder]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}
