//! Files that are broken, or made to break: each is an error or a tensor, never a panic, and takes no
//! more memory than the file has bytes.

use super::round_trip::{file, npy, read, tensor};
use super::{Format, Role, Tensor, TensorError, read_bytes};

/// A generator of numbers that look random, the same on every run (SplitMix64).
struct Generator(u64);

impl Generator {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// Good files of both formats, small enough to be broken at every byte.
fn good() -> Vec<(Format, Vec<u8>)> {
    let tensors = [tensor::<f32>(&[2, 3, 2]), tensor::<f64>(&[5])];
    let formats = [Format::Npy, Format::Safetensors];
    formats.iter().flat_map(|&f| tensors.iter().map(move |t| (f, file(f, t)))).collect()
}

/// What any answer must satisfy: a tensor is what its shape says, an error is one plain line.
fn is_sound(answer: &Result<Tensor, TensorError>, bytes: &[u8]) {
    match answer {
        Ok(Tensor { dims, values }) => {
            let view = values.view();
            let size = view.little_endian_bytes().len();
            assert!(size <= bytes.len());
            assert_eq!(size, dims.iter().product::<usize>() * view.dtype().size());
        }
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    for (format, bytes) in good() {
        for len in 0..bytes.len() {
            let answer = read(format, &bytes[..len]);
            is_sound(&answer, &bytes);
            let error = answer.expect_err("a part of a file is not a file");
            let expected = matches!(error, TensorError::Truncated { .. });
            assert!(expected, "{format:?} cut at {len}: {error}");
        }
    }
}

#[test]
fn a_file_with_more_behind_it_is_refused() {
    for (format, mut bytes) in good() {
        bytes.push(0);
        assert!(matches!(read(format, &bytes), Err(TensorError::Surplus { .. })), "{format:?}");
    }
}

#[test]
fn flipped_bits_never_panic() {
    let mut generator = Generator(1);
    let mut refused = 0;
    for (format, original) in good() {
        for _ in 0..5_000 {
            let mut bytes = original.clone();
            for _ in 0..=generator.below(4) {
                let at = generator.below(bytes.len());
                bytes[at] ^= 1 << generator.below(8);
            }
            let answer = read(format, &bytes);
            is_sound(&answer, &bytes);
            refused += usize::from(answer.is_err());
        }
    }
    assert!(refused > 5_000, "only {refused} of 20,000 were refused: were the flips made?");
}

#[test]
fn exchanged_and_repeated_pieces_never_panic() {
    let mut generator = Generator(2);
    for (format, original) in good() {
        for _ in 0..3_000 {
            let mut bytes = original.clone();
            let (from, to) = (generator.below(bytes.len()), generator.below(bytes.len()));
            let piece = bytes[from..(from + generator.below(20)).min(bytes.len())].to_vec();
            bytes.splice(to..(to + generator.below(20)).min(original.len()), piece);
            is_sound(&read(format, &bytes), &bytes);
        }
    }
}

#[test]
fn noise_never_panics() {
    let mut generator = Generator(3);
    for _ in 0..5_000 {
        let len = generator.below(300);
        let mut bytes: Vec<u8> = (0..len).map(|_| generator.next() as u8).collect();
        is_sound(&read(Format::Safetensors, &bytes), &bytes);
        let begin = b"\x93NUMPY\x01\x00\x40\x00{'descr': ";
        bytes.splice(..0, begin.iter().copied());
        is_sound(&read(Format::Npy, &bytes), &bytes);
    }
}

#[test]
fn a_header_that_promises_too_much_takes_no_memory() {
    let cases = [
        // 2^62 values, whose bytes overflow; 2^40, which do not, but are not there.
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2147483648, 2147483648), }\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1048576, 1048576), }\n",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (18446744073709551615, 2), }\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551616,), }\n",
    ];
    for header in cases {
        let error = read(Format::Npy, &npy(header, &[0; 64])).unwrap_err();
        is_sound(&Err(error), &[]);
    }
    // 4 GiB of header.
    let bomb = b"\x93NUMPY\x02\x00\xff\xff\xff\xff{'descr': '<f4', ";
    assert!(matches!(read(Format::Npy, bomb), Err(TensorError::HeaderTooLong { .. })));
    for length in [u64::MAX, 1 << 40, 100_000_001] {
        let bomb = [&length.to_le_bytes()[..], b"{}"].concat();
        let answer = read(Format::Safetensors, &bomb);
        assert!(matches!(answer, Err(TensorError::HeaderTooLong { .. })), "{length}");
    }
    let claims = [100u64, 100_000_000].map(|l| [&l.to_le_bytes()[..], b"{}"].concat());
    for claim in claims {
        let answer = read(Format::Safetensors, &claim);
        assert!(matches!(answer, Err(TensorError::Truncated { .. })));
    }
}

