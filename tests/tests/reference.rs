//! The reference judged by what shares no formula with its backward: central differences of its forward.
#![forbid(unsafe_code)]

use bn_conformance::reference::{Backward, Moments, Normalizer};
use bn_core::{Dependence, Layout, Problem};

const EPS: f64 = 1e-3;
const STEP: f64 = 1e-4;

/// Values without a pattern, from −1 to 1.
fn noise(len: usize, seed: f64) -> Vec<f64> {
    (0..len)
        .map(|i| ((i as f64 + 1.0) * 12.9898 + seed).sin() * 43_758.545)
        .map(|v| v % 1.0)
        .collect()
}

struct Case {
    problem: Problem,
    x: Vec<f64>,
    weights: Vec<f64>,
    gamma: Vec<f64>,
    beta: Vec<f64>,
    mask: Option<Vec<u8>>,
    /// `None` where the statistics are the batch's.
    fixed: Option<(Vec<f64>, Vec<f64>)>,
    relu: bool,
}

impl Case {
    /// L = Σ w·y.
    fn loss(&self, x: &[f64], gamma: &[f64], beta: &[f64]) -> f64 {
        let y = self.y(x, gamma, beta);
        y.iter().zip(&self.weights).map(|(y, w)| y * w).sum()
    }

    fn y(&self, x: &[f64], gamma: &[f64], beta: &[f64]) -> Vec<f64> {
        let batch = Moments::of(&self.problem, x, self.mask.as_deref());
        let (mean, inv_std) = match &self.fixed {
            Some((mean, inv_std)) => (
                mean.iter().map(|&v| v.into()).collect(),
                inv_std.iter().map(|&v| v.into()).collect(),
            ),
            None => (batch.mean.clone(), batch.inv_std(EPS)),
        };
        let normalizer = Normalizer {
            problem: &self.problem,
            mean: &mean,
            inv_std: &inv_std,
            gamma: Some(gamma),
            beta: Some(beta),
            residual: None,
            relu: self.relu,
        };
        normalizer.apply(x).y
    }

    fn check(&self) {
        let moments = Moments::of(&self.problem, &self.x, self.mask.as_deref());
        let (mean, inv_std): (Vec<f64>, Vec<f64>) = match &self.fixed {
            Some(fixed) => fixed.clone(),
            None => (
                moments.mean.iter().map(|mean| mean.to_f64()).collect(),
                moments.inv_std(EPS).iter().map(|inv_std| inv_std.to_f64()).collect(),
            ),
        };
        let y = self.y(&self.x, &self.gamma, &self.beta);
        let open: Vec<bool> = y.iter().map(|&y| y > 0.0).collect();
        let gradients = Backward {
            problem: &self.problem,
            dy: &self.weights,
            open: self.relu.then_some(&open[..]),
            saved: (&self.x, false),
            mean: &mean,
            inv_std: &inv_std,
            gamma: Some(&self.gamma),
            dependence: if self.fixed.is_some() { Dependence::Fixed } else { Dependence::Batch },
            mask: self.mask.as_deref(),
        }
        .gradients();

        let Self { x, gamma, beta, .. } = self;
        let by_x = differences(x, |x| self.loss(x, gamma, beta));
        let by_gamma = differences(gamma, |gamma| self.loss(x, gamma, beta));
        let by_beta = differences(beta, |beta| self.loss(x, gamma, beta));
        for (name, found, right) in [
            ("dx", &gradients.dx, by_x),
            ("dgamma", &gradients.dgamma, by_gamma),
            ("dbeta", &gradients.dbeta, by_beta),
        ] {
            for (index, (found, right)) in found.iter().zip(&right).enumerate() {
                let off = (found - right).abs();
                assert!(off < 1e-6 * right.abs().max(1.0), "{name}[{index}]: {found} and {right}");
            }
        }
    }
}

/// dL/dv by central differences.
fn differences(values: &[f64], loss: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let at = |index: usize, step: f64| {
        let mut moved = values.to_vec();
        moved[index] += step;
        loss(&moved)
    };
    (0..values.len()).map(|i| (at(i, STEP) - at(i, -STEP)) / (2.0 * STEP)).collect()
}

fn case(layout: Layout, groups: usize) -> Case {
    let problem = Problem::new(&[4, 3, 2, 5], layout).unwrap().with_groups(groups).unwrap();
    let channels = problem.channels();
    Case {
        problem,
        x: noise(problem.elements(), 0.3),
        weights: noise(problem.elements(), 0.7),
        gamma: noise(channels, 0.1).iter().map(|v| v + 1.5).collect(),
        beta: noise(channels, 0.2),
        mask: None,
        fixed: None,
        relu: false,
    }
}

#[test]
fn through_the_statistics_of_the_batch() {
    for layout in Layout::ALL {
        for groups in [1, 2] {
            case(layout, groups).check();
        }
    }
}

#[test]
fn through_the_statistics_of_valid_positions() {
    for layout in Layout::ALL {
        for groups in [1, 2] {
            let case = case(layout, groups);
            let mask = (0..case.problem.positions()).map(|i| u8::from(i % 3 != 1)).collect();
            Case { mask: Some(mask), ..case }.check();
        }
    }
}

#[test]
fn through_fixed_statistics() {
    for layout in Layout::ALL {
        let case = case(layout, 2);
        let statistics = case.problem.statistics();
        let inv_std = noise(statistics, 0.6).iter().map(|v| v + 2.0).collect();
        Case { fixed: Some((noise(statistics, 0.5), inv_std)), ..case }.check();
    }
}

#[test]
fn through_a_relu() {
    for layout in Layout::ALL {
        let case = Case { relu: true, ..case(layout, 1) };
        let nearest = case.y(&case.x, &case.gamma, &case.beta);
        let nearest = nearest.iter().copied().filter(|&y| y > 0.0).fold(9.0, f64::min);
        assert!(nearest > 20.0 * STEP, "y comes within {nearest} of the kink");
        case.check();
    }
}
