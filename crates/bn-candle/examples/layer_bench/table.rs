//! The tables.

use comfy_table::{CellAlignment, LineStyle, Table, presets};

use crate::contenders::Cost;
use crate::parts::Parts;

/// The contenders beside the first of them.
pub(crate) fn compared(shapes: &[(String, Vec<Cost>)]) -> Table {
    let mut table = with_header(&[
        "shape",
        "layer",
        "forward",
        "backward",
        "both",
        "times faster",
        "peak heap, MB",
        "of candle_nn's",
    ]);
    for (shape, costs) in shapes {
        let Some(reference) = costs.first() else { continue };
        for cost in costs {
            let both = cost.both();
            table.add_row([
                shape.clone(),
                cost.name.to_owned(),
                format!("{:.2}", cost.forward),
                format!("{:.2}", cost.backward),
                format!("{both:.2}"),
                format!("{:.2}", reference.both() / both),
                format!("{:.1}", cost.peak as f64 / 1e6),
                format!("{:.2}", cost.peak as f64 / reference.peak as f64),
            ]);
        }
    }
    // The first shape names the contenders; each has a cost on every shape.
    if let (Some((_, named)), true) = (shapes.first(), shapes.len() > 1) {
        for (index, contender) in named.iter().enumerate().skip(1) {
            let mean = |ratio: fn(&Cost, &Cost) -> f64| {
                let logarithms =
                    shapes.iter().map(|(_, costs)| ratio(&costs[0], &costs[index]).ln());
                (logarithms.sum::<f64>() / shapes.len() as f64).exp()
            };
            let faster = mean(|reference, cost| reference.both() / cost.both());
            let memory = mean(|reference, cost| cost.peak as f64 / reference.peak as f64);
            let mut row = vec!["geometric mean".to_owned(), contender.name.to_owned()];
            row.extend(["", "", ""].map(str::to_owned));
            row.extend([format!("{faster:.2}"), String::new(), format!("{memory:.2}")]);
            table.add_row(row);
        }
    }
    aligned(table)
}

/// What this crate's layer is made of.
pub(crate) fn of_parts(shapes: &[(String, Parts)]) -> Table {
    let mut table = with_header(&[
        "shape",
        "forward kernel",
        "backward kernel",
        "a fresh tensor",
        "candle: ones",
        "candle: zeros and sum",
    ]);
    for (shape, parts) in shapes {
        let times = [parts.forward, parts.backward, parts.fresh, parts.seed, parts.accumulate];
        let mut row = vec![shape.clone()];
        row.extend(times.map(|time| format!("{time:.2}")));
        table.add_row(row);
    }
    aligned(table)
}

fn with_header(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()))
        .set_header(header);
    table
}

fn aligned(mut table: Table) -> Table {
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
