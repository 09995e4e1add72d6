//! The trainings side by side.

use comfy_table::{CellAlignment, LineStyle, Table, presets};

use crate::training::{Run, mean};

/// Loss and accuracy by epoch, then time and memory, all beside candle_nn's.
pub(crate) fn print(runs: &[Run]) {
    let [reference, ..] = runs else { return };
    let mut curves = table();
    let mut header = vec!["epoch".to_owned()];
    header.extend(runs.iter().map(|run| format!("loss, {}", run.layer)));
    header.extend(runs.iter().map(|run| format!("held out, {}", run.layer)));
    curves.set_header(header);
    for epoch in 0..reference.accuracy.len() {
        let of_epoch =
            |run: &Run| mean(&run.losses[epoch * run.batches..(epoch + 1) * run.batches]);
        let mut row = vec![(epoch + 1).to_string()];
        row.extend(runs.iter().map(|run| format!("{:.5}", of_epoch(run))));
        row.extend(runs.iter().map(|run| format!("{:.2} %", run.accuracy[epoch] * 100.0)));
        curves.add_row(row);
    }
    println!("{}\n", aligned(curves));

    let mut costs = table();
    costs.set_header([
        "layer",
        "seconds",
        "times faster",
        "peak heap, MB",
        "peak resident, MB",
        "loss differs, first batch",
        "first epoch",
        "all",
    ]);
    for run in runs {
        let difference = |batches: usize| {
            let pairs = run.losses.iter().zip(&reference.losses).take(batches);
            let largest = pairs.map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
            format!("{largest:.1e}")
        };
        let megabytes = |bytes: usize| format!("{:.1}", bytes as f64 / 1e6);
        costs.add_row([
            run.layer.clone(),
            format!("{:.2}", run.seconds),
            format!("{:.2}", reference.seconds / run.seconds),
            megabytes(run.peak_heap),
            run.peak_resident.map_or_else(|| "unknown".to_owned(), megabytes),
            difference(1),
            difference(run.batches),
            difference(run.losses.len()),
        ]);
    }
    println!("{}", aligned(costs));
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()));
    table
}

fn aligned(mut table: Table) -> Table {
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
