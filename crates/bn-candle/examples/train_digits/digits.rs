//! The images, four fifths to train on and one held out.

use candle_core::{DType, Device, Result, Tensor};
use fastrand::Rng;

/// Images of shape (N, 1, 8, 8) with values from 0 to 1, and their digits.
pub(crate) struct Digits {
    pub(crate) images: Tensor,
    pub(crate) labels: Tensor,
}

impl Digits {
    /// All images, shuffled and divided: what to train on, and the held-out fifth.
    pub(crate) fn load(rng: &mut Rng) -> Result<[Self; 2]> {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits.npy");
        let rows = Tensor::read_npy(file)?;
        let (count, _) = rows.dims2()?;
        let mut order: Vec<u32> = (0u32..).take(count).collect();
        rng.shuffle(&mut order);
        let rows = rows.index_select(&Tensor::new(order, &Device::Cpu)?, 0)?;
        let images = (rows.narrow(1, 0, 64)?.to_dtype(DType::F32)? / 16.0)?;
        let all = Self {
            images: images.reshape((count, 1, 8, 8))?,
            labels: rows.narrow(1, 64, 1)?.flatten_all()?.to_dtype(DType::U32)?,
        };
        let held_out = count / 5;
        Ok([all.narrow(held_out, count - held_out)?, all.narrow(0, held_out)?])
    }

    pub(crate) fn len(&self) -> usize {
        self.labels.elem_count()
    }

    /// The images at these places.
    pub(crate) fn batch(&self, places: &[u32]) -> Result<Self> {
        let places = Tensor::new(places, &Device::Cpu)?;
        let images = self.images.index_select(&places, 0)?;
        Ok(Self { images, labels: self.labels.index_select(&places, 0)? })
    }

    fn narrow(&self, start: usize, len: usize) -> Result<Self> {
        let images = self.images.narrow(0, start, len)?.contiguous()?;
        Ok(Self { images, labels: self.labels.narrow(0, start, len)?.contiguous()? })
    }
}
