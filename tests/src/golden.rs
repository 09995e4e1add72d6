//! The golden files: what PyTorch answers, embedded. `golden/README.md` says what is in them.

use bn_core::{DType, Layout, Problem};
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;

macro_rules! embed {
    ($($name:literal),* $(,)?) => {
        /// Name and bytes of every file.
        const FILES: &[(&str, &[u8])] =
            &[$(($name, include_bytes!(concat!("../golden/data/", $name, ".safetensors")))),*];
    };
}

embed![
    "2d-f64-train-beta-only",
    "2d-last-frozen",
    "2d-train",
    "3d-f64-eval-relu",
    "3d-last-f64-train-gamma-only",
    "3d-train-relu",
    "4d-eval",
    "4d-frozen-beta-only",
    "4d-last-eval-plain",
    "4d-last-train",
    "4d-last-train-gamma-only",
    "4d-train",
    "4d-train-plain",
    "5d-last-f64-frozen",
    "5d-last-train-add-relu",
    "5d-train",
    "bf16-eval",
    "bf16-last-train",
    "bf16-train-add-relu",
    "cumulative-last-f64-train",
    "cumulative-train",
    "degenerate-train",
    "f16-last-frozen-relu",
    "f16-train",
    "mean-1e4-last-train",
    "mean-1e4-train",
    "one-channel-last-train-relu",
    "one-channel-train",
    "one-image-last-f64-train-momentum-0",
    "one-image-train-momentum-1",
    "wide-last-frozen-add-relu",
    "wide-last-train-relu",
    "wide-train-add-relu",
];

/// One case: what was asked of PyTorch, and every tensor as `f64`.
#[derive(Debug)]
pub(crate) struct Golden {
    pub name: &'static str,
    pub problem: Problem,
    /// The layout as written, where the problem has one of its own choice.
    pub layout: Layout,
    pub dtype: DType,
    pub mode: GoldenMode,
    pub eps: f64,
    /// The weight of the new value; `None` for the cumulative average.
    pub momentum: Option<f64>,
    pub relu: bool,
    tensors: HashMap<String, Vec<f64>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GoldenMode {
    Train,
    Eval,
    Frozen,
}

impl Golden {
    /// Every case.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        FILES.iter().map(|&(name, bytes)| {
            Self::read(name, bytes).unwrap_or_else(|wrong| panic!("golden file {name}: {wrong}"))
        })
    }

    /// A tensor that is there.
    pub(crate) fn tensor(&self, name: &str) -> &[f64] {
        self.get(name).unwrap_or_else(|| panic!("golden file {} has no {name}", self.name))
    }

    /// A tensor that may be there.
    pub(crate) fn get(&self, name: &str) -> Option<&[f64]> {
        self.tensors.get(name).map(Vec::as_slice)
    }

    fn read(name: &'static str, bytes: &[u8]) -> Result<Self, String> {
        let text = |error: &dyn core::fmt::Display| error.to_string();
        let file = SafeTensors::deserialize(bytes).map_err(|error| text(&error))?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| text(&error))?;
        let metadata = header.metadata().clone().ok_or("no metadata")?;
        let get = |key: &str| metadata.get(key).map(String::as_str).ok_or(format!("no {key}"));
        let number = |key| get(key)?.parse::<f64>().map_err(|error| text(&error));

        let layout = match get("layout")? {
            "channels-first" => Layout::ChannelsFirst,
            "channels-last" => Layout::ChannelsLast,
            other => return Err(format!("layout {other}")),
        };
        let shape = get("shape")?.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>();
        let shape = shape.map_err(|error| text(&error))?;
        let mode = match get("mode")? {
            "train" => GoldenMode::Train,
            "eval" => GoldenMode::Eval,
            "frozen" => GoldenMode::Frozen,
            other => return Err(format!("mode {other}")),
        };
        let momentum = match get("momentum")? {
            "cumulative" => None,
            weight => Some(weight.parse().map_err(|_| format!("momentum {weight}"))?),
        };
        let dtype = DType::ELEMENTS.into_iter().find(|dtype| get("dtype") == Ok(dtype.name()));
        let tensors = file.iter().map(|(name, view)| (name.to_owned(), to_f64(&view)));
        Ok(Self {
            name,
            problem: crate::trials::problem(&shape, layout),
            layout,
            dtype: dtype.ok_or("an unknown dtype")?,
            mode,
            eps: number("eps")?,
            momentum,
            relu: get("epilogue")? != "none",
            tensors: tensors.collect(),
        })
    }
}

