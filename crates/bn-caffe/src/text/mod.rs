//! The protobuf text format of `.prototxt` files, lossless.
//!
//! A [`Document`] keeps the bytes of the file and, over them, the positions of every field. Nothing
//! is normalised: comments, spacing, spelling of numbers and unknown fields stay where they are, and
//! [`Edits`] changes single fields and leaves every other byte as it stood.
//!
//! Accepted is what protobuf's own parser accepts: `{}` and `<>`, a colon that is optional before a
//! message, `,` or `;` after a field, lists `[1, 2]`, strings in either quote, joined when they
//! follow each other, with all escapes, numbers in decimal, octal and hexadecimal, floats with an
//! `f`, `inf`, `nan`, and `#` comments. Comments need not be UTF-8.
//!
//! [`read`] turns a document into the messages of [`schema`](crate::proto::schema).

mod document;
mod edit;
mod fields;
mod lexer;
mod parser;
pub mod read;
mod scalar;

pub use document::{Document, Field, Items, Message, Value, ValueKind};
pub use edit::Edits;
