//! A whole comparison: runners started, inputs made, results judged, times taken.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::inputs::Inputs;
use super::judge::{EPS, Expected};
use super::runner::Runner;
use super::turns::{self, Turn, quantile};
use super::{
    Contender, Hello, Line, Measured, Plan, Progress, Record, Role, accuracy, memory, pinning,
};
use crate::protocol::{Command, Configuration};
use crate::{Case, Selection};

/// Who is further from the reference than this at mean 0 is wrong, and is not timed.
const WRONG: f64 = 1e-3;

/// The mean that shows who takes differences of large numbers.
const FAR: f64 = 1e4;

/// The most values of a tensor in the comparison at [`FAR`].
const FAR_ELEMENTS: usize = 1 << 19;

const MOMENTUM: f64 = 0.1;

/// Runs the cases of a selection, number of threads by number of threads, and emits a line for each
/// contender and each case; where it sweeps, also for each operation's errors by the mean of its inputs.
/// What `stop` interrupts is not emitted; what was before it is.
///
/// # Errors
///
/// Where files cannot be written. What goes wrong in a runner is in the lines.
pub fn run(
    plan: &Plan,
    selection: &Selection,
    stop: &dyn Fn() -> bool,
    emit: &mut dyn FnMut(&Line),
) -> Result<()> {
    let cases: Vec<Case> = selection.cases().into_iter().map(|(case, _)| case).collect();
    check(&cases)?;
    let mut numbers: Vec<usize> = cases.iter().map(|case| case.threads).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let of_first: Vec<Case> =
        cases.iter().filter(|case| numbers.first() == Some(&case.threads)).copied().collect();
    let by_mean = if selection.sweeps() { accuracy::cases(&of_first) } else { Vec::new() };
    let work = |case: &Case| work(case, plan.contenders.len());
    let whole = cases.iter().map(work).sum::<u64>() + by_mean.len() as u64 * WORK_BY_MEAN;
    let progress = Progress::new(whole);
    for (index, &threads) in numbers.iter().enumerate() {
        if stop() {
            break;
        }
        progress.say(format!("starting everyone, to run on {threads} of the cores"));
        let mut session = Session::start(plan, threads)?;
        for hello in session.hellos.drain(..) {
            if let Some(reason) = &hello.left_out {
                progress.print(&format!("{}: left out: {reason}", hello.key));
            }
            if index == 0 {
                emit(&Line::Contender(hello));
            }
        }
        for case in by_mean.iter().filter(|case| case.threads == threads) {
            if stop() {
                break;
            }
            progress.say(format!("{}/{}: errors by mean", case.operation.name(), case.layout));
            emit(&Line::Accuracy(accuracy::of(&mut session, case)?));
            progress.advance(WORK_BY_MEAN);
        }
        for case in cases.iter().filter(|case| case.threads == threads) {
            if stop() {
                break;
            }
            if let Some(record) = session.measure(case, &progress, stop)? {
                emit(&Line::Case(record));
            }
            progress.advance(work(case));
        }
    }
    progress.finish();
    Ok(())
}

/// How long a case takes, in a unit of its own: a part for starting it and a part for its size.
fn work(case: &Case, contenders: usize) -> u64 {
    let is_measured = memory::shortage(case, contenders).is_none();
    40_000_000 + if is_measured { case.bytes() } else { 0 }
}

/// The same of an operation's errors by mean.
const WORK_BY_MEAN: u64 = 40_000_000;

/// The runners for one number of threads.
pub(super) struct Session<'a> {
    plan: &'a Plan,
    runners: Vec<(&'a Contender, Option<Runner>)>,
    hellos: Vec<Hello>,
    outputs: PathBuf,
}

