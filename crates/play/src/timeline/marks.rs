//! Hand-offs and recoveries, marked above and across the lanes.

use gibbon_client::LEAVING;
use gibbon_media::Description;
use plotters::style::RGBColor;

use super::{
    ALARM, Align, GREY, INK, LANE, LANES, LEFT, PAPER, RIGHT, SEEN, SEEN_HEIGHT, SMALL, Timeline,
    Type, WARNING, duration,
};
use crate::report::{HandoffRecord, Recovery};

/// Baseline of what a hand-off is called, the bracket under it, and baselines of labels beside lines.
const HEAD: f64 = 124.0;
const BRACKET: f64 = 135.0;
const LABELS: [f64; 3] = [161.0, 186.0, 211.0];
/// From a label's baseline up to where its line may begin.
const ASCENT: f64 = 17.0;
/// Between a label and its line, and between it and the next one's line.
const GAP: f64 = 7.0;
/// Bands and lines reach down to here.
const FOOT: f64 = SEEN + SEEN_HEIGHT + 8.0;
/// Recoveries from one edge to another this close together are one event.
const SAME_LOSS_MS: u64 = 1000;
const BAND: RGBColor = RGBColor(0xe7, 0xec, 0xf4);

/// A vertical line with a label.
pub(super) struct Mark {
    ms: u64,
    kind: Kind,
    text: String,
    colour: RGBColor,
    /// Where the label stands; none if there is no room or nothing to say.
    label: Option<(f64, usize)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The second edge of a hand-off was selected.
    Selected,
    /// An edge began to deliver a description.
    Attached(Description),
    /// A hand-off was over.
    Over,
    /// A description was found lost.
    Lost(Description),
}

impl Timeline<'_, '_> {
    /// All marks, their labels placed as far as there is room: those of a hand-off all or none, but for
    /// its outcome, which its head tells as well.
    pub(super) fn marks(&self) -> anyhow::Result<Vec<Mark>> {
        let handoffs = self.report.handoffs.iter().map(handoff_marks);
        let losses = (0..self.report.recoveries.len()).map(|at| vec![self.lost_mark(at)]);
        let mut groups: Vec<Vec<Mark>> = handoffs.chain(losses).collect();
        groups.sort_by_key(|marks| marks.first().map(|mark| mark.ms));
        let mut rows = [LEFT; LABELS.len()];
        for marks in &mut groups {
            let mut tried = rows;
            for mark in marks.iter_mut().filter(|mark| !mark.text.is_empty()) {
                mark.label = self.place(mark, &mut tried)?;
            }
            if marks.iter().all(|mark| mark.label.is_some() || mark.kind == Kind::Over) {
                rows = tried;
            } else {
                marks.iter_mut().for_each(|mark| mark.label = None);
            }
        }
        Ok(groups.into_iter().flatten().collect())
    }

    /// The highest row from which the line of a label crosses no other label on its way down, if there
    /// is any. `rows` are filled from the left: how far each is taken.
    fn place(&self, mark: &Mark, rows: &mut [f64]) -> anyhow::Result<Option<(f64, usize)>> {
        let width = self.canvas.width(&mark.text, SMALL)?;
        let line = self.x(mark.ms);
        let beyond = line + GAP + width > RIGHT;
        let from = if beyond { line - GAP - width } else { line + GAP };
        let free = rows.iter().rev().take_while(|taken| **taken <= from.min(line)).count();
        if free == 0 {
            return Ok(None);
        }
        let row = rows.len() - free;
        rows[row] = from.max(line) + width + GAP;
        Ok(Some((from, row)))
    }

    fn lost_mark(&self, at: usize) -> Mark {
        let recovery = &self.report.recoveries[at];
        Mark {
            ms: recovery.detected_ms,
            kind: Kind::Lost(recovery.description),
            text: self.lost_text(at),
            colour: if recovery.cause == LEAVING { WARNING } else { ALARM },
            label: None,
        }
    }