#[test]
fn deep_nesting_is_no_danger() {
    for open in ["(", "[", "{", "{'a':", "'"] {
        let header = open.repeat(9_000 / open.len());
        let bytes = npy(&format!("{{'descr': {header}"), &[]);
        is_sound(&read(Format::Npy, &bytes), &bytes);
        let bytes = npy(&format!("{{'shape': {header}"), &[]);
        is_sound(&read(Format::Npy, &bytes), &bytes);
    }
    for open in ["[", "{\"a\":", "{\"__metadata__\":"] {
        let text = open.repeat(100_000);
        let bytes = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
        assert!(matches!(read(Format::Safetensors, &bytes), Err(TensorError::Header(_))));
    }
}

#[test]
fn element_types_that_are_none_are_named() {
    let cases = [
        ("'|O'", "Python objects"),
        ("'<i4'", "integers"),
        ("'<u8'", "integers"),
        ("'|b1'", "booleans"),
        ("'<c8'", "complex"),
        ("'<U3'", "text"),
        ("'|V2'", "bf16 travels in .safetensors"),
        ("[('a', '<f4'), ('b', '<i4')]", "structured"),
        ("'<f16'", "expected f4"),
        ("'é4'", "expected f4"),
    ];
    for (descr, reason) in cases {
        let header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (1,), }}\n");
        let error = read(Format::Npy, &npy(&header, &[0; 16])).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, TensorError::ElementType { .. }), "{message}");
        assert!(message.contains(reason) && message.contains("expected f4"), "{message}");
    }
}

/// A .safetensors file with a header of one's own.
fn safetensors(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn the_wrong_tensor_is_never_taken() {
    let entry = |name: &str, begin: usize, dtype: &str| {
        format!(
            r#""{name}":{{"dtype":"{dtype}","shape":[1],"data_offsets":[{begin},{}]}}"#,
            begin + 4
        )
    };
    let two = |names: [&str; 2]| {
        safetensors(&format!("{{{},{}}}", entry(names[0], 0, "F32"), entry(names[1], 4, "F32")), 8)
    };
    let gamma = |bytes: &[u8]| read_bytes(bytes, Format::Safetensors, Role::Gamma);
    assert!(gamma(&two(["other", "weight"])).is_ok());
    let error = gamma(&two(["gamma", "weight"])).unwrap_err();
    assert!(matches!(error, TensorError::Ambiguous { .. }), "{error}");
    let error = gamma(&two(["one", "two"])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "holds 2 tensors, none named gamma or weight; name one as FILE:NAME of \"one\", \"two\""
    );
    assert!(matches!(gamma(&safetensors("{}", 0)), Err(TensorError::NoTensors)));
    let integers = safetensors(&format!("{{{}}}", entry("x", 0, "I32")), 4);
    assert!(matches!(gamma(&integers), Err(TensorError::ElementType { .. })));
}

#[test]
fn offsets_that_lie_are_refused() {
    let cases = [
        // Overlapping, beyond the end, backwards, of another size than the shape.
        (
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}"#,
            6,
        ),
        (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8),
        (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 4),
        (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4),
        (r#"{"a":{"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]}}"#, 4),
        (r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4),
    ];
    for (header, data) in cases {
        let answer = read(Format::Safetensors, &safetensors(header, data));
        assert!(matches!(answer, Err(TensorError::Header(_))), "{header}");
    }
}
