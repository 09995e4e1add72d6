//! Layers with windows in `f64`, one loop for each axis: convolution, its transpose, pooling.

use bn_caffe::proto::schema::ConvolutionParameter;

use crate::reference::Tensor;

/// Size, stride, padding and dilation of a window, each for height and width.
#[derive(Clone, Copy)]
pub struct Window {
    pub size: [usize; 2],
    pub stride: [usize; 2],
    pub pad: [usize; 2],
    pub dilation: [usize; 2],
}

impl Window {
    pub fn of(p: &ConvolutionParameter) -> Self {
        let pick = |list: &[u32], h: Option<u32>, w: Option<u32>, otherwise: u32| {
            let at = |axis: usize| list.get(axis).or(list.first()).copied().unwrap_or(otherwise);
            [h.unwrap_or(at(0)) as usize, w.unwrap_or(at(1)) as usize]
        };
        Self {
            size: pick(&p.kernel_size, p.kernel_h, p.kernel_w, 1),
            stride: pick(&p.stride, p.stride_h, p.stride_w, 1),
            pad: pick(&p.pad, p.pad_h, p.pad_w, 0),
            dilation: pick(&p.dilation, None, None, 1),
        }
    }

    /// Where tap `k` of output `o` lies on an axis of the input.
    fn at(&self, axis: usize, o: usize, k: usize, len: usize) -> Option<usize> {
        let at = (o * self.stride[axis] + k * self.dilation[axis]).checked_sub(self.pad[axis])?;
        (at < len).then_some(at)
    }

    fn extent(&self, axis: usize) -> usize {
        self.dilation[axis] * (self.size[axis] - 1) + 1
    }
}

/// y[n,o,h,w] = c[o] + Σ W[o,i,kh,kw]·x[n,i,…].
pub fn convolution(
    x: &Tensor,
    weights: &[f64],
    bias: Option<&[f64]>,
    p: &ConvolutionParameter,
) -> Tensor {
    let w = Window::of(p);
    let [n, c, height, width] = x.four();
    let (outputs, group) = (p.num_output() as usize, p.group() as usize);
    let out = [0, 1].map(|axis| {
        ([height, width][axis] + 2 * w.pad[axis] - w.extent(axis)) / w.stride[axis] + 1
    });
    let mut y = Tensor::zeros(&[n, outputs, out[0], out[1]]);
    let inputs = c / group;
    let mut at = 0;
    for sample in 0..n {
        for o in 0..outputs {
            let first = o / (outputs / group) * inputs;
            for oh in 0..out[0] {
                for ow in 0..out[1] {
                    let mut sum = bias.map_or(0.0, |bias| bias[o]);
                    for i in 0..inputs {
                        for kh in 0..w.size[0] {
                            let Some(ih) = w.at(0, oh, kh, height) else { continue };
                            let x_row = ((sample * c + first + i) * height + ih) * width;
                            let w_row = ((o * inputs + i) * w.size[0] + kh) * w.size[1];
                            for kw in 0..w.size[1] {
                                if let Some(iw) = w.at(1, ow, kw, width) {
                                    sum += weights[w_row + kw] * x.values[x_row + iw];
                                }
                            }
                        }
                    }
                    y.values[at] = sum;
                    at += 1;
                }
            }
        }
    }
    y
}

/// Every input spreads its value over the window: the transpose of a convolution.
pub fn deconvolution(
    x: &Tensor,
    weights: &[f64],
    bias: Option<&[f64]>,
    p: &ConvolutionParameter,
) -> Tensor {
    let w = Window::of(p);
    let [n, c, height, width] = x.four();
    let (outputs, group) = (p.num_output() as usize, p.group() as usize);
    let out = [0, 1].map(|axis| {
        w.stride[axis] * ([height, width][axis] - 1) + w.extent(axis) - 2 * w.pad[axis]
    });
    let mut y = Tensor::zeros(&[n, outputs, out[0], out[1]]);
    let of_group = outputs / group;
    for sample in 0..n {
        for i in 0..c {
            for j in 0..of_group {
                let o = i / (c / group) * of_group + j;
                for (ih, iw) in (0..height).flat_map(|h| (0..width).map(move |w| (h, w))) {
                    let value = x.values[((sample * c + i) * height + ih) * width + iw];
                    for kh in 0..w.size[0] {
                        for kw in 0..w.size[1] {
                            let (Some(oh), Some(ow)) =
                                (w.at(0, ih, kh, out[0]), w.at(1, iw, kw, out[1]))
                            else {
                                continue;
                            };
                            let weight =
                                weights[((i * of_group + j) * w.size[0] + kh) * w.size[1] + kw];
                            y.values[((sample * outputs + o) * out[0] + oh) * out[1] + ow] +=
                                value * weight;
                        }
                    }
                }
            }
        }
    }
    if let Some(bias) = bias {
        let spatial = out[0] * out[1];
        for (index, value) in y.values.iter_mut().enumerate() {
            *value += bias[index / spatial % outputs];
        }
    }
    y
}

/// The largest of each window; Caffe rounds the number of windows up.
pub fn max_pooling(x: &Tensor, size: usize, stride: usize, pad: usize) -> Tensor {
    let [n, c, height, width] = x.four();
    let out = [height, width].map(|len| {
        let windows = (len + 2 * pad - size).div_ceil(stride) + 1;
        if pad > 0 && (windows - 1) * stride >= len + pad { windows - 1 } else { windows }
    });
    let mut y = Tensor::zeros(&[n, c, out[0], out[1]]);
    let range = |o: usize, len: usize| {
        (o * stride).saturating_sub(pad)..(o * stride + size - pad.min(o * stride + size)).min(len)
    };
    let mut at = 0;
    for plane in 0..n * c {
        for oh in 0..out[0] {
            for ow in 0..out[1] {
                let mut largest = f64::NEG_INFINITY;
                for h in range(oh, height) {
                    for w in range(ow, width) {
                        largest = largest.max(x.values[(plane * height + h) * width + w]);
                    }
                }
                y.values[at] = largest;
                at += 1;
            }
        }
    }
    y
}
