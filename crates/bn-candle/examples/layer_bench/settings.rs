//! What is measured, from the arguments.

use bn_conformance::shapes::{self, Shape};
use candle_core::{Error, Result};

/// A table of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// One layer.
    Layer,
    /// What this crate's layer is made of.
    Parts,
    /// One layer on a channels-last tensor, seen channels-first.
    View,
    /// Convolution, layer, ReLU.
    Block,
}

impl Table {
    pub(crate) const ALL: [Self; 4] = [Self::Layer, Self::Parts, Self::View, Self::Block];

    const fn name(self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Parts => "parts",
            Self::View => "view",
            Self::Block => "block",
        }
    }

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Layer => "One layer, milliseconds",
            Self::Parts => "Its parts, milliseconds",
            Self::View => "Channels-last, seen channels-first, milliseconds",
            Self::Block => "conv 1×1 – bn – relu, milliseconds",
        }
    }
}

pub(crate) struct Settings {
    pub(crate) shapes: Vec<&'static Shape>,
    pub(crate) tables: Vec<Table>,
    pub(crate) rounds: usize,
    pub(crate) threads: Option<usize>,
}

impl Settings {
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut names = "resnet50/8x,resnet50/32x".to_owned();
        let mut settings =
            Self { shapes: Vec::new(), tables: Table::ALL.into(), rounds: 5, threads: None };
        while let Some(argument) = arguments.next() {
            let value = arguments.next().unwrap_or_default();
            let number = || {
                let number = value.parse().ok().filter(|&number| number > 0);
                number.ok_or_else(|| usage(&format!("{argument} takes a number, not {value:?}")))
            };
            match argument.as_str() {
                "--shapes" => names = value,
                "--tables" => settings.tables = tables(&value)?,
                "--rounds" => settings.rounds = number()?,
                "--threads" => settings.threads = Some(number()?),
                _ => return Err(usage(&format!("unknown argument {argument:?}"))),
            }
        }
        for name in names.split(',') {
            let found = shapes::matching(name);
            if found.is_empty() {
                return Err(usage(&format!("no shape is called {name:?}")));
            }
            settings.shapes.extend(found);
        }
        Ok(settings)
    }
}

fn tables(names: &str) -> Result<Vec<Table>> {
    let of = |name| {
        let found = Table::ALL.into_iter().find(|table| table.name() == name);
        found.ok_or_else(|| usage(&format!("no table is called {name:?}")))
    };
    names.split(',').map(of).collect()
}

fn usage(problem: &str) -> Error {
    let tables = Table::ALL.map(Table::name).join(",");
    Error::msg(format!(
        "{problem}\nusage: layer_bench [--shapes NAMES] [--tables {tables}] [--rounds N] [--threads N]"
    ))
}
