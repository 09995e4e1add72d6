//! The table: backend × operation × layout × type × threads × shape.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result};
use serde::Serialize;

use super::criterion::Estimate;
use super::interleaved::Turns;
use super::summary;
use crate::table::{self, Column};

/// A benchmark's id, which `bn_bench::Case::id` writes: the parts by which a table is made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Id {
    pub(super) backend: String,
    pub(super) operation: String,
    pub(super) layout: String,
    pub(super) dtype: String,
    pub(super) threads: usize,
    pub(super) shape: String,
}

impl FromStr for Id {
    type Err = anyhow::Error;

    fn from_str(id: &str) -> Result<Self> {
        let parse = || {
            let mut parts = id.splitn(6, '/').map(str::to_owned);
            Some(Self {
                backend: parts.next()?,
                operation: parts.next()?,
                layout: parts.next()?,
                dtype: parts.next()?,
                threads: parts.next()?.parse().ok()?,
                shape: parts.next()?,
            })
        };
        parse().with_context(|| {
            format!("`{id}` is no id: backend/operation/layout/type/threads/file/shape")
        })
    }
}

/// What is known of one benchmark. Times are medians in nanoseconds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    #[serde(flatten)]
    pub(super) id: Id,
    bytes: u64,
    /// By criterion, by itself.
    criterion_ns: Option<f64>,
    /// In turn with the limit.
    interleaved_ns: Option<f64>,
    limit_ns: Option<f64>,
    /// The median over rounds of the time by the limit's time.
    pub(super) times_limit: Option<f64>,
}

/// The rows, in the order in which they were measured.
#[derive(Default)]
pub(super) struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn add_turns(&mut self, turns: Vec<Turns>) -> Result<()> {
        for turns in turns {
            let row = self.row(&turns.id, turns.bytes)?;
            row.interleaved_ns = Some(turns.nanoseconds);
            row.limit_ns = Some(turns.limit_nanoseconds);
            row.times_limit = Some(turns.ratio);
        }
        Ok(())
    }

    pub(super) fn add_estimates(&mut self, estimates: Vec<Estimate>) -> Result<()> {
        for estimate in estimates {
            self.row(&estimate.id, estimate.bytes)?.criterion_ns = Some(estimate.nanoseconds);
        }
        Ok(())
    }

    /// The row of this id, a new one where there is none yet.
    fn row(&mut self, id: &str, bytes: u64) -> Result<&mut Row> {
        let id: Id = id.parse()?;
        let index = self.rows.iter().position(|row| row.id == id).unwrap_or_else(|| {
            let (criterion_ns, interleaved_ns, limit_ns, times_limit) = (None, None, None, None);
            let row = Row { id, bytes, criterion_ns, interleaved_ns, limit_ns, times_limit };
            self.rows.push(row);
            self.rows.len() - 1
        });
        Ok(&mut self.rows[index])
    }

    /// One JSON object per row.
    pub(super) fn json_lines(&self) -> Result<String> {
        let mut lines = String::new();
        for row in &self.rows {
            lines += &serde_json::to_string(row)?;
            lines.push('\n');
        }
        Ok(lines)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Column::{Number, Text};
        let mut table = table::new(&[
            Text("shape"),
            Text("layout"),
            Text("type"),
            Text("operation"),
            Number("threads"),
            Text("backend"),
            Number("ms"),
            Number("GB/s"),
            Number("ms in turn"),
            Number("limit ms"),
            Number("× limit"),
            Number("% of limit"),
        ]);
        for row in &self.rows {
            let Id { backend, operation, layout, dtype, threads, shape } = &row.id;
            let bytes_per_ns =
                row.criterion_ns.or(row.interleaved_ns).map(|ns| row.bytes as f64 / ns);
            let cells = [shape, layout, dtype, operation].map(String::clone);
            table.add_row(cells.into_iter().chain([
                threads.to_string(),
                backend.clone(),
                or_dash(row.criterion_ns.map(milliseconds)),
                or_dash(bytes_per_ns.map(|rate| format!("{rate:.1}"))),
                or_dash(row.interleaved_ns.map(milliseconds)),
                or_dash(row.limit_ns.map(milliseconds)),
                or_dash(row.times_limit.map(|ratio| format!("{ratio:.2}"))),
                or_dash(row.times_limit.map(|ratio| format!("{:.0}", 100.0 / ratio))),
            ]));
        }
        writeln!(f, "{table}")?;
        writeln!(
            f,
            "ms, GB/s: criterion's median, or the median in turn where criterion did not run; GB/s of the \
             least bytes.\nms in turn, limit ms: medians of interleaved rounds; × limit: the median of \
             the ratio in each round."
        )?;
        summary::write(f, &self.rows)
    }
}

pub(super) fn or_dash(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| "–".to_owned())
}

/// Three figures or more, whether it is microseconds or seconds.
pub(super) fn milliseconds(nanoseconds: f64) -> String {
    let milliseconds = nanoseconds / 1e6;
    match milliseconds {
        ..0.1 => format!("{milliseconds:.4}"),
        ..10.0 => format!("{milliseconds:.3}"),
        _ => format!("{milliseconds:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "rayon/backward+relu/channels-last/bf16/2/resnet50/32x64x112x112";

    fn turns(id: &str, ratio: f64) -> Turns {
        let (nanoseconds, limit_nanoseconds) = (2e6 * ratio, 2e6);
        Turns { id: id.to_owned(), nanoseconds, limit_nanoseconds, ratio, bytes: 60_000_000 }
    }

    #[test]
    fn an_id_falls_into_its_parts_and_others_are_refused() {
        let id: Id = ID.parse().unwrap();
        assert_eq!((id.threads, id.shape.as_str()), (2, "resnet50/32x64x112x112"));
        assert_eq!((id.operation.as_str(), id.dtype.as_str()), ("backward+relu", "bf16"));
        assert!("rayon/backward".parse::<Id>().is_err());
        assert!("rayon/backward/channels-last/bf16/two/a/b".parse::<Id>().is_err());
    }

    #[test]
    fn both_measurements_of_a_benchmark_meet_in_one_row() {
        let mut report = Report::default();
        report.add_turns(vec![turns(ID, 1.25)]).unwrap();
        let estimate = Estimate { id: ID.to_owned(), nanoseconds: 3e6, bytes: 60_000_000 };
        report.add_estimates(vec![estimate]).unwrap();
        assert_eq!(report.rows.len(), 1);
        let text = report.to_string();
        let line = text.lines().find(|line| line.contains("resnet50/")).unwrap();
        let figures: Vec<&str> = line.split_whitespace().skip(6).collect();
        assert_eq!(figures, ["3.000", "20.0", "2.500", "2.000", "1.25", "80"]);
        assert!(report.json_lines().unwrap().contains(r#""times_limit":1.25"#));
    }

    #[test]
    fn times_keep_three_figures() {
        let figures = [11_234.0, 250_000.0, 9_876_543.0, 123_456_789.0].map(milliseconds);
        assert_eq!(figures, ["0.0112", "0.250", "9.877", "123.5"]);
    }
}
