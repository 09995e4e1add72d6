//! From results to pictures: what each shows, and how it is read.

use std::collections::BTreeMap;

use super::dots::{DotPlot, Dots};
use super::lines::{Line, LinePlot};
use super::plot::Plot;
use crate::bench::peers::{Case, Group, Results, Role, groups};

/// A picture with its name and its explanation.
pub(super) struct Figure {
    /// The name of its file.
    pub(super) name: String,
    pub(super) title: String,
    pub(super) explanation: &'static str,
    pub(super) plot: Box<dyn Plot>,
}

/// Everything that can be drawn from some results.
pub(super) fn of(results: &Results) -> Vec<Figure> {
    type Draw = fn(&Results, &str) -> Option<Figure>;
    let kinds: [Draw; 5] = [
        |results, operation| per_shape(results, operation, &RATIO),
        |results, operation| per_shape(results, operation, &SHARE),
        by_size,
        by_threads,
        by_mean,
    ];
    let operations = operations(results);
    let of_kind =
        |draw: Draw| operations.iter().filter_map(move |&operation| draw(results, operation));
    kinds.into_iter().flat_map(of_kind).collect()
}

/// What is so many times as large as the line to see it by is drawn on a logarithmic scale.
const EVEN_SCALE: f64 = 20.0;

/// A figure that every case has.
struct PerShape {
    name: &'static str,
    title: &'static str,
    explanation: &'static str,
    axis: &'static str,
    line: f64,
    value: fn(&Results, &Case) -> Option<f64>,
    format: fn(f64) -> String,
}

const RATIO: PerShape = PerShape {
    name: "ratio",
    title: "how many times as fast as the fastest peer",
    explanation: "Each row is the input of a layer of a real network. A dot right of the line at 1 means that \
                  we are faster than every other system in the same memory layout.",
    axis: "time of the fastest peer divided by ours",
    line: 1.0,
    value: |results, case| results.times_fastest_peer(case),
    format: |value| format!("{value:.1}"),
};

const SHARE: PerShape = PerShape {
    name: "limit",
    title: "percentage of what the memory allows",
    explanation: "The limit is a plain copy (training, inference) or triad (backward) of the same bytes. At \
                  100 % normalising costs no more than copying; small tensors can exceed it by luck with \
                  where their pages lie in the cache.",
    axis: "percentage of the limit",
    line: 100.0,
    value: |results, case| Some(100.0 * results.share_of_limit(case)?),
    format: |value| format!("{value:.0}"),
};

fn per_shape(results: &Results, operation: &str, what: &PerShape) -> Option<Figure> {
    let of_operation = || results.of_networks().filter(|case| case.operation == operation);
    let rows = distinct(of_operation().map(|case| case.shape.as_str()));
    let layouts = distinct(of_operation().map(|case| case.layout.as_str()));
    let mut threads: Vec<usize> = of_operation().map(|case| case.threads).collect();
    threads.sort_unstable();
    threads.dedup();
    let mut series = Vec::new();
    for (colour, layout) in layouts.iter().enumerate() {
        for &number in &threads {
            let its =
                of_operation().filter(|case| case.layout == *layout && case.threads == number);
            let point = |case: &Case| {
                let row = rows.iter().position(|row| *row == case.shape)?;
                Some((row, (what.value)(results, case)?))
            };
            let points: Vec<_> = its.filter_map(point).collect();
            if !points.is_empty() {
                let name = format!("{layout}, {}", in_words(number));
                let is_filled = number == threads[0];
                series.push(Dots { name, points, is_filled, colour });
            }
        }
    }
    let values = || series.iter().flat_map(|dots| dots.points.iter().map(|point| point.1));
    let most = values().fold(what.line, f64::max);
    let plot = DotPlot {
        rows: rows.into_iter().map(str::to_owned).collect(),
        axis: what.axis,
        series,
        is_log: most > EVEN_SCALE * what.line,
        line: Some(what.line),
        format: what.format,
    };
    (!plot.series.is_empty()).then(|| Figure {
        name: format!("{}-{operation}", what.name),
        title: format!("{}: {}", capital(operation), what.title),
        explanation: what.explanation,
        plot: Box::new(plot),
    })
}

/// The time of one value by the size of the tensor: where the caches end.
fn by_size(results: &Results, operation: &str) -> Option<Figure> {
    let mut cases: Vec<&Case> = results.cases.iter().collect();
    cases.retain(|case| case.is_of_sweep() && case.operation == operation);
    cases.sort_by_key(|case| case.tensor_bytes);
    let line = |(colour, key): (usize, &str)| {
        let point = |case: &&Case| {
            let values = case.tensor_bytes as f64 / BYTES_OF_A_VALUE;
            let time = milliseconds_of(results, case, key)?;
            Some((case.tensor_bytes as f64, time * 1e6 / values))
        };
        Line { name: key.to_owned(), colour, points: cases.iter().filter_map(point).collect() }
    };
    Some(Figure {
        name: format!("size-{operation}"),
        title: format!("{}: time by size of the tensor", capital(operation)),
        explanation: "One shape in growing batches, N × 16 × 16 × 16. Lower is faster; a level line means that \
                      twice the values take twice the time. On the left calls and the start of threads show. The names at \
                      the top mark where the caches of the processor end; behind the last one everything comes \
                      from memory.",
        plot: lines(LinePlot {
            series: contenders(results).into_iter().enumerate().map(line).collect(),
            axes: ["bytes of x", "nanoseconds for each value"],
            formats: [bytes, plain],
            marks: results.machine.cache_sizes(),
        })?,
    })
}

