//! `filter`: any graph of filters that are known to be harmless.

use serde::{Deserialize, Serialize};

use self::allowed::{AUDIO, Allowed, VIDEO};
use super::{drawn, heard, pictures, sound};
use crate::{Format, Invalid, Step, catalogue::Component};

pub mod allowed;

/// Filters in one graph.
const MAX_FILTERS: usize = 8;
/// Bytes of one graph.
const MAX_BYTES: usize = 1024;

/// Passes pictures or sound through a chain of filters of libavfilter.
///
/// It is read here, not by FFmpeg: names, options and values are looked up in a table and written out anew, so
/// that nothing else can pass. Size, rate and channels stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    #[serde(default)]
    video: Option<String>,
    #[serde(default)]
    audio: Option<String>,
}

impl Component for Filter {
    const NAME: &'static str = "filter";
    const ABOUT: &'static str = "a chain of FFmpeg's filters, of those that are allowed";
    const PARAMETERS: &'static [(&'static str, &'static str)] = &[
        ("video", "filters for pictures, as hflip,gblur=sigma=2; or"),
        ("audio", "filters for sound, as highpass=f=100,volume=volume=0.5"),
    ];

    fn plan(&self, input: &Format) -> Result<Step, Invalid> {
        match (&self.video, &self.audio) {
            (Some(graph), None) => {
                let pictures = pictures(input)?;
                let chain = read("video", graph, VIDEO)?;
                let light = chain.iter().map(|filter| filter.allowed.light).sum();
                Ok(drawn(input, pictures, written(&chain), light))
            }
            (None, Some(graph)) => {
                let sound = sound(input)?;
                let chain = read("audio", graph, AUDIO)?;
                let stereo = chain.iter().find(|filter| filter.allowed.stereo);
                if let Some(filter) = stereo.filter(|_| sound.channels != 2) {
                    let name = filter.allowed.name;
                    let why = format!("audio: {name} needs two channels, and there is one here");
                    return Err(Invalid::new(why));
                }
                Ok(heard(input, sound, written(&chain)))
            }
            _ => Err(Invalid::new("give video or audio: one chain of filters")),
        }
    }
}

/// One filter of a chain, checked.
struct Read<'a> {
    allowed: &'static Allowed,
    /// Option and value, as FFmpeg is to get them.
    options: Vec<(&'static str, &'a str)>,
}

fn read<'a>(
    parameter: &str,
    graph: &'a str,
    allowed: &'static [Allowed],
) -> Result<Vec<Read<'a>>, Invalid> {
    let refused = |why: String| Invalid::new(format!("{parameter}: {why}"));
    if graph.len() > MAX_BYTES {
        return Err(refused(format!("a graph has at most {MAX_BYTES} bytes")));
    }
    if let Some(c) = graph.chars().find(|c| "[];'\\".contains(*c) || c.is_control()) {
        let why = "has no place here: write filters one after the other, as hflip,gblur=sigma=2";
        return Err(refused(format!("{c:?} {why}")));
    }
    let filters: Vec<&str> = graph.split(',').map(str::trim).collect();
    if filters.len() > MAX_FILTERS {
        return Err(refused(format!("a graph has at most {MAX_FILTERS} filters")));
    }
    filters.into_iter().map(|filter| one(filter, allowed).map_err(refused)).collect()
}

fn one<'a>(filter: &'a str, allowed: &'static [Allowed]) -> Result<Read<'a>, String> {
    let (name, options) = filter.split_once('=').unwrap_or((filter, ""));
    let allowed = allowed.iter().find(|allowed| allowed.name == name).ok_or_else(|| {
        let names: Vec<&str> = allowed.iter().map(|allowed| allowed.name).collect();
        format!("{name:?} is not among the filters allowed: {}", names.join(", "))
    })?;
    let mut read = Read { allowed, options: Vec::new() };
    for option in options.split(':').filter(|_| !options.is_empty()) {
        let (key, value) = option.split_once('=').ok_or_else(|| {
            format!("{name}: {option:?} is no option: write NAME=VALUE, with {}", allowed.takes())
        })?;
        let (key, kind) =
            *allowed.options.iter().find(|(known, _)| *known == key).ok_or_else(|| {
                format!("{name}: {key:?} is not among the options allowed: {}", allowed.takes())
            })?;
        if read.options.iter().any(|(known, _)| *known == key) {
            return Err(format!("{name}: {key} is given twice"));
        }
        if !kind.holds(value) {
            return Err(format!("{name}: {key}={value:?} does not do: use {kind}"));
        }
        read.options.push((key, value));
    }
    Ok(read)
}

fn written(chain: &[Read<'_>]) -> String {
    let filter = |read: &Read<'_>| {
        let options = read.allowed.fixed.iter().chain(&read.options);
        let options: Vec<String> = options.map(|(key, value)| format!("{key}={value}")).collect();
        let equals = if options.is_empty() { "" } else { "=" };
        format!("{}{equals}{}", read.allowed.name, options.join(":"))
    };
    chain.iter().map(filter).collect::<Vec<_>>().join(",")
}
