//! Files from elsewhere: those of other writers, and those that should not be believed.

use std::io::Cursor;
use std::sync::Arc;

use bn::checkpoint::Reader;
use bn::naive::NaiveBackend;
use bn::{BatchNorm, Element, Error, Momentum, bf16, f16};

use crate::layers::{builder, f32s, f64s, file, framed, parameters, trained};

type Tensor<'a> = (&'a str, &'a str, &'a [usize], Vec<u8>);

/// What PyTorch would write for three channels.
fn usual() -> Vec<Tensor<'static>> {
    vec![
        ("conv.weight", "F32", &[2, 2], f32s(&[1.0; 4])),
        ("bn.bias", "F32", &[3], f32s(&[0.5, -0.5, 0.25])),
        ("bn.num_batches_tracked", "I64", &[], 7i64.to_le_bytes().to_vec()),
        ("bn.running_mean", "F32", &[3], f32s(&[0.1, 0.2, 0.3])),
        ("bn.running_var", "F32", &[3], f32s(&[1.0, 2.0, 0.0])),
        ("bn.weight", "F32", &[3], f32s(&[1.5, 2.5, -3.5])),
    ]
}

/// Replaces one tensor of the usual file.
fn with<'a>(name: &'a str, dtype: &'a str, shape: &'a [usize], bytes: Vec<u8>) -> Vec<Tensor<'a>> {
    let mut tensors: Vec<Tensor<'a>> = usual();
    let place = tensors.iter().position(|tensor| tensor.0 == name).unwrap();
    tensors[place] = (name, dtype, shape, bytes);
    tensors
}

fn restore<T: Element>(
    layer: &mut BatchNorm<T, NaiveBackend>,
    bytes: Vec<u8>,
) -> Result<(), Error> {
    Reader::new(Cursor::new(bytes))?.restore("bn.", layer)
}

/// The message with which a file is refused by a trained layer, which stays as it was.
fn refusal(bytes: Vec<u8>) -> String {
    let mut layer = trained(builder::<f32>());
    let before = (parameters(&layer), layer.running().cloned());
    let error = restore(&mut layer, bytes).unwrap_err();
    assert_eq!((parameters(&layer), layer.running().cloned()), before);
    error.to_string()
}

#[test]
fn a_file_of_python_is_read_among_other_tensors() {
    let mut layer = trained(builder::<f32>());
    restore(&mut layer, file(&usual())).unwrap();
    let running = layer.running().unwrap();
    assert_eq!(parameters(&layer), [Some(vec![1.5, 2.5, -3.5]), Some(vec![0.5, -0.5, 0.25])]);
    assert_eq!(running.mean().to_vec(), [0.1, 0.2, 0.3]);
    assert_eq!(running.var().to_vec(), [1.0, 2.0, 0.0]);
    assert_eq!(running.seen().batches, 7);
}

#[test]
fn other_element_types_are_read_where_they_are_exact() {
    let half: Vec<u8> =
        [1.5, 0.1, -2.0].map(f16::from_f64).iter().flat_map(|v| v.to_le_bytes()).collect();
    let brain: Vec<u8> =
        [1.5, 0.1, -2.0].map(bf16::from_f64).iter().flat_map(|v| v.to_le_bytes()).collect();
    for (dtype, bytes, expected) in [
        ("F16", half, [1.5, f16::from_f64(0.1).to_f32(), -2.0]),
        ("BF16", brain, [1.5, bf16::from_f64(0.1).to_f32(), -2.0]),
        ("F64", f64s(&[1.5, 0.125, -2.0]), [1.5, 0.125, -2.0]),
    ] {
        let bytes = file(&with("bn.weight", dtype, &[3], bytes));
        let mut single = trained(builder::<f32>());
        restore(&mut single, bytes.clone()).unwrap();
        assert_eq!(single.gamma().unwrap().to_vec(), expected);
        let mut double = trained(builder::<f64>());
        restore(&mut double, bytes).unwrap();
        assert_eq!(double.gamma().unwrap().to_vec(), expected.map(f64::from));
    }
    let rounded = refusal(file(&with("bn.weight", "F64", &[3], f64s(&[1.5, 0.1, -2.0]))));
    assert_eq!(rounded, "tensor bn.weight: F64 value 1e-1; expected values that f32 holds exactly");
    let integers = refusal(file(&with("bn.weight", "I32", &[3], f32s(&[0.0; 3]))));
    assert!(integers.starts_with("tensor bn.weight: element type I32; expected F32"), "{integers}");
}

