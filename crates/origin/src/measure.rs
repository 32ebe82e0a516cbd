//! `gibbon-origin measure`: what each scheme costs and buys, on the user's own clips.

use std::{
    fs::File,
    io::{BufWriter, IsTerminal, Write, stderr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use gibbon_codec::{
    CoderConfig, Preset, Secondary,
    measure::{self, Clip, MeasureOptions, Progress, Table},
};
use gibbon_control::process::Common;
use gibbon_media::Scheme;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::{SecondaryKind, size};

/// Version of the JSON: raised when a field changes its meaning or goes.
const JSON_SCHEMA: u32 = 1;

/// Measure what each scheme costs in bit rate, and what is seen with one description lost
#[derive(clap::Args)]
#[command(long_about = ABOUT, after_long_help = EXAMPLES)]
pub struct Measure {
    /// Video file, or FILE,CAPTIONS.vtt; three or more make a fair picture
    #[arg(required = true, value_name = "CLIP", value_parser = clip)]
    clips: Vec<Clip>,
    /// Most seconds to use of each clip
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Four qualities of the primary rendition to take the overhead over: x264's CRF, 0 (best) to 51; the other figures are for the second
    #[arg(long, default_value = "19,23,27,31", value_name = "A,B,C,D", value_parser = crfs)]
    crf: [f32; 4],
    /// Schemes to tell of
    #[arg(long, value_delimiter = ',', default_value = "alternating,temporal,duplicate", value_parser = divided)]
    scheme: Vec<Scheme>,
    /// Secondary renditions of `alternating` to try
    #[arg(long, value_enum, value_delimiter = ',', default_value = "half,full")]
    secondary: Vec<SecondaryKind>,
    /// x264 preset of the primary rendition
    #[arg(long, default_value = "veryfast")]
    preset: Preset,
    /// Length of a group, in ms
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(100..=10_000))]
    group_ms: u64,
    /// Width and height in pixels, as 640x360 [default: the clip's own]
    #[arg(long, value_name = "WxH", value_parser = size)]
    size: Option<(u32, u32)>,
    /// Write all figures to this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
}

const ABOUT: &str = "\
Measure what each scheme costs in bit rate and what the viewer sees with one description lost.

Codes each clip in each scheme at four qualities, decodes it with both descriptions and with each of \
them lost, and prints two tables in Markdown. `overhead` is the BD-rate: by how much the video of both \
descriptions exceeds that of a single description of the same quality and the same closed groups. \
`both` and `without 0` are the PSNR with both descriptions and without description 0; `side frames` \
that of the frames alone which the lost description held in full quality. `duplicate` is a yardstick \
at +100 %. Takes minutes.";

const EXAMPLES: &str = "\
Examples:
  gibbon-origin measure media/bbb.mp4,media/bbb.vtt media/session.mp4 media/box.mp4
  gibbon-origin measure --scheme alternating --secondary half --seconds 10 clip.mp4
  gibbon-origin measure --scheme temporal --group-ms 4000 --json temporal.json clip.mp4";

fn clip(text: &str) -> Result<Clip, String> {
    let (media, captions) = match text.rsplit_once(',') {
        Some((media, captions)) if captions.ends_with(".vtt") => (media, Some(captions.into())),
        _ => (text, None),
    };
    if media.is_empty() {
        return Err("the name of the clip is missing".into());
    }
    Ok(Clip { media: media.to_owned(), captions })
}

fn divided(text: &str) -> Result<Scheme, String> {
    match text.parse().map_err(|e| format!("{e}"))? {
        Scheme::Plain => {
            Err("plain is not a way to divide a stream: use alternating, temporal or duplicate"
                .into())
        }
        scheme => Ok(scheme),
    }
}

fn crfs(text: &str) -> Result<[f32; 4], String> {
    let rule = || format!("{text:?}: use four rising numbers from 0 to 51, as 19,23,27,31");
    let numbers: Vec<f32> =
        text.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| rule())?;
    let crfs: [f32; 4] = numbers.try_into().map_err(|_| rule())?;
    let in_range = crfs.iter().all(|crf| (0.0..=51.0).contains(crf));
    if in_range && crfs.is_sorted_by(|a, b| a < b) { Ok(crfs) } else { Err(rule()) }
}