    /// `edge-a lost (starved) → edge-b in 230 ms`; empty if an earlier one tells of the same loss.
    fn lost_text(&self, at: usize) -> String {
        let all = &self.report.recoveries;
        let same = |other: &&Recovery| {
            (&other.from, &other.to) == (&all[at].from, &all[at].to)
                && other.detected_ms.abs_diff(all[at].detected_ms) < SAME_LOSS_MS
        };
        if all[..at].iter().any(|other| same(&other)) {
            return String::new();
        }
        let Recovery { from, to, cause, .. } = &all[at];
        let without = |r: &Recovery| {
            Some(r.attached_ms?.saturating_sub(r.last_frame_ms.unwrap_or(r.detected_ms)))
        };
        let lost = match cause.as_str() {
            LEAVING => format!("{from} left"),
            cause => format!("{from} lost ({cause})"),
        };
        match (to, all.iter().filter(same).filter_map(without).max()) {
            (Some(to), Some(ms)) => format!("{lost} → {to} in {}", duration(ms)),
            _ => format!("{lost}, nobody took over"),
        }
    }

    /// What lies behind the lanes: the extent of each hand-off, and where it begins and ends.
    pub(super) fn below(&self, marks: &[Mark]) -> anyhow::Result<()> {
        for (from, to) in self.report.handoffs.iter().filter_map(|h| self.extent(h)) {
            self.canvas.rect((self.x(from), BRACKET), (self.x(to), FOOT), BAND)?;
        }
        for mark in marks {
            match mark.kind {
                Kind::Selected => self.dashes(mark, FOOT)?,
                Kind::Over => self.line(mark.ms, mark.top(), FOOT, mark.colour)?,
                Kind::Attached(_) | Kind::Lost(_) => {}
            }
        }
        Ok(())
    }

    /// What lies on top of the lanes.
    pub(super) fn above(&self, marks: &[Mark]) -> anyhow::Result<()> {
        let extents: Vec<_> =
            self.report.handoffs.iter().filter_map(|h| Some((h, self.extent(h)?))).collect();
        let mut taken = LEFT;
        for (n, (handoff, extent)) in extents.iter().enumerate() {
            let next = extents.get(n + 1).map_or(RIGHT, |(_, (from, _))| self.x(*from) - 2.0 * GAP);
            taken = self.head(handoff, *extent, (taken, next))?;
        }
        for recovery in &self.report.recoveries {
            self.rails(recovery)?;
        }
        for mark in marks {
            match mark.kind {
                Kind::Attached(description) => self.attached(mark, description)?,
                Kind::Lost(description) => self.lost(mark, description)?,
                Kind::Selected | Kind::Over => {}
            }
            if let Some((x, row)) = mark.label {
                let how = Type { colour: mark.colour, ..SMALL };
                self.canvas.text(&mark.text, (x, LABELS[row]), Align::Left, how)?;
            }
        }
        if marks.is_empty() {
            self.canvas.text("no hand-off", (LEFT, LABELS[2]), Align::Left, SMALL)?;
        }
        Ok(())
    }

    /// From the first that is known of a hand-off to the last.
    fn extent(&self, handoff: &HandoffRecord) -> Option<(u64, u64)> {
        let steps = handoff.steps.iter();
        let known =
            steps.flat_map(|s| [s.prefetch_sent_ms, s.attached_ms, s.detached_ms]).flatten();
        let known = known.chain(handoff.selected_ms).chain(handoff.completed_ms);
        let (from, to) = known.fold(None, |range, ms| match range {
            None => Some((ms, ms)),
            Some((from, to)) => Some((ms.min(from), ms.max(to))),
        })?;
        Some((from, if handoff.outcome == "running" { to.max(self.duration_ms) } else { to }))
    }

    /// A bracket over the hand-off, and over the bracket what has room between `taken` and `next`:
    /// `edge-a → edge-b  completed in 3.2 s`, `edge-a → edge-b`, `→ edge-b`, or nothing. Says up to where
    /// it is taken now.
    fn head(
        &self,
        handoff: &HandoffRecord,
        (from_ms, to_ms): (u64, u64),
        (taken, next): (f64, f64),
    ) -> anyhow::Result<f64> {
        let (from, to) = (self.x(from_ms), self.x(to_ms));
        let colour = outcome_colour(&handoff.outcome);
        self.canvas.rect((from - 1.0, BRACKET), (to + 1.0, BRACKET + 3.0), colour)?;

        let bold = Type { bold: true, colour: INK, ..SMALL };
        let plain = Type { colour, ..SMALL };
        let edges = format!("{} → {}", handoff.from, handoff.to);
        let result = result(handoff, to_ms - from_ms);
        for (edges, result) in
            [(&edges, result.as_str()), (&edges, ""), (&format!("→ {}", handoff.to), "")]
        {
            let first = self.canvas.width(edges, bold)? + 10.0;
            let width = first + self.canvas.width(result, plain)?;
            // The last one may begin before its bracket.
            let x = if next == RIGHT { from.min(RIGHT - width) } else { from };
            if taken <= x && x + width <= next {
                self.canvas.text(edges, (x, HEAD), Align::Left, bold)?;
                self.canvas.text(result, (x + first, HEAD), Align::Left, plain)?;
                return Ok(x + width);
            }
        }
        Ok(taken)
    }

