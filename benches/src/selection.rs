//! Which cases to measure, on which backends.

use std::env;
use std::fmt::Display;
use std::thread;

use anyhow::{Context, Result, bail};
use bn_conformance::shapes::{self, Shape};
use bn_core::{DType, Layout};

use crate::{Case, Operation, sizes};

/// The shapes that are measured unless others are named: large ones of each kind, and two that fit in
/// the cache.
const USUAL_SHAPES: [&str; 9] = [
    "resnet50/32x64x112x112",
    "resnet50/32x256x56x56",
    "resnet50/32x512x28x28",
    "resnet50/32x1024x14x14",
    "resnet50/32x2048x7x7",
    "video/4x64x16x56x56",
    "flat/4096x1024",
    "tiny/1x64x56x56",
    "tiny/8x16x32x32",
];

/// Those for a first look.
const QUICK_SHAPES: [&str; 3] =
    ["resnet50/32x512x28x28", "resnet50/32x1024x14x14", "tiny/8x16x32x32"];

const USUAL_OPERATIONS: [Operation; 3] =
    [Operation::Training, Operation::Inference, Operation::Backward];

/// The backend whose loops are to be read, not waited for.
const READABLE: &str = "naive";

/// Larger shapes are left out for [`READABLE`], unless it is named.
const READABLE_MAX_ELEMENTS: usize = 1 << 20;

/// The cases to measure and the backends to measure them on.
#[derive(Clone, Debug)]
pub struct Selection {
    backends: Vec<&'static str>,
    backends_are_named: bool,
    operations: Vec<Operation>,
    layouts: Vec<Layout>,
    dtypes: Vec<DType>,
    threads: Vec<usize>,
    shapes: Vec<&'static Shape>,
    filter: Vec<String>,
    sweeps: bool,
    quick: bool,
    notes: Vec<String>,
}

impl Selection {
    /// Reads the variables that the [crate](crate) lists.
    ///
    /// # Errors
    ///
    /// A value that names nothing, with the names that there are.
    pub fn from_env() -> Result<Self> {
        Self::from_variables(|name| env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let list = |name: &'static str| {
            let text = variable(name).filter(|text| !text.trim().is_empty());
            text.map(|text| text.split(',').map(|word| word.trim().to_owned()).collect())
        };
        let is_set = |name: &str| variable(name).is_some_and(|value| !["", "0"].contains(&&*value));
        let (quick, sweeps) = (is_set("BN_BENCH_QUICK"), is_set("BN_BENCH_SWEEP"));
        let mut shapes = shapes(list("BN_BENCH_SHAPES"), quick)?;
        if sweeps {
            shapes.extend(sizes::all());
        }
        let named_backends: Option<Vec<String>> = list("BN_BENCH_BACKENDS");
        let (backends, mut notes) = backends(named_backends.as_deref())?;
        let selection = Self {
            backends,
            backends_are_named: named_backends.is_some(),
            operations: choices(
                "BN_BENCH_OPERATIONS",
                list("BN_BENCH_OPERATIONS"),
                &Operation::ALL,
                &USUAL_OPERATIONS,
                |operation| operation.name(),
            )?,
            layouts: choices(
                "BN_BENCH_LAYOUTS",
                list("BN_BENCH_LAYOUTS"),
                &Layout::ALL,
                &Layout::ALL,
                |layout| layout.name(),
            )?,
            dtypes: choices(
                "BN_BENCH_DTYPES",
                list("BN_BENCH_DTYPES"),
                &DType::ELEMENTS,
                &[DType::F32],
                |dtype| dtype.name(),
            )?,
            threads: threads(list("BN_BENCH_THREADS"))?,
            shapes,
            filter: list("BN_BENCH_FILTER").unwrap_or_default(),
            sweeps,
            quick,
            notes: Vec::new(),
        };
        notes.extend(selection.note_on_large_shapes());
        Ok(Self { notes, ..selection })
    }

    /// Whether this is a first look rather than a measurement.
    #[must_use]
    pub const fn is_quick(&self) -> bool {
        self.quick
    }

    /// Whether sizes are measured beside shapes of networks.
    #[must_use]
    pub const fn sweeps(&self) -> bool {
        self.sweeps
    }

    /// What was left out without having been asked for, and why.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Each case that has a backend to run it, with these, shape by shape.
    #[must_use]
    pub fn cases(&self) -> Vec<(Case, Vec<&'static str>)> {
        let with_backends = self.all_cases().into_iter().map(|case| {
            let backends = self.backends.iter().copied();
            (case, backends.filter(|backend| self.includes(&case, backend)).collect())
        });
        with_backends.filter(|(_, backends): &(_, Vec<_>)| !backends.is_empty()).collect()
    }

