//! Tensor files, written and read apart from the program.

use std::fs;
use std::path::Path;

use bn_core::{Element, bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// An element type with its bytes.
pub(crate) trait Bytes: Element {
    const NPY: Option<&'static str>;
    const SAFETENSORS: Dtype;
    fn bytes(values: &[Self]) -> Vec<u8>;
    fn parse(bytes: &[u8]) -> Vec<Self>;
}

macro_rules! bytes {
    ($type:ty, $npy:expr, $safetensors:ident) => {
        impl Bytes for $type {
            const NPY: Option<&'static str> = $npy;
            const SAFETENSORS: Dtype = Dtype::$safetensors;

            fn bytes(values: &[Self]) -> Vec<u8> {
                values.iter().flat_map(|value| value.to_le_bytes()).collect()
            }

            fn parse(bytes: &[u8]) -> Vec<Self> {
                let value = |bytes: &[u8]| Self::from_le_bytes(bytes.try_into().unwrap());
                bytes.chunks_exact(size_of::<Self>()).map(value).collect()
            }
        }
    };
}

bytes!(f32, Some("<f4"), F32);
bytes!(f64, Some("<f8"), F64);
bytes!(f16, Some("<f2"), F16);
bytes!(bf16, None, BF16);

/// An .npy file with any header.
pub(crate) fn npy_with(descr: &str, order: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}");
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

fn python_tuple(dims: &[usize]) -> String {
    let sizes: Vec<_> = dims.iter().map(|size| format!("{size},")).collect();
    format!("({})", sizes.concat())
}

/// Writes `dir/name.npy`, or `.safetensors` with the tensor under its name.
pub(crate) fn write<T: Bytes>(
    dir: &Path,
    name: &str,
    extension: &str,
    dims: &[usize],
    values: &[T],
) {
    let data = T::bytes(values);
    let path = dir.join(name).with_extension(extension);
    let bytes = match extension {
        "npy" => {
            let descr = format!("'{}'", T::NPY.expect("an element type that .npy has"));
            npy_with(&descr, "False", &python_tuple(dims), &data)
        }
        _ => {
            let view = TensorView::new(T::SAFETENSORS, dims.to_vec(), &data).unwrap();
            safetensors::serialize([(name, view)], None).unwrap()
        }
    };
    fs::write(path, bytes).unwrap();
}

/// Writes `dir/name.safetensors` with several f32 tensors.
pub(crate) fn write_several(dir: &Path, name: &str, tensors: &[(&str, &[usize], Vec<f32>)]) {
    let data: Vec<_> = tensors.iter().map(|(_, _, values)| f32::bytes(values)).collect();
    let views = tensors.iter().zip(&data).map(|((name, dims, _), data)| {
        (*name, TensorView::new(Dtype::F32, dims.to_vec(), data).unwrap())
    });
    let file = safetensors::serialize(views, None).unwrap();
    fs::write(dir.join(name).with_extension("safetensors"), file).unwrap();
}

/// Reads a result: its shape and values. Its element type must be `T`.
pub(crate) fn read<T: Bytes>(dir: &Path, name: &str, extension: &str) -> (Vec<usize>, Vec<T>) {
    let bytes = fs::read(dir.join(name).with_extension(extension)).unwrap();
    if extension == "safetensors" {
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.names(), [name]);
        let tensor = file.tensor(name).unwrap();
        assert_eq!(tensor.dtype(), T::SAFETENSORS, "{name}");
        return (tensor.shape().to_vec(), T::parse(tensor.data()));
    }
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..end]).unwrap();
    let after = |mark: &str| header.split_once(mark).unwrap().1;
    let descr = after("'descr': '").split('\'').next();
    assert_eq!(descr, T::NPY, "{name}");
    assert!(after("'fortran_order': ").starts_with("False"));
    let sizes = after("'shape': (").split(')').next().unwrap().split(',').map(str::trim);
    let dims = sizes.filter(|size| !size.is_empty()).map(|size| size.parse().unwrap()).collect();
    (dims, T::parse(&bytes[end..]))
}

/// Values that look random and are the same on every run, of mean about 1 and deviation about 2.
pub(crate) fn values<T: Element>(count: usize, seed: u64) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f64 / f64::from(1 << 24)
    };
    (0..count).map(|_| T::from_f64(7.0 * next() - 2.5)).collect()
}

/// Every name in a directory.
pub(crate) fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
