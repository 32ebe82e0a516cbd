//! `captions`: text burnt into the picture.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    CORES_PER_PIXEL, cues,
    lettering::{COLOURS, Lettering, colour},
    pictures, text, within,
};
use crate::{Format, Invalid, Step, Work, catalogue::Component};

/// Lines shown at once; more are left out.
const MAX_LINES: usize = 6;
/// Between lines, and the edge of the picture, in percent of its height.
const MARGIN: f64 = 6.0;
/// From line to line, in sizes of letters: boxes do not touch.
const PITCH: f64 = 1.4;
/// How wide a line may become, in widths of the picture.
const WIDEST: f64 = 0.9;

/// Burns text into pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Captions {
    #[serde(default = "usual")]
    size: f64,
    #[serde(default = "white")]
    colour: String,
    #[serde(default)]
    position: Position,
    #[serde(default = "boxed")]
    r#box: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Position {
    Top,
    #[default]
    Bottom,
}

fn usual() -> f64 {
    6.0
}

fn white() -> String {
    "white".to_owned()
}

fn boxed() -> bool {
    true
}

impl Component for Captions {
    const NAME: &'static str = "captions";
    const ABOUT: &'static str = "text burnt into the picture; it is not carried as text any more";
    const PARAMETERS: &'static [(&'static str, &'static str)] = &[
        ("size", "of letters, in percent of the height: 2 to 15 [6]"),
        ("colour", COLOURS),
        ("position", "top or bottom [bottom]"),
        (
            "box",
            "whether a dark box is behind letters, in place of an outline: true or false [true]",
        ),
    ];

    fn plan(&self, input: &Format) -> Result<Step, Invalid> {
        pictures(input)?;
        cues(input)?;
        within("size", self.size, 2.0, 15.0)?;
        colour(&self.colour)?;
        let parameters = serde_json::to_value(self).map_err(|e| Invalid::new(e.to_string()))?;
        let output = Format { text: None, ..input.clone() };
        let cores = input.pixels_per_second() * CORES_PER_PIXEL * 0.5;
        Ok(Step { output, work: Work::BurnIn { draw, parameters }, cores })
    }
}

/// `text` in lines one above the other, each in the middle. Nothing to draw: pictures stay as they are.
fn draw(text: &str, format: &Format, parameters: &Value) -> String {
    // Both were checked when the graph was planned.
    let captions = Captions::deserialize(parameters).ok().zip(format.video);
    let drawn = captions.and_then(|(captions, into)| {
        let size = Lettering::size_of(captions.size, into.height);
        let colour = colour(&captions.colour).ok()?;
        let lettering = Lettering { size, colour, opacity: 1.0, boxed: captions.r#box };
        let lines = lines(text, f64::from(into.width) * WIDEST / f64::from(size));
        let pitch = (f64::from(size) * PITCH).round() as u32;
        let margin = (f64::from(into.height) * MARGIN / 100.0).round() as u32;
        // Where the letters of line `n` stand: `y` is where they end above, which is not the same for all.
        let foot = |n: usize| match captions.position {
            Position::Top => margin + size + n as u32 * pitch,
            Position::Bottom => {
                into.height.saturating_sub(margin + (lines.len() - 1 - n) as u32 * pitch)
            }
        };
        let line = |(n, line): (usize, &String)| {
            lettering.text(line, "(w-tw)/2", &format!("{}-ascent", foot(n)))
        };
        Some(lines.iter().enumerate().map(line).collect::<Vec<_>>().join(","))
    });
    drawn.filter(|graph| !graph.is_empty()).unwrap_or_else(|| "null".to_owned())
}

/// Lines of at most `widest` sizes of letters, as far as that can be told without the font.
fn lines(cue: &str, widest: f64) -> Vec<String> {
    let mut lines = Vec::new();
    for given in text::to_read(cue).lines() {
        let (mut line, mut width) = (String::new(), 0.0);
        for word in given.split_whitespace() {
            let wide: f64 = word.chars().map(width_of).sum();
            if !line.is_empty() && width + width_of(' ') + wide > widest {
                lines.push(std::mem::take(&mut line));
                width = 0.0;
            } else if !line.is_empty() {
                line.push(' ');
                width += width_of(' ');
            }
            for c in word.chars().filter(|c| !c.is_control()) {
                if width + width_of(c) > widest && !line.is_empty() {
                    lines.push(std::mem::take(&mut line));
                    width = 0.0;
                }
                line.push(c);
                width += width_of(c);
            }
        }
        lines.push(line);
    }
    lines.retain(|line| !line.is_empty());
    lines.truncate(MAX_LINES);
    lines
}

/// About, in sizes of letters: those of East Asia are square.
fn width_of(c: char) -> f64 {
    match c {
        ' ' => 0.35,
        '\u{1100}'..='\u{11FF}' | '\u{2E80}'.. => 1.0,
        _ => 0.6,
    }
}
