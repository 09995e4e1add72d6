//! What got faster or slower since an earlier comparison.

use std::fmt;

use super::results::{Case, Results};
use crate::bench::report::{milliseconds, or_dash};
use crate::bench::summary::geometric_mean;
use crate::table::{self, Column};

/// Changes below this are taken for noise, whatever the spread.
const NOISE: f64 = 0.05;

/// Our figures in the cases that both have.
pub(super) struct Comparison<'a> {
    older: &'a Results,
    newer: &'a Results,
    changes: Vec<Change<'a>>,
}

struct Change<'a> {
    case: &'a Case,
    times: [f64; 2],
    /// The older time by the newer: above 1 it got faster.
    ratio: f64,
    /// The same of the times by their own run's limit, which leaves out that the machine changed.
    by_limit: Option<f64>,
    /// Half the distance between quartiles by the median, of both runs together.
    spread: f64,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(older: &'a Results, newer: &'a Results) -> Self {
        let change = |case: &'a Case| {
            let before = older.cases.iter().find(|before| before.id() == case.id())?;
            let (old, new) = (older.ours(before)?, newer.ours(case)?);
            let times = [old.milliseconds?, new.milliseconds?];
            let half = |quartiles: Option<[f64; 2]>, time: f64| {
                quartiles.map_or(0.0, |[low, high]| (high - low) / 2.0 / time)
            };
            let spread = half(old.quartiles, times[0]) + half(new.quartiles, times[1]);
            let shares = older.share_of_limit(before).zip(newer.share_of_limit(case));
            let by_limit = shares.map(|(old, new)| new / old);
            Some(Change { case, times, ratio: times[0] / times[1], by_limit, spread })
        };
        let mut changes: Vec<_> = newer.cases.iter().filter_map(change).collect();
        changes.sort_by(|left, right| left.judged().total_cmp(&right.judged()));
        Self { older, newer, changes }
    }
}

impl Change<'_> {
    /// The ratio that is believed: against the limit where there is one.
    fn judged(&self) -> f64 {
        self.by_limit.unwrap_or(self.ratio)
    }

    fn verdict(&self) -> &'static str {
        let noise = NOISE.max(self.spread);
        match self.judged() {
            ratio if ratio > 1.0 + noise => "faster",
            ratio if ratio < 1.0 / (1.0 + noise) => "SLOWER",
            _ => "",
        }
    }
}

impl fmt::Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Column::{Number, Text};
        let mut table = table::new(&[
            Text("shape"),
            Text("operation"),
            Text("layout"),
            Number("threads"),
            Number("ms before"),
            Number("ms now"),
            Number("× faster"),
            Number("by the limit"),
            Number("± %"),
            Text(""),
        ]);
        for change in &self.changes {
            let Case { shape, operation, layout, threads, .. } = change.case;
            table.add_row([
                shape.clone(),
                operation.clone(),
                layout.clone(),
                threads.to_string(),
                milliseconds(change.times[0] * 1e6),
                milliseconds(change.times[1] * 1e6),
                format!("{:.2}", change.ratio),
                or_dash(change.by_limit.map(|ratio| format!("{ratio:.2}"))),
                format!("{:.0}", 100.0 * change.spread),
                change.verdict().to_owned(),
            ]);
        }
        let Self { older, newer, changes } = self;
        writeln!(
            f,
            "Since {} ({}), now {} ({}):",
            older.date, older.revision, newer.date, newer.revision
        )?;
        if older.machine.cpu != newer.machine.cpu {
            writeln!(f, "on another machine: {}, now {}", older.machine.cpu, newer.machine.cpu)?;
        }
        if changes.is_empty() {
            return writeln!(f, "no case is in both.");
        }
        let count = |verdict| changes.iter().filter(|one| one.verdict() == verdict).count();
        writeln!(f, "{table}")?;
        writeln!(
            f,
            "{} cases in both: {} faster, {} slower; × {:.2} by the limit in the geometric mean. By the \
             limit: of the times divided by the limit of their own run.",
            changes.len(),
            count("faster"),
            count("SLOWER"),
            geometric_mean(changes.iter().map(Change::judged)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::samples;
    use super::*;

    #[test]
    fn what_got_slower_is_told_and_noise_is_not() {
        let results = [1.0, 1.1, 2.0].map(samples::results);
        let verdicts = |older: &Results, newer: &Results| {
            let comparison = Comparison::new(older, newer);
            comparison.changes.iter().map(Change::verdict).collect::<Vec<_>>()
        };
        assert_eq!(verdicts(&results[0], &results[2]), ["SLOWER"; 4]);
        assert_eq!(verdicts(&results[2], &results[0]), ["faster"; 4]);
        assert_eq!(verdicts(&results[0], &results[1]), [""; 4]);
        let text = Comparison::new(&results[0], &results[2]).to_string();
        assert!(text.contains("4 cases in both: 0 faster, 4 slower; × 0.50"), "{text}");
    }
}