/// Measures, and prints what was found.
pub fn run(options: &Measure) -> anyhow::Result<()> {
    // Made first: nobody wants to learn at the end that it cannot be written.
    let json = options.json.as_deref().map(create).transpose()?;
    let table = measured(options)?;
    print!("{table}");
    if let Some((file, path)) = json {
        write_json(&table, options, BufWriter::new(file))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn create(path: &Path) -> anyhow::Result<(File, &Path)> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok((file, path))
}

fn measured(options: &Measure) -> anyhow::Result<Table> {
    let bar = stderr().is_terminal().then(bar);
    let table = measure::measure(&options.clips, &what(options), |progress| match &bar {
        Some(bar) => show(bar, progress),
        None if progress.next.is_empty() => {}
        None => eprintln!("{}/{} {}", progress.done + 1, progress.of, progress.next),
    });
    bar.iter().for_each(ProgressBar::finish_and_clear);
    Ok(table?)
}

fn what(options: &Measure) -> MeasureOptions {
    MeasureOptions {
        schemes: options.scheme.clone(),
        crfs: options.crf,
        secondaries: options.secondary.iter().copied().map(Secondary::from).collect(),
        coder: CoderConfig { preset: options.preset, ..CoderConfig::default() },
        group: Duration::from_millis(options.group_ms),
        duration: Duration::from_secs(options.seconds),
        size: options.size,
        ..MeasureOptions::default()
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} (about {eta} left)");
    ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show(bar: &ProgressBar, progress: &Progress) {
    bar.set_length(progress.of as u64);
    bar.set_position(progress.done as u64);
    bar.set_message(progress.next.clone());
}

#[derive(Serialize)]
struct Json<'a> {
    schema: u32,
    preset: Preset,
    group_ms: u64,
    #[serde(flatten)]
    table: &'a Table,
    means: Vec<Mean>,
}

#[derive(Serialize)]
struct Mean {
    #[serde(flatten)]
    variant: measure::Variant,
    overhead_percent: f64,
}

fn write_json(table: &Table, options: &Measure, mut out: impl Write) -> anyhow::Result<()> {
    let mean = |(variant, overhead_percent)| Mean { variant, overhead_percent };
    let json = Json {
        schema: JSON_SCHEMA,
        preset: options.preset,
        group_ms: options.group_ms,
        table,
        means: table.means().into_iter().map(mean).collect(),
    };
    serde_json::to_writer_pretty(&mut out, &json)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Options {
        #[command(flatten)]
        measure: Measure,
    }

    fn options(arguments: &[&str]) -> Result<Measure, clap::Error> {
        let arguments = ["measure"].iter().chain(arguments);
        Options::try_parse_from(arguments).map(|options| options.measure)
    }

    #[test]
    fn a_clip_may_bring_its_captions() {
        let parsed = options(&["a,b.mp4", "c.mp4,c.vtt"]).unwrap().clips;
        assert_eq!((parsed[0].media.as_str(), &parsed[0].captions), ("a,b.mp4", &None));
        assert_eq!(
            (parsed[1].media.as_str(), &parsed[1].captions),
            ("c.mp4", &Some("c.vtt".into()))
        );
        assert!(options(&[]).is_err());
    }

    #[test]
    fn qualities_that_span_no_curve_are_refused_with_the_rule() {
        assert_eq!(
            options(&["--crf", "10,20,30,40.5", "a"]).unwrap().crf,
            [10.0, 20.0, 30.0, 40.5]
        );
        for bad in
            ["23", "19,23,27", "19,19,23,27", "31,27,23,19", "1,2,3,52", "a,b,c,d", "1,2,3,NaN"]
        {
            let error = options(&["--crf", bad, "a"]).err().unwrap().to_string();
            assert!(error.contains("four rising numbers"), "{bad}: {error}");
        }
    }

    #[test]
    fn the_figures_are_written_as_json() {
        let media = concat!(env!("CARGO_MANIFEST_DIR"), "/../../media/session.mp4");
        let flags =
            ["--seconds=3", "--preset=ultrafast", "--size=64x48", "--scheme=temporal", media];
        let options = options(&flags).unwrap();
        let mut json = Vec::new();
        write_json(&measured(&options).unwrap(), &options, &mut json).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["schema"], 1);
        assert_eq!(json["rows"].as_array().unwrap().len(), 2);
        assert_eq!(json["rows"][0]["scheme"], "temporal");
        assert_eq!(json["rows"][0]["points"].as_array().unwrap().len(), 4);
        assert_eq!(json["rows"][0]["overhead_percent"], json["means"][0]["overhead_percent"]);
        assert_eq!(json["clips"][0]["seconds"], 2.0);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_told_before_anything_is_measured() {
        let error = run(&options(&["--json=/nowhere/at/all.json", "also-missing.mp4"]).unwrap());
        assert_eq!(error.unwrap_err().to_string(), "cannot write /nowhere/at/all.json");
    }
}
