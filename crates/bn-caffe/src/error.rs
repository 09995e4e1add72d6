//! What can go wrong with a file or a net, each with its place.

use std::path::PathBuf;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What was wrong, what was expected and where.
///
/// Offsets count bytes from the start of the binary file; lines and columns count from 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write a file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Another error, with the file that it concerns.
    #[error("{}: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What was wrong in it.
        source: Box<Error>,
    },
    /// The binary file breaks the protobuf encoding.
    #[error("byte {offset}: {problem}; expected {expected}")]
    Wire {
        /// Where the broken item starts.
        offset: usize,
        /// What was found.
        problem: String,
        /// What the encoding requires there.
        expected: &'static str,
    },
    /// A well-formed message whose content is not what its field holds.
    #[error("{place}: cannot read {message}: {source}")]
    Decode {
        /// The layer, or the net.
        place: String,
        /// The message that was being read.
        message: &'static str,
        /// What prost said.
        source: prost::DecodeError,
    },
    /// Something exceeds a bound of [`limits`](crate::limits).
    #[error("{place}: {found} {what}, expected at most {limit}")]
    TooLarge {
        /// The file, net or layer.
        place: String,
        /// What was counted.
        what: &'static str,
        /// How much there is.
        found: u64,
        /// How much is accepted.
        limit: u64,
    },
    /// The text breaks the protobuf text format, or holds a value of the wrong type.
    #[error("line {line}, column {column}: expected {expected}, found {found}")]
    Text {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
        /// What would have been right.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// Two edits of a text touch the same bytes.
    #[error(
        "two edits overlap at byte {offset} of the prototxt; expected edits of separate fields"
    )]
    OverlappingEdits {
        /// Where the second edit starts.
        offset: usize,
    },
    /// A blob whose shape or data cannot be used.
    #[error("layer \"{layer}\", blob {blob}: {problem}")]
    Blob {
        /// The layer that holds the blob.
        layer: String,
        /// Index of the blob in the layer, from 0.
        blob: usize,
        /// What is wrong.
        problem: BlobProblem,
    },
    /// A file of another kind than the reader is for.
    #[error("this is {found}, expected {expected}")]
    WrongKind {
        /// What the file is.
        found: &'static str,
        /// What was asked for.
        expected: &'static str,
    },
    /// An HDF5 file that cannot be read as weights.
    #[error("HDF5 weights, {place}: {problem}")]
    Hdf5 {
        /// Group or data set.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// A net that Caffe refuses as a whole.
    #[error("net \"{net}\": {problem}; expected {expected}")]
    Net {
        /// The net's name.
        net: String,
        /// What was found.
        problem: String,
        /// What is required.
        expected: String,
    },
    /// A layer that Caffe refuses.
    #[error("layer \"{layer}\" ({kind}), {parameter}: found {found}, expected {expected}")]
    Layer {
        /// The layer's name.
        layer: String,
        /// The layer's type string.
        kind: String,
        /// The parameter, blob or connection.
        parameter: String,
        /// What was found.
        found: String,
        /// What Caffe requires.
        expected: String,
    },
    /// A directory of recorded runs that cannot be replayed.
    #[error("{}: {problem}", place.display())]
    Oracle {
        /// The file or folder.
        place: PathBuf,
        /// What is wrong there.
        problem: String,
    },
    /// A backend that refuses what a layer asks of it, or fails.
    #[error("layer \"{layer}\": {source}")]
    Backend {
        /// The layer's name.
        layer: String,
        /// What the backend said.
        source: bn_core::Error,
    },
}

impl Error {
    /// Adds the file's name to an error.
    #[must_use]
    pub fn in_file(self, path: impl Into<PathBuf>) -> Self {
        match self {
            Self::Io { .. } | Self::InFile { .. } => self,
            other => Self::InFile { path: path.into(), source: Box::new(other) },
        }
    }

    pub(crate) fn layer(
        layer: &str,
        kind: &str,
        parameter: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self::Layer {
            layer: layer.to_owned(),
            kind: kind.to_owned(),
            parameter: parameter.into(),
            found: found.into(),
            expected: expected.into(),
        }
    }
}

/// What is wrong with one blob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobProblem {
    /// A dimension below zero.
    #[error("dimension {axis} is {dim}, expected 0 or more")]
    NegativeDim {
        /// Axis, from 0.
        axis: usize,
        /// Its size in the file.
        dim: i64,
    },
    /// More axes than Caffe's blobs have.
    #[error("{axes} axes, expected at most {}", crate::limits::MAX_AXES)]
    TooManyAxes {
        /// The number of axes.
        axes: usize,
    },
    /// The shape's product does not fit Caffe's element count.
    #[error("shape {shape:?} has more than 2147483647 elements")]
    TooManyElements {
        /// The dimensions.
        shape: Vec<usize>,
    },
    /// The number of values differs from the shape's product.
    #[error("{values} values for shape {shape:?}, expected {expected}")]
    Count {
        /// Values in the file.
        values: usize,
        /// The dimensions.
        shape: Vec<usize>,
        /// Product of the dimensions.
        expected: usize,
    },
    /// Packed data whose length is no multiple of the element's size.
    #[error("{bytes} bytes of data, expected a multiple of {element}")]
    RaggedData {
        /// Length of the data.
        bytes: usize,
        /// Size of one element.
        element: usize,
    },
    /// A raw element type that is none of double, float and half.
    #[error("raw_data_type is {found}, expected 0 (double), 1 (float) or 2 (half)")]
    RawType {
        /// The number in the file.
        found: u64,
    },
    /// A field with a wire type that its number does not have.
    #[error("field {field} of BlobProto has {found}, expected {expected}")]
    FieldType {
        /// Field number.
        field: u32,
        /// The wire type found.
        found: &'static str,
        /// The wire types it may have.
        expected: &'static str,
    },
    /// The bytes of the blob break the protobuf encoding.
    #[error("byte {offset} of the blob: {problem}")]
    Wire {
        /// Offset from the blob's first byte.
        offset: usize,
        /// What was found.
        problem: String,
    },
    /// There is no blob of this index.
    #[error("the layer has {blobs} blobs")]
    Missing {
        /// How many there are.
        blobs: usize,
    },
}
