//! Letters drawn into pictures, by libavfilter's `drawtext`.

use crate::{Invalid, graph};

/// The colours that have a name.
const NAMED: [(&str, u32); 10] = [
    ("white", 0xFFFFFF),
    ("black", 0x000000),
    ("grey", 0x808080),
    ("red", 0xFF0000),
    ("green", 0x00FF00),
    ("blue", 0x0000FF),
    ("yellow", 0xFFFF00),
    ("cyan", 0x00FFFF),
    ("magenta", 0xFF00FF),
    ("orange", 0xFFA500),
];
/// What a parameter for a colour says of itself.
pub(crate) const COLOURS: &str =
    "white, black, grey, red, green, blue, yellow, cyan, magenta, orange or #RRGGBB [white]";
/// How much of the picture a box behind letters covers where they are opaque.
const BOX_OPACITY: f64 = 0.6;
/// Letters smaller than this are not readable, in pixels.
const LEAST_PX: f64 = 8.0;

/// `name` as FFmpeg writes colours.
pub(crate) fn colour(name: &str) -> Result<String, Invalid> {
    let code = |digits: &str| {
        let is_code = digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        is_code.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
    };
    let named = NAMED.iter().find(|(named, _)| *named == name).map(|(_, code)| *code);
    let found = named.or_else(|| name.strip_prefix('#').and_then(code));
    found.map(|code| format!("0x{code:06X}")).ok_or_else(|| {
        let name: String = name.chars().take(32).collect();
        Invalid::new(format!("colour={name:?} is not one: use {COLOURS}"))
    })
}

/// How letters look.
pub(crate) struct Lettering {
    /// In pixels.
    pub(crate) size: u32,
    /// As FFmpeg writes it.
    pub(crate) colour: String,
    /// 0 to 1.
    pub(crate) opacity: f64,
    /// Whether a dark box is behind them.
    pub(crate) boxed: bool,
}

impl Lettering {
    /// Letters of `percent` of the height of a picture.
    pub(crate) fn size_of(percent: f64, height: u32) -> u32 {
        (f64::from(height) * percent / 100.0).max(LEAST_PX).round() as u32
    }

    /// `text` as it stands.
    pub(crate) fn text(&self, text: &str, x: &str, y: &str) -> String {
        self.draw(&format!("expansion=none:text={}", graph::value(text)), x, y)
    }

    /// The media time of each picture, in UTC.
    pub(crate) fn clock(&self, x: &str, y: &str) -> String {
        let text = graph::value(r"%{pts:gmtime:0:%H\:%M\:%S}");
        self.draw(&format!("expansion=normal:text={text}"), x, y)
    }

    fn draw(&self, text: &str, x: &str, y: &str) -> String {
        let Self { size, colour, opacity, boxed } = self;
        let behind = if *boxed {
            let (opacity, border) = (opacity * BOX_OPACITY, size / 6);
            format!(":box=1:boxcolor=black@{opacity:.3}:boxborderw={border}")
        } else {
            // An outline keeps letters readable on anything.
            format!(":borderw={}:bordercolor=black@{opacity:.3}", (size / 16).max(1))
        };
        let font = graph::FONT;
        format!(
            "drawtext=fontfile={font}:{text}:fontsize={size}:fontcolor={colour}@{opacity:.3}:x={x}:y={y}{behind}"
        )
    }
}
