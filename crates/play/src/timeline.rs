//! The session as a picture: a lane for each description, coloured by the edge that delivered it, with
//! hand-offs and recoveries marked above and across, and a lane of what the viewer saw.
//!
//! Where two edges deliver a description at once, they share the height of its lane: the crossing looks
//! like a step. A frame that was not central is never thinner than `MIN_SEEN` pixels, however long the
//! session was.

mod canvas;
mod marks;
#[cfg(test)]
mod tests;

use std::path::Path;

use gibbon_mdc::Verdict;
use gibbon_media::{Description, NodeId};
use plotters::style::RGBColor;

use crate::report::{LegRecord, Report, VerdictSpan};
use canvas::{Align, Canvas, Image, Type, paint};

const SIZE: (u32, u32) = (1600, 520);
const MARGIN: f64 = 36.0;
/// Session start and end.
const LEFT: f64 = 176.0;
const RIGHT: f64 = 1600.0 - MARGIN;
/// Upper edges of the lanes, and their heights.
const LANES: [f64; 2] = [236.0, 312.0];
const LANE: f64 = 64.0;
const SEEN: f64 = 400.0;
const SEEN_HEIGHT: f64 = 44.0;
/// Side and frozen stand out of their lane, so that colour is not all that tells them.
const STAND_OUT: f64 = 6.0;
/// Least width of a stretch that was not central.
const MIN_SEEN: f64 = 2.0;
const AXIS: f64 = SEEN + SEEN_HEIGHT + STAND_OUT + 4.0;
/// Most figures on the time axis.
const MAX_TICKS: u64 = 12;

const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);
const INK: RGBColor = RGBColor(0x1b, 0x24, 0x30);
const GREY: RGBColor = RGBColor(0x5d, 0x6b, 0x7a);
const GRID: RGBColor = RGBColor(0xd9, 0xdf, 0xe6);
const EMPTY: RGBColor = RGBColor(0xf0, 0xf3, 0xf6);
const ALARM: RGBColor = RGBColor(0xa3, 0x1d, 0x2b);
const WARNING: RGBColor = RGBColor(0x9a, 0x5b, 0x00);
/// For edges in order of appearance; apart for the colour-blind (after Okabe and Ito, and Tol), and apart
/// from the colours of verdicts.
const EDGES: [RGBColor; 6] = [
    RGBColor(0x1f, 0x6f, 0xb4),
    RGBColor(0x8d, 0x3f, 0x86),
    RGBColor(0x6f, 0xbd, 0xe8),
    RGBColor(0x4a, 0x55, 0x63),
    RGBColor(0xd8, 0x93, 0xbd),
    RGBColor(0x2b, 0x2d, 0x76),
];

/// Lettering.
const TITLE: Type = Type { em: 30.0, bold: true, colour: INK };
const FIGURES: Type = Type { em: 22.0, bold: true, colour: INK };
const LANE_NAME: Type = Type { em: 19.0, bold: false, colour: INK };
const EDGE_NAME: Type = Type { em: 20.0, bold: true, colour: PAPER };
const SMALL: Type = Type { em: 18.0, bold: false, colour: GREY };

/// Draws the session of `report`, with `verdicts` in its third lane, into `file` (a PNG).
pub fn draw(report: &Report, verdicts: &[VerdictSpan], file: &Path) -> anyhow::Result<()> {
    picture(report, verdicts)?.save(file)
}

fn picture(report: &Report, verdicts: &[VerdictSpan]) -> anyhow::Result<Image> {
    paint(SIZE, PAPER, |canvas| {
        let timeline = Timeline::new(canvas, report);
        let marks = timeline.marks()?;
        timeline.header()?;
        timeline.axis()?;
        timeline.below(&marks)?;
        for description in Description::BOTH {
            timeline.lane(description)?;
        }
        timeline.seen(verdicts)?;
        timeline.above(&marks)
    })
}

fn seen_colour(verdict: Verdict) -> RGBColor {
    match verdict {
        Verdict::Central => RGBColor(0x5c, 0xb8, 0x8f),
        Verdict::Side => RGBColor(0xf0, 0xa8, 0x1c),
        Verdict::Frozen => RGBColor(0xb0, 0x1e, 0x2e),
    }
}

/// 230 → `230 ms`, 3210 → `3.2 s`.
pub(crate) fn duration(ms: u64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { format!("{:.1} s", ms as f64 / 1000.0) }
}

