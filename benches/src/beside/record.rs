//! What comes of a comparison: the lines that the program prints.

use serde::Serialize;

use super::Role;

/// A line of output.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// A contender has introduced itself.
    Contender(Hello),
    /// A case has been measured.
    Case(Record),
    /// An operation has been computed at growing means.
    Accuracy(Accuracy),
}

/// What a contender says of itself, or why it does not take part.
#[derive(Clone, Debug, Serialize)]
pub struct Hello {
    /// As in the plan.
    pub key: String,
    /// As in the plan.
    pub role: Role,
    /// The library.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// What a reader of its figures has to know.
    pub notes: Vec<String>,
    /// Why it does not take part.
    pub left_out: Option<String>,
}

/// One case.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// `training`, `inference` or `backward`.
    pub operation: &'static str,
    /// `channels-first` or `channels-last`.
    pub layout: &'static str,
    /// `f32`.
    pub dtype: &'static str,
    /// How many threads each contender had.
    pub threads: usize,
    /// File and dimensions.
    pub shape: String,
    /// The bytes of one tensor.
    pub tensor_bytes: usize,
    /// The least bytes that the operation moves.
    pub bytes: u64,
    /// The load average of the machine before and after.
    pub load: [Option<f64>; 2],
    /// In the order of the plan.
    pub contenders: Vec<Measured>,
}

/// What came of one contender in one case.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measured {
    /// As in the plan.
    pub key: String,
    /// The median over rounds.
    pub milliseconds: Option<f64>,
    /// The lower and the upper quartile over rounds.
    pub quartiles: Option<[f64; 2]>,
    /// The median over rounds of its time by that of the first of ours in the same round.
    pub times_ours: Option<f64>,
    /// How many rounds it took part in; a slow one takes part in fewer.
    pub rounds: usize,
    /// The largest error by the largest value, with inputs of mean 0, at the timed shape.
    pub error: Option<f64>,
    /// The same with inputs of mean 10 000, at a smaller batch.
    pub error_far: Option<f64>,
    /// Why it was not timed.
    pub left_out: Option<String>,
}

/// How far from the reference an operation is as the mean of its inputs grows.
#[derive(Clone, Debug, Serialize)]
pub struct Accuracy {
    /// `training`, `inference` or `backward`.
    pub operation: &'static str,
    /// `channels-first` or `channels-last`.
    pub layout: &'static str,
    /// File and dimensions.
    pub shape: String,
    /// The means; values spread by 2 around them.
    pub means: Vec<f64>,
    /// Those who took part, in the order of the plan.
    pub contenders: Vec<Errors>,
}

/// One contender's errors.
#[derive(Clone, Debug, Serialize)]
pub struct Errors {
    /// As in the plan.
    pub key: String,
    /// At each mean the largest error by the largest value.
    pub errors: Vec<Option<f64>>,
}
