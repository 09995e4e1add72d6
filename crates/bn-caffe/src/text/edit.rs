//! Changes single fields of a text and nothing else.

use std::ops::Range;

use super::document::{Document, Field, Message, Value};
use crate::error::{Error, Result};

/// A set of changes to one document.
///
/// ```
/// use bn_caffe::text::{Document, Edits};
/// let doc = Document::parse("name: \"n\"  # keep\nlayer {\n  name: \"a\"\n  convolution_param {\n    num_output: 2\n  }\n}\n")?;
/// let layer = doc.root().get("layer").unwrap().as_message()?;
/// let conv = layer.get("convolution_param").unwrap().as_message()?;
/// let mut edits = Edits::new(&doc);
/// edits.append(conv, "bias_term: true");
/// edits.replace(layer.get("name").unwrap(), "\"b\"");
/// assert_eq!(
///     String::from_utf8_lossy(&edits.apply()?),
///     "name: \"n\"  # keep\nlayer {\n  name: \"b\"\n  convolution_param {\n    num_output: 2\n    bias_term: true\n  }\n}\n"
/// );
/// # Ok::<(), bn_caffe::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Edits<'a> {
    doc: &'a Document,
    edits: Vec<(Range<usize>, Vec<u8>)>,
}

impl<'a> Edits<'a> {
    /// Starts with no change.
    #[must_use]
    pub fn new(doc: &'a Document) -> Self {
        Self { doc, edits: Vec::new() }
    }

    /// Gives a field another value, written as it shall stand in the file (strings with quotes, see
    /// [`quote`](Self::quote)).
    ///
    /// A colon is added where a message without one becomes a scalar, and a space where the next
    /// field follows without one.
    pub fn replace(&mut self, value: Value<'a>, with: impl AsRef<[u8]>) {
        let (range, with) = (value.range(), with.as_ref());
        let mut new = Vec::with_capacity(with.len() + 3);
        if value.lacks_colon() {
            new.extend_from_slice(b": ");
        }
        new.extend_from_slice(with);
        if self.doc.text().get(range.end).is_some_and(|b| !b.is_ascii_whitespace()) {
            new.push(b' ');
        }
        self.edits.push((range, new));
    }

    /// Removes a field; where it had its lines to itself, the lines go too. Comments above it stay.
    pub fn remove(&mut self, field: Field<'a>) {
        let text = self.doc.text();
        let Range { start, end } = field.range();
        let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\r');
        let before = text[..start].iter().rev().take_while(|b| blank(b)).count();
        let after = text[end..].iter().take_while(|b| blank(b)).count();
        let line_start = start - before;
        let top = self.doc.root().inside().start;
        let alone_before = line_start == top || text[line_start - 1] == b'\n';
        let range = match text.get(end + after) {
            Some(b'\n') if alone_before => line_start..end + after + 1,
            None if alone_before => line_start..end + after,
            // On a shared line, one side's blanks go with the field.
            Some(b'\n') | None => line_start..end,
            _ => start..end + after,
        };
        self.edits.push((range, Vec::new()));
    }

    /// Adds a field at the end of a message, on its own line where the message has lines.
    pub fn append(&mut self, message: Message<'a>, field: impl AsRef<[u8]>) {
        let text = self.doc.text();
        let inside = message.inside();
        let field = field.as_ref();
        let last = message.fields().last();
        let at = last.map_or(inside.start, |f| f.range().end);
        // A comment may follow the last field on its line; the new field goes below it.
        let line_end = text[at..inside.end].iter().position(|&b| b == b'\n').map(|n| at + n);
        let mut new = Vec::new();
        match (line_end, last) {
            (Some(line_end), _) => {
                let indent = match last {
                    Some(f) => self.indent(f.range().start),
                    None => [self.indent(inside.start), b"  ".to_vec()].concat(),
                };
                new.push(b'\n');
                new.extend(indented(field, &indent));
                self.edits.push((line_end..line_end, new));
            }
            (None, Some(_)) if message.is_root() => {
                new.push(b'\n');
                new.extend_from_slice(field);
                new.push(b'\n');
                self.edits.push((inside.end..inside.end, new));
            }
            (None, _) => {
                new.push(b' ');
                new.extend_from_slice(field);
                if text[at..inside.end].is_empty() && !message.is_root() {
                    new.push(b' ');
                }
                self.edits.push((at..at, new));
            }
        }
    }

    /// Adds a field before another, on its own line.
    pub fn insert_before(&mut self, field: Field<'a>, new: impl AsRef<[u8]>) {
        let at = field.range().start;
        let indent = self.indent(at);
        let mut text = indented(new.as_ref(), &indent).split_off(indent.len());
        text.push(b'\n');
        text.extend(indent);
        self.edits.push((at..at, text));
    }

    /// Adds a field after another, on its own line.
    pub fn insert_after(&mut self, field: Field<'a>, new: impl AsRef<[u8]>) {
        let Range { start, end } = field.range();
        let mut text = vec![b'\n'];
        text.extend(indented(new.as_ref(), &self.indent(start)));
        // A comment on the field's line stays with it.
        let rest = &self.doc.text()[end..];
        let line = rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
        let remark = rest[..line].trim_ascii_start();
        let at = if remark.is_empty() || remark[0] == b'#' { end + line } else { end };
        self.edits.push((at..at, text));
    }

    /// Whether nothing is to be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Writes the text with all changes.
    ///
    /// # Errors
    /// [`Error::OverlappingEdits`] where two changes touch the same bytes.
    pub fn apply(&self) -> Result<Vec<u8>> {
        let mut edits: Vec<_> = self.edits.iter().collect();
        edits.sort_by_key(|(range, _)| (range.start, range.end));
        let text = self.doc.text();
        let mut out = Vec::with_capacity(text.len());
        let (mut at, mut removed) = (0, false);
        for (range, new) in edits {
            // Two fields that go may both take the blanks between them along.
            let both_removed = removed && new.is_empty();
            if range.start < at && !both_removed {
                return Err(Error::OverlappingEdits { offset: range.start });
            }
            out.extend_from_slice(&text[at..range.start.max(at)]);
            out.extend_from_slice(new);
            at = range.end.max(at);
            removed = new.is_empty();
        }
        out.extend_from_slice(&text[at..]);
        Ok(out)
    }

    /// Writes a string with quotes and escapes.
    #[must_use]
    pub fn quote(text: &str) -> String {
        let mut out = String::with_capacity(text.len() + 2);
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c.is_ascii_control() => out.push_str(&format!("\\{:03o}", c as u32)),
                c => out.push(c),
            }
        }
        out.push('"');
        out
    }

    /// The blanks at the start of a position's line.
    fn indent(&self, at: usize) -> Vec<u8> {
        let text = self.doc.text();
        let line = text[..at].iter().rposition(|&b| b == b'\n').map_or(0, |n| n + 1);
        text[line..at].iter().copied().take_while(|b| matches!(b, b' ' | b'\t')).collect()
    }
}

/// Puts an indent before every line.
fn indented(text: &[u8], indent: &[u8]) -> Vec<u8> {
    let lines: Vec<Vec<u8>> =
        text.split(|&b| b == b'\n').map(|line| [indent, line].concat()).collect();
    lines.join(&b'\n')
}
