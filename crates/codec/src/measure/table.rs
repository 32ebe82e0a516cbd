//! What was measured, and how it is told.

use std::fmt;

use gibbon_mdc::Conceal;
use gibbon_media::{Scheme, VideoTrack};
use serde::Serialize;

use crate::{RatePoint, Secondary};

/// A scheme with its settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Variant {
    /// The scheme.
    pub scheme: Scheme,
    /// The secondary rendition (`alternating` only).
    pub secondary: Option<Secondary>,
    /// How missing frames are made up (`temporal` only).
    pub conceal: Option<Conceal>,
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.scheme)?;
        if let Some(secondary) = self.secondary {
            write!(f, ", secondary at {secondary}")?;
        }
        match self.conceal {
            Some(Conceal::Repeat) => f.write_str(", missing frames repeated"),
            Some(Conceal::Blend) => f.write_str(", missing frames blended"),
            None => Ok(()),
        }
    }
}

/// What was found for one clip and one variant. PSNR is that of all frames as one picture, planes
/// weighted 6:1:1, in dB.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The clip.
    pub clip: String,
    /// How it was coded.
    #[serde(flatten)]
    pub variant: Variant,
    /// BD-rate in percent: the video bit rate of both descriptions at equal central PSNR over that of
    /// a single description with the same closed groups. `None` where the curves share no quality.
    #[serde(rename = "overhead_percent")]
    pub overhead: Option<f64>,
    /// Video bit rate of both descriptions and central PSNR, by CRF.
    pub points: Vec<RatePoint>,
    /// Video bit rate of both descriptions at the CRF told.
    pub kbps: f64,
    /// PSNR with both descriptions.
    #[serde(rename = "central_db")]
    pub central: f64,
    /// PSNR with description 0 lost, and with description 1 lost.
    #[serde(rename = "lost_db")]
    pub lost: [f64; 2],
    /// PSNR of those frames alone whose primary was in the lost description. `None` if there are none.
    #[serde(rename = "side_db")]
    pub side: Option<f64>,
}

/// A clip, and what is carried whole in both descriptions. Bit rates are those of payloads.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClipFacts {
    /// The clip.
    pub clip: String,
    /// Its pictures.
    pub video: VideoTrack,
    /// How much of it was measured.
    pub seconds: f64,
    /// Video bit rate of a single description at the CRF told.
    pub single_kbps: f64,
    /// Bit rate of the sound, in each description.
    pub audio_kbps: f64,
    /// Bit rate of the cues, in each description.
    pub text_kbps: f64,
}

impl ClipFacts {
    /// By how many percent the second copies of sound and text raise the bit rate of a single
    /// description of pictures, sound and text.
    pub fn whole_percent(&self) -> f64 {
        let twice = self.audio_kbps + self.text_kbps;
        100.0 * twice / (self.single_kbps + twice)
    }
}

/// What was found, clip by clip.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    /// The CRFs of the primary rendition at which BD-rate was taken.
    pub crfs: [f32; 4],
    /// The one of them that all figures but BD-rate are told for.
    pub told_crf: f32,
    /// What each variant costs and buys.
    pub rows: Vec<Row>,
    /// What was measured.
    pub clips: Vec<ClipFacts>,
}

impl Table {
    /// The mean overhead over the clips, in percent, of each variant of which it is known for all.
    pub fn means(&self) -> Vec<(Variant, f64)> {
        let mut variants: Vec<Variant> = Vec::new();
        for row in &self.rows {
            if !variants.contains(&row.variant) {
                variants.push(row.variant);
            }
        }
        let mean = |variant: Variant| {
            let rows = self.rows.iter().filter(|row| row.variant == variant);
            let overheads = rows.map(|row| row.overhead).collect::<Option<Vec<f64>>>()?;
            Some((variant, overheads.iter().sum::<f64>() / overheads.len() as f64))
        };
        variants.into_iter().filter_map(mean).collect()
    }
}

impl fmt::Display for Table {
    /// As two tables in Markdown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let crf = self.told_crf;
        writeln!(
            f,
            "| clip | scheme | overhead | kbit/s at CRF {crf} | both, dB | without 0, dB | without 1, dB | side frames, dB |"
        )?;
        writeln!(f, "|---|---|---:|---:|---:|---:|---:|---:|")?;
        for Row { clip, variant, overhead, kbps, central, lost: [zero, one], side, .. } in
            &self.rows
        {
            let overhead = overhead.map_or("–".to_owned(), percent);
            let side = side.map_or("–".to_owned(), |side| format!("{side:.1}"));
            writeln!(
                f,
                "| {clip} | {variant} | {overhead} | {kbps:.0} | {central:.1} | {zero:.1} | {one:.1} | {side} |"
            )?;
        }
        if self.clips.len() > 1 {
            for (variant, mean) in self.means() {
                writeln!(f, "| mean | {variant} | {} | | | | | |", percent(mean))?;
            }
        }
        writeln!(
            f,
            "\n| clip | pictures | measured | one description, kbit/s at CRF {crf} | sound, kbit/s | text, kbit/s | sound and text twice |"
        )?;
        writeln!(f, "|---|---|---:|---:|---:|---:|---:|")?;
        for facts in &self.clips {
            let ClipFacts { clip, video, seconds, single_kbps, audio_kbps, text_kbps } = facts;
            writeln!(
                f,
                "| {clip} | {}×{}, {:.2} frames/s | {seconds:.1} s | {single_kbps:.0} | {audio_kbps:.1} | {text_kbps:.1} | {} |",
                video.width,
                video.height,
                video.rate.as_f64(),
                percent(facts.whole_percent()),
            )?;
        }
        Ok(())
    }
}

fn percent(value: f64) -> String {
    format!("{value:+.1} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(clip: &str, scheme: Scheme, overhead: Option<f64>) -> Row {
        Row {
            clip: clip.to_owned(),
            variant: Variant { scheme, secondary: None, conceal: None },
            overhead,
            points: Vec::new(),
            kbps: 500.0,
            central: 40.0,
            lost: [30.0, 31.0],
            side: None,
        }
    }

    #[test]
    fn a_mean_is_told_only_of_schemes_measured_on_every_clip() {
        let rows = vec![
            row("a", Scheme::Temporal, Some(20.0)),
            row("a", Scheme::Duplicate, Some(100.0)),
            row("b", Scheme::Temporal, Some(40.0)),
            row("b", Scheme::Duplicate, None),
        ];
        let table = Table { crfs: [19.0, 23.0, 27.0, 31.0], told_crf: 23.0, rows, clips: vec![] };
        let means: Vec<_> = table.means().into_iter().map(|(v, mean)| (v.scheme, mean)).collect();
        assert_eq!(means, [(Scheme::Temporal, 30.0)]);
        assert!(table.to_string().contains("| b | duplicate | – | 500 | 40.0 | 30.0 | 31.0 | – |"));
    }
}
