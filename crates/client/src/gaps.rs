//! What hand-offs cost the viewer, for the coordinator. Pure: times are passed in, as durations since session start.

use std::{collections::VecDeque, time::Duration};

use gibbon_control::viewing::{HandoffGap, MAX_GAPS, ViewerGap};
use gibbon_handoff::FromClient;
use gibbon_mdc::{Shown, Verdict};
use gibbon_media::HandoffId;

/// Stretches of side or frozen frames that are remembered.
const MAX_STRETCHES: usize = 512;
/// A hand-off that has settled is told of for this long: the coordinator may be away for a moment.
const TOLD_FOR: Duration = Duration::from_secs(10);

/// The latest hand-offs, and what was not shown in full.
#[derive(Debug, Default)]
pub struct Gaps {
    handoffs: VecDeque<Known>,
    stretches: VecDeque<Stretch>,
    answer: Option<FromClient>,
    /// Whether the session is over: nothing more will be shown.
    over: bool,
}

#[derive(Debug)]
struct Known {
    handoff: HandoffId,
    selected: Duration,
    /// When something of it was last told or answered.
    touched: Duration,
}

/// Side or frozen frames in a row.
#[derive(Debug)]
struct Stretch {
    verdict: Verdict,
    from: Duration,
    to: Duration,
}

impl Gaps {
    /// An order of `handoff` has come, which had been `under_way` before.
    pub fn touched(&mut self, now: Duration, handoff: HandoffId, under_way: Duration) {
        match self.handoffs.iter_mut().find(|known| known.handoff == handoff) {
            Some(known) => known.touched = now,
            None => {
                if self.handoffs.len() == MAX_GAPS {
                    self.handoffs.pop_front();
                }
                let selected = now.saturating_sub(under_way);
                self.handoffs.push_back(Known { handoff, selected, touched: now });
            }
        }
    }

    /// How the hands answer the newest order.
    pub fn answered(&mut self, now: Duration, answer: &FromClient) {
        if self.answer.as_ref() != Some(answer) {
            self.answer = Some(answer.clone());
            self.touched(now, answer.order().handoff, Duration::ZERO);
        }
    }

    /// A frame was shown for `length`.
    pub fn shown(&mut self, shown: Shown, length: Duration) {
        let Shown { deadline: from, verdict, side_chosen, .. } = shown;
        if verdict == Verdict::Central || side_chosen {
            return;
        }
        let to = from + length;
        // Deadlines are whole frames apart, to a rounding.
        let goes_on = |last: &&mut Stretch| last.verdict == verdict && from < last.to + length / 2;
        match self.stretches.back_mut().filter(goes_on) {
            Some(last) => last.to = to,
            None => {
                if self.stretches.len() == MAX_STRETCHES {
                    self.stretches.pop_front();
                }
                self.stretches.push_back(Stretch { verdict, from, to });
            }
        }
    }

    /// The session ends.
    pub fn close(&mut self) {
        self.over = true;
    }

    /// What the hand-offs of late have cost. What one does to the picture shows up to a playout delay later.
    pub fn list(&self, now: Duration, playout_delay: Duration) -> Vec<HandoffGap> {
        let of_late = |known: &&Known| now < known.touched + playout_delay + TOLD_FOR;
        let tell = |known: &Known| {
            let ends = known.touched + playout_delay;
            let gap = self.between(known.selected, ends);
            HandoffGap { handoff: known.handoff, gap, settled: self.over || now >= ends }
        };
        self.handoffs.iter().filter(of_late).map(tell).collect()
    }

    fn between(&self, from: Duration, to: Duration) -> ViewerGap {
        let lasted = |verdict| {
            let of_it = self.stretches.iter().filter(move |stretch| stretch.verdict == verdict);
            of_it.map(|stretch| stretch.to.min(to).saturating_sub(stretch.from.max(from)))
        };
        let ms = |length: Duration| length.as_millis() as u64;
        ViewerGap {
            side_ms: ms(lasted(Verdict::Side).sum()),
            frozen_ms: ms(lasted(Verdict::Frozen).sum()),
            longest_ms: ms(lasted(Verdict::Frozen).max().unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use gibbon_handoff::{OrderId, Term};
    use gibbon_media::{Description, FrameNumber, MediaTime};

    use super::*;

    const FRAME: Duration = Duration::from_millis(40);
    const DELAY: Duration = Duration::from_millis(1000);

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn show(gaps: &mut Gaps, from_ms: u64, frames: u64, verdict: Verdict, side_chosen: bool) {
        for n in 0..frames {
            let deadline = at(from_ms) + FRAME * n as u32;
            let (number, time) = (FrameNumber(n), MediaTime(0));
            let shown = Shown { number, time, deadline, verdict, side_chosen, source: None };
            gaps.shown(shown, FRAME);
        }
    }

    fn gap(side_ms: u64, frozen_ms: u64, longest_ms: u64) -> ViewerGap {
        ViewerGap { side_ms, frozen_ms, longest_ms }
    }

    #[test]
    fn a_hand_off_costs_what_is_shown_from_its_selection_to_a_playout_delay_after_its_last_word() {
        let mut gaps = Gaps::default();
        let handoff = HandoffId(7);
        show(&mut gaps, 1000, 10, Verdict::Frozen, false);
        show(&mut gaps, 3000, 5, Verdict::Side, false);
        show(&mut gaps, 3200, 5, Verdict::Side, true);
        gaps.touched(at(3500), handoff, at(600));
        show(&mut gaps, 3600, 2, Verdict::Frozen, false);
        show(&mut gaps, 3800, 3, Verdict::Frozen, false);
        let expected = HandoffGap { handoff, gap: gap(200, 200, 120), settled: false };
        assert_eq!(gaps.list(at(4000), DELAY), [expected]);
        let order = OrderId { term: Term(1), step: 1, handoff };
        let held = FromClient::Held { order, description: Description::One };
        gaps.answered(at(4000), &held);
        show(&mut gaps, 4980, 10, Verdict::Side, false);
        gaps.answered(at(5400), &held);
        let expected = HandoffGap { handoff, gap: gap(220, 200, 120), settled: true };
        assert_eq!(gaps.list(at(5400), DELAY), [expected]);
        assert_eq!(gaps.list(at(4000) + DELAY + TOLD_FOR, DELAY), []);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut gaps = Gaps::default();
        for n in 0..2000 {
            gaps.touched(at(n), HandoffId(n), Duration::ZERO);
            show(&mut gaps, n * 1000, 1, Verdict::Side, false);
        }
        assert_eq!(gaps.stretches.len(), MAX_STRETCHES);
        let known: Vec<_> = gaps.list(at(2000), DELAY).iter().map(|gap| gap.handoff.0).collect();
        assert_eq!(known, [1996, 1997, 1998, 1999]);
    }
}