    /// A line down to the lane in which the edge begins to deliver, and a dot where it does.
    fn attached(&self, mark: &Mark, description: Description) -> anyhow::Result<()> {
        let middle = LANES[description.index()] + LANE / 2.0;
        self.line(mark.ms, mark.top(), middle, mark.colour)?;
        for (radius, colour) in [(7.5, PAPER), (5.0, mark.colour)] {
            self.canvas.disc((self.x(mark.ms), middle), radius, colour)?;
        }
        Ok(())
    }

    /// A dashed line down to the lane that lost its edge, and a diamond where that was noticed.
    fn lost(&self, mark: &Mark, description: Description) -> anyhow::Result<()> {
        let (x, middle) = (self.x(mark.ms), LANES[description.index()] + LANE / 2.0);
        self.dashes(mark, middle)?;
        for (size, colour) in [(12.0, PAPER), (8.5, mark.colour)] {
            let corners =
                [(x - size, middle), (x, middle - size), (x + size, middle), (x, middle + size)];
            self.canvas.polygon(&corners, colour)?;
        }
        Ok(())
    }

    /// Rails along the lane from the last frame of the old edge until the new one is in time.
    fn rails(&self, recovery: &Recovery) -> anyhow::Result<()> {
        let top = LANES[recovery.description.index()];
        let from = self.x(recovery.last_frame_ms.unwrap_or(recovery.detected_ms));
        let to = self.x(recovery.attached_ms.unwrap_or(self.duration_ms)).max(from + 2.0);
        for rail in [top, top + LANE - 4.0] {
            self.canvas.rect((from, rail), (to, rail + 4.0), ALARM)?;
        }
        Ok(())
    }

    fn line(&self, ms: u64, top: f64, bottom: f64, colour: RGBColor) -> anyhow::Result<()> {
        let x = self.x(ms);
        self.canvas.rect((x - 1.0, top), (x + 1.0, bottom), colour)
    }

    fn dashes(&self, mark: &Mark, bottom: f64) -> anyhow::Result<()> {
        // In step, wherever they begin: dashes of two marks at one time coincide.
        let mut y = (mark.top() / 10.0).floor() * 10.0;
        while y < bottom {
            self.line(mark.ms, y.max(mark.top()), (y + 6.0).min(bottom), mark.colour)?;
            y += 10.0;
        }
        Ok(())
    }
}

impl Mark {
    /// Where its line begins.
    fn top(&self) -> f64 {
        match (self.label, self.kind) {
            (Some((_, 0)), Kind::Lost(_)) => LABELS[0] - ASCENT,
            // Up to the bracket.
            (Some((_, 0)), _) => BRACKET,
            (Some((_, row)), _) => LABELS[row] - ASCENT,
            (None, _) => LANES[0] - ASCENT,
        }
    }
}

/// Selected, attached, over: as far as they are known.
fn handoff_marks(handoff: &HandoffRecord) -> Vec<Mark> {
    let mark = |ms, kind, text, colour| Mark { ms, kind, text, colour, label: None };
    let selected =
        handoff.selected_ms.map(|ms| mark(ms, Kind::Selected, "selected".to_owned(), INK));
    let attached = handoff.steps.iter().filter_map(|step| {
        let text = format!("{} attached", step.description);
        Some(mark(step.attached_ms?, Kind::Attached(step.description), text, INK))
    });
    let over = handoff.completed_ms.map(|ms| {
        let text = handoff.outcome.replace('_', " ");
        mark(ms, Kind::Over, text, outcome_colour(&handoff.outcome))
    });
    selected.into_iter().chain(attached).chain(over).collect()
}

fn outcome_colour(outcome: &str) -> RGBColor {
    match outcome {
        "completed" => INK,
        "rolled_back" => WARNING,
        "failed" => ALARM,
        _ => GREY,
    }
}

fn result(handoff: &HandoffRecord, took_ms: u64) -> String {
    let reason = handoff.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    match handoff.outcome.as_str() {
        "completed" => format!("completed in {}", duration(took_ms)),
        "running" => "under way".into(),
        outcome => format!("{outcome}{reason}").replace('_', " "),
    }
}
