//! The parsed text: its bytes, and cursors over its fields.

use std::path::Path;

use super::lexer::{Lexer, Token};
use super::parser;
use crate::error::{Error, Result};
use crate::limits::MAX_TEXT_BYTES;

/// Positions of some bytes of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }
}

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Message,
    List,
    String,
    Number,
    Ident,
}

/// A field, or an element of a list; its children follow it.
///
/// 28 bytes for at least three of the text: the tree stays a small multiple of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// The name; empty in a list.
    pub name: Span,
    /// The value, brackets and quotes included.
    pub value: Span,
    /// After the separator that may follow the value.
    pub end: u32,
    /// The node after this one and its children.
    pub next: u32,
    pub kind: Kind,
}

impl Node {
    pub(super) fn new(name: Span, value: Span, kind: Kind) -> Self {
        Self { name, value, end: value.end, next: 0, kind }
    }
}

/// A place in the text and what should stand there; [`Document`] adds line and column.
#[derive(Debug)]
pub(super) struct Failure {
    at: usize,
    expected: &'static str,
}

impl Failure {
    pub(super) fn new(at: usize, expected: &'static str) -> Self {
        Self { at, expected }
    }
}

/// A parsed `.prototxt`.
///
/// ```
/// use bn_caffe::text::Document;
/// let doc = Document::parse("name: 'net' # mine\nlayer { type: \"Scale\" }")?;
/// assert_eq!(doc.root().get("name").unwrap().as_str()?, "net");
/// let layer = doc.root().get("layer").unwrap().as_message()?;
/// assert_eq!(layer.get("type").unwrap().as_str()?, "Scale");
/// # Ok::<(), bn_caffe::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Document {
    text: Vec<u8>,
    nodes: Vec<Node>,
}

impl Document {
    /// Parses a text.
    ///
    /// # Errors
    /// [`Error::Text`] with line, column and what was expected; [`Error::TooLarge`].
    pub fn parse(text: impl Into<Vec<u8>>) -> Result<Self> {
        let text = text.into();
        if text.len() as u64 > MAX_TEXT_BYTES {
            return Err(Error::TooLarge {
                place: "prototxt".into(),
                what: "bytes",
                found: text.len() as u64,
                limit: MAX_TEXT_BYTES,
            });
        }
        match parser::parse(&text) {
            Ok(mut nodes) => {
                nodes.shrink_to_fit();
                Ok(Self { text, nodes })
            }
            Err(Failure { at, expected }) => Err(failure_at(&text, at, expected)),
        }
    }

    /// Reads and parses a file.
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`Self::parse`] inside [`Error::InFile`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = crate::file::read(path, MAX_TEXT_BYTES)?;
        Self::parse(text).map_err(|e| e.in_file(path))
    }

    /// The bytes of the file, as they were.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The fields at the top.
    #[must_use]
    pub fn root(&self) -> Message<'_> {
        Message { doc: self, node: 0 }
    }

    /// The field that [`Field::id`] named.
    #[must_use]
    pub fn field(&self, id: u32) -> Option<Field<'_>> {
        (id > 0 && (id as usize) < self.nodes.len()).then_some(Field { doc: self, node: id })
    }

    fn slice(&self, span: Span) -> &[u8] {
        &self.text[span.start as usize..span.end as usize]
    }
}

/// Builds the error for a place in a text.
fn failure_at(text: &[u8], at: usize, expected: impl Into<String>) -> Error {
    let before = &text[..at.min(text.len())];
    let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |n| n + 1);
    let rest = &text[before.len()..];
    let word = rest.iter().take(40).take_while(|&&b| b != b'\n').count();
    let found = if rest.is_empty() {
        "the end of the text".to_owned()
    } else {
        format!("\"{}\"", String::from_utf8_lossy(&rest[..word]).trim_end())
    };
    Error::Text {
        line: before.iter().filter(|&&b| b == b'\n').count() + 1,
        column: before.len() - line_start + 1,
        expected: expected.into(),
        found,
    }
}

/// The fields of one message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    doc: &'a Document,
    node: u32,
}

