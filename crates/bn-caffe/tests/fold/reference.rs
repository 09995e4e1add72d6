//! A net computed in `f64`, layer by layer, in the plainest way.

use std::collections::BTreeMap;

use bn_caffe::blob::Blob;
use bn_caffe::net::{Layer, Net};
use bn_caffe::proto::schema::Phase;
use bn_caffe::text::{Document, Message};
use bn_caffe::weights::Caffemodel;
use libtest_mimic::Failed;

use crate::windows;

/// Dimensions and values.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub dims: Vec<usize>,
    pub values: Vec<f64>,
}

impl Tensor {
    pub fn zeros(dims: &[usize]) -> Self {
        Self { dims: dims.to_vec(), values: vec![0.0; dims.iter().product()] }
    }

    /// Reproducible values of both signs.
    pub fn noise(dims: &[usize], seed: u64) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0
        };
        let count = dims.iter().product();
        Self { dims: dims.to_vec(), values: (0..count).map(|_| next()).collect() }
    }

    pub fn four(&self) -> [usize; 4] {
        let dim = |axis: usize| self.dims.get(axis).copied().unwrap_or(1);
        [dim(0), dim(1), dim(2), dim(3)]
    }

    /// Each value by its channel.
    fn map(&self, f: impl Fn(usize, f64) -> f64) -> Self {
        let [_, c, ..] = self.four();
        let spatial: usize = self.dims[2..].iter().product();
        let values = self.values.iter().enumerate();
        Self {
            dims: self.dims.clone(),
            values: values.map(|(i, &x)| f(i / spatial % c, x)).collect(),
        }
    }

    pub fn largest(&self) -> f64 {
        self.values.iter().fold(0.0, |largest, value| value.abs().max(largest))
    }

    /// Largest distance, relative to the largest value.
    pub fn distance(&self, other: &Self) -> f64 {
        if self.dims != other.dims {
            return f64::INFINITY;
        }
        let pairs = self.values.iter().zip(&other.values);
        let largest = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        largest / self.largest().max(f64::MIN_POSITIVE)
    }
}

/// Computes every blob of a net's phase TEST; of several values of one name the last stays.
pub fn run(
    prototxt: &[u8],
    weights: &Caffemodel,
    input: &Tensor,
) -> Result<BTreeMap<String, Tensor>, Failed> {
    let document = Document::parse(prototxt.to_vec())?;
    let net = Net::from_document(&document)?.for_phase(Phase::Test)?;
    let mut blobs: BTreeMap<String, Tensor> = BTreeMap::new();
    for layer in &net.layers {
        let message = layer.field.and_then(|id| document.field(id));
        let message = message.map(|field| field.value().as_message()).transpose()?;
        let bottoms: Result<Vec<_>, _> = layer
            .bottoms()
            .iter()
            .map(|name| blobs.get(name).ok_or(format!("{}: no {name}", layer.name())))
            .collect();
        let stored = weights.layer(layer.name()).map(|l| l.blobs()).transpose()?;
        let stored: Vec<Vec<f64>> = stored.unwrap_or_default().iter().map(Blob::to_f64).collect();
        let top = match layer.type_name() {
            "Input" => input.clone(),
            _ => compute(layer, message, &bottoms?, &stored)?,
        };
        blobs.insert(layer.tops()[0].clone(), top);
    }
    Ok(blobs)
}

fn compute(
    layer: &Layer,
    message: Option<Message<'_>>,
    bottoms: &[&Tensor],
    stored: &[Vec<f64>],
) -> Result<Tensor, Failed> {
    let x = bottoms[0];
    let second = stored.get(1).map(Vec::as_slice);
    let setting = |group: &str, name: &str, otherwise: i32| {
        let group = message.and_then(|message| message.get(group)?.as_message().ok());
        group.and_then(|group| group.get(name)?.as_i32().ok()).unwrap_or(otherwise)
    };
    Ok(match layer.type_name() {
        "Convolution" => windows::convolution(x, &stored[0], second, &layer.convolution()),
        "Deconvolution" => windows::deconvolution(x, &stored[0], second, &layer.convolution()),
        "InnerProduct" => {
            let p = layer.inner_product();
            let (outputs, inputs) = (p.num_output() as usize, x.values.len() / x.dims[0]);
            let mut y = Tensor::zeros(&[x.dims[0], outputs]);
            for (index, y) in y.values.iter_mut().enumerate() {
                let (n, o) = (index / outputs, index % outputs);
                *y = second.map_or(0.0, |bias| bias[o]);
                for i in 0..inputs {
                    let at = if p.transpose() { i * outputs + o } else { o * inputs + i };
                    *y += x.values[n * inputs + i] * stored[0][at];
                }
            }
            y
        }
        "BatchNorm" => {
            let scale = if stored[2][0] == 0.0 { 0.0 } else { 1.0 / stored[2][0] };
            let eps = f64::from(layer.batch_norm().eps());
            x.map(|c, x| (x - stored[0][c] * scale) / (stored[1][c] * scale + eps).sqrt())
        }
        "Scale" => x.map(|c, x| x * stored[0][c] + second.map_or(0.0, |bias| bias[c])),
        "Bias" => x.map(|c, x| x + stored[0][c]),
        "ReLU" => {
            let slope = f64::from(layer.relu().negative_slope());
            x.map(|_, x| if x > 0.0 { x } else { x * slope })
        }
        "PReLU" => {
            let slope = |c: usize| stored[0][c % stored[0].len()];
            x.map(|c, x| if x > 0.0 { x } else { x * slope(c) })
        }
        "Eltwise" => {
            let mut y = Tensor::zeros(&x.dims);
            for (n, bottom) in bottoms.iter().enumerate() {
                let factor = layer.eltwise().coeff.get(n).map_or(1.0, |&c| f64::from(c));
                for (y, x) in y.values.iter_mut().zip(&bottom.values) {
                    *y += factor * x;
                }
            }
            y
        }
        "Concat" => {
            let mut dims = x.dims.clone();
            dims[1] = bottoms.iter().map(|b| b.dims[1]).sum();
            let mut values = Vec::new();
            for sample in 0..dims[0] {
                for bottom in bottoms {
                    let len = bottom.values.len() / dims[0];
                    values.extend_from_slice(&bottom.values[sample * len..][..len]);
                }
            }
            Tensor { dims, values }
        }
        "Crop" => {
            let ([n, c, _, width], [.., h, w]) = (x.four(), bottoms[1].four());
            let plane = x.values.len() / (n * c);
            let mut y = Tensor::zeros(&[n, c, h, w]);
            for (index, y) in y.values.iter_mut().enumerate() {
                let (p, row, column) = (index / (h * w), index / w % h, index % w);
                *y = x.values[p * plane + row * width + column];
            }
            y
        }
        "Pooling" => {
            let setting = |name, otherwise| setting("pooling_param", name, otherwise) as usize;
            windows::max_pooling(
                x,
                setting("kernel_size", 1),
                setting("stride", 1),
                setting("pad", 0),
            )
        }
        "Softmax" => {
            let (c, spatial) = (x.dims[1], x.dims[2..].iter().product::<usize>());
            let mut y = x.map(|_, x| x.exp());
            let sums: Vec<f64> = (0..y.values.len())
                .map(|i| {
                    let first = i / (c * spatial) * c * spatial + i % spatial;
                    (0..c).map(|c| y.values[first + c * spatial]).sum()
                })
                .collect();
            y.values.iter_mut().zip(sums).for_each(|(y, sum)| *y /= sum);
            y
        }
        other => return Err(format!("{}: {other} is not computed here", layer.name()).into()),
    })
}
