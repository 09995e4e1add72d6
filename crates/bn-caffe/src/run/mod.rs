//! Nets of Input, BatchNorm, Scale, Bias, ReLU and Eltwise sums, run forward and backward.
//!
//! Enough to put every layer of a net through its normalisation, to train one step, and to compare
//! with another implementation. Convolutions are not run; [`fold`](mod@crate::fold) needs none.
//!
//! Every value is kept by itself, so layers in place compute what they compute out of place. As in
//! Caffe a name stands at the end for the last values that it had, and for the gradient of the first:
//! that with respect to what entered the layers in place.
//!
//! ```
//! use std::collections::BTreeMap;
//! use bn_caffe::layer::Numerics;
//! use bn_caffe::net::Net;
//! use bn_caffe::proto::schema::Phase;
//! use bn_caffe::run::{Runner, Tensor};
//!
//! let net = Net::parse(
//!     "layer { name: 'data' type: 'Input' top: 'x' }
//!      layer { name: 'bn' type: 'BatchNorm' bottom: 'x' top: 'y' }
//!      layer { name: 'relu' type: 'ReLU' bottom: 'y' top: 'y' }",
//! )?;
//! let x = Tensor::new(vec![4, 1], vec![1.0f32, 2.0, 3.0, 4.0])?;
//! let inputs = BTreeMap::from([("x".to_owned(), x)]);
//! let mut runner = Runner::new(&net, Phase::Train, None, inputs, Numerics::Exact, true)?;
//! runner.forward()?;
//! assert_eq!(runner.blobs()["y"].values()[..2], [0.0, 0.0]);
//! runner.backward(&BTreeMap::from([("y".to_owned(), vec![1.0; 4])]))?;
//! assert!(runner.diffs()["x"].values().iter().sum::<f32>().abs() < 1e-6);
//! assert_eq!(runner.weights()?.layer("bn").unwrap().blob(2)?.to_f32(), [1.0]);
//! # Ok::<(), bn_caffe::Error>(())
//! ```

mod backward;
mod forward;
mod operation;
mod state;

use std::collections::BTreeMap;

use crate::bind::Binding;
use crate::error::{Error, Result};
use crate::inspect::Warning;
use crate::layer::{Numerics, Real};
use crate::net::graph::{Graph, ValueId};
use crate::net::{Layer, Net, check};
use crate::proto::schema::{LayerParameter, Phase};
use crate::weights::Caffemodel;
use operation::Operation;
use state::State;

/// The layer types that are run.
pub const TYPES: [&str; 6] = ["Input", "BatchNorm", "Scale", "Bias", "ReLU", "Eltwise"];

/// Dimensions and values.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<T> {
    shape: Vec<usize>,
    values: Vec<T>,
}

impl<T> Tensor<T> {
    /// Values in row-major order.
    ///
    /// # Errors
    /// [`Error::Net`] where their number is not the shape's product.
    pub fn new(shape: Vec<usize>, values: Vec<T>) -> Result<Self> {
        let count = shape.iter().try_fold(1usize, |count, &dim| count.checked_mul(dim));
        if count == Some(values.len()) {
            return Ok(Self { shape, values });
        }
        Err(Error::Net {
            net: String::new(),
            problem: format!("{} values", values.len()),
            expected: format!("the product of shape {shape:?}"),
        })
    }

    /// The dimensions.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values.
    #[must_use]
    pub fn values(&self) -> &[T] {
        &self.values
    }
}

/// A net, set up for inputs of some shapes, with its blobs.
#[derive(Debug)]
pub struct Runner<'b, T: Real> {
    net: Net,
    graph: Graph,
    phase: Phase,
    keeps: bool,
    operations: Vec<Operation<'b, T>>,
    state: State<T>,
    source: Caffemodel,
    shapes: Vec<Vec<usize>>,
    values: Vec<Option<Vec<T>>>,
    diffs: Vec<Option<Vec<T>>>,
    inputs: BTreeMap<String, Tensor<T>>,
}