impl<'a> Message<'a> {
    fn node(self) -> &'a Node {
        &self.doc.nodes[self.node as usize]
    }

    /// The fields in the order of the text.
    pub fn fields(self) -> impl Iterator<Item = Field<'a>> {
        let (doc, end) = (self.doc, self.node().next);
        siblings(doc, self.node + 1, end).map(move |node| Field { doc, node })
    }

    /// The first field of a name.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Value<'a>> {
        self.fields().find(|f| f.name() == name).map(Field::value)
    }

    /// All values of a name, lists taken apart.
    pub fn all(self, name: &str) -> impl Iterator<Item = Value<'a>> {
        self.fields().filter(move |f| f.name() == name).flat_map(Field::items)
    }

    pub(super) fn is_root(self) -> bool {
        self.node == 0
    }

    /// Positions after the opening and before the closing bracket.
    pub(super) fn inside(self) -> std::ops::Range<usize> {
        let value = self.node().value;
        let bracket = u32::from(!self.is_root());
        (value.start + bracket) as usize..(value.end - bracket) as usize
    }
}

/// One field of a message: a name and a value, which may be a list.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    doc: &'a Document,
    node: u32,
}

impl<'a> Field<'a> {
    fn node(self) -> &'a Node {
        &self.doc.nodes[self.node as usize]
    }

    /// Identifies the field in its document, for [`Document::field`].
    #[must_use]
    pub fn id(self) -> u32 {
        self.node
    }

    /// The name.
    #[must_use]
    pub fn name(self) -> &'a str {
        // The lexer accepts ASCII alone in a name.
        std::str::from_utf8(self.doc.slice(self.node().name)).unwrap_or("")
    }

    /// The value, a list as one.
    #[must_use]
    pub fn value(self) -> Value<'a> {
        Value { doc: self.doc, node: self.node }
    }

    /// The values: the elements of a list, or the one value.
    #[must_use]
    pub fn items(self) -> Items<'a> {
        let (node, next) = match self.node().kind {
            Kind::List => (self.node + 1, self.node().next),
            _ => (self.node, self.node + 1),
        };
        Items { doc: self.doc, node, end: next }
    }

    /// Positions from the name to after the separator.
    pub(super) fn range(self) -> std::ops::Range<usize> {
        self.node().name.start as usize..self.node().end as usize
    }
}

/// The values of one field.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    doc: &'a Document,
    node: u32,
    end: u32,
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        (self.node < self.end).then(|| {
            let value = Value { doc: self.doc, node: self.node };
            self.node = value.node().next;
            value
        })
    }
}

/// What a value looks like, before a schema says what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// `{ … }` or `< … >`.
    Message,
    /// `[ … ]`.
    List,
    /// One or more quoted strings.
    String,
    /// An integer or float, with its sign.
    Number,
    /// A word: a boolean, an enumeration's value, `inf` or `nan`.
    Ident,
}

/// One value.
///
/// The readers of scalars are `as_f32`, `as_i32`, … and fail with the place of the value.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    doc: &'a Document,
    node: u32,
}

impl<'a> Value<'a> {
    fn node(self) -> &'a Node {
        &self.doc.nodes[self.node as usize]
    }

    /// What the value looks like.
    #[must_use]
    pub fn kind(self) -> ValueKind {
        match self.node().kind {
            Kind::Message => ValueKind::Message,
            Kind::List => ValueKind::List,
            Kind::String => ValueKind::String,
            Kind::Number => ValueKind::Number,
            Kind::Ident => ValueKind::Ident,
        }
    }

    /// The bytes of the value as they are written.
    #[must_use]
    pub fn raw(self) -> &'a [u8] {
        self.doc.slice(self.node().value)
    }

    /// The message.
    ///
    /// # Errors
    /// [`Error::Text`] where the value is something else.
    pub fn as_message(self) -> Result<Message<'a>> {
        match self.node().kind {
            Kind::Message => Ok(Message { doc: self.doc, node: self.node }),
            _ => Err(self.expected("a message in braces")),
        }
    }

    /// An error at this value.
    #[must_use]
    pub fn expected(self, expected: impl Into<String>) -> Error {
        failure_at(&self.doc.text, self.range().start, expected)
    }

    /// Whether the value stands after its field's name without a colon, as messages may.
    pub(super) fn lacks_colon(self) -> bool {
        let name = self.node().name;
        let next = Lexer::new(&self.doc.text, name.end as usize).next();
        name.start != name.end && !next.is_ok_and(|l| l.token == Token::Symbol(b':'))
    }

    pub(super) fn range(self) -> std::ops::Range<usize> {
        let value = self.node().value;
        value.start as usize..value.end as usize
    }
}

/// Walks nodes of one level.
fn siblings(doc: &Document, first: u32, end: u32) -> impl Iterator<Item = u32> {
    let mut at = first;
    std::iter::from_fn(move || {
        (at < end).then(|| {
            let node = at;
            at = doc.nodes[node as usize].next;
            node
        })
    })
}
