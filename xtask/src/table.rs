//! Tables, all alike.

use std::io::IsTerminal;

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, presets};

/// A column's heading and how its cells are set.
pub(crate) enum Column<'a> {
    /// Words, to the left.
    Text(&'a str),
    /// Figures, to the right.
    Number(&'a str),
}

/// An empty table. Words wrap on a terminal; output that is piped has one line for each row.
pub(crate) fn new(columns: &[Column<'_>]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()));
    if std::io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.set_header(columns.iter().map(|column| match column {
        Column::Text(heading) | Column::Number(heading) => *heading,
    }));
    for (index, column) in columns.iter().enumerate() {
        if let (Column::Number(_), Some(settings)) = (column, table.column_mut(index)) {
            settings.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
