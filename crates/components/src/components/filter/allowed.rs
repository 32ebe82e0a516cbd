//! The filters that are allowed, and their options.
//!
//! A filter is here if, whatever these options are, it gives one picture (or as much sound) for each that it is
//! given, of the same size, rate and channels; reads no file; needs bounded time and memory; and holds back
//! nothing. (FFmpeg 5.1; `ffmpeg -h filter=NAME`.)

use std::fmt;

/// A filter that is allowed.
pub struct Allowed {
    /// FFmpeg's name.
    pub name: &'static str,
    /// Options that may be given.
    pub options: &'static [(&'static str, Kind)],
    /// Options that are given in any case.
    pub(super) fixed: &'static [(&'static str, &'static str)],
    /// What it costs, in light filters (measured, see `CORES_PER_PIXEL`).
    pub(super) light: f64,
    /// Whether it is for two channels only.
    pub stereo: bool,
}

/// What an option may be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A number within bounds.
    Number(f64, f64),
    /// A whole number within bounds.
    Whole(i64, i64),
    /// An odd number within bounds.
    Odd(i64, i64),
    /// One of these.
    Word(&'static [&'static str]),
}

use Kind::*;

impl Kind {
    /// Whether `value` is one. Digits, a point and a sign only: FFmpeg reads units and sums as well.
    pub(super) fn holds(self, value: &str) -> bool {
        let plain =
            value.len() <= 16 && value.bytes().all(|b| b.is_ascii_digit() || b"+-.".contains(&b));
        let number = || value.parse::<f64>().ok().filter(|_| plain);
        let whole = || value.parse::<i64>().ok().filter(|_| plain);
        match self {
            Number(least, most) => number().is_some_and(|n| (least..=most).contains(&n)),
            Whole(least, most) => whole().is_some_and(|n| (least..=most).contains(&n)),
            Odd(least, most) => whole().is_some_and(|n| (least..=most).contains(&n) && n % 2 == 1),
            Word(words) => words.contains(&value),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number(least, most) => write!(f, "{least} to {most}"),
            Whole(least, most) => write!(f, "a whole number from {least} to {most}"),
            Odd(least, most) => write!(f, "an odd number from {least} to {most}"),
            Word(words) => f.write_str(&words.join(", ")),
        }
    }
}

impl Allowed {
    /// Its options, for errors.
    pub(super) fn takes(&self) -> String {
        let names: Vec<&str> = self.options.iter().map(|(name, _)| *name).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }
}

const fn video(
    name: &'static str,
    light: f64,
    options: &'static [(&'static str, Kind)],
) -> Allowed {
    Allowed { name, options, fixed: &[], light, stereo: false }
}

