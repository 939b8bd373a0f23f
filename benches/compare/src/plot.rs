//! The comparison as bars: a panel per case and metric, a bar per contender.

use std::{fs, path::Path};

use anyhow::{Context, Result, anyhow};
use plotters::{
    coord::Shift,
    prelude::{
        BLACK, BitMapBackend, Color, DrawingArea, DrawingBackend, FontStyle, IntoDrawingArea,
        IntoFont, PathElement, RGBColor, Rectangle, SVGBackend, Text, TextStyle, WHITE,
    },
    style::{
        register_font,
        text_anchor::{HPos, Pos, VPos},
    },
};

use crate::{
    cases::{Case, Metric},
    contenders::Contender,
    report::{Report, Row},
};

const FONT: &str = "sans-serif";
/// Where systems keep a font that will do.
const FONT_FILES: [&str; 4] = [
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/TTF/DejaVuSans.ttf",
    "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
    "/Library/Fonts/Arial.ttf",
];
const WIDTH: i32 = 1240;
const COLUMNS: usize = 2;
const HEADER: i32 = 90;
const BAR: i32 = 26;
const OURS: RGBColor = RGBColor(200, 80, 30);
const FLUSHED: RGBColor = RGBColor(60, 100, 160);
const UNFLUSHED: RGBColor = RGBColor(175, 190, 210);

type Section = (&'static Case, Metric, Vec<Row>);

/// Writes `compare.svg` and `compare.png`.
pub(crate) fn draw(report: &Report, directory: &Path) -> Result<()> {
    let file = FONT_FILES
        .iter()
        .find_map(|file| fs::read(file).ok())
        .with_context(|| format!("no font: none of {FONT_FILES:?} is there"))?;
    // The drawing library keeps fonts for as long as the program runs.
    register_font(FONT, FontStyle::Normal, Vec::leak(file))
        .map_err(|_invalid| anyhow!("the font file cannot be read"))?;
    fs::create_dir_all(directory)?;
    let sections: Vec<Section> = report.sections().collect();
    let panel = sections.iter().map(|(_, _, rows)| panel_height(rows.len())).max().unwrap_or(0);
    let rows = i32::try_from(sections.len().div_ceil(COLUMNS))?;
    let size = (u32::try_from(WIDTH)?, u32::try_from(HEADER + rows * panel)?);
    let (svg, png) = (directory.join("compare.svg"), directory.join("compare.png"));
    let area = SVGBackend::new(&svg, size).into_drawing_area();
    fill(&area, &sections, panel).context("drawing the SVG")?;
    let area = BitMapBackend::new(&png, size).into_drawing_area();
    fill(&area, &sections, panel).context("drawing the PNG")?;
    Ok(())
}

fn panel_height(rows: usize) -> i32 {
    75 + BAR * i32::try_from(rows).unwrap_or(i32::MAX / BAR)
}

fn fill<B>(area: &DrawingArea<B, Shift>, sections: &[Section], panel: i32) -> Result<()>
where
    B: DrawingBackend<ErrorType: 'static>,
{
    area.fill(&WHITE)?;
    let (header, mut rest) = area.split_vertically(HEADER);
    fill_header(&header)?;
    let width = WIDTH / i32::try_from(COLUMNS)?;
    for line in sections.chunks(COLUMNS) {
        let (row, below) = rest.split_vertically(panel);
        let (left, right) = row.split_horizontally(width);
        for (area, section) in [left, right].iter().zip(line) {
            fill_panel(area, section, width)?;
        }
        rest = below;
    }
    area.present()?;
    Ok(())
}

fn fill_header<B>(area: &DrawingArea<B, Shift>) -> Result<()>
where
    B: DrawingBackend<ErrorType: 'static>,
{
    let title = "Publishing to three replicas on one machine: median of the rounds, with minimum and maximum";
    area.draw(&Text::new(title, (20, 16), (FONT, 20).into_font()))?;
    let legend = [
        (OURS, "Antiphon: flushed on 2 of 3 disks, signed"),
        (FLUSHED, "flushed on 2 of 3 disks, not signed"),
        (UNFLUSHED, "not flushed, not signed"),
    ];
    let mut left = 20;
    for (color, text) in legend {
        area.draw(&Rectangle::new([(left, 54), (left + 16, 70)], color.filled()))?;
        area.draw(&Text::new(text, (left + 24, 54), (FONT, 15).into_font()))?;
        left += 370;
    }
    Ok(())
}

fn fill_panel<B>(
    area: &DrawingArea<B, Shift>,
    (case, metric, rows): &Section,
    width: i32,
) -> Result<()>
where
    B: DrawingBackend<ErrorType: 'static>,
{
    let title = format!("{}: {}", case.name, metric.title());
    area.draw(&Text::new(title, (20, 14), (FONT, 16).into_font()))?;
    let most = rows.iter().map(|row| row.spread.max).fold(1.0, f64::max);
    // Names to the left of the bars, figures to the right of the longest.
    let (left, right) = (170, width - 90);
    let at = |value: f64| left + scale(value / most, right - left);
    let text = TextStyle::from((FONT, 14).into_font()).color(&BLACK);
    let name = text.pos(Pos::new(HPos::Right, VPos::Center));
    let figure = text.pos(Pos::new(HPos::Left, VPos::Center));
    for (top, Row { contender, spread, .. }) in (46..).step_by(usize::try_from(BAR)?).zip(rows) {
        let middle = top + BAR / 2;
        let bar = [(left, top + 4), (at(spread.median), top + BAR - 4)];
        area.draw(&Rectangle::new(bar, color(*contender).filled()))?;
        let whisker = vec![(at(spread.min), middle), (at(spread.max), middle)];
        area.draw(&PathElement::new(whisker, BLACK))?;
        for end in [at(spread.min), at(spread.max)] {
            area.draw(&PathElement::new(vec![(end, middle - 4), (end, middle + 4)], BLACK))?;
        }
        area.draw(&Text::new(contender.name(), (left - 8, middle), name.clone()))?;
        area.draw(&Text::new(
            grouped(spread.median),
            (at(spread.max) + 8, middle),
            figure.clone(),
        ))?;
    }
    Ok(())
}

fn color(contender: Contender) -> RGBColor {
    match (contender, contender.flushed()) {
        (Contender::Antiphon, _) => OURS,
        (_, true) => FLUSHED,
        (_, false) => UNFLUSHED,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a share of the width of a picture")]
fn scale(share: f64, width: i32) -> i32 {
    (share * f64::from(width)).round() as i32
}

/// A whole number with a comma before each group of three digits.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_three() {
        assert_eq!(grouped(999.4), "999");
        assert_eq!(grouped(1234.0), "1,234");
        assert_eq!(grouped(1_234_567.0), "1,234,567");
    }
}
