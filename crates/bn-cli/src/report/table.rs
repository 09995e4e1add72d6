//! Tables and paragraphs on stdout, no wider than the terminal or 100 columns.

use std::io::{self, Write};

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

use crate::failure::Failure;

/// Where nothing says how wide a line may be, and the most where something does.
const WIDTH: u16 = 100;

/// A table; the columns from `numbers` on are aligned to the right.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>, numbers: usize) -> Table {
    let mut table = Table::new();
    let cell = |(column, text): (usize, &str)| {
        let alignment = if column >= numbers { CellAlignment::Right } else { CellAlignment::Left };
        Cell::new(text).set_alignment(alignment)
    };
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    let width = table.width().unwrap_or(WIDTH).min(WIDTH);
    table.set_width(width);
    table.set_header(header.iter().copied().enumerate().map(cell));
    for row in &rows {
        table.add_row(row.iter().map(String::as_str).enumerate().map(cell));
    }
    table
}

/// Text wrapped at 80 columns.
pub(crate) fn paragraph(text: &str) -> String {
    const COLUMNS: usize = 80;
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines.join("\n")
}

/// Prints one JSON document.
pub(crate) fn print_json(document: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(document)
        .map_err(|error| Failure::Failed(format!("the report could not be made: {error}")))?;
    write_out(&text)
}

/// Prints a text and a line break.
pub(crate) fn write_out(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    written.map_err(|error| Failure::printing(&error))
}
