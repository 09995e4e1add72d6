//! The results of a comparison: one JSON file, which tables, comparisons and the report are made from.

use std::fs;

use anyhow::{Context, Result};
use cargo_metadata::camino::Utf8Path;
use serde::{Deserialize, Serialize};

use super::create;
use super::machine::Machine;

/// An error that stands for results that are no numbers: `bn_bench` has the same.
pub(in crate::bench) const NO_NUMBER: f64 = 1e9;

/// Everything that one run of the command found out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::bench) struct Results {
    /// When it ended, in UTC.
    pub(in crate::bench) date: String,
    /// The commit that was checked out, with `+` where files had been changed.
    pub(in crate::bench) revision: String,
    /// `thorough`, `quick` or `smoke`.
    pub(in crate::bench) effort: String,
    pub(in crate::bench) rounds: usize,
    /// Whether it was ended before its time.
    pub(in crate::bench) is_interrupted: bool,
    pub(in crate::bench) machine: Machine,
    pub(in crate::bench) contenders: Vec<Contender>,
    pub(in crate::bench) cases: Vec<Case>,
    /// Results of earlier versions have none.
    #[serde(default)]
    pub(in crate::bench) accuracy: Vec<Accuracy>,
}

/// What a contender stands for: `bn_bench::beside::Role`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::bench) enum Role {
    Ours,
    Limit,
    Peer,
    Mark,
}

/// Who took part: `bn_bench::beside::Hello`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::bench) struct Contender {
    pub(in crate::bench) key: String,
    pub(in crate::bench) role: Role,
    pub(in crate::bench) name: Option<String>,
    pub(in crate::bench) version: Option<String>,
    pub(in crate::bench) notes: Vec<String>,
    pub(in crate::bench) left_out: Option<String>,
}

/// What was measured of one case: `bn_bench::beside::Record`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::bench) struct Case {
    pub(in crate::bench) operation: String,
    pub(in crate::bench) layout: String,
    pub(in crate::bench) dtype: String,
    pub(in crate::bench) threads: usize,
    pub(in crate::bench) shape: String,
    pub(in crate::bench) tensor_bytes: u64,
    pub(in crate::bench) bytes: u64,
    pub(in crate::bench) load: [Option<f64>; 2],
    pub(in crate::bench) contenders: Vec<Measured>,
}

/// What came of one contender in it: `bn_bench::beside::Measured`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::bench) struct Measured {
    pub(in crate::bench) key: String,
    pub(in crate::bench) milliseconds: Option<f64>,
    pub(in crate::bench) quartiles: Option<[f64; 2]>,
    pub(in crate::bench) times_ours: Option<f64>,
    pub(in crate::bench) rounds: usize,
    pub(in crate::bench) error: Option<f64>,
    pub(in crate::bench) error_far: Option<f64>,
    pub(in crate::bench) left_out: Option<String>,
}

/// Everyone's error in an operation as the mean of its inputs grows: `bn_bench::beside::Accuracy`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::bench) struct Accuracy {
    pub(in crate::bench) operation: String,
    pub(in crate::bench) layout: String,
    pub(in crate::bench) shape: String,
    pub(in crate::bench) means: Vec<f64>,
    pub(in crate::bench) contenders: Vec<Errors>,
}

/// One contender's error at each mean: `bn_bench::beside::Errors`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::bench) struct Errors {
    pub(in crate::bench) key: String,
    pub(in crate::bench) errors: Vec<Option<f64>>,
}

