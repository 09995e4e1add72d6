//! Forward and backward of one layer and of a conv–bn–relu block, candle_nn's beside this crate's.
//!
//! ```text
//! cargo run --release --example layer_bench -p bn-candle
//! cargo run --release --example layer_bench -p bn-candle -- --shapes resnet50/8x --rounds 5 --threads 1
//! ```
//!
//! All contenders take turns in one run, and a figure is the median of the rounds. Backward starts at y with a
//! gradient of ones, so that no loss is measured. The peak of the heap is what the allocator counts
//! above what was there before forward. A second table takes this crate's time apart: the kernels alone
//! on memory that is there, and what candle does around them.
#![allow(clippy::print_stdout, reason = "a program that talks to people")]

mod contenders;
mod parts;
mod table;

use bn_conformance::shapes;
use candle_core::{Error, Result};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

fn main() -> Result<()> {
    let settings = Settings::read()?;
    if let Some(threads) = settings.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build_global().map_err(Error::wrap)?;
    }
    println!("threads: {}, rounds: {}\n", rayon::current_num_threads(), settings.rounds);
    let [mut layers, mut views, mut blocks] = [Vec::new(), Vec::new(), Vec::new()];
    let mut parts = Vec::new();
    for shape in shapes::matching(&settings.shapes) {
        let dims = shape.dims(bn_core::Layout::ChannelsFirst);
        layers.push((shape.label(), contenders::layer(&dims, settings.rounds)?));
        parts.push((shape.label(), parts::of_layer(&dims, settings.rounds)?));
        views.push((shape.label(), contenders::view(&dims, settings.rounds)?));
        if shape.elements() <= settings.largest_block {
            blocks.push((shape.label(), contenders::block(&dims, settings.rounds)?));
        }
    }
    println!("One layer, milliseconds\n{}\n", table::compared(&layers));
    println!("Its parts, milliseconds\n{}\n", table::of_parts(&parts));
    println!("Channels-last, seen channels-first\n{}\n", table::compared(&views));
    println!("conv 1×1 – bn – relu, milliseconds\n{}", table::compared(&blocks));
    Ok(())
}

struct Settings {
    shapes: String,
    rounds: usize,
    threads: Option<usize>,
    /// The largest number of values that a block is tried with: candle's convolution takes its time.
    largest_block: usize,
}

impl Settings {
    fn read() -> Result<Self> {
        let shapes = "resnet50/32x64x112x112".to_owned();
        let mut settings = Self { shapes, rounds: 5, threads: None, largest_block: 1 << 21 };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let value = arguments.next().unwrap_or_default();
            let number = || {
                let number = value.parse().ok().filter(|&number| number > 0);
                number.ok_or_else(|| usage(&format!("{argument} takes a number, not {value:?}")))
            };
            match argument.as_str() {
                "--shapes" => settings.shapes = value,
                "--rounds" => settings.rounds = number()?,
                "--threads" => settings.threads = Some(number()?),
                "--largest-block" => settings.largest_block = number()?,
                _ => return Err(usage(&format!("unknown argument {argument:?}"))),
            }
        }
        if shapes::matching(&settings.shapes).is_empty() {
            return Err(usage(&format!("no shape is called {:?}", settings.shapes)));
        }
        Ok(settings)
    }
}

fn usage(problem: &str) -> Error {
    Error::msg(format!(
        "{problem}\nusage: layer_bench [--shapes NAME] [--rounds N] [--threads N] [--largest-block N]"
    ))
}
