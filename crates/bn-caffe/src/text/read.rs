//! Turns text into the messages of the schema.

use super::document::{Document, Message};
use super::fields::{self, TextMessage};
use crate::error::Result;
use crate::proto::schema::{LayerParameter, NetParameter, V1LayerParameter};

/// A field that BVLC Caffe does not have; it refuses the file. Forks add such fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The message, by its name in `caffe.proto`.
    pub message: &'static str,
    /// The field's name.
    pub field: String,
    /// The field in its document, see [`Document::field`].
    pub id: u32,
}

/// A net as its text says it, before any upgrade.
#[derive(Clone, Debug, Default)]
pub struct NetText {
    /// What stands above the layers.
    pub net: NetParameter,
    /// The layers, each with its field in the document.
    pub layers: Vec<(LayerParameter, u32)>,
    /// The layers of the old form.
    pub v1_layers: Vec<(V1LayerParameter, u32)>,
    /// Fields that BVLC Caffe does not have, at most 1,000.
    pub unknown: Vec<Unknown>,
}

/// Reads a net.
///
/// # Errors
/// [`Error::Text`](crate::Error::Text) for a value of the wrong type, an unknown word of an
/// enumeration, or a single field that stands twice.
pub fn net(document: &Document) -> Result<NetText> {
    let mut unknown = Vec::new();
    let root = document.root();
    Ok(NetText {
        net: NetParameter::read(root, &mut unknown)?,
        layers: fields::layers(root, "layer", &mut unknown)?,
        v1_layers: fields::layers(root, "layers", &mut unknown)?,
        unknown,
    })
}

/// Reads one layer: a message of a net, or a whole document that holds the fields of a layer.
///
/// ```
/// use bn_caffe::text::{Document, read};
/// let doc = Document::parse("type: \"BatchNorm\" batch_norm_param { eps: 1e-3 }")?;
/// let (layer, unknown) = read::layer(doc.root())?;
/// assert_eq!(layer.batch_norm_param.unwrap_or_default().eps(), 1e-3);
/// assert!(unknown.is_empty());
/// # Ok::<(), bn_caffe::Error>(())
/// ```
///
/// # Errors
/// As for [`net`].
pub fn layer(message: Message<'_>) -> Result<(LayerParameter, Vec<Unknown>)> {
    let mut unknown = Vec::new();
    Ok((LayerParameter::read(message, &mut unknown)?, unknown))
}
