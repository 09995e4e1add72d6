//! One shape in growing batches: time by size shows where each cache ends.

use std::sync::LazyLock;

use bn_conformance::shapes::{self, Shape};

/// The first part of their names.
pub(crate) const NAME: &str = "sizes";

/// In `f32` from 16 kB to 1 GB, each four times as large as the one before.
const TEXT: &str = "\
batch 1 4 16 64 256 1024 4096 16384 65536
N x 16 x 16 x 16  1  of no network
";

/// All of them, the smallest first.
pub(crate) fn all() -> &'static [Shape] {
    static SIZES: LazyLock<Vec<Shape>> =
        LazyLock::new(|| shapes::parse(NAME, TEXT).expect("a test parses it"));
    &SIZES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_go_from_a_cache_to_a_gigabyte() {
        let bytes: Vec<usize> = all().iter().map(|shape| shape.elements() * 4).collect();
        assert_eq!((bytes[0], bytes[8]), (16 << 10, 1 << 30));
        assert!(bytes.windows(2).all(|pair| pair[1] == 4 * pair[0]));
        assert_eq!(all()[1].to_string(), "sizes/4x16x16x16");
    }
}
