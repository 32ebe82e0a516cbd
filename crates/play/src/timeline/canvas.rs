//! A canvas with smooth edges and its own font: drawn larger than the picture and averaged down, so that
//! lines may lie, and letters stand, between pixels.

use std::path::Path;

use anyhow::{Context, anyhow};
use plotters::{
    backend::{BitMapBackend, DrawingBackend},
    coord::Shift,
    drawing::{DrawingArea, IntoDrawingArea},
    element::{Circle, Polygon, Rectangle},
    style::{Color, FontDesc, FontFamily, FontStyle, RGBColor, register_font},
};

/// Pixels drawn for each pixel of the picture, both ways.
const OVERSAMPLING: u32 = 3;
const RGB: usize = 3;

const FONT: FontFamily = FontFamily::Name("Inter");
const REGULAR: &[u8] = include_bytes!("../../assets/inter-regular.otf");
const SEMIBOLD: &[u8] = include_bytes!("../../assets/inter-semibold.otf");
/// The font library sizes by line height; Inter's is this many em.
const LINE_HEIGHT: f64 = 3408.0 / 2816.0;

/// A position in pixels of the picture, from its upper left corner.
pub type Point = (f64, f64);

/// Where a text stands relative to its point, which is on its baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Begins there.
    Left,
    /// Is centred on it.
    Middle,
    /// Ends there.
    Right,
}

/// How text is set.
#[derive(Debug, Clone, Copy)]
pub struct Type {
    /// Size of an em, in pixels.
    pub em: f64,
    /// Semi-bold instead of regular.
    pub bold: bool,
    /// Of the letters.
    pub colour: RGBColor,
}

/// What [`paint`] draws on.
pub struct Canvas<'a> {
    area: DrawingArea<BitMapBackend<'a>, Shift>,
}

/// A finished picture: `size.0 × size.1` pixels of three bytes, row by row from the upper left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    size: (u32, u32),
    pixels: Vec<u8>,
}

/// Draws a picture of `size` pixels.
pub fn paint(
    size: (u32, u32),
    paper: RGBColor,
    picture: impl FnOnce(&Canvas) -> anyhow::Result<()>,
) -> anyhow::Result<Image> {
    for (style, font) in [(FontStyle::Normal, REGULAR), (FontStyle::Bold, SEMIBOLD)] {
        register_font(FONT.as_str(), style, font).map_err(|_| anyhow!("the font is damaged"))?;
    }
    let large = (size.0 * OVERSAMPLING, size.1 * OVERSAMPLING);
    let mut pixels = vec![0; large.0 as usize * large.1 as usize * RGB];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, large).into_drawing_area();
        area.fill(&paper)?;
        picture(&Canvas { area })?;
    }
    Ok(Image { size, pixels: shrink(&pixels, size) })
}

impl Image {
    /// Writes it to `file`, whose name says the format (`.png`).
    pub fn save(&self, file: &Path) -> anyhow::Result<()> {
        let mut image = BitMapBackend::new(file, self.size);
        image.blit_bitmap((0, 0), self.size, &self.pixels)?;
        image.present().with_context(|| format!("cannot write {}", file.display()))
    }

    /// The colour of a pixel; none outside the picture.
    #[cfg(test)]
    pub fn at(&self, x: u32, y: u32) -> Option<RGBColor> {
        let at = (y as usize * self.size.0 as usize + x as usize) * RGB;
        let inside = x < self.size.0 && y < self.size.1;
        inside.then(|| RGBColor(self.pixels[at], self.pixels[at + 1], self.pixels[at + 2]))
    }
}

/// Averages squares of [`OVERSAMPLING`] pixels.
fn shrink(pixels: &[u8], (width, height): (u32, u32)) -> Vec<u8> {
    const N: usize = OVERSAMPLING as usize;
    let row = width as usize * N * RGB;
    let mut small = Vec::with_capacity(width as usize * height as usize * RGB);
    for rows in pixels.chunks_exact(row * N) {
        for x in (0..row).step_by(N * RGB) {
            let mut sums = [0u16; RGB];
            for at in (x..rows.len()).step_by(row) {
                for pixel in rows[at..at + N * RGB].chunks_exact(RGB) {
                    sums[0] += u16::from(pixel[0]);
                    sums[1] += u16::from(pixel[1]);
                    sums[2] += u16::from(pixel[2]);
                }
            }
            small.extend(sums.map(|sum| (sum / (N * N) as u16) as u8));
        }
    }
    small
}

fn scale(v: f64) -> i32 {
    (v * f64::from(OVERSAMPLING)).round() as i32
}

impl Canvas<'_> {
    /// A filled rectangle from its upper left to its lower right corner.
    pub fn rect(&self, from: Point, to: Point, colour: RGBColor) -> anyhow::Result<()> {
        let corners = [from, to].map(|(x, y)| (scale(x), scale(y)));
        Ok(self.area.draw(&Rectangle::new(corners, colour.filled()))?)
    }

    /// A filled circle.
    pub fn disc(&self, (x, y): Point, radius: f64, colour: RGBColor) -> anyhow::Result<()> {
        Ok(self.area.draw(&Circle::new((scale(x), scale(y)), scale(radius), colour.filled()))?)
    }

    /// A filled polygon.
    pub fn polygon(&self, corners: &[Point], colour: RGBColor) -> anyhow::Result<()> {
        let corners: Vec<_> = corners.iter().map(|&(x, y)| (scale(x), scale(y))).collect();
        Ok(self.area.draw(&Polygon::new(corners, colour))?)
    }

    /// Text on one line.
    pub fn text(&self, text: &str, at: Point, align: Align, how: Type) -> anyhow::Result<()> {
        let x = at.0
            - match align {
                Align::Left => 0.0,
                Align::Middle => self.width(text, how)? / 2.0,
                Align::Right => self.width(text, how)?,
            };
        let font = font(how);
        // The library takes the upper edge, and sets the baseline half a line height below it.
        let top = scale(at.1) - (font.get_size() / 2.0).round() as i32;
        self.area.draw_text(text, &font.color(&how.colour), (scale(x), top))?;
        Ok(())
    }

    /// How wide a text is, in pixels.
    pub fn width(&self, text: &str, how: Type) -> anyhow::Result<f64> {
        let (width, _) = font(how).box_size(text)?;
        Ok(f64::from(width) / f64::from(OVERSAMPLING))
    }
}

fn font(how: Type) -> FontDesc<'static> {
    let style = if how.bold { FontStyle::Bold } else { FontStyle::Normal };
    FontDesc::new(FONT, how.em * LINE_HEIGHT * f64::from(OVERSAMPLING), style)
}
