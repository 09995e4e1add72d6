//! A progress bar, where the work is long and a person is watching.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Input bytes from which the work is long.
const LONG: u64 = 32 << 20;

/// The steps of a command, shown on stderr or not at all.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Shown where both output streams are terminals and the files are large.
    pub(crate) fn new<'a>(files: impl Iterator<Item = &'a Path>) -> Self {
        let bytes: u64 = files.filter_map(|file| fs::metadata(file).ok()).map(|m| m.len()).sum();
        let watched = io::stderr().is_terminal() && io::stdout().is_terminal();
        if bytes < LONG || !watched {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// Says what is being done now.
    pub(crate) fn step(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
    }

    /// Takes the bar away, so that the report begins on a clean line.
    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
