//! The protobuf encoding as bytes: tags, lengths, payloads, every step checked against the end.
//!
//! Nothing is allocated for what a length claims: a payload is a slice of what is there, or an
//! error. The walk visits fields that no schema knows, which is what keeps them through a rewrite.

use crate::error::{Error, Result};
use crate::limits::MAX_DEPTH;

/// The content of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Wire type 0: integers, booleans, enumerations.
    Varint(u64),
    /// Wire type 1: `fixed64`, `double`; little-endian.
    Fixed64([u8; 8]),
    /// Wire type 2: strings, bytes, messages and packed numbers.
    Bytes(&'a [u8]),
    /// Wire types 3 and 4: a group, from after its start tag to before its end tag.
    Group(&'a [u8]),
    /// Wire type 5: `fixed32`, `float`; little-endian.
    Fixed32([u8; 4]),
}

impl Payload<'_> {
    /// Names the wire type, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Varint(_) => "a varint",
            Self::Fixed64(_) => "eight bytes",
            Self::Bytes(_) => "a length-delimited value",
            Self::Group(_) => "a group",
            Self::Fixed32(_) => "four bytes",
        }
    }
}

/// One field of a message, and where it stands in the message's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Field number, at least 1.
    pub number: u32,
    /// The content.
    pub payload: Payload<'a>,
    /// Offset of the tag.
    pub start: usize,
    /// Offset of the payload: after the tag, and after the length where there is one.
    pub payload_start: usize,
    /// Offset after the field.
    pub end: usize,
}

/// Walks the fields of one message in the order of the file.
///
/// After an error the walk ends.
///
/// ```
/// use bn_caffe::proto::wire::{Fields, Payload};
/// // Field 1 = "ab", field 2 = 300.
/// let fields: Result<Vec<_>, _> = Fields::new(b"\x0a\x02ab\x10\xac\x02", 0).collect();
/// let fields = fields?;
/// assert_eq!(fields[0].payload, Payload::Bytes(b"ab"));
/// assert_eq!(fields[1].payload, Payload::Varint(300));
/// # Ok::<(), bn_caffe::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    data: &'a [u8],
    at: usize,
    base: usize,
}

impl<'a> Fields<'a> {
    /// Starts at the first byte of a message that lies at `base` in its file.
    #[must_use]
    pub fn new(data: &'a [u8], base: usize) -> Self {
        Self { data, at: 0, base }
    }

    fn error(&self, at: usize, problem: impl Into<String>, expected: &'static str) -> Error {
        Error::Wire { offset: self.base + at, problem: problem.into(), expected }
    }

    fn varint(&mut self) -> Result<u64> {
        let start = self.at;
        let mut value = 0u64;
        for shift in 0..10 {
            let Some(&byte) = self.data.get(self.at) else {
                return Err(self.error(start, "the data end inside a varint", "more bytes"));
            };
            self.at += 1;
            // The tenth byte holds bit 63 alone.
            if shift == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * shift);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.error(start, "a varint of more than 64 bits", "at most ten bytes"))
    }

    fn tag(&mut self) -> Result<(u32, u8)> {
        let start = self.at;
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).unwrap_or(u32::MAX);
        if number == 0 || number >= 1 << 29 {
            let problem = format!("field number {}", key >> 3);
            return Err(self.error(start, problem, "a number from 1 to 536870911"));
        }
        Ok((number, (key & 7) as u8))
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8]> {
        let start = self.at;
        let left = self.data.len() - start;
        match usize::try_from(len) {
            Ok(len) if len <= left => {
                self.at += len;
                Ok(&self.data[start..start + len])
            }
            _ => {
                let problem = format!("a length of {len} bytes where {left} are left");
                Err(self.error(start, problem, "a length inside the enclosing message"))
            }
        }
    }

    /// Passes over a group without recursion; returns its content.
    fn group(&mut self, number: u32) -> Result<&'a [u8]> {
        let start = self.at;
        let mut open = vec![number];
        loop {
            let tag_at = self.at;
            if tag_at == self.data.len() {
                return Err(self.error(start, "a group that does not end", "its end tag"));
            }
            let (number, wire) = self.tag()?;
            match wire {
                3 if open.len() >= MAX_DEPTH => {
                    return Err(self.error(tag_at, "groups nested too deep", "at most 100 levels"));
                }
                3 => open.push(number),
                4 if open.last() == Some(&number) => {
                    open.pop();
                    if open.is_empty() {
                        return Ok(&self.data[start..tag_at]);
                    }
                }
                4 => return Err(self.error(tag_at, "the end of another group", "its own end tag")),
                _ => drop(self.payload(number, wire, tag_at)?),
            }
        }
    }

    fn payload(&mut self, number: u32, wire: u8, start: usize) -> Result<(Payload<'a>, usize)> {
        let at = self.at;
        Ok(match wire {
            0 => (Payload::Varint(self.varint()?), at),
            1 => (Payload::Fixed64(array(self.take(8)?)), at),
            2 => {
                let len = self.varint()?;
                let at = self.at;
                (Payload::Bytes(self.take(len)?), at)
            }
            3 => (Payload::Group(self.group(number)?), at),
            5 => (Payload::Fixed32(array(self.take(4)?)), at),
            4 => return Err(self.error(start, "the end of a group that is not open", "a field")),
            _ => {
                let problem = format!("wire type {wire}");
                return Err(self.error(start, problem, "a wire type from 0 to 5"));
            }
        })
    }

    fn field(&mut self) -> Result<Field<'a>> {
        let start = self.at;
        let (number, wire) = self.tag()?;
        let (payload, payload_start) = self.payload(number, wire, start)?;
        Ok(Field { number, payload, start, payload_start, end: self.at })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.data.len() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.at = self.data.len();
        }
        Some(field)
    }
}

/// Copies a slice whose length is `N` by construction.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(data: &[u8]) -> Result<Vec<(u32, Payload<'_>)>> {
        Fields::new(data, 0).map(|f| f.map(|f| (f.number, f.payload))).collect()
    }

    #[test]
    fn every_wire_type_is_read() {
        let data = b"\x08\x96\x01\x11\x01\0\0\0\0\0\0\0\x1a\x01z\x23\x28\x05\x24\x35\0\0\x80\x3f";
        let fields = walk(data).expect("well formed");
        assert_eq!(fields.len(), 5);
        assert_eq!(fields[0], (1, Payload::Varint(150)));
        assert_eq!(fields[1], (2, Payload::Fixed64([1, 0, 0, 0, 0, 0, 0, 0])));
        assert_eq!(fields[2], (3, Payload::Bytes(b"z")));
        assert_eq!(fields[3], (4, Payload::Group(b"\x28\x05")));
        assert_eq!(fields[4], (6, Payload::Fixed32([0, 0, 128, 63])));
    }

    #[test]
    fn lengths_beyond_the_data_are_errors() {
        for bad in [
            &b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"[..],
            b"\x0a\x05ab",
            b"\x0d\0\0",
            b"\x80",
            b"\x00\x00",
            b"\x0b\x08\x01",
            b"\x0b\x14",
            b"\x0c",
            b"\x0f",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
        ] {
            assert!(walk(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn groups_nest_only_so_deep() {
        let deep = |n: usize| [vec![0x0b; n], vec![0x0c; n]].concat();
        assert!(walk(&deep(100)).is_ok());
        assert!(walk(&deep(101)).is_err());
        assert!(walk(&vec![0x0b; 1 << 20]).is_err());
    }
}
