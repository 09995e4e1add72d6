//! What a test program prints, line by line, in libtest's format.

use std::collections::BTreeMap;

/// What one line says about one trial.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Passed,
    Failed,
    Ignored(String),
}

/// How many trials ended how.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: usize,
    pub(super) failed: usize,
    /// How many were ignored for each reason.
    pub(super) ignored: BTreeMap<String, usize>,
}

impl Tally {
    pub(super) fn count(&mut self, event: Event) {
        match event {
            Event::Passed => self.passed += 1,
            Event::Failed => self.failed += 1,
            Event::Ignored(reason) => *self.ignored.entry(reason).or_default() += 1,
        }
    }
}

/// Reads `test NAME ... ok`, `... FAILED` and `... ignored`; `None` for all other lines.
///
/// A reason follows as libtest writes it, `ignored, REASON`, or libtest-mimic, `ignored (REASON)`.
pub(super) fn parse(line: &str) -> Option<Event> {
    let (_, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
    match result.trim_end() {
        "ok" => Some(Event::Passed),
        "FAILED" => Some(Event::Failed),
        ignored => {
            let reason = ignored.strip_prefix("ignored")?;
            let in_brackets = reason.strip_prefix(" (").and_then(|reason| reason.strip_suffix(')'));
            let reason = in_brackets.or_else(|| reason.strip_prefix(", "));
            Some(Event::Ignored(reason.unwrap_or("no reason given").to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_line_is_read() {
        assert_eq!(parse("test a::b ... ok"), Some(Event::Passed));
        assert_eq!(parse("test [f32] shape 2x3 ... FAILED"), Some(Event::Failed));
        let no_sums = Some(Event::Ignored("no masked sums (yet)".into()));
        assert_eq!(parse("test c ... ignored, no masked sums (yet)"), no_sums);
        assert_eq!(parse("test c   ... ignored (no masked sums (yet))"), no_sums);
        assert_eq!(parse("test c ... ignored"), Some(Event::Ignored("no reason given".into())));
        for other in ["", "running 3 tests", "test result: ok. 3 passed; 0 failed", "---- a ----"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn reasons_are_counted_apart() {
        let mut tally = Tally::default();
        for line in ["test a ... ok", "test b ... ignored, x", "test c ... ignored, x"] {
            tally.count(parse(line).unwrap());
        }
        assert_eq!(tally.passed, 1);
        assert_eq!(tally.ignored, BTreeMap::from([("x".into(), 2)]));
    }
}
