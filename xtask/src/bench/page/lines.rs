//! Lines on logarithmic scales.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::ink::{GRID, TEXT};
use super::plot::{Area, Plot, colour, dot, failed, span, text};

/// A line through points that are in order.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
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
        let names = self.series.iter().enumerate();
        names.map(|(number, line)| (line.name.as_str(), number, true)).collect()
    }

    fn draw_in(&self, root: &Area<'_>, legend: u32) -> Result<()> {
        let points = || self.series.iter().flat_map(|line| &line.points);
        let across = span(points().map(|point| point.0), true);
        let up = span(points().map(|point| point.1), true);
        let mut chart = ChartBuilder::on(root)
            .margin_top(legend)
            .margin_right(22)
            .x_label_area_size(48)
            .y_label_area_size(72)
            .build_cartesian_2d(across.clone().log_scale(), up.clone().log_scale())
            .map_err(failed)?;
        let width = root.dim_in_pixel().0;
        chart
            .configure_mesh()
            .axis_style(GRID)
            .bold_line_style(GRID.mix(0.8))
            .light_line_style(TRANSPARENT)
            .label_style(text(12, HPos::Center, VPos::Center))
            .axis_desc_style(text(13, HPos::Center, VPos::Center))
            .x_desc(self.axes[0])
            .y_desc(self.axes[1])
            .x_labels((width / 90).clamp(3, 9) as usize)
            .y_labels(7)
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
        for (number, line) in self.series.iter().enumerate() {
            let style = colour(number).stroke_width(2);
            let path = PathElement::new(line.points.clone(), style);
            chart.draw_series([path]).map_err(failed)?;
            let dots = line.points.iter().map(|&point| dot(point, number, true));
            chart.draw_series(dots).map_err(failed)?;
        }
        Ok(())
    }
}
