//! Geometric means over shapes for each operation, layout and number of threads.

use std::fmt;

use super::results::{Case, Results, Role};
use crate::bench::report::or_dash;
use crate::bench::summary::geometric_mean;
use crate::table::{self, Column};

/// A row per operation × layout × threads.
pub(in crate::bench) struct Means<'a>(pub(in crate::bench) &'a Results);

/// The cases of one operation, layout, type and number of threads.
pub(in crate::bench) struct Group<'a> {
    pub(in crate::bench) operation: &'a str,
    pub(in crate::bench) layout: &'a str,
    pub(in crate::bench) threads: usize,
    pub(in crate::bench) cases: Vec<&'a Case>,
}

/// The groups of some results, in the order of the run; a sweep of sizes is not among them.
pub(in crate::bench) fn groups(results: &Results) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for case in results.of_networks() {
        let (operation, layout, _, threads, _) = case.id();
        let is_its = |group: &&mut Group<'_>| {
            (group.operation, group.layout, group.threads) == (operation, layout, threads)
        };
        match groups.iter_mut().find(is_its) {
            Some(group) => group.cases.push(case),
            None => groups.push(Group { operation, layout, threads, cases: vec![case] }),
        }
    }
    groups.sort_by_key(|group| (group.operation, group.layout, group.threads));
    groups
}

impl Group<'_> {
    /// The geometric mean of a figure over the cases that have it.
    pub(in crate::bench) fn mean(&self, of: impl Fn(&Case) -> Option<f64>) -> Option<f64> {
        let values: Vec<f64> = self.cases.iter().filter_map(|case| of(case)).collect();
        (!values.is_empty()).then(|| geometric_mean(values.into_iter()))
    }
}

impl fmt::Display for Means<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Column::{Number, Text};
        let results = self.0;
        let marks: Vec<&str> = results.keys(Role::Mark).collect();
        let mut columns = vec![
            Text("operation"),
            Text("layout"),
            Number("threads"),
            Number("shapes"),
            Number("% of limit"),
            Number("× fastest peer"),
            Number("least"),
            Text("on"),
            Text("against"),
        ];
        columns.extend(marks.iter().map(|&mark| Number(mark)));
        let mut table = table::new(&columns);
        for group in groups(results) {
            let ratio = |case: &Case| results.times_fastest_peer(case);
            let least = group.cases.iter().filter_map(|case| Some((ratio(case)?, *case)));
            let least = least.min_by(|left, right| left.0.total_cmp(&right.0));
            let share = group.mean(|case| results.share_of_limit(case));
            let against = least.and_then(|(_, case)| results.fastest_peer(case));
            let mut cells = vec![
                group.operation.to_owned(),
                group.layout.to_owned(),
                group.threads.to_string(),
                group.cases.len().to_string(),
                or_dash(share.map(|share| format!("{:.0}", 100.0 * share))),
                or_dash(group.mean(ratio).map(|mean| format!("{mean:.2}"))),
                or_dash(least.map(|(ratio, _)| format!("{ratio:.2}"))),
                or_dash(least.map(|(_, case)| case.shape.clone())),
                or_dash(against.map(|peer| peer.key.clone())),
            ];
            cells.extend(marks.iter().map(|mark| {
                let mean = group.mean(|case| case.of(mark)?.times_ours);
                or_dash(mean.map(|mean| format!("{mean:.2}")))
            }));
            table.add_row(cells);
        }
        writeln!(f, "Geometric means over shapes; above 1 we are faster.\n{table}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::samples;
    use super::*;

    #[test]
    fn a_group_has_its_mean_and_its_worst_shape() {
        let results = samples::results(1.25);
        let text = Means(&results).to_string();
        let row = text.lines().find(|line| line.contains("training")).unwrap();
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(words[2..7], ["1", "2", "80", "1.60", "1.60"]);
        assert_eq!(words[8..], ["fast", "1.20"]);
    }
}