fn to_f64(view: &safetensors::tensor::TensorView<'_>) -> Vec<f64> {
    use bn_core::Element;
    let values = |dtype: Dtype| -> Vec<f64> {
        fn each<E: Element>(bytes: &[u8]) -> Vec<f64> {
            let read = |bytes| bytemuck::pod_read_unaligned::<E>(bytes).to_f64();
            bytes.chunks_exact(size_of::<E>()).map(read).collect()
        }
        match dtype {
            Dtype::F32 => each::<f32>(view.data()),
            Dtype::F64 => each::<f64>(view.data()),
            Dtype::F16 => each::<bn_core::f16>(view.data()),
            Dtype::BF16 => each::<bn_core::bf16>(view.data()),
            Dtype::I64 => view
                .data()
                .chunks_exact(8)
                .map(|bytes| bytemuck::pod_read_unaligned::<i64>(bytes) as f64)
                .collect(),
            other => panic!("golden files hold no {other:?}"),
        }
    };
    values(view.dtype())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{Backward, Moments, Normalizer, running_update};
    use bn_core::{Dependence, Momentum, RunningVariance};

    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/data");
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        let mut embedded: Vec<String> =
            FILES.iter().map(|(name, _)| format!("{name}.safetensors")).collect();
        embedded.sort();
        assert_eq!(embedded, names);
    }

    fn near(case: &Golden, name: &str, found: &[f64]) {
        let expected = case.tensor(name);
        let largest = case.tensor("x").iter().fold(1.0, |largest: f64, x| largest.max(x.abs()));
        assert_eq!(found.len(), expected.len(), "{}: {name}", case.name);
        for (found, expected) in found.iter().zip(expected) {
            let wrong = (found - expected).abs() / expected.abs().max(1.0);
            assert!(wrong <= 2e-13 * largest, "{}: {name} {found} {expected}", case.name);
        }
    }

    /// PyTorch judges the reference, in every output of every case.
    #[test]
    fn the_reference_answers_as_pytorch_does() {
        for case in Golden::all() {
            let (problem, x) = (&case.problem, case.tensor("x"));
            let [gamma, beta, residual] = ["gamma", "beta", "residual"].map(|name| case.get(name));
            let before =
                ["running_mean_before", "running_var_before"].map(|name| case.tensor(name));
            let moments = if case.mode == GoldenMode::Train {
                Moments::of(problem, x, None)
            } else {
                let doubles = |values: &[f64]| values.iter().map(|&value| value.into()).collect();
                let count = vec![1; before[0].len()];
                Moments { count, mean: doubles(before[0]), m2: doubles(before[1]) }
            };
            let inv_std = &moments.inv_std(case.eps)[..];
            let (mean, relu) = (&moments.mean[..], case.relu);
            let normalizer = Normalizer { problem, mean, inv_std, gamma, beta, residual, relu };
            let y = normalizer.apply(x).y;
            near(&case, "y", &y);
            let (mean, inv_std): (Vec<f64>, Vec<f64>) =
                mean.iter().zip(inv_std).map(|(mean, inv)| (mean.to_f64(), inv.to_f64())).unzip();
            near(&case, "save_mean", &mean);
            near(&case, "save_inv_std", &inv_std);
            if case.mode == GoldenMode::Train {
                let batches = case.get("num_batches_tracked_before").map_or(0.0, |seen| seen[0]);
                let momentum = case.momentum.map_or(Momentum::Cumulative, Momentum::New);
                let after = |c: usize| {
                    let batch = (moments.count[c], moments.mean[c], moments.m2[c]);
                    let old = (before[0][c], before[1][c]);
                    let unbiased = RunningVariance::Unbiased;
                    running_update(old, batch, (momentum, batches as u64), unbiased)
                };
                let (mean, var): (Vec<_>, Vec<_>) = (0..before[0].len()).map(after).unzip();
                near(&case, "running_mean_after", &mean);
                near(&case, "running_var_after", &var);
            }
            let Some(dy) = case.get("dy") else { continue };
            let open: Vec<bool> = y.iter().map(|&y| y > 0.0).collect();
            let train = case.mode == GoldenMode::Train;
            let gradients = Backward {
                problem,
                dy,
                open: case.relu.then_some(&open),
                saved: (x, false),
                mean: &mean,
                inv_std: &inv_std,
                gamma,
                dependence: if train { Dependence::Batch } else { Dependence::Fixed },
                mask: None,
            };
            let gradients = gradients.gradients();
            near(&case, "dx", &gradients.dx);
            for (name, found) in [
                ("dgamma", &gradients.dgamma),
                ("dbeta", &gradients.dbeta),
                ("dresidual", &gradients.dy),
            ] {
                if case.get(name).is_some() {
                    near(&case, name, found);
                }
            }
        }
    }
}
