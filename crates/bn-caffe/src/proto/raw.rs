//! A message taken apart for editing: every field kept as the bytes it had.
//!
//! prost drops what a schema does not name. A message that is to be changed and written back is
//! therefore held as its encoded fields; an edit replaces single fields and the others, known or
//! not, return to the file byte for byte and in their order.

use std::io::Write;

use prost::bytes::Bytes;
use prost::encoding::encode_varint;

use super::wire::{Fields, Payload};
use crate::error::Result;

/// One encoded field: a slice that shares the file's memory, or new bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawField {
    number: u32,
    head: Bytes,
    payload: Bytes,
}

impl RawField {
    /// Encodes an integer, a boolean or an enumeration.
    #[must_use]
    pub fn varint(number: u32, value: u64) -> Self {
        let mut payload = Vec::with_capacity(10);
        encode_varint(value, &mut payload);
        Self { number, head: tag(number, 0).into(), payload: payload.into() }
    }

    /// Encodes a `float`.
    #[must_use]
    pub fn float(number: u32, value: f32) -> Self {
        let payload = Bytes::copy_from_slice(&value.to_le_bytes());
        Self { number, head: tag(number, 5).into(), payload }
    }

    /// Encodes a string, a message or packed numbers; `payload` is not copied.
    #[must_use]
    pub fn bytes(number: u32, payload: impl Into<Bytes>) -> Self {
        let payload = payload.into();
        let mut head = tag(number, 2);
        encode_varint(payload.len() as u64, &mut head);
        Self { number, head: head.into(), payload }
    }

    /// Field number.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Content after tag and length; of a group with its end tag.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Bytes the field takes in a file.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.head.len() + self.payload.len()
    }
}

fn tag(number: u32, wire: u8) -> Vec<u8> {
    let mut head = Vec::with_capacity(20);
    encode_varint(u64::from(number) << 3 | u64::from(wire), &mut head);
    head
}

/// The fields of one message in their order.
///
/// ```
/// use bn_caffe::proto::raw::{RawField, RawMessage};
/// use prost::bytes::Bytes;
/// // name = "a", and field 9000 of some fork.
/// let bytes = Bytes::from_static(b"\x0a\x01a\xc0\xb2\x04\x07");
/// let mut message = RawMessage::parse(&bytes)?;
/// message.set(RawField::bytes(1, "conv1"));
/// assert_eq!(message.to_bytes(), &b"\x0a\x05conv1\xc0\xb2\x04\x07"[..]);
/// # Ok::<(), bn_caffe::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawMessage {
    fields: Vec<RawField>,
}

impl RawMessage {
    /// Takes a message apart; the fields share the memory of `bytes`.
    ///
    /// # Errors
    /// [`Error::Wire`](crate::Error::Wire) where the bytes break the encoding, with the offset in
    /// `bytes`.
    pub fn parse(bytes: &Bytes) -> Result<Self> {
        let mut fields = Vec::new();
        for field in Fields::new(bytes, 0) {
            let field = field?;
            fields.push(RawField {
                number: field.number,
                head: bytes.slice(field.start..field.payload_start),
                payload: bytes.slice(field.payload_start..field.end),
            });
        }
        Ok(Self { fields })
    }

    /// The fields in their order.
    #[must_use]
    pub fn fields(&self) -> &[RawField] {
        &self.fields
    }

    /// Counts the fields of one number.
    #[must_use]
    pub fn count(&self, number: u32) -> usize {
        self.fields.iter().filter(|f| f.number == number).count()
    }

