//! One layer of a weight file.

use prost::Message as _;
use prost::bytes::Bytes;

use crate::blob::Blob;
use crate::error::{BlobProblem, Error, Result};
use crate::limits::MAX_SETTINGS_BYTES;
use crate::net::upgrade;
use crate::proto::layer_type::V1LayerType;
use crate::proto::raw::{RawField, RawMessage};
use crate::proto::schema::{LayerParameter, NetParameter, V1LayerParameter};
use crate::proto::wire::{Fields, Payload};

/// How a layer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Field 100, `layer`: the type is a string.
    V2,
    /// Field 2, `layers`: the type is a number.
    V1,
}

impl Form {
    /// Number of the net's field that holds the layer.
    pub(super) fn net_field(self) -> u32 {
        match self {
            Self::V2 => NetParameter::LAYER,
            Self::V1 => NetParameter::V1_LAYER,
        }
    }

    /// Number of the layer's field that holds a blob.
    fn blobs(self) -> u32 {
        match self {
            Self::V2 => 7,
            Self::V1 => 6,
        }
    }

    fn is_setting(self, number: u32) -> bool {
        match self {
            Self::V2 => LayerParameter::is_setting(number),
            Self::V1 => V1LayerParameter::is_setting(number),
        }
    }
}

/// A layer of a weight file: a slice of the file, or what replaced it.
///
/// Small, because a hostile file has a layer in every three bytes.
#[derive(Clone, Debug)]
pub struct WeightLayer {
    form: Form,
    /// The net's field that holds the layer, with its tag and length.
    field: Bytes,
    /// Where the layer starts in `field`.
    start: u32,
    /// Where the name is in `field`.
    name: (u32, u32),
    blobs: u32,
    /// Offset of `field` in the file, for messages; 0 for a layer made or changed here.
    offset: usize,
}

impl WeightLayer {
    /// Makes a layer.
    #[must_use]
    pub fn new(name: &str, type_name: &str, blobs: &[Blob]) -> Self {
        let mut message = RawMessage::default();
        message.set(RawField::bytes(1, name.to_owned()));
        message.set(RawField::bytes(2, type_name.to_owned()));
        message.replace_all(7, blobs.iter().map(|b| RawField::bytes(7, b.to_message())));
        let (field, start) = message.to_field(Form::V2.net_field());
        let name_start = start + message.fields()[0].encoded_len() - name.len();
        Self {
            form: Form::V2,
            start: start as u32,
            name: (name_start as u32, (name_start + name.len()) as u32),
            blobs: blobs.len() as u32,
            offset: 0,
            field,
        }
    }

    /// Finds name and blobs of an encoded layer that starts at `start` in its field.
    pub(super) fn parse(form: Form, field: Bytes, start: usize, offset: usize) -> Result<Self> {
        let number = if form == Form::V2 { 1 } else { 4 };
        let (mut name, mut blobs) = (0..0, 0);
        for inner in Fields::new(&field[start..], offset + start) {
            let inner = inner?;
            let Payload::Bytes(_) = inner.payload else {
                continue;
            };
            if inner.number == number {
                name = start + inner.payload_start..start + inner.end;
            } else if inner.number == form.blobs() {
                blobs += 1;
            }
        }
        if std::str::from_utf8(&field[name.clone()]).is_err() {
            return Err(Error::Wire {
                offset: offset + name.start,
                problem: format!("layer name \"{}\"", String::from_utf8_lossy(&field[name])),
                expected: "a name in UTF-8",
            });
        }
        let place = || format!("layer \"{}\"", String::from_utf8_lossy(&field[name.clone()]));
        super::parse::limit(place, "blobs", blobs, crate::limits::MAX_BLOBS as u64)?;
        Ok(Self {
            form,
            start: start as u32,
            name: (name.start as u32, name.end as u32),
            blobs: blobs as u32,
            offset,
            field,
        })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        let name = &self.field[self.name.0 as usize..self.name.1 as usize];
        std::str::from_utf8(name).unwrap_or_default()
    }