struct Timeline<'a, 'c> {
    canvas: &'a Canvas<'c>,
    report: &'a Report,
    duration_ms: u64,
    /// In order of appearance.
    edges: Vec<&'a NodeId>,
}

impl<'a, 'c> Timeline<'a, 'c> {
    fn new(canvas: &'a Canvas<'c>, report: &'a Report) -> Self {
        let mut legs: Vec<_> = report.legs.iter().collect();
        legs.sort_by_key(|leg| (leg.from_ms, leg.description));
        let mut edges: Vec<&NodeId> = Vec::new();
        for leg in legs {
            if !edges.contains(&&leg.edge) {
                edges.push(&leg.edge);
            }
        }
        Self { canvas, report, duration_ms: report.duration_ms.max(1), edges }
    }

    fn x(&self, ms: u64) -> f64 {
        let share = ms.min(self.duration_ms) as f64 / self.duration_ms as f64;
        LEFT + share * (RIGHT - LEFT)
    }

    fn edge_colour(&self, edge: &NodeId) -> RGBColor {
        let place = self.edges.iter().position(|e| *e == edge).unwrap_or_default();
        EDGES[place % EDGES.len()]
    }

    fn header(&self) -> anyhow::Result<()> {
        let counts = self.counts(50.0)?;
        let stream = self.fit(self.report.stream.as_str(), counts - MARGIN - 40.0, TITLE)?;
        self.canvas.text(&stream, (MARGIN, 50.0), Align::Left, TITLE)?;
        let scheme = self.report.scheme;
        let (session, length) = (self.report.session, duration(self.report.duration_ms));
        let details = format!("session {session}  ·  {scheme}  ·  {length}");
        self.canvas.text(&details, (MARGIN, 82.0), Align::Left, SMALL)?;
        self.edge_legend(82.0, MARGIN + self.canvas.width(&details, SMALL)? + 40.0)
    }

    /// The counts, which are the legend of the third lane as well. Says where they begin.
    fn counts(&self, y: f64) -> anyhow::Result<f64> {
        let frames = &self.report.frames;
        let mut x = RIGHT;
        for (count, word, verdict) in [
            (frames.frozen, "frozen", Verdict::Frozen),
            (frames.side, "side", Verdict::Side),
            (frames.central, "central", Verdict::Central),
        ] {
            let text = format!("{count} {word}");
            self.canvas.text(&text, (x, y), Align::Right, FIGURES)?;
            x -= self.canvas.width(&text, FIGURES)? + 9.0;
            self.swatch((x, y - 8.0), 16.0, seen_colour(verdict))?;
            x -= 16.0 + 30.0;
        }
        Ok(x)
    }

    /// As many edges as have room right of `from`.
    fn edge_legend(&self, y: f64, from: f64) -> anyhow::Result<()> {
        let widths: Vec<f64> = self
            .edges
            .iter()
            .map(|edge| {
                self.canvas.width(edge.as_str(), SMALL).map(|width| width + 14.0 + 7.0 + 24.0)
            })
            .collect::<anyhow::Result<_>>()?;
        let mut shown = widths.len();
        while widths[..shown].iter().sum::<f64>() > RIGHT - from {
            shown -= 1;
        }
        let mut x = RIGHT;
        for (edge, width) in self.edges.iter().zip(&widths).take(shown).rev() {
            self.canvas.text(edge.as_str(), (x, y), Align::Right, SMALL)?;
            self.swatch((x - (width - 24.0 - 14.0), y - 6.5), 14.0, self.edge_colour(edge))?;
            x -= width;
        }
        Ok(())
    }

    /// A square that ends at, and is centred on, a point.
    fn swatch(&self, (x, y): (f64, f64), size: f64, colour: RGBColor) -> anyhow::Result<()> {
        self.canvas.rect((x - size, y - size / 2.0), (x, y + size / 2.0), colour)
    }

    fn axis(&self) -> anyhow::Result<()> {
        let steps = (0..).flat_map(|power| [1, 2, 5].map(|n| n * 1000 * 10u64.pow(power)));
        let step = steps.into_iter().find(|step| self.duration_ms / step <= MAX_TICKS);
        let step = step.unwrap_or(self.duration_ms);
        for ms in (0..=self.duration_ms).step_by(step as usize) {
            let x = self.x(ms);
            self.canvas.rect((x - 0.5, LANES[0] - 8.0), (x + 0.5, AXIS + 7.0), GRID)?;
            let text = format!("{} s", ms / 1000);
            self.canvas.text(&text, (x, AXIS + 28.0), Align::Middle, SMALL)?;
        }
        Ok(())
    }

