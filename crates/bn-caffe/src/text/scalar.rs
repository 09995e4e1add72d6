//! Values as numbers, booleans and strings, by protobuf's rules.

use super::document::{Value, ValueKind};
use super::lexer::{Lexer, Token};
use crate::error::Result;

impl Value<'_> {
    /// The words of a number: whether it is negative, and its digits.
    fn sign_and_digits(self) -> (bool, String) {
        let raw = self.raw();
        let mut lexer = Lexer::new(raw, 0);
        let mut negative = false;
        while let Ok(lexeme) = lexer.next() {
            match lexeme.token {
                Token::Symbol(b'-') => negative = true,
                Token::End => break,
                _ => {
                    let word = &raw[lexeme.start..lexeme.end];
                    return (negative, String::from_utf8_lossy(word).to_ascii_lowercase());
                }
            }
        }
        (negative, String::new())
    }

    /// The value as a `double`.
    ///
    /// # Errors
    /// [`Error::Text`](crate::Error::Text) where it is no number.
    pub fn as_f64(self) -> Result<f64> {
        let (negative, digits) = self.sign_and_digits();
        let magnitude = match (self.kind(), digits.as_str()) {
            (ValueKind::Number | ValueKind::Ident, "inf" | "infinity") => Some(f64::INFINITY),
            (ValueKind::Number | ValueKind::Ident, "nan") => Some(f64::NAN),
            (ValueKind::Number, _) => match magnitude(&digits) {
                Some(integer) => Some(integer as f64),
                None => digits.trim_end_matches('f').parse().ok(),
            },
            _ => None,
        };
        let magnitude = magnitude.ok_or_else(|| self.expected("a number"))?;
        Ok(if negative { -magnitude } else { magnitude })
    }

    /// The value as a `float`: read in double precision, then rounded, as protobuf does.
    ///
    /// # Errors
    /// [`Error::Text`](crate::Error::Text) where it is no number.
    pub fn as_f32(self) -> Result<f32> {
        self.as_f64().map(|v| v as f32)
    }

    /// The value as an integer between two bounds.
    fn integer(self, min: i64, max: u64, what: &str) -> Result<i128> {
        let (negative, digits) = self.sign_and_digits();
        let value = (self.kind() == ValueKind::Number).then(|| magnitude(&digits)).flatten();
        value
            .map(|v| if negative { -i128::from(v) } else { i128::from(v) })
            .filter(|v| (i128::from(min)..=i128::from(max)).contains(v))
            .ok_or_else(|| self.expected(what))
    }

    /// The value as an `int32`.
    ///
    /// # Errors
    /// [`Error::Text`](crate::Error::Text) where it is no integer of this range.
    pub fn as_i32(self) -> Result<i32> {
        self.integer(i32::MIN.into(), i32::MAX as u64, "a 32-bit integer").map(|v| v as i32)
    }

    /// The value as an `int64`.
    ///
    /// # Errors
    /// [`Error::Text`](crate::Error::Text) where it is no integer of this range.
    pub fn as_i64(self) -> Result<i64> {
        self.integer(i64::MIN, i64::MAX as u64, "a 64-bit integer").map(|v| v as i64)
    }

    /// The value as a `uint32`.
    ///
    /// # Errors
    /// [`Error::Text`](crate::Error::Text) where it is no integer of this range.
    pub fn as_u32(self) -> Result<u32> {
        self.integer(0, u32::MAX.into(), "a 32-bit integer without sign").map(|v| v as u32)
    }

    /// The value as a `bool`: `true`, `t`, `1`, `false`, `f`, `0`.
    ///
    /// # Errors
    /// [`Error::Text`](crate::Error::Text) where it is none of them.
    pub fn as_bool(self) -> Result<bool> {
        match (self.kind(), self.raw()) {
            (ValueKind::Ident, b"true" | b"True" | b"t") => Ok(true),
            (ValueKind::Ident, b"false" | b"False" | b"f") => Ok(false),
            (ValueKind::Number, _) => self.integer(0, 1, "true or false").map(|v| v == 1),
            _ => Err(self.expected("true or false")),
        }
    }

    /// The word of an enumeration's value.
    #[must_use]
    pub fn as_word(self) -> Option<String> {
        (self.kind() == ValueKind::Ident).then(|| String::from_utf8_lossy(self.raw()).into_owned())
    }

    /// The bytes of a string: its parts joined, its escapes decoded.
    ///
    /// # Errors
    /// [`Error::Text`](crate::Error::Text) where it is no string, or for an unknown escape.
    pub fn as_bytes(self) -> Result<Vec<u8>> {
        if self.kind() != ValueKind::String {
            return Err(self.expected("a string in quotes"));
        }
        let raw = self.raw();
        let mut out = Vec::with_capacity(raw.len());
        let mut lexer = Lexer::new(raw, 0);
        while let Ok(lexeme) = lexer.next() {
            if lexeme.token != Token::String {
                break;
            }
            unescape(&raw[lexeme.start + 1..lexeme.end - 1], &mut out)
                .map_err(|expected| self.expected(expected))?;
        }
        Ok(out)
    }

    /// The string.
    ///
    /// # Errors
    /// [`Error::Text`](crate::Error::Text) where it is no string of UTF-8.
    pub fn as_str(self) -> Result<String> {
        String::from_utf8(self.as_bytes()?).map_err(|_| self.expected("a string of UTF-8"))
    }
}

/// Reads an integer in decimal, octal (`017`) or hexadecimal (`0x1f`).
fn magnitude(digits: &str) -> Option<u64> {
    if let Some(hex) = digits.strip_prefix("0x") {
        u64::from_str_radix(hex, 16).ok()
    } else if digits.len() > 1 && digits.starts_with('0') {
        u64::from_str_radix(&digits[1..], 8).ok()
    } else {
        digits.parse().ok()
    }
}

/// Decodes the escapes of C, and `\u`, `\U`.
fn unescape(mut text: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    /// Takes up to `max` digits of a radix from the front.
    fn digits(text: &mut &[u8], radix: u32, max: usize) -> Option<u32> {
        let len = text.iter().take(max).take_while(|&&b| (b as char).is_digit(radix)).count();
        let (head, tail) = text.split_at(len);
        *text = tail;
        u32::from_str_radix(std::str::from_utf8(head).ok()?, radix).ok()
    }
    while let Some((&byte, rest)) = text.split_first() {
        text = rest;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (&escape, rest) = text.split_first().ok_or("a character after \"\\\"")?;
        text = rest;
        out.push(match escape {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'a' => 0x07,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'v' => 0x0b,
            b'\\' | b'\'' | b'"' | b'?' => escape,
            b'x' | b'X' => {
                digits(&mut text, 16, 2).ok_or("hexadecimal digits after \"\\x\"")? as u8
            }
            b'0'..=b'7' => {
                let more = text.iter().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
                let tail = digits(&mut text, 8, more).unwrap_or(0);
                let value = (u32::from(escape - b'0') << (3 * more)) + tail;
                u8::try_from(value).map_err(|_| "an octal escape up to \\377")?
            }
            b'u' | b'U' => {
                let len = if escape == b'u' { 4 } else { 8 };
                let before = text.len();
                let code = digits(&mut text, 16, len).filter(|_| before - text.len() == len);
                let c = code.and_then(char::from_u32).ok_or("a Unicode character's number")?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return Err("a known escape"),
        });
    }
    Ok(())
}