    /// The encoded layer, without the tag and length that the net puts before it.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.field.slice(self.start as usize..)
    }

    /// The encoded layer with tag and length, as it stands in the file.
    pub(super) fn field(&self) -> &Bytes {
        &self.field
    }

    /// The fields of the layer.
    fn fields(&self) -> Fields<'_> {
        let start = self.start as usize;
        Fields::new(&self.field[start..], self.offset + start)
    }

    /// The type string; empty where the file leaves it out or has a number that Caffe never had.
    #[must_use]
    pub fn type_name(&self) -> &str {
        match self.form {
            Form::V2 => crate::proto::raw::last_bytes(&self.field[self.start as usize..], 2)
                .and_then(|b| std::str::from_utf8(b).ok())
                .unwrap_or_default(),
            Form::V1 => self
                .fields()
                .filter_map(Result::ok)
                .filter_map(|f| match f.payload {
                    Payload::Varint(v) if f.number == 5 => i32::try_from(v).ok(),
                    _ => None,
                })
                .last()
                .and_then(|n| V1LayerType::try_from(n).ok())
                .map_or("", V1LayerType::type_name),
        }
    }

    /// How the layer is written.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// Number of blobs.
    #[must_use]
    pub fn blob_count(&self) -> usize {
        self.blobs as usize
    }

    /// The encoded blobs.
    fn raw_blobs(&self) -> impl Iterator<Item = Bytes> {
        let (number, start) = (self.form.blobs(), self.start as usize);
        self.fields().filter_map(Result::ok).filter_map(move |f| {
            let is_blob = f.number == number && matches!(f.payload, Payload::Bytes(_));
            is_blob.then(|| self.field.slice(start + f.payload_start..start + f.end))
        })
    }

    /// Reads one blob; its values stay in the file's memory.
    ///
    /// # Errors
    /// [`Error::Blob`] with layer, index and what is wrong.
    pub fn blob(&self, index: usize) -> Result<Blob> {
        let problem = |problem| Error::Blob { layer: self.name().to_owned(), blob: index, problem };
        let missing = || BlobProblem::Missing { blobs: self.blob_count() };
        let message = self.raw_blobs().nth(index).ok_or_else(|| problem(missing()))?;
        Blob::parse(&message).map_err(problem)
    }

    /// Reads all blobs.
    ///
    /// # Errors
    /// As for [`Self::blob`].
    pub fn blobs(&self) -> Result<Vec<Blob>> {
        let blobs = self.raw_blobs().enumerate();
        blobs
            .map(|(blob, message)| {
                Blob::parse(&message).map_err(|problem| Error::Blob {
                    layer: self.name().to_owned(),
                    blob,
                    problem,
                })
            })
            .collect()
    }

    /// Decodes the settings, those of an old layer in today's form.
    ///
    /// # Errors
    /// [`Error::Decode`] where a known field has another type than Caffe gives it;
    /// [`Error::TooLarge`] where the settings exceed
    /// [`MAX_SETTINGS_BYTES`](crate::limits::MAX_SETTINGS_BYTES).
    pub fn parameter(&self) -> Result<LayerParameter> {
        let place = || format!("layer \"{}\"", self.name());
        let mut bytes = 0;
        for field in self.fields() {
            let field = field?;
            if self.form.is_setting(field.number) {
                bytes += field.end - field.start;
            }
        }
        super::parse::limit(place, "bytes of settings", bytes, MAX_SETTINGS_BYTES as u64)?;
        let decode = |message| move |source| Error::Decode { place: place(), message, source };
        match self.form {
            Form::V2 => LayerParameter::decode(self.body()).map_err(decode("LayerParameter")),
            Form::V1 => {
                let old =
                    V1LayerParameter::decode(self.body()).map_err(decode("V1LayerParameter"))?;
                upgrade::v1_layer(old)
            }
        }
    }

    /// Changes the encoded layer; everything that `edit` does not touch stays byte for byte.
    ///
    /// # Errors
    /// What `edit` returns; [`Error::Wire`] where the layer or its name is broken afterwards.
    pub fn edit(&mut self, edit: impl FnOnce(&mut RawMessage) -> Result<()>) -> Result<()> {
        let mut message = RawMessage::parse(&self.body())?;
        edit(&mut message)?;
        let (field, start) = message.to_field(self.form.net_field());
        *self = Self::parse(self.form, field, start, 0)?;
        Ok(())
    }

    /// Gives the layer other blobs. Unknown fields of a blob stay with the blob of the same index.
    ///
    /// # Errors
    /// [`Error::Wire`] where an old blob breaks the encoding.
    pub fn set_blobs(&mut self, blobs: &[Blob]) -> Result<()> {
        let number = self.form.blobs();
        let mut old = self.raw_blobs();
        let new: Result<Vec<RawField>> = blobs
            .iter()
            .map(|blob| {
                let message = match old.next() {
                    Some(old) => blob.update_message(&old)?,
                    None => blob.to_message(),
                };
                Ok(RawField::bytes(number, message))
            })
            .collect();
        drop(old);
        let new = new?;
        self.edit(|message| {
            message.replace_all(number, new);
            Ok(())
        })
    }
}