impl<'a> Session<'a> {
    fn start(plan: &'a Plan, threads: usize) -> Result<Self> {
        let (logs, outputs) = (plan.scratch.join("logs"), plan.scratch.join("outputs"));
        fs::create_dir_all(&logs)?;
        fs::create_dir_all(&outputs)?;
        let pin = pinning::prefix(threads);
        // All are started before the first is talked to: libraries take seconds to load.
        let start = |contender| (contender, Runner::start(contender, threads, &pin, &logs));
        let started: Vec<_> = plan.contenders.iter().map(start).collect();
        let (mut runners, mut hellos) = (Vec::new(), Vec::new());
        for (contender, started) in started {
            let started = started.and_then(|mut runner| {
                let answer = runner.ask(&Command::Hello)?;
                Ok((runner, answer))
            });
            let mut hello = Hello {
                key: contender.key.clone(),
                role: contender.role,
                name: None,
                version: None,
                notes: Vec::new(),
                left_out: None,
            };
            let runner = match started {
                Ok((runner, answer)) => {
                    (hello.name, hello.version, hello.notes) =
                        (answer.name, answer.version, answer.notes);
                    Some(runner)
                }
                Err(error) => {
                    hello.left_out = Some(format!("{error:#}"));
                    None
                }
            };
            if pin.is_empty() {
                hello.notes.push("not pinned to cores: no taskset, or too few cores".to_owned());
            }
            runners.push((contender, runner));
            hellos.push(hello);
        }
        Ok(Self { plan, runners, hellos, outputs })
    }

    /// A folder for files of this session.
    pub(super) fn folder(&self, name: &str) -> PathBuf {
        self.plan.scratch.join(name)
    }

    /// Everyone's name, in the order of the plan.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.runners.iter().map(|(contender, _)| contender.key.as_str())
    }

    /// One case; `None` where it was interrupted: half its rounds are no measurement.
    fn measure(
        &mut self,
        case: &Case,
        progress: &Progress,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Record>> {
        let before = load();
        let name = format!("{}/{}/{}", case.operation.name(), case.function(), case.shape);
        progress.say(format!("{name}: comparing results"));
        let nothing = |key: &str| Measured { key: key.to_owned(), ..Measured::default() };
        let mut measured: Vec<Measured> = self.keys().map(nothing).collect();
        if let Some(reason) = memory::shortage(case, self.runners.len()) {
            progress.print(&format!("{name}: left out: {reason}"));
            measured.iter_mut().for_each(|one| one.left_out = Some(reason.clone()));
            return Ok(Some(record(case, [before, load()], measured)));
        }
        self.judge_far(case, &mut measured)?;
        self.prepare(case, &mut measured)?;
        if stop() {
            return Ok(None);
        }
        progress.say(format!("{name}: in turns"));
        self.time(&mut measured, stop);
        if stop() {
            return Ok(None);
        }
        for one in &measured {
            if let Some(reason) = &one.left_out {
                progress.print(&format!("{name}: {} left out: {reason}", one.key));
            }
        }
        let ours = measured.iter().find(|one| one.times_ours.is_some());
        if let Some(time) = ours.and_then(|ours| ours.milliseconds) {
            progress.print(&format!("{name}: ours {time:.3} ms"));
        }
        Ok(Some(record(case, [before, load()], measured)))
    }

    /// Everyone's error at a mean far from 0, on a batch that the reference gets through quickly.
    fn judge_far(&mut self, case: &Case, measured: &mut [Measured]) -> Result<()> {
        let batch = case.shape.batch();
        let affordable = FAR_ELEMENTS / (case.shape.elements() / batch);
        let shape = case.shape.with_batch(affordable.clamp(2.min(batch), batch));
        let folder = self.folder("inputs-far");
        let dims = shape.dims(case.layout);
        let inputs = Inputs::write(case.operation, &dims, case.layout, FAR, &folder)?;
        let expected = Expected::of(&inputs)?;
        for (one, found) in measured.iter_mut().zip(self.errors(case, &inputs, &expected)?) {
            // Whatever is wrong here comes up again with the timed inputs, where it is told.
            one.error_far = found.and_then(Result::ok);
        }
        Ok(())
    }

    /// Has everyone read the timed inputs, and judges what they make of them.
    fn prepare(&mut self, case: &Case, measured: &mut [Measured]) -> Result<()> {
        let folder = self.folder("inputs");
        let dims = case.shape.dims(case.layout);
        let inputs = Inputs::write(case.operation, &dims, case.layout, 0.0, &folder)?;
        let expected = Expected::of(&inputs)?;
        let errors = self.errors(case, &inputs, &expected)?;
        for ((one, found), (contender, runner)) in
            measured.iter_mut().zip(errors).zip(&mut self.runners)
        {
            match found {
                Some(Ok(error)) if error <= WRONG => one.error = Some(error),
                Some(Ok(error)) => {
                    one.left_out = Some(format!("its result is wrong by {error:.1e}"));
                }
                Some(Err(error)) => one.left_out = Some(format!("{error:#}")),
                None if contender.role == Role::Limit => {
                    let configuration = configuration(case, &inputs, &self.outputs);
                    let prepared = runner.as_mut().map(|runner| runner.prepare(&configuration));
                    if let Some(Err(error)) = prepared {
                        one.left_out = Some(format!("{error:#}"));
                    }
                }
                None => one.left_out = Some("it did not start".to_owned()),
            }
        }
        Ok(())
    }

    /// Prepares and checks everyone but the limit: an error by the reference, or what went wrong.
    pub(super) fn errors(
        &mut self,
        case: &Case,
        inputs: &Inputs,
        expected: &Expected,
    ) -> Result<Vec<Option<Result<f64>>>> {
        let configuration = configuration(case, inputs, &self.outputs);
        let mut errors = Vec::new();
        for (contender, runner) in &mut self.runners {
            let runner = runner.as_mut().filter(|_| contender.role != Role::Limit);
            errors.push(runner.map(|runner| {
                runner.prepare(&configuration)?;
                runner.ask(&Command::Check)?;
                expected.error_of(&self.outputs)
            }));
            // Nobody is judged by what another one wrote.
            fs::remove_dir_all(&self.outputs)
                .and_then(|()| fs::create_dir_all(&self.outputs))
                .with_context(|| format!("{}", self.outputs.display()))?;
        }
        Ok(errors)
    }

    fn time(&mut self, measured: &mut [Measured], stop: &dyn Fn() -> bool) {
        let (mut turns, mut places) = (Vec::new(), Vec::new());
        let mut ours = None;
        for (place, (contender, runner)) in self.runners.iter_mut().enumerate() {
            let Some(runner) = runner.as_mut().filter(|_| measured[place].left_out.is_none())
            else {
                continue;
            };
            match Turn::new(runner, self.plan.rounds) {
                Ok(turn) => {
                    if contender.role == Role::Ours && ours.is_none() {
                        ours = Some(turns.len());
                    }
                    turns.push(turn);
                    places.push(place);
                }
                Err(error) => measured[place].left_out = Some(format!("{error:#}")),
            }
        }
        turns::take(&mut turns, self.plan.rounds, stop);
        let ours = ours.map(|index| turns[index].times.clone()).unwrap_or_default();
        for (turn, place) in turns.iter().zip(places) {
            let one = &mut measured[place];
            if let Some(error) = &turn.failure {
                one.left_out = Some(format!("{error:#}"));
                continue;
            }
            let quartile = |share| quantile(&turn.times, share);
            one.rounds = turn.times.len();
            one.milliseconds = quartile(0.5);
            one.quartiles = quartile(0.25).zip(quartile(0.75)).map(|(low, high)| [low, high]);
            let ratios: Vec<f64> =
                turn.times.iter().zip(&ours).map(|(time, ours)| time / ours).collect();
            one.times_ours = quantile(&ratios, 0.5);
        }
    }
}

