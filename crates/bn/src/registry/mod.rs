//! Choice at run time: which backends there are, and how to get one by name.

use core::fmt;

use bn_core::{Capabilities, DType, Device, Element, Feature, HostBackend, Layout, bf16, f16};

use crate::Error;

mod known;

use known::{Known, known};

/// Which backend to take.
///
/// ```
/// use bn::Choice;
///
/// assert_eq!(Choice::from("auto"), Choice::Auto);
/// assert_eq!(Choice::from("naive").to_string(), "naive");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Choice {
    /// The fastest one that is available and computes in the element type: `rayon`, then `naive`, then `candle`.
    #[default]
    Auto,
    /// The one of this name.
    Named(String),
}

impl From<&str> for Choice {
    fn from(name: &str) -> Self {
        Self::from(name.to_owned())
    }
}

impl From<String> for Choice {
    fn from(name: String) -> Self {
        if name == "auto" { Self::Auto } else { Self::Named(name) }
    }
}

impl From<&Choice> for Choice {
    fn from(choice: &Choice) -> Self {
        choice.clone()
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::Named(name) => name,
        })
    }
}

/// What a backend is opened with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Options {
    /// How many threads a CPU backend may use; its own choice where `None`. `naive` and `candle` always use
    /// one.
    pub threads: Option<usize>,
}

impl Options {
    /// The most threads that [`open`] takes: far more than any machine runs at once, and few enough
    /// that starting them takes no time worth speaking of.
    pub const MOST_THREADS: usize = 1024;

    /// The same options with at most this many threads.
    #[must_use]
    pub fn with_threads(mut self, threads: impl Into<Option<usize>>) -> Self {
        self.threads = threads.into();
        self
    }
}

/// A known backend and where it stands in this build and on this machine.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendEntry {
    /// What [`open`] calls it.
    pub name: &'static str,
    /// Whether it can run.
    pub status: Status,
}

/// Where a backend stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// It was opened and can run.
    Available {
        /// What it runs on.
        device: Device,
        /// What it supports, and why not where it does not.
        capabilities: Box<Capabilities>,
        /// The element types it computes in.
        dtypes: Vec<DType>,
        /// The layouts it takes.
        layouts: Vec<Layout>,
    },
    /// It is compiled in and cannot run here.
    Unavailable {
        /// Why, in words for a user.
        reason: String,
    },
    /// It is not compiled in.
    LeftOut {
        /// The feature flag of this crate that compiles it in.
        feature: &'static str,
    },
}

impl Status {
    /// Whether the backend can run.
    #[must_use]
    pub const fn is_available(&self) -> bool {
        matches!(self, Self::Available { .. })
    }
}

/// Every known backend, the fastest first, each probed on this machine.
///
/// ```
/// for entry in bn::backends() {
///     match entry.status {
///         bn::Status::Available { device, .. } => println!("{}: {}", entry.name, device.label),
///         bn::Status::Unavailable { reason } => println!("{}: {reason}", entry.name),
///         bn::Status::LeftOut { feature } => println!("{}: needs {feature}", entry.name),
///     }
/// }
/// ```
#[must_use]
pub fn backends() -> Vec<BackendEntry> {
    let entry = |name| BackendEntry { name, status: status(name) };
    known::<f32>().map(|row| entry(row.name)).collect()
}

/// Opens a backend on slices, chosen at run time.
///
/// `choice` is a name, `"auto"` or a [`Choice`]. `auto` passes over what is left out, what cannot run
/// here and what does not compute in `T`. A device backend comes inside
/// [`Staged`](bn_core::Staged), so that every backend has this one form.
///
/// ```
/// use bn::{Choice, Options, core::Backend};
///
/// let backend = bn::open::<f32>(Choice::Auto, &Options::default())?;
/// println!("{} on {}", backend.name(), backend.device().label);
///
/// let error = bn::open::<f32>("abacus", &Options::default()).err().unwrap();
/// assert_eq!(error.to_string(), "there is no backend abacus; expected one of auto, rayon, naive, candle");
/// # Ok::<(), bn::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::UnknownBackend`], [`Error::LeftOut`], [`Error::NoBackend`] where `auto` finds none,
/// [`Error::Threads`], and [`core::Error::Unavailable`](bn_core::Error::Unavailable) or
/// [`core::Error::UnsupportedElement`](bn_core::Error::UnsupportedElement) from the backend.
pub fn open<T: Element>(
    choice: impl Into<Choice>,
    options: &Options,
) -> Result<Box<HostBackend<T>>, Error> {
    let most = Options::MOST_THREADS;
    if let Some(found) = options.threads.filter(|threads| !(1..=most).contains(threads)) {
        return Err(Error::Threads { found, most });
    }
    match choice.into() {
        Choice::Auto => fastest(options),
        Choice::Named(name) => match known::<T>().find(|row| row.name == name) {
            Some(row) => open_row(row, options),
            None => Err(Error::UnknownBackend { name, known: names() }),
        },
    }
}

fn open_row<T: Element>(row: Known<T>, options: &Options) -> Result<Box<HostBackend<T>>, Error> {
    let Known { name, feature, open } = row;
    let open = open.ok_or(Error::LeftOut { name, feature })?;
    Ok(open(options)?)
}

fn fastest<T: Element>(options: &Options) -> Result<Box<HostBackend<T>>, Error> {
    let mut reasons = Vec::new();
    for row in known::<T>() {
        match open_row(row, options) {
            Ok(backend) => return Ok(backend),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    Err(Error::NoBackend { reasons })
}

fn names() -> Vec<&'static str> {
    std::iter::once("auto").chain(known::<f32>().map(|row| row.name)).collect()
}

/// Where the known backend `name` stands: it is opened once for each element type, because a library
/// or a device may lack one.
fn status(name: &str) -> Status {
    let probes = [probe::<f32>(name), probe::<f64>(name), probe::<f16>(name), probe::<bf16>(name)];
    let dtypes = DType::ELEMENTS.into_iter().zip(&probes);
    let dtypes = dtypes.filter_map(|(dtype, probe)| probe.is_ok().then_some(dtype)).collect();
    let [first, ..] = &probes;
    match (probes.iter().flatten().next(), first) {
        (Some((device, capabilities)), _) => Status::Available {
            device: device.clone(),
            capabilities: Box::new(*capabilities),
            dtypes,
            layouts: layouts(capabilities),
        },
        (None, Err(Error::LeftOut { feature, .. })) => Status::LeftOut { feature },
        (None, Err(Error::Core(bn_core::Error::Unavailable { reason, .. }))) => {
            Status::Unavailable { reason: reason.clone() }
        }
        (None, Err(error)) => Status::Unavailable { reason: error.to_string() },
        (None, Ok(_)) => unreachable!("the first success was looked for"),
    }
}

fn probe<T: Element>(name: &str) -> Result<(Device, Capabilities), Error> {
    let backend = open::<T>(name, &Options::default())?;
    Ok((backend.device(), backend.capabilities()))
}

fn layouts(capabilities: &Capabilities) -> Vec<Layout> {
    let takes = |layout: &Layout| capabilities.supports(Feature::from(*layout));
    Layout::ALL.into_iter().filter(takes).collect()
}