impl Results {
    pub(in crate::bench) fn read(path: &Utf8Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("{path} could not be read"))?;
        serde_json::from_str(&text).with_context(|| format!("{path} holds no results"))
    }

    pub(in crate::bench) fn write(&self, path: &Utf8Path) -> Result<()> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_str().is_empty()) {
            create(folder)?;
        }
        fs::write(path, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| format!("{path} could not be written"))
    }

    /// Takes in what an earlier run found out and this one did not measure again.
    pub(super) fn add(&mut self, earlier: Self) {
        let measured = std::mem::take(&mut self.cases);
        let is_new = |case: &Case| !measured.iter().any(|new| new.id() == case.id());
        self.cases = earlier.cases.into_iter().filter(is_new).collect();
        self.cases.extend(measured);
        let is_new = |one: &Accuracy| !self.accuracy.iter().any(|new| new.id() == one.id());
        let kept: Vec<_> = earlier.accuracy.into_iter().filter(is_new).collect();
        self.accuracy.splice(0..0, kept);
        for contender in earlier.contenders {
            if self.contenders.iter().all(|known| known.key != contender.key) {
                self.contenders.push(contender);
            }
        }
        self.is_interrupted |= earlier.is_interrupted;
    }

    /// The cases whose shapes are those of networks, not of the sweep of sizes.
    pub(in crate::bench) fn of_networks(&self) -> impl Iterator<Item = &Case> {
        self.cases.iter().filter(|case| !case.is_of_sweep())
    }

    /// Those with this role, in the order of the run.
    pub(in crate::bench) fn keys(&self, role: Role) -> impl Iterator<Item = &str> {
        let with_role = self.contenders.iter().filter(move |contender| contender.role == role);
        with_role.map(|contender| contender.key.as_str())
    }

    /// What is called ours: the first of our backends.
    pub(in crate::bench) fn ours<'a>(&self, case: &'a Case) -> Option<&'a Measured> {
        self.keys(Role::Ours).find_map(|key| case.timed(key))
    }

    /// The better kind of store.
    pub(in crate::bench) fn limit<'a>(&self, case: &'a Case) -> Option<&'a Measured> {
        fastest(self.keys(Role::Limit).filter_map(|key| case.timed(key)))
    }

    /// The fastest peer of a case. Marks are not at the same work.
    pub(in crate::bench) fn fastest_peer<'a>(&self, case: &'a Case) -> Option<&'a Measured> {
        fastest(self.keys(Role::Peer).filter_map(|key| case.timed(key)))
    }

    /// The limit's time by ours: 1 where we are at the limit.
    pub(in crate::bench) fn share_of_limit(&self, case: &Case) -> Option<f64> {
        self.limit(case)?.times_ours
    }

    /// The fastest peer's time by ours: above 1 where we are faster.
    pub(in crate::bench) fn times_fastest_peer(&self, case: &Case) -> Option<f64> {
        self.fastest_peer(case)?.times_ours
    }
}

impl Case {
    /// What tells it from other cases.
    pub(in crate::bench) fn id(&self) -> (&str, &str, &str, usize, &str) {
        (&self.operation, &self.layout, &self.dtype, self.threads, &self.shape)
    }

    /// Whether its shape is one of the sweep of sizes, `bn_bench`'s `sizes/…`.
    pub(in crate::bench) fn is_of_sweep(&self) -> bool {
        self.shape.starts_with("sizes/")
    }

    /// A contender's figures.
    pub(in crate::bench) fn of(&self, key: &str) -> Option<&Measured> {
        self.contenders.iter().find(|measured| measured.key == key)
    }

    /// The same, where it has been timed.
    fn timed(&self, key: &str) -> Option<&Measured> {
        self.of(key).filter(|measured| measured.milliseconds.is_some())
    }
}

impl Accuracy {
    /// What tells it from others.
    fn id(&self) -> (&str, &str) {
        (&self.operation, &self.layout)
    }

    /// The means at which a contender gave results, each with its error.
    pub(in crate::bench) fn of(&self, key: &str) -> impl Iterator<Item = (f64, f64)> {
        let of_key = self.contenders.iter().find(|one| one.key == key);
        let errors = of_key.map_or(&[][..], |one| &one.errors);
        self.means.iter().zip(errors).filter_map(|(&mean, &error)| Some((mean, error?)))
    }
}

fn fastest<'a>(of: impl Iterator<Item = &'a Measured>) -> Option<&'a Measured> {
    let time = |measured: &Measured| measured.milliseconds.unwrap_or(f64::INFINITY);
    of.min_by(|left, right| time(left).total_cmp(&time(right)))
}

#[cfg(test)]
pub(in crate::bench) mod samples {
    //! Made-up results for the tests of tables and pictures.

    use super::*;

