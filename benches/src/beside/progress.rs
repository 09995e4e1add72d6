//! How far a comparison is, for whoever watches it.

use std::fmt;
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};

/// A bar with the time left on a terminal, and nothing elsewhere.
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// For so much work, in any unit.
    pub(super) fn new(work: u64) -> Self {
        let bar = ProgressBar::new(work);
        let template = "{wide_bar} {percent:>3} %  {elapsed_precise} gone, {left}\n{wide_msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.with_key("left", left));
        }
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar }
    }

    /// Says what is going on.
    pub(super) fn say(&self, what: String) {
        self.bar.set_message(what);
    }

    /// Prints a line above the bar, or alone where there is no bar.
    pub(super) fn print(&self, line: &str) {
        if self.bar.is_hidden() {
            self.bar.suspend(|| eprintln_line(line));
        } else {
            self.bar.println(line);
        }
    }

    /// So much more has been done.
    pub(super) fn advance(&self, work: u64) {
        self.bar.inc(work);
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// The time left, which nobody knows before something has been done.
fn left(state: &ProgressState, to: &mut dyn fmt::Write) {
    // A bar that cannot be drawn is no reason to end.
    let _ = match state.pos() {
        0 => write!(to, "time left unknown"),
        _ => write!(to, "{} left", HumanDuration(state.eta())),
    };
}

#[expect(clippy::print_stderr, reason = "progress goes to standard error")]
fn eprintln_line(line: &str) {
    eprintln!("{line}");
}
