//! Weights of Convolution, Deconvolution and InnerProduct: which output and which input channel each
//! value belongs to.

use super::report::Reason;
use crate::blob::Blob;
use crate::net::Layer;

/// How the weights of a layer are arranged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernel {
    arrangement: Arrangement,
    pub outputs: usize,
    group: usize,
    /// Values of the weights.
    len: usize,
    /// First two dimensions of the blob of a convolution.
    dims: [usize; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrangement {
    /// outputs × inputs/group × taps.
    Convolution,
    /// inputs × outputs/group × taps.
    Deconvolution,
    /// outputs × inputs.
    Rows,
    /// inputs × outputs.
    Columns,
}

impl Kernel {
    /// The arrangement of a layer that has weights.
    pub(super) fn of(layer: &Layer, weights: &Blob) -> Result<Self, Reason> {
        let (arrangement, outputs, axis, group) = match layer.type_name() {
            kind @ ("Convolution" | "Deconvolution") => {
                let p = layer.convolution();
                let forward = kind == "Convolution";
                let arrangement =
                    if forward { Arrangement::Convolution } else { Arrangement::Deconvolution };
                (arrangement, p.num_output(), p.axis(), p.group() as usize)
            }
            "InnerProduct" => {
                let p = layer.inner_product();
                let arrangement =
                    if p.transpose() { Arrangement::Columns } else { Arrangement::Rows };
                (arrangement, p.num_output(), p.axis(), 1)
            }
            kind => {
                let (layer, kind) = (layer.name().to_owned(), kind.to_owned());
                return Err(Reason::Kind { layer, kind });
            }
        };
        let name = || layer.name().to_owned();
        if axis != 1 {
            return Err(Reason::Axis { layer: name(), axis });
        }
        let dims = weights.shape().dims();
        let dims = [0, 1].map(|axis| dims.get(axis).copied().unwrap_or(1));
        let outputs = outputs as usize;
        let kernel = Self { arrangement, outputs, group, len: weights.len(), dims };
        let fits = outputs > 0
            && group > 0
            && outputs.is_multiple_of(group)
            && !weights.is_empty()
            && weights.len().is_multiple_of(outputs)
            && match arrangement {
                Arrangement::Convolution => dims[0] == outputs,
                Arrangement::Deconvolution => {
                    dims[1] == outputs / group && dims[0].is_multiple_of(group)
                }
                Arrangement::Rows | Arrangement::Columns => true,
            };
        if fits { Ok(kernel) } else { Err(Reason::Shape { layer: name() }) }
    }

    /// The output that a value contributes to.
    pub(super) fn output(&self, index: usize) -> usize {
        match self.arrangement {
            Arrangement::Convolution | Arrangement::Rows => index / (self.len / self.outputs),
            Arrangement::Columns => index % self.outputs,
            Arrangement::Deconvolution => {
                let (input, of_group) = self.deconvolution(index);
                input / (self.dims[0] / self.group) * self.dims[1] + of_group
            }
        }
    }

    /// The input channel that a value is multiplied with, where the inputs have so many channels;
    /// an InnerProduct sees each as several inputs.
    pub(super) fn input(&self, index: usize, channels: usize) -> usize {
        match self.arrangement {
            Arrangement::Convolution => {
                let output = self.output(index);
                let of_group = index / (self.len / self.dims[0] / self.dims[1]) % self.dims[1];
                output / (self.outputs / self.group) * self.dims[1] + of_group
            }
            Arrangement::Deconvolution => self.deconvolution(index).0,
            Arrangement::Rows => index % self.inputs() / (self.inputs() / channels),
            Arrangement::Columns => index / self.outputs / (self.inputs() / channels),
        }
    }

    /// Input, and output within its group.
    fn deconvolution(&self, index: usize) -> (usize, usize) {
        let taps = self.len / self.dims[0] / self.dims[1];
        (index / taps / self.dims[1], index / taps % self.dims[1])
    }

    /// The number of inputs of all groups.
    fn inputs(&self) -> usize {
        match self.arrangement {
            Arrangement::Convolution => self.dims[1] * self.group,
            Arrangement::Deconvolution => self.dims[0],
            Arrangement::Rows | Arrangement::Columns => self.len / self.outputs,
        }
    }

    /// Whether inputs of so many channels fit; otherwise the number that would.
    pub(super) fn takes(&self, channels: usize) -> Result<(), usize> {
        let inputs = self.inputs();
        let flattens = matches!(self.arrangement, Arrangement::Rows | Arrangement::Columns);
        let fits = if flattens {
            channels > 0 && inputs.is_multiple_of(channels)
        } else {
            inputs == channels
        };
        if fits { Ok(()) } else { Err(inputs) }
    }

    /// Whether every output is a sum of the same values of the weights: then a shift of the inputs
    /// is a shift of the outputs.
    pub(super) fn sums_equally(&self, layer: &Layer) -> Result<(), Reason> {
        let p = layer.convolution();
        let name = layer.name().to_owned();
        let pads = p.pad.iter().any(|&pad| pad > 0) || p.pad_h() > 0 || p.pad_w() > 0;
        match self.arrangement {
            Arrangement::Rows | Arrangement::Columns => Ok(()),
            Arrangement::Convolution if pads => Err(Reason::Padding { layer: name }),
            Arrangement::Convolution => Ok(()),
            Arrangement::Deconvolution => {
                let one_tap = self.len == self.dims[0] * self.dims[1];
                let moves = p.stride.iter().any(|&stride| stride != 1)
                    || p.stride_h.is_some_and(|stride| stride != 1)
                    || p.stride_w.is_some_and(|stride| stride != 1);
                let equal = one_tap && !moves && !pads;
                if equal { Ok(()) } else { Err(Reason::UnequalSums { layer: name }) }
            }
        }
    }
}
