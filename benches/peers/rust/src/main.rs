//! Other Rust crates behind the line protocol of `benches/peers/PROTOCOL.md`.
//!
//! `bn-peers candle-nn` or `bn-peers burn` reads commands from standard input and answers on standard
//! output, one JSON object a line, until `quit` or the end of input.
#![forbid(unsafe_code)]

mod arrays;
mod burn_flex;
mod candle;
mod protocol;

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    let name = env::args().nth(1).unwrap_or_default();
    let served = match name.as_str() {
        "candle-nn" => protocol::serve(&mut candle::Candle::default()),
        "burn" => protocol::serve(&mut burn_flex::Burn::default()),
        _ => {
            eprintln!("error: one argument, `candle-nn` or `burn`, and not `{name}`");
            return ExitCode::from(2);
        }
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
