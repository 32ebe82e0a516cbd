//! What viewers saw, by the clock on the wall: so that it can be held against what happened.

use gibbon_control::report::{Report, VerdictSpan};
use gibbon_mdc::Verdict;
use serde::Serialize;

/// From when until when, in µs since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Span {
    /// The beginning.
    pub from_us: u64,
    /// The end.
    pub to_us: u64,
}

impl Span {
    /// How long, in ms.
    pub fn ms(self) -> u64 {
        self.to_us.saturating_sub(self.from_us) / 1000
    }

    /// The part of it that lies within another; none if there is none.
    pub fn within(self, other: Span) -> Option<Span> {
        let from_us = self.from_us.max(other.from_us);
        let to_us = self.to_us.min(other.to_us);
        (from_us < to_us).then_some(Span { from_us, to_us })
    }
}

/// A position of a report, by the clock on the wall, in µs since the epoch.
pub fn on_the_wall(report: &Report, position_ms: u64) -> u64 {
    report.session_start_us + position_ms * 1000
}

/// When a viewer saw frames of this verdict. Stretches that touch are one.
pub fn seen(report: &Report, verdict: Verdict) -> Vec<Span> {
    let wall = |span: &VerdictSpan| Span {
        from_us: on_the_wall(report, span.from_ms),
        to_us: on_the_wall(report, span.to_ms),
    };
    let mut spans: Vec<Span> = Vec::new();
    for span in report.verdicts.iter().filter(|span| span.verdict == verdict).map(wall) {
        match spans.last_mut() {
            Some(last) if span.from_us <= last.to_us => last.to_us = last.to_us.max(span.to_us),
            _ => spans.push(span),
        }
    }
    spans
}

/// The parts of spans that lie within a window.
pub fn within(spans: &[Span], window: Span) -> Vec<Span> {
    spans.iter().filter_map(|span| span.within(window)).collect()
}

/// The longest of some spans, in ms; 0 if there is none.
pub fn longest(spans: &[Span]) -> u64 {
    spans.iter().map(|span| span.ms()).max().unwrap_or(0)
}

/// How long some spans are together, in ms.
pub fn total(spans: &[Span]) -> u64 {
    spans.iter().map(|span| span.ms()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from_us: u64, to_us: u64) -> Span {
        Span { from_us, to_us }
    }

    #[test]
    fn spans_are_cut_to_the_window_and_measured() {
        let spans = [span(1_000, 5_000), span(8_000, 20_000), span(30_000, 31_000)];
        let inside = within(&spans, span(3_000, 10_000));
        assert_eq!(inside, [span(3_000, 5_000), span(8_000, 10_000)]);
        assert_eq!((total(&inside), longest(&spans)), (4, 12));
        assert!(within(&spans, span(5_000, 8_000)).is_empty());
    }
}