impl<'b, T: Real> Runner<'b, T> {
    /// Sets up the layers of a phase for these inputs, with weights or with what the fillers give.
    ///
    /// An input is a top of an Input layer, or a blob that no layer produces. Its shape is the
    /// tensor's, whatever the prototxt says: blobs of Caffe are reshaped, too. `keeps`: whether
    /// backward will follow; without it nothing is kept for it.
    ///
    /// # Errors
    /// [`Error::Net`] for inputs that the net has not or that are not given; [`Error::Layer`] for
    /// layers of other [`TYPES`], for everything that aborts Caffe, and for weights of other shapes;
    /// [`Error::Blob`].
    pub fn new(
        net: &Net,
        phase: Phase,
        weights: Option<&Caffemodel>,
        inputs: BTreeMap<String, Tensor<T>>,
        numerics: Numerics<'b, T>,
        keeps: bool,
    ) -> Result<Self> {
        let net = with_inputs(net.for_phase(phase)?, &inputs)?;
        for layer in &net.layers {
            supported(layer)?;
        }
        check::net(&net)?;
        let source = weights.cloned().unwrap_or_default();
        Binding::new(&net, &source)?;
        let graph = Graph::of(&net);
        let shapes = shapes(&net, &graph, &inputs)?;
        let operations = operation::all(&net, &graph, phase, &shapes, numerics, keeps)?;
        let state = State::new(&net, &operations, &source)?;
        let count = graph.values.len();
        let (values, diffs) = (vec![None; count], vec![None; count]);
        Ok(Self {
            net,
            graph,
            phase,
            keeps,
            operations,
            state,
            source,
            shapes,
            values,
            diffs,
            inputs,
        })
    }

    /// Every blob by name: the last values that it had.
    #[must_use]
    pub fn blobs(&self) -> BTreeMap<String, Tensor<T>> {
        let named = self.graph.values.iter().enumerate();
        named
            .filter_map(|(id, value)| Some((value.name.clone(), self.tensor(id, &self.values)?)))
            .collect()
    }

    /// The gradients of the blobs that have one; see [`run`](self) for blobs of layers in place.
    #[must_use]
    pub fn diffs(&self) -> BTreeMap<String, Tensor<T>> {
        let mut diffs = BTreeMap::new();
        for (id, value) in self.graph.values.iter().enumerate() {
            if let Some(diff) = self.tensor(id, &self.diffs) {
                diffs.entry(value.name.clone()).or_insert(diff);
            }
        }
        diffs
    }

    fn tensor(&self, id: ValueId, from: &[Option<Vec<T>>]) -> Option<Tensor<T>> {
        Some(Tensor { shape: self.shapes[id].clone(), values: from[id].clone()? })
    }

    /// The gradients of learned blobs after backward, by layer and index of the blob.
    ///
    /// They add up over calls of backward until [`Self::clear_param_diffs`], as over `iter_size`.
    #[must_use]
    pub fn param_diffs(&self) -> Vec<(String, usize, Tensor<T>)> {
        let mut diffs = Vec::new();
        for (index, layer) in self.net.layers.iter().enumerate() {
            if !self.operations[index].has_learned() {
                continue;
            }
            let learned = &self.state.learned[self.state.slots[index]];
            for (blob, param) in learned.params().enumerate() {
                let diff = Tensor { shape: param.shape.clone(), values: param.diff.clone() };
                diffs.push((layer.name().to_owned(), blob, diff));
            }
        }
        diffs
    }

    /// Sets the gradients of learned blobs to 0, as a solver does before each iteration.
    pub fn clear_param_diffs(&mut self) {
        self.state.learned.iter_mut().for_each(crate::layer::Learned::clear_diffs);
    }

    /// The weights by now: the file's, with the statistics that forward has updated.
    ///
    /// Layers that the file had not are added, so the result is complete.
    ///
    /// # Errors
    /// [`Error::Blob`] where a blob of the file is broken.
    pub fn weights(&self) -> Result<Caffemodel> {
        self.state.write(&self.net, &self.operations, &self.source)
    }

