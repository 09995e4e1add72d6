//! Our backends and the limit of the memory behind the protocol of the runners.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bn_core::{HostBackend, Layout, Problem};

use crate::limit::{Limit, Stores};
use crate::protocol::{Answer, Configuration, Subject};
use crate::workload::Workload;
use crate::{Operation, Traffic};

/// What [`Workload`] runs every operation with.
const EPS: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

/// The subject of this name: `limit-ordinary`, `limit-streaming` or a backend.
#[must_use]
pub fn named(name: &str) -> Box<dyn Subject> {
    match name {
        "limit-ordinary" => Box::new(Memory { stores: Stores::Ordinary, limit: None }),
        "limit-streaming" => Box::new(Memory { stores: Stores::Streaming, limit: None }),
        name => Box::new(Own { name: name.to_owned(), prepared: None }),
    }
}

/// A backend of this workspace.
struct Own {
    name: String,
    prepared: Option<Prepared>,
}

struct Prepared {
    backend: Box<HostBackend<f32>>,
    workload: Workload<f32>,
    shape: Vec<usize>,
    outputs: PathBuf,
}

impl Subject for Own {
    fn hello(&self) -> Answer {
        Answer {
            name: Some(format!("bn, {}", self.name)),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            notes: vec!["outputs are preallocated".to_owned()],
            ..Answer::default()
        }
    }

    fn prepare(&mut self, configuration: Configuration) -> Result<Option<String>> {
        self.prepared = None;
        let Configuration { dtype, threads, shape, inputs, outputs, eps, momentum, .. } =
            &configuration;
        ensure!((*eps, *momentum) == (EPS, MOMENTUM), "runs with eps 1e-5 and momentum 0.1");
        if dtype != "f32" {
            return Ok(Some(format!("compared in f32 only, not {dtype}")));
        }
        let (operation, problem) = read(&configuration)?;
        let options = bn::Options::default().with_threads(*threads);
        let backend = bn::open::<f32>(self.name.as_str(), &options)?;
        let workload = Workload::read(operation, problem, inputs, &*backend)?;
        let (shape, outputs) = (shape.clone(), outputs.clone());
        self.prepared = Some(Prepared { backend, workload, shape, outputs });
        Ok(None)
    }

    fn check(&mut self) -> Result<()> {
        let Prepared { backend, workload, shape, outputs } = self.prepared()?;
        workload.run(&**backend)?;
        workload.write(shape, outputs)
    }

    fn run(&mut self, iterations: u32) -> Result<Duration> {
        let Prepared { backend, workload, .. } = self.prepared()?;
        workload.run(&**backend)?;
        let start = Instant::now();
        for _ in 0..iterations {
            workload.run(&**backend)?;
        }
        Ok(start.elapsed())
    }
}

impl Own {
    fn prepared(&mut self) -> Result<&mut Prepared> {
        self.prepared.as_mut().context("nothing is prepared")
    }
}

/// A copy or triad of the size of the tensors.
struct Memory {
    stores: Stores,
    limit: Option<Limit>,
}

impl Subject for Memory {
    fn hello(&self) -> Answer {
        Answer {
            name: Some(format!("limit, {}", self.stores.name())),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            notes: vec!["a copy (training, inference) or triad (backward) of the same size".into()],
            ..Answer::default()
        }
    }

    fn prepare(&mut self, configuration: Configuration) -> Result<Option<String>> {
        self.limit = None;
        let (operation, problem) = read(&configuration)?;
        let traffic: Traffic = operation.traffic();
        let bytes = problem.elements() * size_of::<f32>();
        let limit = Limit::new(traffic, bytes, configuration.threads);
        if !limit.stores().contains(&self.stores) {
            return Ok(Some(format!("no {} on this machine", self.stores.name())));
        }
        self.limit = Some(limit);
        Ok(None)
    }

    fn check(&mut self) -> Result<()> {
        bail!("a limit has nothing to check")
    }

    fn run(&mut self, iterations: u32) -> Result<Duration> {
        let limit = self.limit.as_mut().context("nothing is prepared")?;
        Ok(limit.time(self.stores, iterations))
    }
}

/// Operation and problem of a configuration.
fn read(configuration: &Configuration) -> Result<(Operation, Problem)> {
    let Configuration { operation, layout, shape, .. } = configuration;
    let operation = Operation::ALL.into_iter().find(|known| known.name() == operation);
    let layout = Layout::ALL.into_iter().find(|known| known.name() == layout);
    let layout = layout.context("a layout is channels-first or channels-last")?;
    Ok((operation.context("an operation of the benchmarks")?, Problem::new(shape, layout)?))
}
