//! The layer on CUDA device 0 beside the layer on the CPU and beside candle_nn's on the device, and what each takes
//! there. Ignored with the reason where there is no GPU; `BN_REQUIRE=cuda` makes that a failure.
#![expect(clippy::print_stdout, reason = "a table of times comes last")]

mod special;
#[path = "../step/mod.rs"]
mod step;
#[path = "../tensors/mod.rs"]
mod tensors;
mod theirs;
mod times;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Result};
use libtest_mimic::{Arguments, Completion, Trial};
use step::{Case, Operands, agree, tolerance};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One after the other, as the times want it; what threads do to each other is a trial of its own.
    arguments.test_threads.get_or_insert(1);
    let device = device();
    let table = Arc::new(Mutex::new(String::new()));
    let mut trials = Vec::new();
    for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
        let word = dtype.as_str();
        let cpu = move |device: &Device| beside_the_cpu(dtype, device);
        trials.push(trial(format!("{word}/beside-the-cpu"), &device, cpu));
        let theirs = move |device: &Device| theirs::beside_candle_nn(dtype, device);
        trials.push(trial(format!("{word}/beside-candle_nn"), &device, theirs));
    }
    for (name, run) in special::TRIALS {
        trials.push(trial((*name).to_owned(), &device, run));
    }
    let to = Arc::clone(&table);
    let measure = move |device: &Device| {
        let rows = times::table(device)?;
        *to.lock().expect("no panic in this trial") = rows;
        Ok(())
    };
    trials.push(trial("times".to_owned(), &device, measure));
    let conclusion = libtest_mimic::run(&arguments, trials);
    print!("{}", table.lock().expect("no panic in this trial"));
    conclusion.exit_code()
}

/// CUDA device 0, or why there is none: cudarc panics where the driver's library lacks what it calls.
fn device() -> std::result::Result<Device, String> {
    let found = catch_unwind(AssertUnwindSafe(|| Device::new_cuda(0)));
    let found = found.map_err(|_| "the driver's library lacks a function".to_owned())?;
    // The first line is the reason; what may follow is a backtrace.
    let words = |error: candle_core::Error| error.to_string().lines().next().map(str::to_owned);
    found.map_err(|error| format!("no CUDA device: {}", words(error).unwrap_or_default()))
}

/// A trial on the device; ignored without one, or failed where one is required.
fn trial(
    name: String,
    device: &std::result::Result<Device, String>,
    run: impl FnOnce(&Device) -> Result<()> + Send + 'static,
) -> Trial {
    let device = device.clone();
    Trial::ignorable_test(name, move || match device {
        Ok(device) => {
            run(&device)?;
            Ok(Completion::Completed)
        }
        Err(reason) if is_required() => Err(format!("required by BN_REQUIRE: {reason}").into()),
        Err(reason) => Ok(Completion::ignored_with(reason)),
    })
}

fn is_required() -> bool {
    let required = std::env::var("BN_REQUIRE").unwrap_or_default();
    required.split(',').any(|name| name.trim() == "cuda")
}

/// Every layout, epilogue and mode, held to the same step in `f64` on the CPU.
fn beside_the_cpu(dtype: DType, device: &Device) -> Result<()> {
    for case in Case::all(dtype) {
        let operands = Operands::new(&case)?;
        let found = operands.on(device)?.step(&case)?;
        let expected = operands.in_double()?.step(&Case { transposed: false, ..case })?;
        agree(&found, &expected, tolerance(dtype), &case)?;
    }
    Ok(())
}
