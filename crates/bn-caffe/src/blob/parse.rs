//! Reads a blob from its message without copying packed values.

use prost::bytes::Bytes;

use super::{Blob, Element, Packed, Shape};
use crate::error::{BlobProblem, Error};
use crate::limits::MAX_AXES;
use crate::proto::wire::{Fields, Payload};

/// Values collected from the fields of one number.
#[derive(Default)]
enum Gathered {
    #[default]
    None,
    /// One packed field: a slice of the message.
    Slice(Bytes),
    /// Unpacked values or several fields: copied together.
    Joined(Vec<u8>),
}

impl Gathered {
    fn bytes(&mut self, part: Bytes) {
        match self {
            _ if part.is_empty() => {}
            Self::None => *self = Self::Slice(part),
            Self::Slice(first) => *self = Self::Joined([&first[..], &part].concat()),
            Self::Joined(all) => all.extend_from_slice(&part),
        }
    }

    fn value(&mut self, value: &[u8]) {
        match self {
            Self::None => *self = Self::Joined(value.to_vec()),
            Self::Slice(first) => *self = Self::Joined([first, value].concat()),
            Self::Joined(all) => all.extend_from_slice(value),
        }
    }

    fn finish(self, element: Element) -> Result<Option<Packed>, BlobProblem> {
        let bytes = match self {
            Self::None => return Ok(None),
            Self::Slice(bytes) => bytes,
            Self::Joined(all) => all.into(),
        };
        if bytes.len() % element.size() != 0 {
            return Err(BlobProblem::RaggedData { bytes: bytes.len(), element: element.size() });
        }
        Ok(Some(Packed { element, bytes }))
    }
}

impl Blob {
    /// Reads a blob from an encoded [`BlobProto`](crate::proto::schema::BlobProto).
    ///
    /// `double_data` wins over `data`; raw bytes (fields 10 and 12) count where both are absent. If
    /// any legacy dimension is present the shape is the legacy one. Packed values stay where they
    /// are in `message`; unpacked ones are copied.
    ///
    /// # Errors
    /// Every [`BlobProblem`]: broken encoding, impossible shape, a number of values that is not the
    /// shape's product.
    pub fn parse(message: &Bytes) -> Result<Self, BlobProblem> {
        let mut legacy = [None::<i64>; 4];
        let mut dims = Vec::new();
        let mut gathered: [Gathered; 4] = Default::default();
        let (mut raw_type, mut raw_data) = (None, Gathered::None);
        for field in Fields::new(message, 0) {
            let field = field.map_err(wire)?;
            let wrong = |expected| BlobProblem::FieldType {
                field: field.number,
                found: field.payload.kind(),
                expected,
            };
            match (field.number, field.payload) {
                (n @ 1..=4, Payload::Varint(v)) => legacy[n as usize - 1] = Some(v as i64),
                (10, Payload::Varint(v)) => raw_type = Some(v),
                (1..=4 | 10, _) => return Err(wrong("a varint")),
                (7, Payload::Bytes(shape)) => read_dims(shape, &mut dims)?,
                (7 | 12, _) if !matches!(field.payload, Payload::Bytes(_)) => {
                    return Err(wrong("a length-delimited value"));
                }
                (12, _) => raw_data.bytes(message.slice(field.payload_start..field.end)),
                (n @ (5 | 6 | 8 | 9), payload) => {
                    let slot = &mut gathered[match n {
                        5 => 0,
                        6 => 1,
                        8 => 2,
                        _ => 3,
                    }];
                    match payload {
                        Payload::Bytes(_) => {
                            slot.bytes(message.slice(field.payload_start..field.end));
                        }
                        Payload::Fixed32(v) if n < 8 => slot.value(&v),
                        Payload::Fixed64(v) if n >= 8 => slot.value(&v),
                        _ => return Err(wrong("packed or single numbers")),
                    }
                }
                _ => {}
            }
        }
        let shape = if legacy.iter().any(Option::is_some) {
            Shape::from_file(&legacy.map(|d| d.unwrap_or(0)), true)?
        } else {
            Shape::from_file(&dims, false)?
        };
        let [data, diff, double_data, double_diff] = gathered;
        let data = match (double_data.finish(Element::F64)?, data.finish(Element::F32)?) {
            (Some(double), _) => double,
            (None, Some(single)) => single,
            (None, None) => raw(raw_type, raw_data)?,
        };
        let diff = match (double_diff.finish(Element::F64)?, diff.finish(Element::F32)?) {
            (Some(double), _) => Some(double),
            (None, single) => single,
        };
        if let Some(diff) = &diff
            && diff.len() != shape.count()
        {
            return Err(BlobProblem::Count {
                values: diff.len(),
                expected: shape.count(),
                shape: shape.dims().to_vec(),
            });
        }
        Self::new(shape, data, diff)
    }
}

