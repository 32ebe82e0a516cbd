//! Edges and workers that are being emptied: what was ordered, what they report, and how fast they are emptied.
//!
//! The node is the truth. An order marks it at once; from its next report that agrees on, the reports are
//! followed, so that a node that drains by itself (SIGTERM) is treated the same, and a restarted
//! coordinator learns of both.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gibbon_control::{
    node::{Draining, ToNode},
    portal::DrainRequest,
};
use gibbon_media::{MediaTime, NodeId};

/// An order that no report confirms is given again after this.
pub const CONFIRM_WITHIN: Duration = Duration::from_secs(1);
/// How often it is given before the node's reports are believed.
pub const SENDS: u8 = 3;
/// Sessions of one edge, or segments of one worker, that are being moved at once.
pub const AT_ONCE: usize = 512;
/// Bounds of the rate, in sessions per second.
pub const RATES: std::ops::RangeInclusive<f64> = 0.1..=1000.0;
/// Bounds of the deadline, in ms.
pub const DEADLINES: std::ops::RangeInclusive<u64> = 1000..=86_400_000;
/// What may be begun at once after a pause.
const BURST: Duration = Duration::from_millis(250);

/// What a request for a drain says, if it is within bounds.
pub fn requested(request: &DrainRequest) -> Result<Draining, String> {
    let DrainRequest { deadline_ms, rate, stay } = *request;
    if !RATES.contains(&rate) {
        let (least, most) = (RATES.start(), RATES.end());
        return Err(format!("{rate} sessions per second: use a rate from {least} to {most}"));
    }
    if !DEADLINES.contains(&deadline_ms) {
        let [least, most] = [DEADLINES.start(), DEADLINES.end()].map(|ms| ms / 1000);
        return Err(format!("a deadline of {deadline_ms} ms: use {least} s to {most} s"));
    }
    Ok(Draining { within_ms: deadline_ms, rate, stay })
}

/// All nodes that are being emptied.
#[derive(Debug, Default)]
pub struct Drains(BTreeMap<NodeId, Drain>);

#[derive(Debug)]
struct Drain {
    draining: Draining,
    stand: Stand,
    /// Sessions that may be begun to be moved, and when that was reckoned.
    credit: f64,
    reckoned: MediaTime,
}

/// How what is wanted of a node and what it reports agree.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stand {
    /// It was told to drain and has not reported it yet.
    Ordered { sends: u8, at: MediaTime },
    /// It reports it.
    Reported,
    /// It was told to stay and has not reported it yet.
    TakenBack { sends: u8, at: MediaTime },
}

impl Drains {
    /// `node` is to be emptied. Returns what it is to be told.
    pub fn order(&mut self, now: MediaTime, node: &NodeId, draining: Draining) -> ToNode {
        let stand = Stand::Ordered { sends: 1, at: now };
        self.note(now, node, draining, stand);
        ToNode::Drain(draining)
    }

    /// `node` is wanted again. Returns what it is to be told, if it was being emptied.
    pub fn take_back(&mut self, now: MediaTime, node: &NodeId) -> Option<ToNode> {
        let drain = self.0.get_mut(node)?;
        drain.stand = Stand::TakenBack { sends: 1, at: now };
        Some(ToNode::Undrain)
    }

    /// `node` reports whether it wants to be emptied. Returns what it is to be told again.
    pub fn reported(
        &mut self,
        now: MediaTime,
        node: &NodeId,
        report: Option<Draining>,
    ) -> Option<ToNode> {
        let stand = self.0.get(node).map(|drain| drain.stand);
        let in_time = |at: MediaTime| now.since(at) < CONFIRM_WITHIN;
        match (stand, report) {
            (Some(Stand::Ordered { at, .. }), None)
            | (Some(Stand::TakenBack { at, .. }), Some(_))
                if in_time(at) =>
            {
                None
            }
            (Some(Stand::Ordered { sends, .. }), None) if sends < SENDS => {
                let drain = self.0.get_mut(node)?;
                drain.stand = Stand::Ordered { sends: sends + 1, at: now };
                Some(ToNode::Drain(drain.draining))
            }
            (Some(Stand::TakenBack { sends, .. }), Some(_)) if sends < SENDS => {
                self.0.get_mut(node)?.stand = Stand::TakenBack { sends: sends + 1, at: now };
                Some(ToNode::Undrain)
            }
            (_, Some(draining)) => {
                self.note(now, node, draining, Stand::Reported);
                None
            }
            (_, None) => {
                self.0.remove(node);
                None
            }
        }
    }

    /// `node` is gone; should it come back it says itself what it wants.
    pub fn gone(&mut self, node: &NodeId) {
        self.0.remove(node);
    }

    /// How `node` is being emptied, if it is.
    pub fn of(&self, node: &NodeId) -> Option<Draining> {
        let drain = self.0.get(node)?;
        (!matches!(drain.stand, Stand::TakenBack { .. })).then_some(drain.draining)
    }

    /// All nodes that are being emptied.
    pub fn all(&self) -> BTreeSet<NodeId> {
        self.0.keys().filter(|node| self.of(node).is_some()).cloned().collect()
    }

