//! Forward and backward of one layer and of a conv–bn–relu block, candle_nn's beside this crate's.
//!
//! ```text
//! cargo run --release --example layer_bench -p bn-candle
//! cargo run --release --example layer_bench -p bn-candle -- --shapes 32x64x112x112 --tables layer,parts --threads 1
//! cargo xtask bench --only layer
//! ```
//!
//! All contenders take turns in one run, each first without a clock, and a figure is the median of the
//! rounds. Backward starts at y with a gradient of ones, so that no loss is measured. The peak of the
//! heap is what the allocator counts above what was there before forward. Another table takes this
//! crate's time apart: the kernels alone on memory that is there, and what candle does around them.
#![allow(clippy::print_stdout, reason = "a program that talks to people")]

mod contenders;
#[path = "../heap/mod.rs"]
mod heap;
mod parts;
mod settings;
mod table;

use candle_core::{Error, Result};
use heap::Heap;
use indicatif::{ProgressBar, ProgressStyle};
use settings::{Settings, Table};

#[global_allocator]
static HEAP: Heap = Heap::new();

fn main() -> Result<()> {
    let settings = Settings::read(std::env::args().skip(1))?;
    if let Some(threads) = settings.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build_global().map_err(Error::wrap)?;
    }
    println!("threads: {}, rounds: {}", rayon::current_num_threads(), settings.rounds);
    for &table in &settings.tables {
        println!("\n{}\n{}", table.title(), measured(&settings, table)?);
    }
    Ok(())
}

/// One table, over all shapes; a progress bar is drawn where standard error is a terminal.
fn measured(settings: &Settings, table: Table) -> Result<comfy_table::Table> {
    let style = ProgressStyle::with_template("{bar:30} {elapsed:>4} {msg}").map_err(Error::wrap)?;
    let bar = ProgressBar::new(settings.shapes.len() as u64).with_style(style);
    let (mut costs, mut parts) = (Vec::new(), Vec::new());
    for shape in &settings.shapes {
        let (label, rounds) = (shape.label(), settings.rounds);
        bar.set_message(label.clone());
        let dims = shape.dims(bn_core::Layout::ChannelsFirst);
        match table {
            Table::Layer => costs.push((label, contenders::layer(&dims, rounds)?)),
            Table::View => costs.push((label, contenders::view(&dims, rounds)?)),
            Table::Block => costs.push((label, contenders::block(&dims, rounds)?)),
            Table::Parts => parts.push((label, parts::of_layer(&dims, rounds)?)),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(if table == Table::Parts { table::of_parts(&parts) } else { table::compared(&costs) })
}