const fn audio(name: &'static str, options: &'static [(&'static str, Kind)]) -> Allowed {
    Allowed { name, options, fixed: &[], light: 0.0, stereo: false }
}

const fn stereo(name: &'static str, options: &'static [(&'static str, Kind)]) -> Allowed {
    Allowed { stereo: true, ..audio(name, options) }
}

const UNIT: Kind = Number(0.0, 1.0);
const SIGNED: Kind = Number(-1.0, 1.0);
const TWICE: Kind = Number(-2.0, 2.0);
const HERTZ: Kind = Number(10.0, 20_000.0);
const DECIBELS: Kind = Number(-30.0, 30.0);
const OCTAVES: Kind = Number(0.1, 5.0);

/// For pictures.
pub const VIDEO: &[Allowed] = &[
    video("hflip", 0.2, &[]),
    video("vflip", 0.1, &[]),
    video("negate", 0.6, &[]),
    video(
        "hue",
        0.5,
        &[("h", Number(-360.0, 360.0)), ("s", Number(-10.0, 10.0)), ("b", Number(-10.0, 10.0))],
    ),
    video(
        "eq",
        1.0,
        &[
            ("brightness", SIGNED),
            ("contrast", Number(-3.0, 3.0)),
            ("saturation", Number(0.0, 3.0)),
            ("gamma", Number(0.1, 10.0)),
            ("gamma_r", Number(0.1, 10.0)),
            ("gamma_g", Number(0.1, 10.0)),
            ("gamma_b", Number(0.1, 10.0)),
            ("gamma_weight", UNIT),
        ],
    ),
    video(
        "colorbalance",
        26.0,
        &[
            ("rs", SIGNED),
            ("gs", SIGNED),
            ("bs", SIGNED),
            ("rm", SIGNED),
            ("gm", SIGNED),
            ("bm", SIGNED),
            ("rh", SIGNED),
            ("gh", SIGNED),
            ("bh", SIGNED),
        ],
    ),
    video(
        "colorchannelmixer",
        6.0,
        &[
            ("rr", TWICE),
            ("rg", TWICE),
            ("rb", TWICE),
            ("gr", TWICE),
            ("gg", TWICE),
            ("gb", TWICE),
            ("br", TWICE),
            ("bg", TWICE),
            ("bb", TWICE),
        ],
    ),
    video("colortemperature", 13.0, &[("temperature", Number(1000.0, 40_000.0)), ("mix", UNIT)]),
    video("vibrance", 12.0, &[("intensity", TWICE)]),
    video("exposure", 6.0, &[("exposure", Number(-3.0, 3.0)), ("black", SIGNED)]),
    video(
        "curves",
        4.0,
        &[(
            "preset",
            Word(&[
                "color_negative",
                "cross_process",
                "darker",
                "increase_contrast",
                "lighter",
                "linear_contrast",
                "medium_contrast",
                "negative",
                "strong_contrast",
                "vintage",
            ]),
        )],
    ),
    video(
        "unsharp",
        12.0,
        &[
            ("luma_msize_x", Odd(3, 13)),
            ("luma_msize_y", Odd(3, 13)),
            ("luma_amount", Number(-2.0, 5.0)),
            ("chroma_msize_x", Odd(3, 13)),
            ("chroma_msize_y", Odd(3, 13)),
            ("chroma_amount", Number(-2.0, 5.0)),
        ],
    ),
    video("cas", 17.0, &[("strength", UNIT)]),
    video("gblur", 6.0, &[("sigma", Number(0.0, 50.0)), ("steps", Whole(1, 3))]),
    video("sobel", 4.0, &[("scale", Number(0.0, 10.0)), ("delta", Number(-255.0, 255.0))]),
    video("edgedetect", 20.0, &[("mode", Word(&["wires", "colormix"]))]),
    video("hqdn3d", 5.0, &[("luma_spatial", Number(0.0, 20.0)), ("luma_tmp", Number(0.0, 20.0))]),
    video("deband", 7.0, &[("range", Whole(1, 64)), ("blur", Word(&["0", "1"]))]),
    video("pixelize", 1.5, &[("width", Whole(1, 128)), ("height", Whole(1, 128))]),
    video("vignette", 3.0, &[("angle", Number(0.0, 1.57))]),
    video("chromashift", 0.3, &[("cbh", Whole(-64, 64)), ("crh", Whole(-64, 64))]),
];

/// For sound.
pub const AUDIO: &[Allowed] = &[
    audio("volume", &[("volume", Number(0.0, 8.0))]),
    audio("highpass", &[("f", HERTZ), ("poles", Whole(1, 2))]),
    audio("lowpass", &[("f", HERTZ), ("poles", Whole(1, 2))]),
    Allowed {
        fixed: &[("width_type", "o")],
        ..audio("bandpass", &[("f", HERTZ), ("width", OCTAVES)])
    },
    Allowed {
        fixed: &[("width_type", "o")],
        ..audio("equalizer", &[("f", HERTZ), ("width", OCTAVES), ("g", DECIBELS)])
    },
    audio("bass", &[("f", HERTZ), ("g", DECIBELS)]),
    audio("treble", &[("f", HERTZ), ("g", DECIBELS)]),
    audio(
        "acompressor",
        &[
            ("threshold", Number(0.001, 1.0)),
            ("ratio", Number(1.0, 20.0)),
            ("attack", Number(0.01, 2000.0)),
            ("release", Number(0.01, 9000.0)),
            ("makeup", Number(1.0, 64.0)),
            ("knee", Number(1.0, 8.0)),
        ],
    ),
    audio(
        "agate",
        &[
            ("threshold", UNIT),
            ("ratio", Number(1.0, 9000.0)),
            ("range", UNIT),
            ("attack", Number(0.01, 9000.0)),
            ("release", Number(0.01, 9000.0)),
        ],
    ),
    audio("asoftclip", &[("type", Word(&["hard", "tanh", "atan", "cubic", "sin", "erf"]))]),
    audio("tremolo", &[("f", Number(0.1, 20.0)), ("d", UNIT)]),
    audio("deesser", &[("i", UNIT), ("m", UNIT), ("f", UNIT)]),
    stereo("extrastereo", &[("m", Number(-10.0, 10.0))]),
    stereo("crossfeed", &[("strength", UNIT), ("range", UNIT)]),
    stereo(
        "stereotools",
        &[
            ("balance_in", SIGNED),
            ("balance_out", SIGNED),
            ("slev", Number(0.015625, 64.0)),
            ("mlev", Number(0.015625, 64.0)),
        ],
    ),
];