    /// Whether any node is being emptied.
    pub fn any(&self) -> bool {
        self.0.keys().any(|node| self.of(node).is_some())
    }

    /// Whether a session or segment of `node` may be begun to be moved now, `running` of them being moved; if so, it is
    /// reckoned as begun.
    pub fn may_begin(&mut self, now: MediaTime, node: &NodeId, running: usize) -> bool {
        if running >= AT_ONCE || self.of(node).is_none() {
            return false;
        }
        let Some(drain) = self.0.get_mut(node) else { return false };
        let rate = rate_within_bounds(drain.draining.rate);
        let most = 1.0 + rate * BURST.as_secs_f64();
        let earned = rate * now.since(drain.reckoned).as_secs_f64();
        (drain.credit, drain.reckoned) = ((drain.credit + earned).min(most), now);
        let may = drain.credit >= 1.0;
        if may {
            drain.credit -= 1.0;
        }
        may
    }

    fn note(&mut self, now: MediaTime, node: &NodeId, draining: Draining, stand: Stand) {
        let new = Drain { draining, stand, credit: 1.0, reckoned: now };
        let drain = self.0.entry(node.clone()).or_insert(new);
        (drain.draining, drain.stand) = (draining, stand);
    }
}

/// A node may report anything.
fn rate_within_bounds(rate: f64) -> f64 {
    if rate.is_nan() { *RATES.start() } else { rate.clamp(*RATES.start(), *RATES.end()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: MediaTime = MediaTime(1_000_000_000);
    const DRAINING: Draining = Draining { within_ms: 60_000, rate: 20.0, stay: false };

    fn edge() -> NodeId {
        "edge-a".parse().unwrap()
    }

    #[test]
    fn an_order_holds_at_once_and_is_given_again_until_the_edge_agrees() {
        let (mut drains, edge) = (Drains::default(), edge());
        assert!(matches!(drains.order(START, &edge, DRAINING), ToNode::Drain(_)));
        assert_eq!(drains.of(&edge), Some(DRAINING));
        // A report that was under way when the order was given.
        assert!(drains.reported(START, &edge, None).is_none());
        assert!(drains.any());
        let mut now = START;
        for _ in 1..SENDS {
            now = now + CONFIRM_WITHIN;
            assert!(matches!(drains.reported(now, &edge, None), Some(ToNode::Drain(_))));
        }
        assert!(drains.reported(now, &edge, Some(DRAINING)).is_none());
        assert!(drains.any());
        assert!(drains.reported(now, &edge, None).is_none(), "it was taken back at the edge");
        assert!(!drains.any());
    }

    #[test]
    fn an_edge_that_never_agrees_is_believed_in_the_end() {
        let (mut drains, edge, mut now) = (Drains::default(), edge(), START);
        drains.order(now, &edge, DRAINING);
        for _ in 0..SENDS {
            now = now + CONFIRM_WITHIN;
            drains.reported(now, &edge, None);
        }
        assert!(!drains.any());
        drains.reported(now, &edge, Some(DRAINING));
        assert!(matches!(drains.take_back(now, &edge), Some(ToNode::Undrain)));
        assert!(!drains.any(), "at once");
        for _ in 0..SENDS {
            now = now + CONFIRM_WITHIN;
            drains.reported(now, &edge, Some(DRAINING));
        }
        assert!(drains.any());
    }

    #[test]
    fn an_edge_that_drains_by_itself_is_followed() {
        let (mut drains, edge) = (Drains::default(), edge());
        assert!(drains.take_back(START, &edge).is_none());
        drains.reported(START, &edge, Some(DRAINING));
        assert_eq!(drains.of(&edge), Some(DRAINING));
        drains.gone(&edge);
        assert_eq!(drains.of(&edge), None);
    }

    #[test]
    fn sessions_are_begun_at_the_rate_and_a_bounded_number_is_under_way() {
        for (rate, in_ten_seconds) in
            [(20.0, 200..=206), (4.0, 40..=42), (0.5, 5..=6), (f64::NAN, 1..=2)]
        {
            let (mut drains, edge) = (Drains::default(), edge());
            drains.order(START, &edge, Draining { rate, ..DRAINING });
            let ticks = (0..200).map(|n| START + Duration::from_millis(50) * n);
            let begun: usize = ticks
                .map(|now| (0..100).take_while(|_| drains.may_begin(now, &edge, 0)).count())
                .sum();
            assert!(in_ten_seconds.contains(&begun), "{begun} at {rate}/s");
            assert!(!drains.may_begin(START + Duration::from_secs(99), &edge, AT_ONCE));
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_refused_with_the_bounds() {
        let bad = |request: DrainRequest| requested(&request).unwrap_err();
        assert!(bad(DrainRequest { rate: 0.0, ..Default::default() }).contains("from 0.1 to 1000"));
        assert!(bad(DrainRequest { rate: f64::NAN, ..Default::default() }).contains("rate"));
        let short = DrainRequest { deadline_ms: 10, ..Default::default() };
        assert!(bad(short).contains("1 s to 86400 s"));
        assert!(requested(&DrainRequest::default()).is_ok());
    }
}
