//! Shapes of real networks, from the data files in `shapes/` that tests and benchmarks share.
//!
//! ```
//! use bn_conformance::shapes;
//! use bn_core::Layout;
//!
//! let stem = &shapes::matching("resnet50/32x64x112x112")[0];
//! assert_eq!(stem.dims(Layout::ChannelsLast), [32, 112, 112, 64]);
//! assert_eq!(stem.problem(Layout::ChannelsFirst).channels(), 64);
//! assert_eq!(shapes::file("tiny").unwrap().shapes.len(), 2);
//! ```

use core::fmt;
use std::sync::LazyLock;

use bn_core::{Layout, Problem};

/// The input of one or more layers of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The file it is from, without its ending: `resnet50`.
    pub file: String,
    /// How many layers of the network have this shape.
    pub uses: usize,
    /// Which layers, in words.
    pub place: String,
    dims: Vec<usize>,
}

impl Shape {
    /// The dimensions in a layout: `(N, C, spatial…)` or `(N, spatial…, C)`.
    #[must_use]
    pub fn dims(&self, layout: Layout) -> Vec<usize> {
        let mut dims = self.dims.clone();
        if layout == Layout::ChannelsLast {
            dims[1..].rotate_left(1);
        }
        dims
    }

    /// The number of samples.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.dims[0]
    }

    /// The number of values.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.dims.iter().product()
    }

    /// The problem of this shape in a layout.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "it cannot: the dimensions have been checked")]
    pub fn problem(&self, layout: Layout) -> Problem {
        Problem::new(&self.dims(layout), layout).expect("parsing has checked the dimensions")
    }

    /// The same layer with fewer samples, or more.
    ///
    /// # Panics
    ///
    /// Where `batch` is 0 or the product of dimensions is not addressable.
    #[must_use]
    pub fn with_batch(&self, batch: usize) -> Self {
        let mut shape = self.clone();
        shape.dims[0] = batch;
        Problem::new(&shape.dims, Layout::ChannelsFirst).expect("a batch that can be addressed");
        shape
    }

    /// The dimensions joined by `x`, channels-first: `32x64x112x112`.
    #[must_use]
    pub fn label(&self) -> String {
        let dims: Vec<String> = self.dims.iter().map(ToString::to_string).collect();
        dims.join("x")
    }
}

/// File and dimensions: `resnet50/32x64x112x112`.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.file, self.label()))
    }
}

/// One data file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeFile {
    /// Its name without the ending: `resnet50`.
    pub name: &'static str,
    /// Its first comment.
    pub title: String,
    /// Its shapes, in its order; all batch sizes of a line before the next line.
    pub shapes: Vec<Shape>,
}

/// Every data file, in the order of their table in `shapes/README.md`.
#[must_use]
pub fn files() -> &'static [ShapeFile] {
    static FILES: LazyLock<Vec<ShapeFile>> = LazyLock::new(|| {
        let texts = [
            ("resnet50", include_str!("../shapes/resnet50.txt")),
            ("mobilenet", include_str!("../shapes/mobilenet.txt")),
            ("video", include_str!("../shapes/video.txt")),
            ("flat", include_str!("../shapes/flat.txt")),
            ("tiny", include_str!("../shapes/tiny.txt")),
        ];
        let read = |(name, text): (&'static str, &str)| {
            let title = text.lines().next().unwrap_or_default().trim_start_matches(['#', ' ']);
            let shapes = parse(name, text).expect("a test parses every embedded file");
            ShapeFile { name, title: title.to_owned(), shapes }
        };
        texts.into_iter().map(read).collect()
    });
    &FILES
}

/// The data file of this name.
#[must_use]
pub fn file(name: &str) -> Option<&'static ShapeFile> {
    files().iter().find(|file| file.name == name)
}

/// Every shape of every file.
pub fn all() -> impl Iterator<Item = &'static Shape> {
    files().iter().flat_map(|file| &file.shapes)
}

/// Every shape whose name contains `filter`: a file (`video`), a batch size (`/32x`), a shape.
#[must_use]
pub fn matching(filter: &str) -> Vec<&'static Shape> {
    all().filter(|shape| shape.to_string().contains(filter)).collect()
}

