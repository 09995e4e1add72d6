//! Lines on logarithmic scales.

use std::ops::Range;

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::ink::{GRID, TEXT};
use super::plot::{Area, Plot, colour, dot, failed, span, text};

/// A line through points that are in order.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    /// The same for the same contender in every picture.
    pub(super) colour: usize,
}

/// Lines with dots on them.
pub(super) struct LinePlot {
    pub(super) series: Vec<Line>,
    pub(super) axes: [&'static str; 2],
    pub(super) formats: [fn(f64) -> String; 2],
    /// Places on the first axis with a name.
    pub(super) marks: Vec<(f64, String)>,
}

impl Plot for LinePlot {
    fn height(&self, width: u32) -> u32 {
        (width * 9 / 16).clamp(320, 460)
    }

    fn legend(&self) -> Vec<(&str, usize, bool)> {
        self.series.iter().map(|line| (line.name.as_str(), line.colour, true)).collect()
    }

    fn draw_in(&self, root: &Area<'_>, legend: u32) -> Result<()> {
        let points = || self.series.iter().flat_map(|line| &line.points);
        let across = span(points().map(|point| point.0), true);
        let up = span(points().map(|point| point.1), true);
        let most_across = (root.dim_in_pixel().0 / 90).clamp(3, 9) as usize;
        let mut chart = ChartBuilder::on(root)
            .margin_top(legend)
            .margin_right(22)
            .x_label_area_size(48)
            .y_label_area_size(72)
            .build_cartesian_2d(
                across.clone().log_scale().with_key_points(ticks(&across, most_across)),
                up.clone().log_scale().with_key_points(ticks(&up, 7)),
            )
            .map_err(failed)?;
        chart
            .configure_mesh()
            .axis_style(GRID)
            .bold_line_style(GRID.mix(0.8))
            .light_line_style(TRANSPARENT)
            .label_style(text(12, HPos::Center, VPos::Center))
            .axis_desc_style(text(13, HPos::Center, VPos::Center))
            .x_desc(self.axes[0])
            .y_desc(self.axes[1])
            .x_label_formatter(&|value| (self.formats[0])(*value))
            .y_label_formatter(&|value| (self.formats[1])(*value))
            .draw()
            .map_err(failed)?;
        for (place, name) in self.marks.iter().filter(|(place, _)| across.contains(place)) {
            let ends = vec![(*place, up.start), (*place, up.end)];
            chart.draw_series([PathElement::new(ends, TEXT.mix(0.5))]).map_err(failed)?;
            let (x, y) = chart.backend_coord(&(*place, up.end));
            let style = text(12, HPos::Right, VPos::Top);
            root.draw(&Text::new(name.clone(), (x - 4, y + 2), style)).map_err(failed)?;
        }
        for line in &self.series {
            let style = colour(line.colour).stroke_width(2);
            let path = PathElement::new(line.points.clone(), style);
            chart.draw_series([path]).map_err(failed)?;
            let dots = line.points.iter().map(|&point| dot(point, line.colour, true));
            chart.draw_series(dots).map_err(failed)?;
        }
        Ok(())
    }
}

/// Where a logarithmic scale has numbers: at powers of ten, and at twice and five times these where
/// there would be fewer than three; every second, third and so on where there would be more than `most`.
fn ticks(range: &Range<f64>, most: usize) -> Vec<f64> {
    let within = |steps: &[f64]| -> Vec<f64> {
        let powers = range.start.log10().floor() as i32..=range.end.log10().ceil() as i32;
        let all = powers.flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)));
        all.filter(|tick| range.contains(tick)).collect()
    };
    let mut ticks = within(&[1.0]);
    if ticks.len() < 3 {
        ticks = within(&[1.0, 2.0, 5.0]);
    }
    let each = ticks.len().div_ceil(most).max(1);
    ticks.into_iter().step_by(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_has_neither_too_few_numbers_nor_too_many() {
        assert_eq!(ticks(&(0.77..2.6), 9), [1.0, 2.0]);
        assert_eq!(ticks(&(9.0..1.1e3), 9), [10.0, 100.0, 1000.0]);
        assert_eq!(ticks(&(9.0..1.1e6), 3), [1e1, 1e3, 1e5]);
    }
}