fn record(case: &Case, load: [Option<f64>; 2], contenders: Vec<Measured>) -> Record {
    Record {
        operation: case.operation.name(),
        layout: case.layout.name(),
        dtype: case.dtype.name(),
        threads: case.threads,
        shape: case.shape.to_string(),
        tensor_bytes: case.tensor_bytes(),
        bytes: case.bytes(),
        load,
        contenders,
    }
}

fn configuration(case: &Case, inputs: &Inputs, outputs: &Path) -> Configuration {
    Configuration {
        operation: case.operation.name().to_owned(),
        layout: case.layout.name().to_owned(),
        dtype: case.dtype.name().to_owned(),
        shape: inputs.dims.clone(),
        threads: case.threads,
        inputs: inputs.folder.clone(),
        outputs: outputs.to_owned(),
        eps: EPS,
        momentum: MOMENTUM,
    }
}

/// How many processes want a core, over the last minute, where the system says so.
fn load() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// Refuses what no runner takes before anything is started.
fn check(cases: &[Case]) -> Result<()> {
    use crate::Operation::{Backward, Inference, Training};
    for case in cases {
        let is_known = matches!(case.operation, Training | Inference | Backward);
        ensure!(
            is_known && case.dtype == bn_core::DType::F32,
            "training, inference and backward in f32 are compared, not {} in {}",
            case.operation.name(),
            case.dtype
        );
    }
    Ok(())
}
