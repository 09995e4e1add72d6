//! Trains a small residual network on handwritten digits, with candle_nn's batch norm and with this crate's.
//!
//! ```text
//! cargo run --release --example train_digits -p bn-candle
//! cargo run --release --example train_digits -p bn-candle -- --epochs 20
//! ```
//!
//! Three networks start from the same seed and see the same batches: one with `candle_nn::BatchNorm`,
//! one in which only that import is replaced, and one that also fuses ReLU and residual into the layer.
//! Each trains in a process of its own, so that its time and its memory are its own: the peak of the heap
//! is counted by the allocator from the first batch on, the peak of resident memory is the kernel's
//! (`VmHWM`, where there is a `/proc`).
#![allow(clippy::print_stdout, reason = "a program that talks to people")]

mod digits;
#[path = "../heap/mod.rs"]
mod heap;
mod network;
mod report;
mod training;

use std::process::{Command, Stdio};

use candle_core::{Error, Result};
use heap::Heap;
use network::Kind;

#[global_allocator]
static HEAP: Heap = Heap::new();

const EPOCHS: usize = 12;

/// What a training must reach to count as one.
const ACCURACY: f64 = 0.97;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (mut kind, mut epochs) = (None, EPOCHS);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let value = rest.next().map(String::as_str).unwrap_or_default();
        match argument.as_str() {
            "--layer" => {
                let found = Kind::ALL.into_iter().find(|kind| kind.name() == value);
                kind = Some(found.ok_or_else(|| usage(&format!("no layer is called {value:?}")))?);
            }
            "--epochs" => {
                let number = value.parse().ok().filter(|&epochs| epochs > 0);
                epochs = number.ok_or_else(|| usage(&format!("{value:?} is no number")))?;
            }
            other => return Err(usage(&format!("unknown argument {other:?}"))),
        }
    }
    match kind {
        Some(kind) => {
            let run = training::train(kind, epochs)?;
            println!("{}", serde_json::to_string(&run).map_err(Error::wrap)?);
            Ok(())
        }
        None => {
            let runs = Kind::ALL.into_iter().map(|kind| in_a_process_of_its_own(kind, epochs));
            let runs = runs.collect::<Result<Vec<_>>>()?;
            report::print(&runs);
            // A shorter training than the usual one may be stopped before it has learned.
            let failed = runs.iter().find(|run| run.last_accuracy() < ACCURACY);
            match failed.filter(|_| epochs >= EPOCHS) {
                Some(run) => candle_core::bail!(
                    "{} recognises {:.2} % of the held-out digits; expected {:.0} % or more",
                    run.layer,
                    run.last_accuracy() * 100.0,
                    ACCURACY * 100.0
                ),
                None => Ok(()),
            }
        }
    }
}

fn in_a_process_of_its_own(kind: Kind, epochs: usize) -> Result<training::Run> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--layer", kind.name(), "--epochs", &epochs.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        candle_core::bail!("training with {} ended with {}", kind.name(), output.status)
    }
    serde_json::from_slice(&output.stdout).map_err(Error::wrap)
}

fn usage(problem: &str) -> Error {
    let names = Kind::ALL.map(Kind::name).join("|");
    Error::msg(format!("{problem}\nusage: train_digits [--epochs N] [--layer {names}]"))
}
