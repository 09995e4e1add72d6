//! The two kinds of picture, dots in rows and lines, and what both have.

use std::ops::Range;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::ink::{SERIES, TEXT};

const LETTER: u32 = 7;
const LEGEND_LINE: u32 = 20;
const DOT: i32 = 5;

/// Width and height in pixels.
pub(super) type Size = (u32, u32);

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A kind of picture, drawn at any size.
pub(super) trait Plot {
    /// How high it should be at a width.
    fn height(&self, width: u32) -> u32;

    /// Draws everything below the legend.
    fn draw_in(&self, root: &Area<'_>, legend: u32) -> Result<()>;

    /// Name, number of the colour, and whether dots are filled.
    fn legend(&self) -> Vec<(&str, usize, bool)>;
}

/// The picture as SVG.
pub(super) fn draw(plot: &dyn Plot, width: u32) -> Result<String> {
    let names = plot.legend();
    let legend = Legend::new(&names, width);
    let size: Size = (width, plot.height(width) + legend.height());
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    legend.draw(&root)?;
    plot.draw_in(&root, legend.height())?;
    root.present().map_err(failed)?;
    drop(root);
    // The page says how wide a picture is shown.
    let fixed = format!("width=\"{}\" height=\"{}\" viewBox", size.0, size.1);
    Ok(svg.replacen(&fixed, "role=\"img\" viewBox", 1))
}

pub(super) fn failed<E: std::error::Error + Send + Sync>(
    error: DrawingAreaErrorKind<E>,
) -> anyhow::Error {
    anyhow!("a picture could not be drawn: {error}")
}

/// Letters of a size.
pub(super) fn text(size: u32, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    let font = ("system-ui, sans-serif", size).into_font();
    font.color(&TEXT).pos(Pos::new(horizontal, vertical))
}

/// From a bit below the least value to a bit above the greatest.
pub(super) fn span(values: impl Iterator<Item = f64>, is_log: bool) -> Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    match (low <= high, is_log) {
        (false, _) => 1.0..10.0,
        (true, true) => low / 1.3..high * 1.3,
        (true, false) => 0.0..high * 1.08,
    }
}

/// The colour of a series.
pub(super) fn colour(number: usize) -> RGBColor {
    SERIES[number % SERIES.len()]
}

/// A dot, filled or as a ring.
pub(super) fn dot<C>(place: C, number: usize, is_filled: bool) -> Circle<C, i32> {
    let style = colour(number).stroke_width(2);
    Circle::new(place, DOT, if is_filled { style.filled() } else { style })
}

/// Names beside dots, in as many lines as they need.
struct Legend<'a> {
    places: Vec<(&'a str, usize, bool, u32, u32)>,
    lines: u32,
}

impl<'a> Legend<'a> {
    fn new(names: &[(&'a str, usize, bool)], width: u32) -> Self {
        let (mut x, mut line, mut places) = (0, 0, Vec::new());
        for &(name, number, is_filled) in names {
            let wide = (name.chars().count() as u32) * LETTER + 34;
            if x > 0 && x + wide > width {
                (x, line) = (0, line + 1);
            }
            places.push((name, number, is_filled, x, line));
            x += wide;
        }
        Self { places, lines: line + 1 }
    }

    fn height(&self) -> u32 {
        self.lines * LEGEND_LINE + 8
    }

    fn draw(&self, root: &Area<'_>) -> Result<()> {
        for &(name, number, is_filled, x, line) in &self.places {
            let (x, y) = (x as i32 + 10, (line * LEGEND_LINE + LEGEND_LINE / 2) as i32);
            root.draw(&dot((x, y), number, is_filled)).map_err(failed)?;
            let style = text(13, HPos::Left, VPos::Center);
            root.draw(&Text::new(name.to_owned(), (x + 10, y), style)).map_err(failed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_legend_breaks_where_the_picture_ends() {
        let names = [("a name", 0, true), ("another name", 1, true), ("a third", 2, false)];
        assert_eq!(Legend::new(&names, 1000).lines, 1);
        assert_eq!(Legend::new(&names, 130).lines, 3);
    }

    #[test]
    fn a_span_has_room_on_both_sides() {
        assert_eq!(span([2.0, 1.0].into_iter(), true), 1.0 / 1.3..2.6);
        assert_eq!(span([50.0, 100.0].into_iter(), false), 0.0..108.0);
        assert_eq!(span([].into_iter(), true), 1.0..10.0);
    }
}