    /// Ours takes `ours` ms, the limit 1 ms, two peers 3 and 2 ms and a mark 1.5 ms.
    pub(in crate::bench) fn results(ours: f64) -> Results {
        let contender = |key: &str, role| Contender {
            key: key.to_owned(),
            role,
            name: Some(key.to_owned()),
            version: Some("1.0".to_owned()),
            notes: vec!["outputs are new tensors".to_owned()],
            left_out: None,
        };
        let measured = |key: &str, time: f64| Measured {
            key: key.to_owned(),
            milliseconds: Some(time),
            quartiles: Some([time * 0.9, time * 1.1]),
            times_ours: Some(time / ours),
            rounds: 7,
            error: Some(1e-7),
            error_far: Some(2e-4),
            left_out: None,
        };
        let absent = Measured {
            milliseconds: None,
            quartiles: None,
            times_ours: None,
            rounds: 0,
            error: None,
            error_far: None,
            left_out: Some("no such layout".to_owned()),
            ..measured("absent", 1.0)
        };
        let case = |shape: &str, tensor_bytes| Case {
            operation: "training".to_owned(),
            layout: "channels-first".to_owned(),
            dtype: "f32".to_owned(),
            threads: 1,
            shape: shape.to_owned(),
            tensor_bytes,
            bytes: 2 * tensor_bytes,
            load: [Some(0.5), None],
            contenders: vec![
                measured("rayon", ours),
                measured("limit-ordinary", 1.5),
                measured("limit-streaming", 1.0),
                measured("slow", 3.0),
                measured("fast", 2.0),
                measured("blocked", 1.5),
                absent.clone(),
            ],
        };
        Results {
            date: "2026-01-02T03:04:05Z".to_owned(),
            revision: "abc".to_owned(),
            effort: "quick".to_owned(),
            rounds: 7,
            is_interrupted: false,
            machine: Machine::default(),
            contenders: vec![
                contender("rayon", Role::Ours),
                contender("limit-ordinary", Role::Limit),
                contender("limit-streaming", Role::Limit),
                contender("slow", Role::Peer),
                contender("fast", Role::Peer),
                contender("blocked", Role::Mark),
                contender("absent", Role::Peer),
            ],
            cases: vec![
                case("resnet50/32x64x56x56", 25_690_112),
                case("tiny/8x16x32x32", 524_288),
                case("sizes/1x16x16x16", 16_384),
                case("sizes/4x16x16x16", 65_536),
            ],
            accuracy: vec![Accuracy {
                operation: "training".to_owned(),
                layout: "channels-first".to_owned(),
                shape: "tiny/8x16x32x32".to_owned(),
                means: vec![0.0, 1e4],
                contenders: vec![
                    Errors { key: "rayon".to_owned(), errors: vec![Some(1e-7), Some(2e-7)] },
                    Errors { key: "fast".to_owned(), errors: vec![Some(1e-7), Some(NO_NUMBER)] },
                    Errors { key: "slow".to_owned(), errors: vec![None, None] },
                ],
            }],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_peer_is_no_mark_and_the_limit_is_the_better_kind_of_store() {
        let results = samples::results(1.25);
        let case = &results.cases[0];
        assert_eq!(results.fastest_peer(case).unwrap().key, "fast");
        assert_eq!(results.times_fastest_peer(case), Some(2.0 / 1.25));
        assert_eq!(results.limit(case).unwrap().key, "limit-streaming");
        assert_eq!(results.share_of_limit(case), Some(0.8));
    }

    #[test]
    fn an_earlier_run_adds_what_was_not_measured_again() {
        let (mut new, earlier) = (samples::results(1.0), samples::results(2.0));
        new.cases.remove(0);
        new.accuracy[0].layout = "channels-last".to_owned();
        new.add(earlier);
        let layouts: Vec<_> = new.accuracy.iter().map(|one| one.layout.as_str()).collect();
        assert_eq!(layouts, ["channels-first", "channels-last"]);
        let ours: Vec<_> =
            new.cases.iter().map(|case| new.ours(case).unwrap().milliseconds).collect();
        assert_eq!(ours, [2.0, 1.0, 1.0, 1.0].map(Some));
        assert_eq!(new.contenders.len(), 7);
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("new/results.json");
        samples::results(1.25).write(&path).unwrap();
        let read = Results::read(&path).unwrap();
        assert_eq!(read.cases[1].id(), samples::results(1.25).cases[1].id());
        assert_eq!((read.cases.len(), read.contenders.len(), read.accuracy.len()), (4, 7, 1));
    }

    #[test]
    fn results_from_before_there_were_sweeps_are_read() {
        let mut old = serde_json::to_value(samples::results(1.0)).unwrap();
        old.as_object_mut().unwrap().remove("accuracy");
        let read: Results = serde_json::from_value(old).unwrap();
        assert_eq!((read.cases.len(), read.accuracy.len()), (4, 0));
    }

    #[test]
    fn sizes_are_no_shapes_of_networks() {
        assert_eq!(samples::results(1.0).of_networks().count(), 2);
    }
}
