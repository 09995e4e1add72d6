//! The table of cases, and who took part.

use std::fmt;

use super::results::{Case, Measured, NO_NUMBER, Results, Role};
use crate::bench::report::{milliseconds, or_dash};
use crate::table::{self, Column};

/// A row for each case: ours, the limit, and every other contender with its errors.
pub(super) struct Cases<'a>(pub(super) &'a Results);

impl fmt::Display for Cases<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Column::{Number, Text};
        let results = self.0;
        let mut columns = vec![
            Text("shape"),
            Text("operation"),
            Text("layout"),
            Number("threads"),
            Number("limit ms"),
            Number("% of limit"),
            Text("fastest peer"),
            Number("× fastest"),
        ];
        let others = || [Role::Ours, Role::Peer, Role::Mark].map(|role| results.keys(role));
        let keys: Vec<&str> = others().into_iter().flatten().collect();
        columns.extend(keys.iter().map(|&key| Number(key)));
        let mut table = table::new(&columns);
        for case in &results.cases {
            let limit = results.limit(case).and_then(|limit| limit.milliseconds);
            let share = results.share_of_limit(case);
            let peer = results.fastest_peer(case);
            let ratio = results.times_fastest_peer(case);
            let mut cells = vec![
                case.shape.clone(),
                case.operation.clone(),
                case.layout.clone(),
                case.threads.to_string(),
                or_dash(limit.map(|time| milliseconds(time * 1e6))),
                or_dash(share.map(|share| format!("{:.0}", 100.0 * share))),
                or_dash(peer.map(|peer| peer.key.clone())),
                or_dash(ratio.map(|ratio| format!("{ratio:.2}"))),
            ];
            cells.extend(keys.iter().map(|key| or_dash(case.of(key).and_then(figures))));
            table.add_row(cells);
        }
        writeln!(f, "{table}")?;
        writeln!(
            f,
            "Contenders: median ms ±half the distance between quartiles in %, then the largest error \
             by the largest value with inputs of mean 0 / mean 10 000.\n\
             % of limit: the limit's time by ours; × fastest: the fastest peer's time by ours; both are \
             medians of the ratio in each round. Marks are no peers.{}",
            self.load()
        )
    }
}

impl Cases<'_> {
    fn load(&self) -> String {
        let loads = self.0.cases.iter().flat_map(|case| case.load).flatten();
        let worst = loads.fold(f64::NAN, f64::max);
        if worst.is_nan() {
            return String::new();
        }
        format!("\nLoad of the machine: at most {worst:.1} on {} cores.", self.0.machine.cores)
    }
}

/// `15.3 ±2% 1e-7/3e-3`.
fn figures(measured: &Measured) -> Option<String> {
    let time = measured.milliseconds?;
    let mut text = milliseconds(time * 1e6);
    if let Some([low, high]) = measured.quartiles {
        text += &format!(" ±{:.0}%", 50.0 * (high - low) / time);
    }
    let error = |error: Option<f64>| {
        or_dash(error.map(|error| match error {
            NO_NUMBER.. => "NaN".to_owned(),
            error => format!("{error:.0e}"),
        }))
    };
    text += &format!(" {}/{}", error(measured.error), error(measured.error_far));
    Some(text)
}

/// Names, versions and notes, and who was left out of what.
pub(super) struct Contenders<'a>(pub(super) &'a Results);

impl fmt::Display for Contenders<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let results = self.0;
        for contender in &results.contenders {
            let name = contender.name.as_deref().unwrap_or("unknown");
            let version = contender.version.as_deref().unwrap_or("unknown version");
            writeln!(f, "{}: {name} {version}", contender.key)?;
            for note in &contender.notes {
                writeln!(f, "  {note}")?;
            }
            if let Some(reason) = &contender.left_out {
                writeln!(f, "  left out: {reason}")?;
            }
            for (reason, cases) in reasons(&results.cases, &contender.key) {
                writeln!(f, "  left out of {cases} of {}: {reason}", results.cases.len())?;
            }
        }
        Ok(())
    }
}

/// Each reason why a contender was not timed, and in how many cases.
fn reasons<'a>(cases: &'a [Case], key: &str) -> Vec<(&'a str, usize)> {
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for case in cases {
        let Some(reason) = case.of(key).and_then(|measured| measured.left_out.as_deref()) else {
            continue;
        };
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => reasons.push((reason, 1)),
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::super::results::samples;
    use super::*;

    #[test]
    fn a_row_has_ours_the_limit_and_every_peer() {
        let text = Cases(&samples::results(1.25)).to_string();
        let row = text.lines().find(|line| line.contains("resnet50/")).unwrap();
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(words[4..8], ["1.000", "80", "fast", "1.60"]);
        assert!(row.contains("1.250 ±10% 1e-7/2e-4"), "{row}");
        assert!(row.contains(" – "), "a peer without this layout: {row}");
        assert!(text.contains("at most 0.5"));
    }

    #[test]
    fn who_is_left_out_is_listed_with_the_reason() {
        let text = Contenders(&samples::results(1.25)).to_string();
        assert!(text.contains("absent: absent 1.0\n"), "{text}");
        assert!(text.contains("  left out of 4 of 4: no such layout\n"), "{text}");
    }
}
