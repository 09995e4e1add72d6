//! Lines for people.

use std::collections::BTreeMap;

use bn_caffe::oracle::{Bound, Case, Output};

/// What has been counted.
#[derive(Default)]
pub struct Tally {
    passed: usize,
    failed: usize,
    /// Outputs that have to be the same bits, and are.
    identical: usize,
}

impl Tally {
    /// Prints a case: a line with the largest error of each output, and one for each that is out of
    /// its bound.
    pub fn case(&mut self, width: usize, case: &Case) {
        let (name, verdict) = (&case.name, verdict(case.passes()));
        match &case.outputs {
            Err(error) => println!("  {verdict}  {name:width$}  {error}"),
            Ok(outputs) => {
                println!("  {verdict}  {name:width$}  {}", largest(outputs));
                for o in outputs.iter().filter(|output| !output.passes()) {
                    let bound = match o.bound {
                        Bound::Identical => "expected the same bits".to_owned(),
                        Bound::Within(bound) => format!("expected at most {bound:.3e}"),
                    };
                    println!(
                        "        step {} {}: off by {:.3e}, {} of {} values differ; {bound}",
                        o.step, o.name, o.max_abs, o.different, o.values
                    );
                }
                let same = |o: &&Output| o.passes() && o.bound == Bound::Identical;
                self.identical += outputs.iter().filter(same).count();
            }
        }
        self.count(case.passes());
    }

    /// Counts something that has been printed.
    pub fn count(&mut self, passes: bool) {
        *if passes { &mut self.passed } else { &mut self.failed } += 1;
    }

    /// Prints the sum of what has been counted.
    pub fn summary(&self, what: &str) {
        let Self { passed, failed, identical } = self;
        let bits = match identical {
            0 => String::new(),
            _ => format!("; {identical} outputs bit-identical"),
        };
        println!("{what}: {passed} passed, {failed} failed{bits}");
    }

    /// Whether everything has passed.
    pub fn holds(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

pub fn verdict(passes: bool) -> &'static str {
    if passes { "ok  " } else { "FAIL" }
}

/// The largest error of each output over the steps, and what is allowed there.
fn largest(outputs: &[Output]) -> String {
    let mut by_name: BTreeMap<&str, &Output> = BTreeMap::new();
    for output in outputs {
        let largest = by_name.entry(&output.name).or_insert(output);
        if output.max_abs > largest.max_abs {
            *largest = output;
        }
    }
    let texts = by_name.iter().map(|(name, output)| match output.bound {
        Bound::Identical if output.different == 0 => format!("{name} same bits"),
        Bound::Identical => format!("{name} {:.1e} of 0", output.max_abs),
        Bound::Within(bound) => format!("{name} {:.1e} of {bound:.1e}", output.max_abs),
    });
    texts.collect::<Vec<_>>().join(", ")
}
