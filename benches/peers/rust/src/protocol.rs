//! The commands, the answers, and the loop that turns one into the other.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};

/// A line of standard input.
#[derive(Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
enum Command {
    Hello,
    Prepare(Configuration),
    Check,
    Run { iterations: u32 },
    Quit,
}

/// What is to be measured.
#[derive(Deserialize)]
pub(crate) struct Configuration {
    pub(crate) operation: Operation,
    pub(crate) layout: String,
    pub(crate) dtype: String,
    /// As the arrays have it: channels at index 1, or last.
    pub(crate) shape: Vec<usize>,
    pub(crate) inputs: PathBuf,
    pub(crate) outputs: PathBuf,
    pub(crate) eps: f64,
    pub(crate) momentum: f64,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Operation {
    Training,
    Inference,
    Backward,
}

/// What a framework is called, and what a reader of its figures has to know.
pub(crate) struct Hello {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) notes: &'static [&'static str],
}

/// A framework that can be timed.
pub(crate) trait Peer {
    fn hello(&self) -> Hello;

    /// Reads the inputs and builds the layer. `Some` is a reason why it cannot do what is asked.
    fn prepare(&mut self, configuration: Configuration) -> Result<Option<String>>;

    /// Runs once and writes the outputs.
    fn check(&mut self) -> Result<()>;

    /// Runs once beside the clock, then so often, and adds up what the operation itself took.
    fn run(&mut self, iterations: u32) -> Result<Duration>;
}

/// Answers commands until `quit` or the end of input.
pub(crate) fn serve(peer: &mut dyn Peer) -> Result<()> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?) {
            Ok(Command::Quit) => return Ok(()),
            Ok(command) => answer(peer, command),
            Err(error) => Err(error.into()),
        };
        let answer = answer.unwrap_or_else(|error| json!({ "error": format!("{error:#}") }));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn answer(peer: &mut dyn Peer, command: Command) -> Result<Value> {
    Ok(match command {
        Command::Hello => {
            let Hello { name, version, notes } = peer.hello();
            json!({ "name": name, "version": version, "notes": notes })
        }
        Command::Prepare(configuration) => match peer.prepare(configuration)? {
            None => json!({}),
            Some(reason) => json!({ "refused": reason }),
        },
        Command::Check => {
            peer.check()?;
            json!({})
        }
        Command::Run { iterations } => {
            let time = peer.run(iterations)?;
            json!({ "milliseconds": time.as_secs_f64() * 1e3 / f64::from(iterations) })
        }
        Command::Quit => json!({}),
    })
}

/// Why neither of these crates takes a configuration, if they do not.
pub(crate) fn why_not(configuration: &Configuration) -> Option<String> {
    let Configuration { layout, dtype, .. } = configuration;
    if layout != "channels-first" {
        return Some("its batch normalisation takes channels at dimension 1 only".to_owned());
    }
    (dtype != "f32").then(|| format!("measured in f32 only, not {dtype}"))
}