/// How much faster more threads are.
fn by_threads(results: &Results, operation: &str) -> Option<Figure> {
    let mut groups = groups(results);
    groups.retain(|group| (group.operation, group.layout) == (operation, "channels-first"));
    let line = |(colour, key): (usize, &str)| {
        let point = |group: &Group<'_>| {
            let mean = group.mean(|case| milliseconds_of(results, case, key))?;
            Some((group.threads as f64, mean))
        };
        Line { name: key.to_owned(), colour, points: groups.iter().filter_map(point).collect() }
    };
    Some(Figure {
        name: format!("threads-{operation}"),
        title: format!("{}: time by number of threads", capital(operation)),
        explanation: "Channels-first; the geometric mean over the shapes. Lower is faster. From memory \
                      threads share one bus, so that the limit itself hardly falls.",
        plot: lines(LinePlot {
            series: contenders(results).into_iter().enumerate().map(line).collect(),
            axes: ["threads", "milliseconds, geometric mean"],
            formats: [plain, plain],
            marks: Vec::new(),
        })?,
    })
}

/// Everyone's error as the mean of the inputs grows, in the layout where it is larger.
fn by_mean(results: &Results, operation: &str) -> Option<Figure> {
    let layouts = || results.accuracy.iter().filter(|one| one.operation == operation);
    let line = |(colour, key): (usize, &str)| {
        let mut worst = BTreeMap::new();
        for (mean, error) in layouts().flat_map(|layout| layout.of(key)) {
            // Means are whole numbers, the first of them 0, which a logarithmic scale lacks.
            let so_far: &mut f64 = worst.entry(mean.max(1.0) as u64).or_insert(EXACT);
            *so_far = so_far.max(error.min(NO_DIGIT));
        }
        let points = worst.into_iter().map(|(mean, error)| (mean as f64, error));
        Line { name: key.to_owned(), colour, points: points.collect() }
    };
    Some(Figure {
        name: format!("error-{operation}"),
        title: format!("{}: error by mean of the inputs", capital(operation)),
        explanation: "The largest error by the largest right value, in the layout where it is larger; lower is more \
                      exact. The values spread by 2 around their mean. 1e-7 is the rounding of the results \
                      themselves; at 1 and above no digit is right, and what is no number is drawn at 10.",
        plot: lines(LinePlot {
            series: contenders(results).into_iter().enumerate().map(line).collect(),
            axes: ["mean of the inputs", "largest error"],
            formats: [|mean| if mean > 1.0 { power(mean) } else { "0".to_owned() }, power],
            marks: Vec::new(),
        })?,
    })
}

/// Errors below this are drawn here: a logarithmic scale has no 0.
const EXACT: f64 = 1e-9;

/// Errors above this are drawn here, among them results that are no numbers.
const NO_DIGIT: f64 = 10.0;

/// Comparisons are in `f32`.
const BYTES_OF_A_VALUE: f64 = 4.0;

/// Those lines that have more than one point; none where there is no such line.
fn lines(mut plot: LinePlot) -> Option<Box<dyn Plot>> {
    plot.series.retain(|line| line.points.len() > 1);
    if plot.series.is_empty() { None } else { Some(Box::new(plot)) }
}

/// The median of a contender, or of the [`LIMIT`], where it was timed.
fn milliseconds_of(results: &Results, case: &Case, key: &str) -> Option<f64> {
    let measured = if key == LIMIT { results.limit(case) } else { case.of(key) };
    measured?.milliseconds
}

/// The better kind of store, as one line.
const LIMIT: &str = "limit";

/// Everyone with a line of their own: ours, the limit, peers, marks.
fn contenders(results: &Results) -> Vec<&str> {
    let ours = results.keys(Role::Ours);
    let others = results.keys(Role::Peer).chain(results.keys(Role::Mark));
    ours.chain([LIMIT]).chain(others).collect()
}

fn operations(results: &Results) -> Vec<&str> {
    distinct(results.cases.iter().map(|case| case.operation.as_str()))
}

/// Each word once, in the order in which it comes.
fn distinct<'a>(words: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for word in words {
        if !seen.contains(&word) {
            seen.push(word);
        }
    }
    seen
}

fn in_words(threads: usize) -> String {
    format!("{threads} thread{}", if threads == 1 { "" } else { "s" })
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn bytes(value: f64) -> String {
    match value {
        1e9.. => format!("{:.0} GB", value / 1e9),
        1e6.. => format!("{:.0} MB", value / 1e6),
        _ => format!("{:.0} kB", value / 1e3),
    }
}

fn power(value: f64) -> String {
    format!("{value:.0e}")
}

fn plain(value: f64) -> String {
    if value >= 1.0 { format!("{value:.0}") } else { format!("{value}") }
}
