//! What is written can be read again, in every format and element type.

use bn_core::{DType, bf16, f16};

use super::npy::MAGIC;
use super::{Format, Role, Stored, Tensor, TensorError, Values, read_bytes};

/// The bytes of a file of one tensor.
pub(super) fn file(format: Format, tensor: &Tensor) -> Vec<u8> {
    let view = tensor.values.view();
    let header = format.header("x", view.dtype(), &tensor.dims).unwrap();
    [&header, &view.little_endian_bytes()[..]].concat()
}

/// A tensor of these dimensions, whose values differ and are exact in every type.
pub(super) fn tensor<T: Stored>(dims: &[usize]) -> Tensor {
    let count = dims.iter().product::<usize>();
    let values = (0..count).map(|index| T::from_f64(index as f64 - 3.5)).collect();
    Tensor { dims: dims.to_vec(), values: T::into_values(values) }
}

/// An .npy file with a header of one's own.
pub(super) fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    [MAGIC, &[1, 0], &length, header.as_bytes(), data].concat()
}

pub(super) fn read(format: Format, bytes: &[u8]) -> Result<Tensor, TensorError> {
    read_bytes(bytes, format, Role::X)
}

#[test]
fn every_type_and_shape_comes_back() {
    fn round_trip<T: Stored>(formats: &[Format]) {
        for dims in [&[][..], &[7], &[2, 3], &[2, 3, 4, 5, 1], &[0, 3], &[3, 0]] {
            let tensor = tensor::<T>(dims);
            for &format in formats {
                let bytes = file(format, &tensor);
                assert_eq!(read(format, &bytes).unwrap(), tensor, "{format:?} {dims:?}");
                assert_eq!(Format::of_content(&bytes), Some(format));
            }
        }
    }
    let both = [Format::Npy, Format::Safetensors];
    round_trip::<f32>(&both);
    round_trip::<f64>(&both);
    round_trip::<f16>(&both);
    round_trip::<bf16>(&[Format::Safetensors]);
    assert_eq!(Format::Npy.header("x", DType::BF16, &[1]), None);
}

#[test]
fn headers_are_aligned_as_their_formats_ask() {
    for rank in 0..40 {
        let dims = vec![12_345; rank];
        let npy = Format::Npy.header("x", DType::F32, &dims).unwrap();
        assert_eq!((npy.len() % 64, npy.last()), (0, Some(&b'\n')));
    }
    for name in ["a", "ab", "abc", "save_inv_std"] {
        let header = Format::Safetensors.header(name, DType::F64, &[3]).unwrap();
        assert_eq!(header.len() % 8, 0);
    }
}

#[test]
fn both_element_orders_and_both_byte_orders_read_the_same() {
    let values = [0.5f32, -1.0, 2.25, 3.0, 1e-3, -7.0];
    // [2, 3], row by row and column by column.
    let columns = [0usize, 3, 1, 4, 2, 5].map(|index| values[index]);
    let expected = Tensor { dims: vec![2, 3], values: Values::F32(values.to_vec()) };
    for (order, values) in [("False", values), ("True", columns)] {
        for (mark, bytes) in [
            ("<", values.map(f32::to_le_bytes).concat()),
            (">", values.map(f32::to_be_bytes).concat()),
        ] {
            let header =
                format!("{{'descr': '{mark}f4', 'fortran_order': {order}, 'shape': (2, 3), }}\n");
            assert_eq!(read(Format::Npy, &npy(&header, &bytes)).unwrap(), expected, "{header}");
        }
    }
}

#[test]
fn big_endian_values_of_every_size_are_read_right() {
    let header = |descr| format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (2,)}}\n");
    let (wide, narrow) = ([1.5f64, -2.0], [1.5, -2.0].map(f16::from_f64));
    let bytes = npy(&header(">f8"), &wide.map(f64::to_be_bytes).concat());
    assert_eq!(read(Format::Npy, &bytes).unwrap().values, Values::F64(wide.to_vec()));
    let bytes = npy(&header(">f2"), &narrow.map(f16::to_be_bytes).concat());
    assert_eq!(read(Format::Npy, &bytes).unwrap().values, Values::F16(narrow.to_vec()));
}

#[test]
fn later_versions_of_npy_count_their_header_in_four_bytes() {
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n";
    let length = (header.len() as u32).to_le_bytes();
    for version in [2, 3] {
        let bytes =
            [MAGIC, &[version, 0], &length, header.as_bytes(), &2.5f32.to_le_bytes()].concat();
        assert_eq!(read(Format::Npy, &bytes).unwrap().values, Values::F32(vec![2.5]));
    }
    let bytes = [MAGIC, &[4, 0], &length, header.as_bytes(), &[0; 4]].concat();
    assert!(matches!(read(Format::Npy, &bytes), Err(TensorError::Version { major: 4, minor: 0 })));
}
