//! What a signal finds: no file half written stays behind.
//!
//! Files that are written beside their places go away by themselves when a run fails, but not when it is
//! ended from outside. So the handler takes away what is noted here, and it waits while results are
//! moved to their places, which must not stop half-way.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The files that are not at their places yet; some may be gone by now.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// What a shell reports of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Handles interrupt and termination from here on. Where that cannot be had, a signal ends the program
/// as it would have.
pub(crate) fn prepare() {
    let _ = ctrlc::set_handler(|| {
        // Held to the end: no file can be made between the last removal and the exit.
        let mut unfinished = hold();
        for file in unfinished.drain(..) {
            let _ = fs::remove_file(file);
        }
        std::process::exit(INTERRUPTED)
    });
}

/// Keeps signals waiting for as long as the guard lives. Who makes a file that a signal should take away
/// adds its path before letting go.
pub(crate) fn hold() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}