fn raw(kind: Option<u64>, data: Gathered) -> Result<Packed, BlobProblem> {
    let element = match kind {
        Some(0) => Element::F64,
        // Field 10 absent: the first value of its enumeration is double, but then there is no raw
        // data either, and an empty blob is one of single precision.
        None | Some(1) => Element::F32,
        Some(2) => Element::F16,
        Some(found) => return Err(BlobProblem::RawType { found }),
    };
    Ok(data.finish(element)?.unwrap_or(Packed { element, bytes: Bytes::new() }))
}

fn read_dims(shape: &[u8], dims: &mut Vec<i64>) -> Result<(), BlobProblem> {
    let mut push = |dim: u64| {
        dims.push(dim as i64);
        if dims.len() > MAX_AXES {
            return Err(BlobProblem::TooManyAxes { axes: dims.len() });
        }
        Ok(())
    };
    for field in Fields::new(shape, 0) {
        let field = field.map_err(wire)?;
        match (field.number, field.payload) {
            (1, Payload::Varint(dim)) => push(dim)?,
            (1, Payload::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    push(prost::encoding::decode_varint(&mut packed).map_err(|_| {
                        BlobProblem::Wire { offset: 0, problem: "a broken dimension".into() }
                    })?)?;
                }
            }
            (1, payload) => {
                return Err(BlobProblem::FieldType {
                    field: 7,
                    found: payload.kind(),
                    expected: "packed or single dimensions",
                });
            }
            _ => {}
        }
    }
    Ok(())
}

fn wire(error: Error) -> BlobProblem {
    match error {
        Error::Wire { offset, problem, .. } => BlobProblem::Wire { offset, problem },
        other => BlobProblem::Wire { offset: 0, problem: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::schema::{BlobProto, BlobShape};
    use prost::Message as _;

    fn parse(proto: &BlobProto) -> Result<Blob, BlobProblem> {
        Blob::parse(&proto.encode_to_vec().into())
    }

    fn shape(dim: &[i64]) -> Option<BlobShape> {
        Some(BlobShape { dim: dim.to_vec() })
    }

    #[test]
    fn every_storage_gives_the_same_values() {
        let values = [1.0, -0.5, 3.0];
        let single = BlobProto { shape: shape(&[3]), data: values.to_vec(), ..Default::default() };
        let double = BlobProto {
            shape: shape(&[3]),
            data: vec![9.0; 3],
            double_data: values.map(f64::from).to_vec(),
            ..Default::default()
        };
        let half = BlobProto {
            shape: shape(&[3]),
            raw_data_type: Some(2),
            raw_data: Some(
                values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
            ),
            ..Default::default()
        };
        for proto in [&single, &double, &half] {
            assert_eq!(parse(proto).map(|b| b.to_f32()), Ok(values.to_vec()));
        }
        // Unpacked, with unpacked dimensions, and in two pieces.
        let unpacked = b"\x3a\x02\x08\x03\x2d\0\0\x80\x3f\x2a\x04\0\0\0\xbf\x2d\0\0\x40\x40";
        let blob = Blob::parse(&Bytes::from_static(unpacked));
        assert_eq!(blob.map(|b| b.to_f32()), Ok(values.to_vec()));
    }

    #[test]
    fn legacy_dimensions_win_over_the_shape() {
        let proto = BlobProto {
            shape: shape(&[7]),
            num: Some(1),
            channels: Some(1),
            height: Some(1),
            width: Some(2),
            data: vec![1.0, 2.0],
            ..Default::default()
        };
        let blob = parse(&proto).expect("two values");
        assert_eq!(blob.shape().dims(), [1, 1, 1, 2]);
        assert!(blob.shape().loads_into(&[2]));
        // One legacy field alone makes the others 0, as in Caffe.
        let proto = BlobProto { num: Some(2), ..Default::default() };
        assert_eq!(parse(&proto).map(|b| b.len()), Ok(0));
    }

    #[test]
    fn wrong_blobs_say_what_is_wrong() {
        let count = BlobProto { shape: shape(&[3]), data: vec![1.0; 2], ..Default::default() };
        assert_eq!(
            parse(&count),
            Err(BlobProblem::Count { values: 2, shape: vec![3], expected: 3 })
        );
        let negative = BlobProto { shape: shape(&[-3]), ..Default::default() };
        assert_eq!(parse(&negative), Err(BlobProblem::NegativeDim { axis: 0, dim: -3 }));
        let ragged = Bytes::from_static(b"\x2a\x03\0\0\0");
        assert_eq!(Blob::parse(&ragged), Err(BlobProblem::RaggedData { bytes: 3, element: 4 }));
        let axes = BlobProto { shape: shape(&[1; 40]), ..Default::default() };
        assert_eq!(parse(&axes), Err(BlobProblem::TooManyAxes { axes: 33 }));
        let kind = BlobProto { raw_data_type: Some(3), ..Default::default() };
        assert_eq!(parse(&kind), Err(BlobProblem::RawType { found: 3 }));
        assert!(matches!(
            Blob::parse(&Bytes::from_static(b"\x28\x01")),
            Err(BlobProblem::FieldType { field: 5, .. })
        ));
    }
}
