//! The line protocol of the runners, which `benches/peers/PROTOCOL.md` describes: its lines as types, and
//! the loop of a runner that is written in this crate.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// A line to a runner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub enum Command {
    /// Who are you?
    Hello,
    /// Read the inputs of a configuration and be ready for it.
    Prepare(Configuration),
    /// Run once and write the outputs.
    Check,
    /// Run so many times, after once beside the clock.
    Run {
        /// How many times.
        iterations: u32,
    },
    /// End.
    Quit,
}

/// What a runner is to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    /// `training`, `inference` or `backward`.
    pub operation: String,
    /// `channels-first` or `channels-last`.
    pub layout: String,
    /// `f32`.
    pub dtype: String,
    /// The dimensions in that layout.
    pub shape: Vec<usize>,
    /// How many threads may be used.
    pub threads: usize,
    /// The folder of `x.npy` and its like.
    pub inputs: PathBuf,
    /// The folder for `y.npy` and its like.
    pub outputs: PathBuf,
    /// Added to the variance inside the root.
    pub eps: f64,
    /// The weight of the new batch in the running statistics.
    pub momentum: f64,
}

/// A line from a runner. Which fields it has depends on the command.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// To `hello`: the library.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// To `hello`: its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// To `hello`: what a reader of the figures has to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// To `run`: the mean of the iterations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<f64>,
    /// To `prepare`: why the library cannot do it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// To anything: what went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Something that can be timed behind the protocol.
pub trait Subject {
    /// Its name, version and notes.
    fn hello(&self) -> Answer;

    /// Gets ready; `Some` is a reason why it cannot do what is asked.
    ///
    /// # Errors
    ///
    /// Inputs that cannot be read, and what the library says.
    fn prepare(&mut self, configuration: Configuration) -> Result<Option<String>>;

    /// Runs once and writes the outputs.
    ///
    /// # Errors
    ///
    /// Outputs that cannot be written, and what the library says.
    fn check(&mut self) -> Result<()>;

    /// Runs once beside the clock, then so often, and returns the time of these.
    ///
    /// # Errors
    ///
    /// What the library says.
    fn run(&mut self, iterations: u32) -> Result<Duration>;
}

/// Answers the commands on standard input until `quit` or its end.
///
/// # Errors
///
/// Where standard input cannot be read or standard output not written.
pub fn serve(subject: &mut dyn Subject) -> Result<()> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?) {
            Ok(Command::Quit) => return Ok(()),
            Ok(command) => answer(subject, command),
            Err(error) => Err(error.into()),
        };
        let answer = answer.unwrap_or_else(|error| {
            let error = Some(format!("{error:#}"));
            Answer { error, ..Answer::default() }
        });
        writeln!(out, "{}", serde_json::to_string(&answer)?)?;
        out.flush()?;
    }
    Ok(())
}

fn answer(subject: &mut dyn Subject, command: Command) -> Result<Answer> {
    let mut answer = Answer::default();
    match command {
        Command::Hello => answer = subject.hello(),
        Command::Prepare(configuration) => answer.refused = subject.prepare(configuration)?,
        Command::Check => subject.check()?,
        Command::Run { iterations } => {
            let time = subject.run(iterations)?.as_secs_f64();
            answer.milliseconds = Some(time * 1e3 / f64::from(iterations));
        }
        Command::Quit => {}
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_the_description_has_them() {
        let run: Command = serde_json::from_str(r#"{"command":"run","iterations":7}"#).unwrap();
        assert_eq!(run, Command::Run { iterations: 7 });
        assert_eq!(serde_json::to_string(&Command::Hello).unwrap(), r#"{"command":"hello"}"#);
        assert_eq!(serde_json::to_string(&Answer::default()).unwrap(), "{}");
        let refused: Answer = serde_json::from_str(r#"{"refused":"no"}"#).unwrap();
        assert_eq!(refused.refused.as_deref(), Some("no"));
    }
}
