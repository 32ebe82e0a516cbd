//! `overlay`: a text, a clock or an image on the picture.

use serde::{Deserialize, Serialize};

use super::{
    drawn,
    lettering::{COLOURS, Lettering, colour},
    pictures, within,
};
use crate::{Format, Invalid, Step, VideoFormat, Work, catalogue::Component, graph};

/// Characters of a text.
const MAX_TEXT: usize = 200;
/// Between what is laid over and the edge of the picture, in percent of its height.
const MARGIN: f64 = 4.0;
/// Size of letters, in percent of the height, if nothing is said.
const LETTERS: f64 = 7.0;
/// Size of an image, likewise.
const IMAGE: f64 = 15.0;
/// What the name of an image ends in.
const IMAGES: [&str; 4] = [".png", ".jpg", ".jpeg", ".webp"];

/// Lays a text, a clock or an image over pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overlay {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    clock: bool,
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    position: Position,
    #[serde(default)]
    size: Option<f64>,
    #[serde(default = "white")]
    colour: String,
    #[serde(default = "opaque")]
    opacity: f64,
    #[serde(default)]
    r#box: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Position {
    TopLeft,
    Top,
    #[default]
    TopRight,
    Left,
    Centre,
    Right,
    BottomLeft,
    Bottom,
    BottomRight,
}

fn white() -> String {
    "white".to_owned()
}

fn opaque() -> f64 {
    1.0
}

impl Component for Overlay {
    const NAME: &'static str = "overlay";
    const ABOUT: &'static str = "a text, a clock or an image on the picture";
    const PARAMETERS: &'static [(&'static str, &'static str)] = &[
        ("text", "a line of up to 200 characters; or"),
        ("clock", "true: the media time, as HH:MM:SS in UTC; or"),
        (
            "image",
            "a file of the workers' asset folder by its plain name: .png, .jpg, .jpeg or .webp",
        ),
        (
            "position",
            "top-left, top, top-right, left, centre, right, bottom-left, bottom or bottom-right [top-right]",
        ),
        ("size", "of letters or the image, in percent of the height: 1 to 100 [7, an image 15]"),
        ("colour", COLOURS),
        ("opacity", "0 to 1 [1]"),
        (
            "box",
            "whether a dark box is behind letters, in place of an outline: true or false [false]",
        ),
    ];

    fn plan(&self, input: &Format) -> Result<Step, Invalid> {
        let pictures = pictures(input)?;
        let opacity = within("opacity", self.opacity, 0.0, 1.0)?;
        let size = self.size.map(|size| within("size", size, 1.0, 100.0)).transpose()?;
        let colour = colour(&self.colour)?;
        let lettering = Lettering {
            size: Lettering::size_of(size.unwrap_or(LETTERS), pictures.height),
            colour,
            opacity,
            boxed: self.r#box,
        };
        let margin = percent(MARGIN, pictures.height);
        let (x, y) = self.position.of("w", "tw", "h", "th", margin);
        let (graph, asset) = match (&self.text, self.clock, &self.image) {
            (Some(text), false, None) => (lettering.text(line(text)?, &x, &y), None),
            (None, true, None) => (lettering.clock(&x, &y), None),
            (None, false, Some(name)) => {
                let side = percent(size.unwrap_or(IMAGE), pictures.height);
                (self.image(name, side, pictures, margin)?, Some(name.clone()))
            }
            _ => return Err(Invalid::new("give one of text, clock=true and image")),
        };
        let step = drawn(input, pictures, graph.clone(), 0.5);
        let assets = asset.into_iter().collect();
        Ok(Step { work: Work::Video { graph, assets }, ..step })
    }
}

impl Overlay {
    /// As high as `side`, or as wide as the picture leaves room.
    fn image(
        &self,
        name: &str,
        side: u32,
        into: VideoFormat,
        margin: u32,
    ) -> Result<String, Invalid> {
        graph::check_asset_name(name)?;
        let lower = name.to_ascii_lowercase();
        if !IMAGES.iter().any(|ending| lower.ends_with(ending)) {
            return Err(Invalid::new(format!("image={name} is none: use {}", IMAGES.join(", "))));
        }
        let room = |side: u32| side.saturating_sub(2 * margin).max(2);
        let (width, height) = (room(into.width), side.min(room(into.height)));
        let (x, y) = self.position.of("W", "w", "H", "h", margin);
        let (asset, opacity) = (graph::asset(name), self.opacity);
        Ok(format!(
            "movie=filename={asset},scale=w={width}:h={height}:force_original_aspect_ratio=decrease,\
             format=rgba,colorchannelmixer=aa={opacity:.3}[mark];[in][mark]overlay=x={x}:y={y}"
        ))
    }
}

impl Position {
    /// Left and top, in FFmpeg's expressions over the sides of the picture and of what is laid over it.
    fn of(
        self,
        width: &str,
        wide: &str,
        height: &str,
        high: &str,
        margin: u32,
    ) -> (String, String) {
        use Position::*;
        let first = || margin.to_string();
        let middle = |whole: &str, part: &str| format!("({whole}-{part})/2");
        let last = |whole: &str, part: &str| format!("{whole}-{part}-{margin}");
        let x = match self {
            TopLeft | Left | BottomLeft => first(),
            Top | Centre | Bottom => middle(width, wide),
            TopRight | Right | BottomRight => last(width, wide),
        };
        let y = match self {
            TopLeft | Top | TopRight => first(),
            Left | Centre | Right => middle(height, high),
            BottomLeft | Bottom | BottomRight => last(height, high),
        };
        (x, y)
    }
}

fn percent(percent: f64, of: u32) -> u32 {
    ((f64::from(of) * percent / 100.0).round() as u32).max(2)
}

/// `text`, if it is a line that can be seen.
fn line(text: &str) -> Result<&str, Invalid> {
    let fits = text.chars().count() <= MAX_TEXT && !text.chars().any(char::is_control);
    if fits && !text.trim().is_empty() {
        return Ok(text);
    }
    Err(Invalid::new(format!("text: give a line of 1 to {MAX_TEXT} characters")))
}