    /// What Caffe accepts although nobody can have meant it, by layer.
    #[must_use]
    pub fn warnings(&self) -> Vec<(String, Warning)> {
        let all = self.net.layers.iter().enumerate().flat_map(|(index, layer)| {
            let found = self.operations[index].warnings(&self.state, self.state.slots[index]);
            found.into_iter().map(|warning| (layer.name().to_owned(), warning))
        });
        all.collect()
    }

    /// The phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }
}

/// The net with an Input layer for every given blob that no layer produces.
fn with_inputs<T>(mut net: Net, inputs: &BTreeMap<String, Tensor<T>>) -> Result<Net> {
    let graph = Graph::of(&net);
    let unproduced = |name: &String| {
        graph.values.iter().any(|value| value.name == *name && value.producer.is_none())
    };
    let is_input = |layer: &&Layer| layer.type_name() == "Input";
    let declared: Vec<String> =
        net.layers.iter().filter(is_input).flat_map(|layer| layer.tops().to_vec()).collect();
    let wrong = |problem: String, expected: String| {
        Err(Error::Net { net: net.name.clone(), problem, expected })
    };
    if let Some(missing) = declared.iter().find(|name| !inputs.contains_key(*name)) {
        return wrong(format!("no values for input \"{missing}\""), "values for each input".into());
    }
    let mut added = Vec::new();
    for name in inputs.keys().filter(|name| !declared.contains(name)) {
        if !unproduced(name) {
            let mut known = declared.clone();
            let open = graph.values.iter().filter(|value| value.producer.is_none());
            known.extend(open.map(|value| value.name.clone()));
            return wrong(
                format!("no input \"{name}\""),
                format!("inputs of the net: {}", known.join(", ")),
            );
        }
        added.push(Layer {
            parameter: LayerParameter {
                name: Some(format!("input {name}")),
                type_name: Some("Input".into()),
                top: vec![name.clone()],
                ..LayerParameter::default()
            },
            field: None,
        });
    }
    net.layers.splice(0..0, added);
    Ok(net)
}

fn supported(layer: &Layer) -> Result<()> {
    let sum = crate::proto::schema::EltwiseOp::Sum;
    let found = match layer.type_name() {
        "Eltwise" if layer.eltwise().operation() != sum => "another Eltwise operation than SUM",
        kind if TYPES.contains(&kind) => return Ok(()),
        _ => "a type that is not run here",
    };
    let expected = format!("one of {} (SUM)", TYPES.join(", "));
    Err(Error::layer(layer.name(), layer.type_name(), "type", found, expected))
}

/// The shape of every value. All these layers give the shape of their first bottom.
fn shapes<T>(
    net: &Net,
    graph: &Graph,
    inputs: &BTreeMap<String, Tensor<T>>,
) -> Result<Vec<Vec<usize>>> {
    let mut shapes: Vec<Vec<usize>> = vec![Vec::new(); graph.values.len()];
    for (index, layer) in net.layers.iter().enumerate() {
        if layer.type_name() == "Input" {
            for (&top, name) in graph.tops[index].iter().zip(layer.tops()) {
                shapes[top] = inputs.get(name).map(|x| x.shape.clone()).unwrap_or_default();
            }
            continue;
        }
        let first = shapes[graph.bottoms[index][0]].clone();
        if layer.type_name() == "Eltwise" {
            for (n, &bottom) in graph.bottoms[index].iter().enumerate() {
                if shapes[bottom] != first {
                    return Err(Error::layer(
                        layer.name(),
                        "Eltwise",
                        format!("shape of bottom {n}"),
                        format!("{:?}", shapes[bottom]),
                        format!("{first:?}, as bottom 0"),
                    ));
                }
            }
        }
        shapes[graph.tops[index][0]] = first;
    }
    Ok(shapes)
}
