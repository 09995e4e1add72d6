//! Colours, and how a picture follows a light or a dark page.
//!
//! A plotting library writes colours as numbers. Two of them stand for what depends on the page, and are
//! replaced by names that its style sheet gives a value.

use plotters::style::RGBColor;

/// Letters and axes: the colour of the text around the picture.
pub(super) const TEXT: RGBColor = RGBColor(1, 2, 3);

/// Lines that are looked past.
pub(super) const GRID: RGBColor = RGBColor(4, 5, 6);

/// One colour for each series: told apart by those who see fewer colours, on white and on black.
pub(super) const SERIES: [RGBColor; 11] = [
    RGBColor(0x2f, 0x81, 0xf7),
    RGBColor(0xe0, 0x7b, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x5d, 0xa7),
    RGBColor(0x8a, 0x6d, 0x3b),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xd5, 0x3e, 0x2a),
    RGBColor(0x9a, 0xa0, 0x20),
    RGBColor(0x80, 0x80, 0x90),
    RGBColor(0x1a, 0xb8, 0xb8),
    RGBColor(0xb0, 0x8c, 0xff),
];

/// What a picture needs that stands alone, in a README for instance: a ground of its own too, since the page
/// around it may be dark where the reader's system is light.
const STYLE: &str = "<style>svg{color:#1f2328;background:#fff;--grid:#d0d7de}\
    @media(prefers-color-scheme:dark){svg{color:#e6edf3;background:#0d1117;--grid:#3d444d}}</style>";

/// A picture as part of a page: colours of the page, and a width that follows it.
pub(super) fn of_page(svg: &str) -> String {
    let svg = svg.replace("#010203", "currentColor").replace("#040506", "var(--grid)");
    let start = svg.find("<svg").unwrap_or_default();
    svg[start..].to_owned()
}

/// A picture as a file.
pub(super) fn alone(svg: &str) -> String {
    let svg = of_page(svg);
    let end = svg.find('>').map_or(0, |end| end + 1);
    format!("{}{STYLE}{}", &svg[..end], &svg[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_takes_the_colours_of_its_page() {
        let svg =
            "<?xml?>\n<svg width=\"3\">\n<text fill=\"#010203\"/><line stroke=\"#040506\"/></svg>";
        let inside = of_page(svg);
        assert!(inside.starts_with("<svg ") && inside.contains("fill=\"currentColor\""));
        assert!(inside.contains("stroke=\"var(--grid)\""));
        assert!(alone(svg).starts_with("<svg width=\"3\"><style>svg{color:"));
    }
}