    fn lane(&self, description: Description) -> anyhow::Result<()> {
        let top = LANES[description.index()];
        self.lane_name(&format!("description {description}"), top + LANE / 2.0)?;
        self.canvas.rect((LEFT, top), (RIGHT, top + LANE), EMPTY)?;
        let mut legs: Vec<&LegRecord> =
            self.report.legs.iter().filter(|leg| leg.description == description).collect();
        legs.sort_by_key(|leg| leg.from_ms);
        // Where each leg has the lane to itself for longest: there goes its edge's name.
        let mut longest = vec![(0.0, 0.0); legs.len()];
        for (from, to, here) in stretches(&legs) {
            let (from, to) = (self.x(from), self.x(to));
            let height = LANE / here.len() as f64;
            for (row, &leg) in here.iter().enumerate() {
                let top = top + row as f64 * height;
                let colour = self.edge_colour(&legs[leg].edge);
                self.canvas.rect((from, top), (to, top + height), colour)?;
                if here.len() == 1 && to - from > longest[leg].1 - longest[leg].0 {
                    longest[leg] = (from, to);
                }
            }
        }
        for (leg, (from, to)) in legs.iter().zip(longest) {
            let how = Type { colour: on(self.edge_colour(&leg.edge)), ..EDGE_NAME };
            if self.canvas.width(leg.edge.as_str(), how)? + 24.0 <= to - from {
                let at = (from + 14.0, top + LANE / 2.0 + 7.0);
                self.canvas.text(leg.edge.as_str(), at, Align::Left, how)?;
            }
        }
        Ok(())
    }

    fn seen(&self, verdicts: &[VerdictSpan]) -> anyhow::Result<()> {
        self.lane_name("viewer saw", SEEN + SEEN_HEIGHT / 2.0)?;
        self.canvas.rect((LEFT, SEEN), (RIGHT, SEEN + SEEN_HEIGHT), EMPTY)?;
        // The worse lie on top: a frame widened to be seen hides nothing worse.
        for (verdict, out) in
            [(Verdict::Central, 0.0), (Verdict::Side, STAND_OUT), (Verdict::Frozen, STAND_OUT)]
        {
            for seen in verdicts.iter().filter(|seen| seen.verdict == verdict) {
                let (mut from, mut to) = (self.x(seen.from_ms), self.x(seen.to_ms));
                if verdict != Verdict::Central {
                    from = from.min(RIGHT - MIN_SEEN).floor();
                    to = to.ceil().max(from + MIN_SEEN);
                }
                let (from, to) = ((from, SEEN - out), (to, SEEN + SEEN_HEIGHT + out));
                self.canvas.rect(from, to, seen_colour(verdict))?;
            }
        }
        Ok(())
    }

    fn lane_name(&self, name: &str, middle: f64) -> anyhow::Result<()> {
        self.canvas.text(name, (LEFT - 18.0, middle + 6.5), Align::Right, LANE_NAME)
    }

    /// The text, or as much of it as goes into `width` pixels.
    fn fit(&self, text: &str, width: f64, how: Type) -> anyhow::Result<String> {
        let mut cut = text.to_owned();
        while self.canvas.width(&cut, how)? > width && cut.chars().count() > 1 {
            cut = cut.trim_end_matches('…').to_owned();
            cut.pop();
            cut.push('…');
        }
        Ok(cut)
    }
}

/// The stretches of time in which the same legs deliver: from, to, and which of `legs`, the oldest first.
fn stretches(legs: &[&LegRecord]) -> Vec<(u64, u64, Vec<usize>)> {
    let mut edges: Vec<u64> = legs.iter().flat_map(|leg| [leg.from_ms, leg.to_ms]).collect();
    edges.sort_unstable();
    edges.dedup();
    edges
        .windows(2)
        .map(|w| {
            let here = |&i: &usize| legs[i].from_ms <= w[0] && legs[i].to_ms >= w[1];
            (w[0], w[1], (0..legs.len()).filter(here).collect())
        })
        .filter(|(_, _, here): &(_, _, Vec<usize>)| !here.is_empty())
        .collect()
}

/// The colour of letters on a ground: by relative luminance, as in WCAG 2.1.
fn on(RGBColor(r, g, b): RGBColor) -> RGBColor {
    let linear = |c: u8| (f64::from(c) / 255.0).powf(2.2);
    if 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b) > 0.3 { INK } else { PAPER }
}
