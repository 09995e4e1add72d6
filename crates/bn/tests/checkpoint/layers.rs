//! Layers with values to save, and files put together by hand.

use std::sync::Arc;

use bn::naive::NaiveBackend;
use bn::{BatchNorm, Builder, Element, Layout, Mode};
use ndarray::Array2;

/// Three channels.
pub(crate) fn builder<T: Element>() -> Builder<T> {
    BatchNorm::builder(3, Layout::ChannelsFirst)
}

/// A layer whose every value has moved from where it started, after two batches.
pub(crate) fn trained<T: Element>(builder: Builder<T>) -> BatchNorm<T, NaiveBackend> {
    let mut layer = builder.build_with(Arc::new(NaiveBackend)).unwrap();
    for batch in 1..3 {
        let value = |(n, c)| T::from_f64((batch * (n * 7 + c * 3) % 11) as f64 - 0.3);
        layer.forward(Array2::from_shape_fn((6, 3), value), Mode::TRAIN).unwrap();
    }
    if let Some(mut gamma) = layer.gamma_mut() {
        gamma.indexed_iter_mut().for_each(|(c, to)| *to = T::Param::from_f64(0.1 + c as f64));
    }
    if let Some(mut beta) = layer.beta_mut() {
        beta.indexed_iter_mut().for_each(|(c, to)| *to = T::Param::from_f64(-0.7 * c as f64));
    }
    layer
}

/// gamma and beta.
pub(crate) fn parameters<T: Element, B: ?Sized>(
    layer: &BatchNorm<T, B>,
) -> [Option<Vec<T::Param>>; 2] {
    [layer.gamma(), layer.beta()].map(|values| values.map(|values| values.to_vec()))
}

/// A file of these tensors (name, type, shape, bytes), laid out as Python's `save_file` does: a header
/// padded with spaces, the data in the order given.
pub(crate) fn file(tensors: &[(&str, &str, &[usize], Vec<u8>)]) -> Vec<u8> {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let (start, end) = (data.len(), data.len() + bytes.len());
        entries.push(format!(
            r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
        ));
        data.extend_from_slice(bytes);
    }
    let mut header = format!("{{\"__metadata__\":{{\"format\":\"pt\"}},{}}}", entries.join(","));
    while header.len() % 8 != 0 {
        header.push(' ');
    }
    framed(&header, &data)
}

/// A header with its length in front and data behind.
pub(crate) fn framed(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// Values as the bytes of an f32 tensor.
pub(crate) fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Values as the bytes of an f64 tensor.
pub(crate) fn f64s(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