    fn all_cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for &shape in &self.shapes {
            for &layout in self.layouts_of(shape) {
                for &dtype in &self.dtypes {
                    for &operation in &self.operations {
                        for &threads in self.threads_of(shape) {
                            cases.push(Case { operation, layout, dtype, threads, shape });
                        }
                    }
                }
            }
        }
        cases
    }

    /// One layout where both are the same memory, and for a sweep of sizes.
    fn layouts_of(&self, shape: &Shape) -> &[Layout] {
        let is_flat = shape.problem(Layout::ChannelsFirst).spatial() == 1;
        let is_once = is_flat || shape.file == sizes::NAME;
        if is_once { &self.layouts[..1] } else { &self.layouts }
    }

    /// One number of threads for a sweep of sizes.
    fn threads_of(&self, shape: &Shape) -> &[usize] {
        if shape.file == sizes::NAME { &self.threads[..1] } else { &self.threads }
    }

    fn includes(&self, case: &Case, backend: &str) -> bool {
        let id = case.id(backend);
        let passes = self.filter.is_empty() || self.filter.iter().any(|part| id.contains(part));
        // It runs on one thread whatever it is told: more threads would be the same case again.
        let repeats = backend == READABLE && case.threads != self.threads[0];
        passes && !repeats && !self.is_too_large(case.shape, backend)
    }

    fn is_too_large(&self, shape: &Shape, backend: &str) -> bool {
        let is_slow = backend == READABLE && !self.backends_are_named;
        is_slow && shape.elements() > READABLE_MAX_ELEMENTS
    }

    fn note_on_large_shapes(&self) -> Option<String> {
        let is_chosen = self.backends.contains(&READABLE);
        let is_left_out = |shape: &&&Shape| is_chosen && self.is_too_large(shape, READABLE);
        let left_out = self.shapes.iter().filter(is_left_out).count();
        (left_out > 0).then(|| {
            format!(
                "{READABLE}: {left_out} of {} shapes left out, those above {READABLE_MAX_ELEMENTS} \
                 values; name the backend to have them measured",
                self.shapes.len()
            )
        })
    }
}

/// The backends of these names, or those that are available; and a note on each that is not.
fn backends(named: Option<&[String]>) -> Result<(Vec<&'static str>, Vec<String>)> {
    let entries = bn::backends();
    let (mut chosen, mut notes) = (Vec::new(), Vec::new());
    if let Some(names) = named {
        let known: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
        for name in names {
            let entry = entries.iter().find(|entry| entry.name == name).with_context(|| {
                format!("BN_BENCH_BACKENDS: no backend `{name}`; there are: {}", known.join(", "))
            })?;
            if let Some(reason) = why_not(&entry.status) {
                bail!("BN_BENCH_BACKENDS: {name} cannot run: {reason}");
            }
            chosen.push(entry.name);
        }
        return Ok((chosen, notes));
    }
    for entry in entries {
        match why_not(&entry.status) {
            None => chosen.push(entry.name),
            Some(reason) => notes.push(format!("{}: not measured: {reason}", entry.name)),
        }
    }
    Ok((chosen, notes))
}

fn why_not(status: &bn::Status) -> Option<String> {
    match status {
        bn::Status::Available { .. } => None,
        bn::Status::Unavailable { reason } => Some(reason.clone()),
        bn::Status::LeftOut { feature } => Some(format!("built without the feature `{feature}`")),
    }
}

/// The choices of these names, `all`, or the usual ones.
fn choices<C: Copy>(
    variable: &str,
    names: Option<Vec<String>>,
    all: &[C],
    usual: &[C],
    name_of: impl Fn(&C) -> &'static str,
) -> Result<Vec<C>> {
    let Some(names) = names else { return Ok(usual.to_vec()) };
    if names == ["all"] {
        return Ok(all.to_vec());
    }
    let by_name = |name: &String| {
        let found = all.iter().copied().find(|choice| name_of(choice) == name);
        found.with_context(|| {
            let known: Vec<_> = all.iter().map(&name_of).collect();
            format!("{variable}: no `{name}`; there are: all, {}", known.join(", "))
        })
    };
    names.iter().map(by_name).collect()
}

fn threads(names: Option<Vec<String>>) -> Result<Vec<usize>> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let names = names.unwrap_or_else(|| ["1", "all"].map(str::to_owned).to_vec());
    let mut threads = Vec::new();
    for name in names {
        let numbers = match name.as_str() {
            "all" => vec![cores],
            "doubling" => doubling(cores),
            name => {
                let number = name.parse().ok().filter(|&number| number > 0);
                vec![number.with_context(|| {
                    format!("BN_BENCH_THREADS: `{name}` is no number above 0, `all` or `doubling`")
                })?]
            }
        };
        for number in numbers {
            if !threads.contains(&number) {
                threads.push(number);
            }
        }
    }
    Ok(threads)
}

/// 1, 2, 4 and so on, and every core.
fn doubling(cores: usize) -> Vec<usize> {
    let powers = (0..).map(|power| 1 << power).take_while(|&number| number < cores);
    powers.chain([cores]).collect()
}

