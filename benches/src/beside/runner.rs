//! A runner's process, and the talk with it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command as Process, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::Contender;
use crate::protocol::{Answer, Command, Configuration};

/// The variables by which libraries learn how many threads to start.
const THREAD_VARIABLES: [&str; 5] = [
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
];

/// A process that has been started. It ends when this is dropped.
pub(super) struct Runner {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Runner {
    /// Starts a contender behind a prefix that pins it. What it prints goes to a file below `logs`.
    pub(super) fn start(
        contender: &Contender,
        threads: usize,
        pin: &[String],
        logs: &Path,
    ) -> Result<Self> {
        let words: Vec<&String> = pin.iter().chain(&contender.command).collect();
        let (program, arguments) = words.split_first().context("a contender without a command")?;
        let log = File::create(logs.join(format!("{}-{threads}.log", contender.key)))?;
        let mut process = Process::new(program);
        process.args(arguments).envs(&contender.environment);
        process.envs(THREAD_VARIABLES.map(|name| (name, threads.to_string())));
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        // Ctrl-C is for whoever started the bench; runners are told by their input's end.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut process, 0);
        let mut child = process.spawn().with_context(|| format!("{program} did not start"))?;
        let stdin = child.stdin.take().context("a runner without an input")?;
        let stdout = child.stdout.take().context("a runner without an output")?;
        Ok(Self { child, stdin, stdout: BufReader::new(stdout) })
    }

    /// Says something and waits for the answer.
    pub(super) fn ask(&mut self, command: &Command) -> Result<Answer> {
        writeln!(self.stdin, "{}", serde_json::to_string(command)?)
            .context("the runner has ended")?;
        let mut line = String::new();
        ensure!(self.stdout.read_line(&mut line)? > 0, "the runner has ended");
        let answer: Answer =
            serde_json::from_str(&line).with_context(|| format!("no answer: {}", line.trim()))?;
        match answer.error {
            Some(error) => bail!("{error}"),
            None => Ok(answer),
        }
    }

    /// Has it get ready; an error where it refuses.
    pub(super) fn prepare(&mut self, configuration: &Configuration) -> Result<()> {
        match self.ask(&Command::Prepare(configuration.clone()))?.refused {
            Some(reason) => bail!("{reason}"),
            None => Ok(()),
        }
    }

    /// Milliseconds of one iteration, the mean of so many.
    pub(super) fn time(&mut self, iterations: u32) -> Result<f64> {
        let answer = self.ask(&Command::Run { iterations })?;
        answer.milliseconds.context("the runner did not say how long it took")
    }
}

impl Drop for Runner {
    /// A runner holds nothing that it would have to put in order: it is not waited for.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