    /// The last field of a number, the one that counts where the field is not repeated.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&RawField> {
        self.fields.iter().rev().find(|f| f.number == number)
    }

    /// Gives a single field its value: in the place of the first of its number, or in the place that
    /// ascending numbers give it. Further fields of that number go.
    pub fn set(&mut self, field: RawField) {
        let number = field.number;
        self.replace_all(number, [field]);
    }

    /// Puts `with` in the place of all fields of one number.
    pub fn replace_all(&mut self, number: u32, with: impl IntoIterator<Item = RawField>) {
        let place = self.fields.iter().position(|f| f.number == number);
        self.fields.retain(|f| f.number != number);
        let place = place.unwrap_or_else(|| {
            // The first field of a greater number: protobuf writes in ascending order.
            self.fields.iter().position(|f| f.number > number).unwrap_or(self.fields.len())
        });
        self.fields.splice(place..place, with);
    }

    /// Changes the message inside a length-delimited field, or makes it.
    ///
    /// A message that stands several times in the file is one message to protobuf; its parts are
    /// joined first.
    ///
    /// # Errors
    /// [`Error::Wire`](crate::Error::Wire) where the inner bytes break the encoding.
    pub fn edit_message(&mut self, number: u32, edit: impl FnOnce(&mut Self)) -> Result<()> {
        let mut inner = Self::default();
        for field in self.fields.iter().filter(|f| f.number == number) {
            inner.fields.extend(Self::parse(&field.payload)?.fields);
        }
        edit(&mut inner);
        self.set(RawField::bytes(number, inner.to_bytes()));
        Ok(())
    }

    /// Bytes the message takes in a file, without tag and length.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.fields.iter().map(RawField::encoded_len).sum()
    }

    /// Writes the message.
    ///
    /// # Errors
    /// What the writer returns.
    pub fn write_to(&self, out: &mut impl Write) -> std::io::Result<()> {
        for field in &self.fields {
            out.write_all(&field.head)?;
            out.write_all(&field.payload)?;
        }
        Ok(())
    }

    /// Encodes the message into one piece.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        self.after(Vec::new()).into()
    }

    /// Encodes the message as a field of another; returns the offset of its content as well.
    pub(crate) fn to_field(&self, number: u32) -> (Bytes, usize) {
        let mut head = tag(number, 2);
        encode_varint(self.encoded_len() as u64, &mut head);
        let start = head.len();
        (self.after(head).into(), start)
    }

    fn after(&self, mut out: Vec<u8>) -> Vec<u8> {
        out.reserve_exact(self.encoded_len());
        for field in &self.fields {
            out.extend_from_slice(&field.head);
            out.extend_from_slice(&field.payload);
        }
        out
    }
}

/// Finds the last length-delimited field of a number; an unreadable message holds none.
pub(crate) fn last_bytes(message: &[u8], number: u32) -> Option<&[u8]> {
    Fields::new(message, 0)
        .filter_map(Result::ok)
        .filter(|f| f.number == number)
        .filter_map(|f| if let Payload::Bytes(b) = f.payload { Some(b) } else { None })
        .last()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewrite_keeps_unknown_fields_and_odd_encodings() {
        // Field 2 with an overlong varint, an unknown group, field 1 twice.
        let bytes = Bytes::from_static(b"\x10\x81\x00\x0a\x01a\x63\x08\x01\x64\x0a\x01b");
        let message = RawMessage::parse(&bytes).expect("well formed");
        assert_eq!(message.to_bytes(), bytes);
        assert_eq!(message.get(1).map(|f| f.payload().as_ref()), Some(&b"b"[..]));

        let mut edited = message.clone();
        edited.replace_all(1, []);
        assert_eq!(edited.to_bytes(), &b"\x10\x81\x00\x63\x08\x01\x64"[..]);
        edited.set(RawField::varint(3, 1));
        assert_eq!(edited.to_bytes(), &b"\x10\x81\x00\x18\x01\x63\x08\x01\x64"[..]);
    }

    #[test]
    fn nested_messages_are_joined_and_edited() {
        // Field 5 twice: {1: 7} and {2: 9}.
        let bytes = Bytes::from_static(b"\x2a\x02\x08\x07\x2a\x02\x10\x09");
        let mut message = RawMessage::parse(&bytes).expect("well formed");
        message.edit_message(5, |m| m.set(RawField::varint(1, 8))).expect("well formed");
        assert_eq!(message.to_bytes(), &b"\x2a\x04\x08\x08\x10\x09"[..]);
        message.edit_message(6, |m| m.set(RawField::float(1, 1.0))).expect("well formed");
        assert_eq!(message.to_bytes(), &b"\x2a\x04\x08\x08\x10\x09\x32\x05\x0d\0\0\x80\x3f"[..]);
    }
}
