//! Geometric means over shapes, and the shape that is worst.

use std::collections::BTreeMap;
use std::fmt;

use super::report::{Id, Row};
use crate::table::{self, Column};

/// One line for each backend, operation, layout, type and number of threads that was compared with
/// the limit on more than one shape.
pub(super) fn write(f: &mut fmt::Formatter<'_>, rows: &[Row]) -> fmt::Result {
    use Column::{Number, Text};
    let mut groups: BTreeMap<Id, Vec<(f64, &str)>> = BTreeMap::new();
    for row in rows {
        if let Some(ratio) = row.times_limit {
            let group = Id { shape: String::new(), ..row.id.clone() };
            groups.entry(group).or_default().push((ratio, &row.id.shape));
        }
    }
    groups.retain(|_, ratios| ratios.len() > 1);
    if groups.is_empty() {
        return Ok(());
    }
    let mut table = table::new(&[
        Text("backend"),
        Text("operation"),
        Text("layout"),
        Text("type"),
        Number("threads"),
        Number("shapes"),
        Number("× limit, geometric mean"),
        Number("worst"),
        Text("on"),
    ]);
    for (id, ratios) in &groups {
        let all = ratios.iter().map(|&(ratio, _)| ratio);
        let worst = ratios.iter().max_by(|left, right| left.0.total_cmp(&right.0));
        let (worst, shape) = worst.copied().unwrap_or((f64::NAN, ""));
        let Id { backend, operation, layout, dtype, threads, .. } = id;
        let words = [backend, operation, layout, dtype].map(String::clone);
        table.add_row(words.into_iter().chain([
            threads.to_string(),
            ratios.len().to_string(),
            format!("{:.2}", geometric_mean(all)),
            format!("{worst:.2}"),
            shape.to_owned(),
        ]));
    }
    write!(f, "\n{table}")
}

pub(super) fn geometric_mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    (values.map(f64::ln).sum::<f64>() / count).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_geometric_mean_of_a_ratio_and_its_inverse_is_one() {
        assert!((geometric_mean([4.0, 0.25].into_iter()) - 1.0).abs() < 1e-12);
        assert!((geometric_mean([1.5].into_iter()) - 1.5).abs() < 1e-12);
    }
}
