//! `bn backends`: what there is to choose from.

use std::fmt::Display;

use bn::{BackendEntry, Status};
use serde::Serialize;

use crate::args::BackendsArgs;
use crate::failure::Failure;
use crate::report::{print_json, table, write_out};

/// Prints every known backend and where it stands.
pub(crate) fn backends(args: &BackendsArgs) -> Result<(), Failure> {
    let entries = bn::backends();
    if args.json {
        let backends: Vec<_> = entries.iter().map(Row::new).collect();
        return print_json(&serde_json::json!({ "command": "backends", "backends": backends }));
    }
    let header = ["backend", "status", "device", "instruction set", "element types", "layouts"];
    let rows = entries.iter().map(|entry| {
        let row = Row::new(entry);
        let status = match row.reason {
            Some(reason) => format!("{}: {reason}", row.status),
            None => row.status.into(),
        };
        vec![
            row.name.into(),
            status,
            row.device,
            row.instruction_set,
            row.element_types.join(" "),
            row.layouts.join(" "),
        ]
    });
    write_out(&table(&header, rows.collect(), usize::MAX).to_string())
}

/// One backend, as the JSON document has it.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    /// `available`, `unavailable` or `left out`.
    status: &'static str,
    /// Why it is not available.
    reason: Option<String>,
    device: String,
    instruction_set: String,
    element_types: Vec<String>,
    layouts: Vec<String>,
}

impl Row {
    fn new(entry: &BackendEntry) -> Self {
        let nothing = |status, reason| Self {
            name: entry.name,
            status,
            reason: Some(reason),
            device: String::new(),
            instruction_set: String::new(),
            element_types: Vec::new(),
            layouts: Vec::new(),
        };
        match &entry.status {
            Status::Available { device, dtypes, layouts, .. } => Self {
                name: entry.name,
                status: "available",
                reason: None,
                device: device.label.clone(),
                instruction_set: device.instruction_set.clone(),
                element_types: texts(dtypes),
                layouts: texts(layouts),
            },
            Status::Unavailable { reason } => nothing("unavailable", reason.clone()),
            Status::LeftOut { feature } => {
                nothing("left out", format!("the build had no feature `{feature}`"))
            }
        }
    }
}

fn texts(values: &[impl Display]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}
