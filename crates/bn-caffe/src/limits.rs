//! How much a file may ask for before it is refused.
//!
//! A few bytes of a hostile file can claim a large structure: an empty layer costs three bytes in a
//! `.caffemodel` and several hundred once decoded. The limits here lie far above anything a real
//! net holds and keep the memory that reading takes to a small multiple of the file plus a constant.

/// Largest `.caffemodel` that is read: 2 GiB, protobuf's own bound for one message.
pub const MAX_WEIGHT_BYTES: u64 = 1 << 31;

/// Largest `.prototxt` that is read. Offsets into the text are held in 32 bits.
pub const MAX_TEXT_BYTES: u64 = 1 << 30;

/// Most layers of one net. ResNets of a thousand convolutions have about 4,000.
pub const MAX_LAYERS: usize = 1 << 14;

/// Most blobs of one layer.
pub const MAX_BLOBS: usize = 1 << 10;

/// Most axes of one blob: Caffe's own `kMaxBlobAxes`.
pub const MAX_AXES: usize = 32;

/// Most elements of one blob: Caffe counts in a 32-bit signed integer.
pub const MAX_COUNT: u64 = i32::MAX as u64;

/// Most bytes that the settings of one layer (everything this crate models except its blobs) or the
/// net-level settings may take in a binary file.
pub const MAX_SETTINGS_BYTES: usize = 1 << 20;

/// Deepest nesting of messages in a `.prototxt` and of groups in a binary file; protobuf's own limit.
pub const MAX_DEPTH: usize = 100;
