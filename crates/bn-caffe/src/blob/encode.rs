//! Writes a blob as a message.

use prost::Message as _;
use prost::bytes::Bytes;

use super::{Blob, Element, Packed};
use crate::error::Result;
use crate::proto::raw::{RawField, RawMessage};
use crate::proto::schema::BlobShape;

impl Blob {
    /// Encodes the blob as Caffe writes it: packed, in the precision it has.
    #[must_use]
    pub fn to_message(&self) -> Bytes {
        let mut message = RawMessage::default();
        self.put(&mut message);
        message.to_bytes()
    }

    /// Replaces the blob in an encoded message; fields that this crate does not know stay.
    ///
    /// # Errors
    /// [`Error::Wire`](crate::Error::Wire) where `old` breaks the encoding.
    pub fn update_message(&self, old: &Bytes) -> Result<Bytes> {
        let mut message = RawMessage::parse(old)?;
        for number in (1..=10).chain([12]) {
            message.replace_all(number, []);
        }
        self.put(&mut message);
        Ok(message.to_bytes())
    }

    fn put(&self, message: &mut RawMessage) {
        if self.shape.is_legacy() {
            for (number, &dim) in (1..).zip(self.shape.dims()) {
                message.set(RawField::varint(number, dim as u64));
            }
        } else {
            let dim = self.shape.dims().iter().map(|&d| d as i64).collect();
            message.set(RawField::bytes(7, BlobShape { dim }.encode_to_vec()));
        }
        let Packed { element, bytes } = &self.data;
        match element {
            Element::F32 => message.set(RawField::bytes(5, bytes.clone())),
            Element::F64 => message.set(RawField::bytes(8, bytes.clone())),
            Element::F16 => {
                message.set(RawField::varint(10, 2));
                message.set(RawField::bytes(12, bytes.clone()));
            }
        }
        match &self.diff {
            Some(Packed { element: Element::F64, bytes }) => {
                message.set(RawField::bytes(9, bytes.clone()));
            }
            Some(Packed { bytes, .. }) => message.set(RawField::bytes(6, bytes.clone())),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::Shape;

    #[test]
    fn an_update_keeps_unknown_fields() {
        let blob = Blob::from_f64(Shape::new([1]).expect("small"), &[2.0]).expect("one value");
        // data = [1], field 300 = 5.
        let old = Bytes::from_static(b"\x2a\x04\0\0\x80\x3f\xe0\x12\x05");
        let new = blob.update_message(&old).expect("well formed");
        assert_eq!(Blob::parse(&new), Ok(blob));
        assert!(new.ends_with(b"\xe0\x12\x05"));
    }
}
