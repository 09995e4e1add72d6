//! From results to pictures: what each shows, and how it is read.

use std::collections::BTreeMap;

use super::dots::{DotPlot, Dots};
use super::lines::{Line, LinePlot};
use super::plot::Plot;
use crate::bench::peers::{Case, Group, Measured, NO_NUMBER, Results, Role, groups};

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
    let mut figures = Vec::new();
    for operation in operations(results) {
        figures.extend(per_shape(results, operation, &RATIO));
    }
    for operation in operations(results) {
        figures.extend(per_shape(results, operation, &SHARE));
    }
    for operation in operations(results) {
        figures.extend(by_size(results, operation));
    }
    for operation in operations(results) {
        figures.extend(by_threads(results, operation));
    }
    for operation in operations(results) {
        figures.extend(errors(results, operation));
    }
    figures
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
    let of_operation = || results.cases.iter().filter(|case| case.operation == operation);
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

/// Bytes per second by size, channels-first on one thread: where the caches end.
fn by_size(results: &Results, operation: &str) -> Option<Figure> {
    let threads = results.cases.iter().map(|case| case.threads).min()?;
    let cases = results.cases.iter().filter(|case| {
        (case.operation.as_str(), case.layout.as_str(), case.threads)
            == (operation, "channels-first", threads)
    });
    let mut lines: BTreeMap<usize, Vec<(f64, f64)>> = BTreeMap::new();
    let keys = contenders(results);
    for case in cases {
        let limit = results.limit(case);
        for (number, key) in keys.iter().enumerate() {
            let measured = if *key == LIMIT { limit } else { case.of(key) };
            if let Some(time) = measured.and_then(|measured| measured.milliseconds) {
                lines.entry(number).or_default().push((case.tensor_bytes as f64, time));
            }
        }
    }
    let line = |(number, mut points): (usize, Vec<(f64, f64)>)| {
        points.sort_by(|left, right| left.0.total_cmp(&right.0));
        Line { name: keys[number].to_owned(), points }
    };
    let series: Vec<Line> = lines.into_iter().map(line).collect();
    let sizes = series.first()?.points.len();
    (sizes > 1).then(|| Figure {
        name: format!("size-{operation}"),
        title: format!("{}: time by size of the tensor", capital(operation)),
        explanation: "Channels-first, the fewest threads. Lower is faster. Lines mark where the caches of \
                      the processor end.",
        plot: Box::new(LinePlot {
            series,
            axes: ["bytes of x", "milliseconds"],
            formats: [bytes, plain],
            marks: results.machine.cache_sizes(),
        }),
    })
}

/// How much faster more threads are.
fn by_threads(results: &Results, operation: &str) -> Option<Figure> {
    let groups: Vec<_> = groups(results)
        .into_iter()
        .filter(|group| (group.operation, group.layout) == (operation, "channels-first"))
        .collect();
    if groups.len() < 2 {
        return None;
    }
    let mut series = Vec::new();
    for key in contenders(results) {
        let point = |group: &Group<'_>| {
            let mean = group.mean(|case| {
                let measured = if key == LIMIT { results.limit(case) } else { case.of(key) };
                measured?.milliseconds
            })?;
            Some((group.threads as f64, mean))
        };
        let points: Vec<_> = groups.iter().filter_map(point).collect();
        if points.len() > 1 {
            series.push(Line { name: key.to_owned(), points });
        }
    }
    Some(Figure {
        name: format!("threads-{operation}"),
        title: format!("{}: time by number of threads", capital(operation)),
        explanation: "Channels-first; the geometric mean over the shapes. Lower is faster. From memory \
                      threads share one bus, so that the limit itself hardly falls.",
        plot: Box::new(LinePlot {
            series,
            axes: ["threads", "milliseconds, geometric mean"],
            formats: [plain, plain],
            marks: Vec::new(),
        }),
    })
}

/// The largest error of each contender over all shapes.
fn errors(results: &Results, operation: &str) -> Option<Figure> {
    let of_operation = || results.cases.iter().filter(|case| case.operation == operation);
    let is_judged =
        |key: &str| of_operation().any(|case| case.of(key).is_some_and(|one| one.error.is_some()));
    let keys: Vec<&str> = contenders(results).into_iter().filter(|key| is_judged(key)).collect();
    let worst = |of: fn(&Measured) -> Option<f64>| -> Vec<(usize, f64)> {
        let row = |(row, key): (usize, &&str)| {
            let errors = of_operation().filter_map(|case| of(case.of(key)?));
            let worst = errors.fold(f64::NAN, f64::max);
            // Results that are no numbers lie at the edge: wrong by everything.
            (!worst.is_nan())
                .then(|| (row, if worst >= NO_NUMBER { 10.0 } else { worst.max(1e-9) }))
        };
        keys.iter().enumerate().filter_map(row).collect()
    };
    let series = vec![
        Dots { name: "mean 0".into(), points: worst(|m| m.error), is_filled: true, colour: 0 },
        Dots {
            name: "mean 10 000".into(),
            points: worst(|m| m.error_far),
            is_filled: true,
            colour: 1,
        },
    ];
    (!series[0].points.is_empty()).then(|| Figure {
        name: format!("error-{operation}"),
        title: format!("{}: error by the mean of the inputs", capital(operation)),
        explanation: "The largest error of any shape, by the largest right value; further left is more exact. 1e-7 is \
                      the rounding of the results themselves. A dot at 10 stands for results that are no \
                      numbers.",
        plot: Box::new(DotPlot {
            rows: keys.iter().map(|&key| key.to_owned()).collect(),
            series,
            axis: "largest error",
            is_log: true,
            line: None,
            format: |value| format!("{value:.0e}"),
        }),
    })
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

fn plain(value: f64) -> String {
    if value >= 1.0 { format!("{value:.0}") } else { format!("{value}") }
}