/// Reads a file of shapes; `shapes/README.md` describes the format.
///
/// # Errors
///
/// [`ParseError`] with the line and what was expected there.
pub fn parse(file: &str, text: &str) -> Result<Vec<Shape>, ParseError> {
    let (mut batches, mut shapes) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        let content = line.split('#').next().unwrap_or_default().trim();
        let fail = |expected| ParseError { line: index + 1, found: line.to_owned(), expected };
        if content.is_empty() {
            continue;
        }
        if let Some(numbers) = content.strip_prefix("batch ") {
            let numbers = numbers.split_whitespace().map(str::parse);
            batches = numbers.collect::<Result<_, _>>().map_err(|_| fail(BATCH))?;
            continue;
        }
        let layer = layer(content).ok_or_else(|| fail(LAYER))?;
        let own = layer.batch.map(|batch| vec![batch]);
        let batches = own.as_ref().unwrap_or(&batches);
        if batches.is_empty() {
            return Err(fail("a `batch` line before the first N"));
        }
        for &batch in batches {
            let dims: Vec<usize> = [batch].into_iter().chain(layer.dims.iter().copied()).collect();
            Problem::new(&dims, Layout::ChannelsFirst).map_err(|_| fail(LAYER))?;
            let (file, place) = (file.to_owned(), layer.place.to_owned());
            shapes.push(Shape { file, uses: layer.uses, place, dims });
        }
    }
    Ok(shapes)
}

const BATCH: &str = "batch sizes: `batch 1 8 32`";
const LAYER: &str = "dimensions above 0, uses, place: `N x 64 x 112 x 112  1  conv1`";

/// A line of a file: the batch size unless it is N, the other dimensions, uses and place.
struct Layer<'a> {
    batch: Option<usize>,
    dims: Vec<usize>,
    uses: usize,
    place: &'a str,
}

fn layer(line: &str) -> Option<Layer<'_>> {
    let (mut words, mut dims, mut batch) = (line, Vec::new(), None);
    loop {
        let dim;
        (dim, words) = next_word(words)?;
        match dim {
            "N" if batch.is_none() => batch = Some(None),
            dim if batch.is_none() => batch = Some(Some(dim.parse().ok()?)),
            dim => dims.push(dim.parse().ok()?),
        }
        let (word, rest) = next_word(words)?;
        if word != "x" {
            let uses = word.parse().ok()?;
            return Some(Layer { batch: batch?, dims, uses, place: rest });
        }
        words = rest;
    }
}

fn next_word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    if text.is_empty() {
        return None;
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    Some((&text[..end], text[end..].trim_start()))
}

/// A line of a file of shapes that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Its number, from 1.
    pub line: usize,
    /// The line itself.
    pub found: String,
    /// What should be there.
    pub expected: &'static str,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: `{}`; expected {}", self.line, self.found, self.expected)
    }
}

impl core::error::Error for ParseError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_networks_have_their_layers() {
        let layers = |name| -> usize {
            let shapes = &file(name).unwrap().shapes;
            let batch = shapes[0].batch();
            shapes.iter().filter(|shape| shape.batch() == batch).map(|shape| shape.uses).sum()
        };
        assert_eq!((layers("resnet50"), layers("mobilenet")), (53, 52));
        assert_eq!(matching("resnet50/32x").len(), 12);
        assert_eq!(file("video").unwrap().shapes[0].elements(), 4 * 64 * 16 * 56 * 56);
        assert!(files().iter().all(|file| !file.title.is_empty() && !file.shapes.is_empty()));
        assert!(file("vgg").is_none());
    }

    #[test]
    fn a_template_is_one_shape_for_each_batch_size() {
        let shapes = parse("f", "# t\nbatch 2 3\nN x 4 x 5  7  a b # c\n6 x 7 1\n").unwrap();
        let names: Vec<_> = shapes.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["f/2x4x5", "f/3x4x5", "f/6x7"]);
        assert_eq!((shapes[1].uses, shapes[1].place.as_str()), (7, "a b"));
        assert_eq!(shapes[0].dims(Layout::ChannelsLast), [2, 5, 4]);
        assert_eq!(shapes[0].with_batch(9).label(), "9x4x5");
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        for text in ["N x 4  1 a", "batch 1 b", "4 x 0 1 a", "4 x  x 1", "4 x 4 a", "4 4 4", "x"] {
            let error = parse("f", &format!("# title\n{text}")).unwrap_err();
            assert_eq!((error.line, error.found.as_str()), (2, text));
        }
    }
}
