//! Rows with dots: one row for each shape or each contender.

use anyhow::Result;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::ink::{GRID, TEXT};
use super::plot::{Area, Plot, dot, failed, span, text};

const ROW: u32 = 26;
const AXIS: u32 = 48;
const LETTER: u32 = 7;

/// A value for some of the rows.
pub(super) struct Dots {
    pub(super) name: String,
    /// Row and value.
    pub(super) points: Vec<(usize, f64)>,
    pub(super) is_filled: bool,
    /// Series with one number have one colour.
    pub(super) colour: usize,
}

/// Rows with dots on one scale.
pub(super) struct DotPlot {
    pub(super) rows: Vec<String>,
    pub(super) series: Vec<Dots>,
    pub(super) axis: &'static str,
    pub(super) is_log: bool,
    /// A value to see the others by.
    pub(super) line: Option<f64>,
    pub(super) format: fn(f64) -> String,
}

impl Plot for DotPlot {
    fn height(&self, _width: u32) -> u32 {
        self.rows.len() as u32 * ROW + AXIS
    }

    fn legend(&self) -> Vec<(&str, usize, bool)> {
        let series = self.series.iter();
        series.map(|dots| (dots.name.as_str(), dots.colour, dots.is_filled)).collect()
    }

    fn draw_in(&self, root: &Area<'_>, legend: u32) -> Result<()> {
        let values = self.series.iter().flat_map(|dots| dots.points.iter().map(|point| point.1));
        let range = span(values.chain(self.line), self.is_log);
        if self.is_log {
            self.draw_on(root, legend, range.clone().log_scale(), range)
        } else {
            self.draw_on(root, legend, range.clone(), range)
        }
    }
}

impl DotPlot {
    fn draw_on<X>(
        &self,
        root: &Area<'_>,
        legend: u32,
        axis: X,
        range: std::ops::Range<f64>,
    ) -> Result<()>
    where
        X: AsRangedCoord<Value = f64>,
        X::CoordDescType: ValueFormatter<f64>,
    {
        let longest = self.rows.iter().map(|row| row.chars().count()).max().unwrap_or(0) as u32;
        let labels = longest * LETTER + 16;
        let lowest = self.rows.len() as f64 - 0.5;
        let mut chart = ChartBuilder::on(root)
            .margin_top(legend)
            .margin_right(22)
            .margin_left(labels)
            .x_label_area_size(AXIS)
            .build_cartesian_2d(axis, lowest..-0.5)
            .map_err(failed)?;
        let width = root.dim_in_pixel().0.saturating_sub(labels);
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .axis_style(GRID)
            .bold_line_style(GRID.mix(0.8))
            .light_line_style(TRANSPARENT)
            .label_style(text(12, HPos::Center, VPos::Top))
            .axis_desc_style(text(13, HPos::Center, VPos::Top))
            .x_desc(self.axis)
            .x_labels((width / 70).clamp(3, 9) as usize)
            .x_label_formatter(&|value| (self.format)(*value))
            .draw()
            .map_err(failed)?;
        for (row, name) in self.rows.iter().enumerate() {
            let row = row as f64;
            let ends = vec![(range.start, row), (range.end, row)];
            let line = PathElement::new(ends, GRID.mix(0.5));
            chart.draw_series([line]).map_err(failed)?;
            let (_, y) = chart.backend_coord(&(range.start, row));
            let style = text(13, HPos::Right, VPos::Center);
            let place = (labels as i32 - 8, y);
            root.draw(&Text::new(name.clone(), place, style)).map_err(failed)?;
        }
        if let Some(line) = self.line {
            let ends = vec![(line, lowest), (line, -0.5)];
            chart.draw_series([PathElement::new(ends, TEXT.stroke_width(2))]).map_err(failed)?;
        }
        for dots in &self.series {
            let place = |&(row, value): &(usize, f64)| (value, row as f64);
            let circles =
                dots.points.iter().map(|point| dot(place(point), dots.colour, dots.is_filled));
            chart.draw_series(circles).map_err(failed)?;
        }
        Ok(())
    }
}