#[test]
fn names_shapes_and_values_are_checked() {
    let shape = refusal(file(&with("bn.weight", "F32", &[4], f32s(&[1.0; 4]))));
    assert_eq!(shape, "tensor bn.weight: shape [4]; expected shape [3], one value per channel");
    let rank = refusal(file(&with("bn.weight", "F32", &[1, 3], f32s(&[1.0; 3]))));
    assert!(rank.starts_with("tensor bn.weight: shape [1, 3]"), "{rank}");
    for (value, shown) in [(-1e-3, "-0.001"), (f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let message = refusal(file(&with("bn.running_var", "F32", &[3], f32s(&[1.0, value, 1.0]))));
        assert!(message.starts_with("tensor bn.running_var: channel 1 is"), "{message}");
        assert!(message.contains(shown), "{message}");
    }
    let mean = refusal(file(&with("bn.running_mean", "F32", &[3], f32s(&[f32::NAN, 0.0, 0.0]))));
    assert!(mean.starts_with("tensor bn.running_mean: channel 0 is NaN"), "{mean}");
    let negative = (-1i64).to_le_bytes().to_vec();
    let batches = refusal(file(&with("bn.num_batches_tracked", "I64", &[], negative)));
    assert!(
        batches.contains("num_batches_tracked: -1; expected a number of at least 0"),
        "{batches}"
    );
    let batches = refusal(file(&with("bn.num_batches_tracked", "F32", &[], f32s(&[1.0]))));
    assert!(batches.contains("expected one I64"), "{batches}");
    for name in ["bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"] {
        let tensors: Vec<_> = usual().into_iter().filter(|tensor| tensor.0 != name).collect();
        assert!(refusal(file(&tensors)).starts_with(&format!("tensor {name}: not in the file")));
    }
}

#[test]
fn a_tensor_that_would_stay_unread_is_refused() {
    for (builder, name) in [
        (builder::<f32>().without_gamma(), "bn.weight"),
        (builder().without_beta(), "bn.bias"),
        (builder().without_running_statistics(), "bn.running_mean"),
    ] {
        let mut layer = builder.build_with(Arc::new(NaiveBackend)).unwrap();
        let error = restore(&mut layer, file(&usual())).unwrap_err();
        assert!(error.to_string().starts_with(&format!("tensor {name}: in the file")), "{error}");
    }
}

#[test]
fn old_files_without_a_count_are_read_unless_the_count_matters() {
    let old: Vec<_> = usual().into_iter().filter(|tensor| !tensor.0.ends_with("tracked")).collect();
    let mut layer = trained(builder::<f32>());
    restore(&mut layer, file(&old)).unwrap();
    assert_eq!(layer.running().unwrap().seen().batches, 0);
    let mut average = trained(builder::<f32>().momentum(Momentum::Cumulative));
    let error = restore(&mut average, file(&old)).unwrap_err();
    assert!(error.to_string().contains("num_batches_tracked: not in the file"), "{error}");
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let whole = file(&usual());
    for length in 0..whole.len() {
        let mut layer = trained(builder::<f32>());
        assert!(restore(&mut layer, whole[..length].to_vec()).is_err(), "cut at {length}");
    }
    let longer = [&whole[..], &[0]].concat();
    assert!(refusal(longer).contains("bytes of tensors; expected"));
}

#[test]
fn a_file_with_any_byte_changed_is_read_or_refused() {
    let whole = file(&usual());
    for place in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[place] ^= flip;
            let mut layer = trained(builder::<f32>());
            let before = (parameters(&layer), layer.running().cloned());
            if restore(&mut layer, bytes).is_err() {
                assert_eq!((parameters(&layer), layer.running().cloned()), before);
            }
        }
    }
}

#[test]
fn headers_that_lie_are_refused_without_being_believed() {
    let tensor = |shape: &str, offsets: &str| {
        let header = format!(
            r#"{{"bn.weight":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#
        );
        framed(&header, &f32s(&[1.0; 3]))
    };
    for bytes in [
        (u64::MAX).to_le_bytes().to_vec(),
        [&(1u64 << 40).to_le_bytes()[..], b"{}"].concat(),
        [&(99_999_999u64).to_le_bytes()[..], b"{}"].concat(),
        framed("", &[]),
        framed("[]", &[]),
        framed("{\"bn.weight\":3}", &[]),
        framed(&"[".repeat(100_000), &[]),
        framed("\u{feff}{}", &[]),
        tensor("[3]", "[0,8]"),
        tensor("[3]", "[4,16]"),
        tensor("[3]", "[12,0]"),
        tensor("[18446744073709551615,18446744073709551615]", "[0,12]"),
        tensor("[4611686018427387904]", "[0,12]"),
        tensor("[-3]", "[0,12]"),
        tensor("[1152921504606846976]", "[0,4611686018427387904]"),
    ] {
        let message = refusal(bytes);
        assert!(message.starts_with("not a safetensors file"), "{message}");
    }
}

#[test]
fn what_is_no_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut layer = trained(builder::<f32>());
    for path in [folder.path().to_owned(), folder.path().join("missing")] {
        let error = layer.load(&path).unwrap_err();
        assert!(matches!(error, Error::Io { action: "read", .. }), "{error}");
    }
    let device = std::path::Path::new("/dev/zero");
    if device.exists() {
        assert!(layer.load(device).unwrap_err().to_string().ends_with("not a regular file"));
    }
}