fn shapes(names: Option<Vec<String>>, quick: bool) -> Result<Vec<&'static Shape>> {
    let usual = || {
        let usual: &[&str] = if quick { &QUICK_SHAPES } else { &USUAL_SHAPES };
        let is_usual = |shape: &&Shape| usual.iter().any(|name| shape.to_string() == *name);
        shapes::all().filter(is_usual).collect()
    };
    let Some(names) = names else { return Ok(usual()) };
    if names == ["all"] {
        return Ok(shapes::all().collect());
    }
    for name in &names {
        if shapes::matching(name).is_empty() {
            bail!(
                "BN_BENCH_SHAPES: no shape has `{name}` in its name; there are: all, {}",
                join(shapes::files().iter().map(|file| format!("{}/…", file.name)))
            );
        }
    }
    let is_named = |shape: &&Shape| names.iter().any(|name| shape.to_string().contains(name));
    Ok(shapes::all().filter(is_named).collect())
}

fn join(words: impl Iterator<Item = impl Display>) -> String {
    words.map(|word| word.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(variables: &[(&str, &str)]) -> Result<Selection> {
        Selection::from_variables(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn ids(variables: &[(&str, &str)]) -> Vec<String> {
        let cases = select(variables).unwrap().cases();
        let ids = cases
            .iter()
            .flat_map(|(case, backends)| backends.iter().map(|backend| case.id(backend)));
        ids.collect()
    }

    #[test]
    fn the_usual_shapes_are_in_the_data_files() {
        for name in USUAL_SHAPES.into_iter().chain(QUICK_SHAPES) {
            let is_named = |shape: &&Shape| shape.to_string() == name;
            assert_eq!(shapes::all().filter(is_named).count(), 1, "{name}");
        }
    }

    #[test]
    fn the_readable_backend_is_measured_once_and_on_small_shapes_unless_named() {
        let tiny = [("BN_BENCH_SHAPES", "tiny"), ("BN_BENCH_OPERATIONS", "training")];
        let [first, second] = &tiny;
        let naive = |ids: Vec<String>| ids.iter().filter(|id| id.starts_with("naive/")).count();
        assert_eq!(naive(ids(&tiny)), 4, "2 shapes × 2 layouts");
        let large = ("BN_BENCH_SHAPES", "32x64x112x112");
        assert_eq!(naive(ids(&[large, *second])), 0);
        let named = ("BN_BENCH_BACKENDS", "naive");
        assert!(naive(ids(&[large, *second, named])) > 0);
        assert!(select(&[large]).unwrap().notes().iter().any(|note| note.starts_with("naive: ")));
        assert!(!select(&[*first]).unwrap().notes().iter().any(|note| note.starts_with("naive: ")));
    }

    #[test]
    fn a_flat_shape_has_one_layout_and_a_filter_sees_the_whole_id() {
        let named = ("BN_BENCH_BACKENDS", "naive");
        let flat = [named, ("BN_BENCH_SHAPES", "flat"), ("BN_BENCH_OPERATIONS", "moments")];
        assert_eq!(ids(&flat).len(), 1);
        let all = [named, ("BN_BENCH_SHAPES", "all"), ("BN_BENCH_OPERATIONS", "all")];
        let [first, second, third] = all;
        let filter = ("BN_BENCH_FILTER", "moments/channels-last/f32/1/tiny");
        assert_eq!(
            ids(&[first, second, third, filter]),
            [
                "naive/moments/channels-last/f32/1/tiny/1x64x56x56",
                "naive/moments/channels-last/f32/1/tiny/8x16x32x32"
            ]
        );
    }

    #[test]
    fn a_sweep_adds_sizes_in_one_layout_and_on_one_number_of_threads() {
        let named = [
            ("BN_BENCH_BACKENDS", "rayon"),
            ("BN_BENCH_SHAPES", "tiny/1x"),
            ("BN_BENCH_OPERATIONS", "training"),
            ("BN_BENCH_THREADS", "1,2"),
            ("BN_BENCH_SWEEP", "1"),
        ];
        let (sizes, others): (Vec<_>, Vec<_>) =
            ids(&named).into_iter().partition(|id| id.contains("sizes/"));
        assert_eq!((sizes.len(), others.len()), (9, 4));
        assert_eq!(sizes[1], "rayon/training/channels-first/f32/1/sizes/4x16x16x16");
    }

    #[test]
    fn threads_double_up_to_every_core() {
        assert_eq!((doubling(1), doubling(2)), (vec![1], vec![1, 2]));
        assert_eq!(doubling(12), [1, 2, 4, 8, 12]);
    }

    #[test]
    fn what_names_nothing_is_an_error_that_lists_the_names() {
        for (variable, value, known) in [
            ("BN_BENCH_BACKENDS", "abacus", "naive"),
            ("BN_BENCH_OPERATIONS", "sideways", "backward-reduce"),
            ("BN_BENCH_LAYOUTS", "nhwc", "channels-last"),
            ("BN_BENCH_DTYPES", "i8", "bf16"),
            ("BN_BENCH_THREADS", "0", "`all`"),
            ("BN_BENCH_SHAPES", "vgg", "resnet50/"),
        ] {
            let error = select(&[(variable, value)]).unwrap_err().to_string();
            assert!(error.starts_with(variable) && error.contains(known), "{error}");
        }
    }
}
