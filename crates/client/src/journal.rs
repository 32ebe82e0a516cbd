//! The journal: legs, hand-offs and recoveries of a session as the client sees them, for its report. Pure:
//! times are passed in, as durations since session start.

use std::time::Duration;

use gibbon_control::portal::{HandoffInfo, HandoffOutcome, ProgressInfo};
use gibbon_handoff::{InfoSender, Reason, Source, ToClient, client::Note};
use gibbon_mdc::Verdict;
use gibbon_media::{Description, HandoffId, MediaTime, NodeId, Placement};

use crate::report::{HandoffRecord, HandoffStep, LegRecord, Recovery, VerdictSpan};

/// Records of each kind kept; a session of a day with a hand-off a minute has fewer.
const MAX_RECORDS: usize = 4096;
/// Stretches of one verdict kept.
const MAX_SPANS: usize = 65_536;

/// The cause of a recovery from an edge that asked to be left.
pub const LEAVING: &str = "leaving";

/// What is noted of a session.
#[derive(Debug, Default)]
pub struct Journal {
    legs: Vec<LegRecord>,
    /// Legs told to end but still delivering count on.
    open: Vec<usize>,
    handoffs: Vec<HandoffRecord>,
    recoveries: Vec<Recovery>,
    spans: Vec<VerdictSpan>,
    last_frame: [Option<Duration>; 2],
}

fn ms(d: Duration) -> u64 {
    d.as_millis() as u64
}

impl Journal {
    /// An order to attach begins the crossing of a description; the others tell how a hand-off ends, unless the
    /// coordinator tells it better in the end.
    pub fn order(&mut self, order: &ToClient) {
        match order {
            ToClient::Attach { order, description, from, to, .. } => {
                self.crossing(order.handoff, *description, from, to);
            }
            // All of it is moved and has passed probation.
            ToClient::Finish { order, .. } => self.over(order.handoff, HandoffOutcome::Completed),
            ToClient::Return { order, .. } => self.over(order.handoff, HandoffOutcome::RolledBack),
        }
    }

    fn over(&mut self, id: HandoffId, outcome: HandoffOutcome) {
        if let Some(handoff) = self.handoff(id).filter(|handoff| is_open(handoff)) {
            handoff.outcome = outcome.as_str().into();
        }
    }

    fn crossing(&mut self, id: HandoffId, description: Description, from: &NodeId, to: &NodeId) {
        if self.handoff(id).is_none() && self.handoffs.len() < MAX_RECORDS {
            self.handoffs.push(HandoffRecord {
                id,
                cause: None,
                from: from.clone(),
                to: to.clone(),
                outcome: HandoffOutcome::Running.as_str().into(),
                reason: None,
                selected_ms: None,
                completed_ms: None,
                prefetch_info_from: None,
                steps: Vec::new(),
            });
        }
        if self.step(id, description).is_none()
            && let Some(handoff) = self.handoff(id)
        {
            handoff.steps.push(HandoffStep {
                description,
                prefetch_sent_ms: None,
                fetched_from: None,
                prefetch_ready_ms: None,
                attached_ms: None,
                detached_ms: None,
                duplicate_frames: 0,
            });
        }
    }

    /// The hands have done something.
    pub fn note(&mut self, now: Duration, note: &Note) {
        match note {
            Note::Attached { description, edge, order } => {
                self.leg_began(now, *description, edge);
                if let Some(step) = order.and_then(|order| self.step(order.handoff, *description)) {
                    step.attached_ms.get_or_insert(ms(now));
                }
                self.recovered(now, *description, edge);
            }
            // The leg counts on until its last group has come: see `leg_ended`.
            Note::Detached { .. } => {}
            Note::RolledBack { order, reason, .. } => {
                if let Some(handoff) = self.handoff(order.handoff) {
                    handoff.outcome = HandoffOutcome::RolledBack.as_str().into();
                    handoff.reason = Some(reason_word(*reason));
                }
            }
            Note::Recovering { description, from, cause } => {
                self.end_crossing(*description);
                self.lost(now, *description, from, reason_word(*cause));
            }
            Note::Crossing { description, from, .. } => {
                let open = self.open_recovery(*description);
                if open.is_none_or(|crossing| crossing.from != *from) {
                    self.lost(now, *description, from, LEAVING.into());
                }
            }
            Note::LetGo { .. } | Note::Lost { .. } => {}
        }
    }

    fn leg_began(&mut self, now: Duration, description: Description, edge: &NodeId) {
        if self.legs.len() >= MAX_RECORDS {
            return;
        }
        self.open.push(self.legs.len());
        let (from_ms, to_ms) = (ms(now), ms(now));
        self.legs.push(LegRecord { description, edge: edge.clone(), from_ms, to_ms });
    }

    /// A leg has delivered its last frame, or was cancelled.
    pub fn leg_ended(&mut self, now: Duration, description: Description, edge: &NodeId) {
        let legs = &mut self.legs;
        self.open.retain(|&at| {
            let this = legs[at].description == description && legs[at].edge == *edge;
            if this {
                legs[at].to_ms = ms(now);
            }
            !this
        });
        let step = self.handoffs.iter_mut().rev().filter(|h| h.from == *edge).find_map(|h| {
            h.steps.iter_mut().find(|s| s.description == description && s.attached_ms.is_some())
        });
        if let Some(step) = step {
            step.detached_ms.get_or_insert(ms(now));
        }
    }

    /// A frame of a description came, from a leg that is being attached or not, of which there was a copy
    /// already or not.
    pub fn frame(
        &mut self,
        now: Duration,
        description: Description,
        attaching: bool,
        duplicate: bool,
    ) {
        self.last_frame[description.index()] = Some(now);
        if duplicate {
            let crossing = self
                .handoffs
                .last_mut()
                .and_then(|h| h.steps.iter_mut().find(|s| s.description == description));
            if let Some(step) = crossing {
                step.duplicate_frames += 1;
            }
        }
        if let Some(recovery) = self.open_recovery(description).filter(|_| attaching) {
            recovery.first_frame_ms.get_or_insert(ms(now));
        }
    }

    fn open_recovery(&mut self, description: Description) -> Option<&mut Recovery> {
        let mut newest = self.recoveries.iter_mut().rev();
        newest.find(|r| r.description == description).filter(|r| r.attached_ms.is_none())
    }

    /// A leg that was about to leave an edge is lost, or has stayed: it has not crossed.
    fn end_crossing(&mut self, description: Description) {
        self.recoveries.retain(|r| {
            r.description != description || r.cause != LEAVING || r.attached_ms.is_some()
        });
    }

    fn lost(&mut self, now: Duration, description: Description, from: &NodeId, cause: String) {
        if self.recoveries.len() >= MAX_RECORDS {
            return;
        }
        self.recoveries.push(Recovery {
            description,
            from: from.clone(),
            to: None,
            cause,
            last_frame_ms: self.last_frame[description.index()].map(ms),
            detected_ms: ms(now),
            attached_ms: None,
            first_frame_ms: None,
            side_ms: 0,
            frozen_ms: 0,
        });
    }

    /// An edge delivers a description that was lost.
    pub fn recovered(&mut self, now: Duration, description: Description, edge: &NodeId) {
        if let Some(recovery) = self.open_recovery(description) {
            recovery.to = Some(edge.clone());
            recovery.attached_ms = Some(ms(now));
        }
    }

    /// Legs that were lost and found again without an order.
    pub fn recovered_legs(&self) -> u64 {
        self.recoveries.iter().filter(|recovery| recovery.attached_ms.is_some()).count() as u64
    }

    /// A frame was shown for `length`.
    pub fn shown(&mut self, deadline: Duration, length: Duration, verdict: Verdict) {
        let (from_ms, to_ms) = (ms(deadline), ms(deadline + length));
        let full = self.spans.len() >= MAX_SPANS;
        match self.spans.last_mut() {
            Some(span) if span.verdict == verdict => span.to_ms = to_ms,
            _ if full => {}
            _ => self.spans.push(VerdictSpan { verdict, from_ms, to_ms }),
        }
    }

    /// How long frames of a verdict were shown between two moments.
    fn shown_between(&self, verdict: Verdict, from_ms: u64, to_ms: u64) -> u64 {
        let within =
            |span: &VerdictSpan| span.to_ms.min(to_ms).saturating_sub(span.from_ms.max(from_ms));
        self.spans.iter().filter(|span| span.verdict == verdict).map(within).sum()
    }

    /// What a loss did to the picture shows up to a playout delay after another edge delivers in time, or
    /// until the description is lost again.
    fn weigh_recoveries(&mut self, now: Duration, playout_delay: Duration) {
        let begun = |r: &Recovery| r.last_frame_ms.unwrap_or(r.detected_ms);
        for at in 0..self.recoveries.len() {
            let recovery = &self.recoveries[at];
            let later = &self.recoveries[at + 1..];
            let next = later.iter().find(|r| r.description == recovery.description).map(begun);
            let whole = recovery.attached_ms.map_or(ms(now), |at| at + ms(playout_delay));
            let (from, to) = (begun(recovery), next.map_or(whole, |next| next.min(whole)));
            let side_ms = self.shown_between(Verdict::Side, from, to);
            let frozen_ms = self.shown_between(Verdict::Frozen, from, to);
            let recovery = &mut self.recoveries[at];
            (recovery.side_ms, recovery.frozen_ms) = (side_ms, frozen_ms);
        }
    }

    /// Adds what only the coordinator knows. `started` is session start by the wall clock. A hand-off that it does not
    /// know (any more), as one of before its restart, is not under way: it has ended as its legs say.
    pub fn learn(&mut self, infos: &[&HandoffInfo], started: MediaTime, placement: Placement) {
        let at =
            |progress: &ProgressInfo| MediaTime(progress.at_us).since(started).as_millis() as u64;
        for record in &mut self.handoffs {
            let Some(info) = infos.iter().find(|info| info.handoff == record.id) else {
                if is_open(record) {
                    record.outcome = outcome_of(&record.steps, placement).as_str().into();
                }
                continue;
            };
            let find = |step: &str, description: Option<Description>| {
                info.progress
                    .iter()
                    .find(|p| {
                        p.step == step && (description.is_none() || p.description == description)
                    })
                    .map(at)
            };
            record.cause = Some(info.cause);
            record.outcome = info.outcome.as_str().into();
            record.reason = info.reason.map(reason_word).or(record.reason.take());
            record.selected_ms = find("selected", None);
            record.completed_ms = find(info.outcome.as_str(), None);
            record.prefetch_info_from = Some(match info.prefetch_info {
                InfoSender::Coordinator => "coordinator".into(),
                InfoSender::FirstEdge => info.from.to_string(),
            });
            for step in &mut record.steps {
                let moved = info.moves.iter().find(|m| m.description == step.description);
                step.fetched_from = moved.map(|m| match m.fetch {
                    Source::FirstEdge => m.from.to_string(),
                    Source::Origin => "origin".into(),
                });
                step.prefetch_sent_ms = find("prefetch_sent", Some(step.description));
                step.prefetch_ready_ms = find("ready", Some(step.description));
            }
        }
    }

    /// All of it; what is still open ends now.
    pub fn finish(mut self, now: Duration, playout_delay: Duration) -> Records {
        Description::BOTH.into_iter().for_each(|description| self.end_crossing(description));
        self.weigh_recoveries(now, playout_delay);
        for at in std::mem::take(&mut self.open) {
            self.legs[at].to_ms = ms(now);
        }
        Records {
            legs: self.legs,
            handoffs: self.handoffs,
            recoveries: self.recoveries,
            spans: self.spans,
        }
    }

    fn handoff(&mut self, id: HandoffId) -> Option<&mut HandoffRecord> {
        self.handoffs.iter_mut().find(|handoff| handoff.id == id)
    }

    fn step(&mut self, id: HandoffId, description: Description) -> Option<&mut HandoffStep> {
        self.handoff(id)?.steps.iter_mut().find(|step| step.description == description)
    }
}

fn is_open(handoff: &HandoffRecord) -> bool {
    handoff.outcome == HandoffOutcome::Running.as_str()
}

/// How a hand-off ended that went no further than this. Both descriptions of a session that is placed together are
/// to move; of a diverse one each may move alone.
fn outcome_of(steps: &[HandoffStep], placement: Placement) -> HandoffOutcome {
    let moved = steps.iter().filter(|step| step.attached_ms.is_some()).count();
    let whole = moved == steps.len() && (moved == 2 || placement == Placement::Diverse);
    match moved {
        0 => HandoffOutcome::RolledBack,
        _ if whole => HandoffOutcome::Completed,
        _ => HandoffOutcome::Failed,
    }
}

/// What the journal has in the end.
#[derive(Debug)]
pub struct Records {
    /// For the report.
    pub legs: Vec<LegRecord>,
    /// For the report.
    pub handoffs: Vec<HandoffRecord>,
    /// For the report.
    pub recoveries: Vec<Recovery>,
    /// For the timeline.
    pub spans: Vec<VerdictSpan>,
}

/// The word that JSON has for a reason.
pub fn reason_word(reason: Reason) -> String {
    match serde_json::to_value(reason) {
        Ok(serde_json::Value::String(word)) => word,
        _ => format!("{reason:?}"),
    }
}

#[cfg(test)]
mod tests {
    use gibbon_handoff::{OrderId, Term};
    use gibbon_media::GroupId;

    use super::*;

    const ORDER: OrderId = OrderId { term: Term(1), step: 1, handoff: HandoffId(7) };

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_crossing_is_noted_from_the_order_to_the_last_frame_of_the_old_leg() {
        let (a, b): (NodeId, NodeId) = ("edge-a".parse().unwrap(), "edge-b".parse().unwrap());
        let mut journal = Journal::default();
        let attached = |edge: &NodeId, order| Note::Attached {
            description: Description::One,
            edge: edge.clone(),
            order,
        };
        journal.note(at(10), &attached(&a, None));
        journal.order(&ToClient::Attach {
            order: ORDER,
            description: Description::One,
            from: a.clone(),
            to: b.clone(),
            start: GroupId(3),
        });
        journal.frame(at(990), Description::One, true, true);
        journal.note(at(1000), &attached(&b, Some(ORDER)));
        journal.leg_ended(at(1100), Description::One, &a);
        let records = journal.finish(at(2000), at(1000));
        let step = &records.handoffs[0].steps[0];
        assert_eq!((step.attached_ms, step.detached_ms), (Some(1000), Some(1100)));
        assert_eq!(step.duplicate_frames, 1);
        let spans: Vec<_> =
            records.legs.iter().map(|l| (l.edge.as_str(), l.from_ms, l.to_ms)).collect();
        assert_eq!(spans, [("edge-a", 10, 1100), ("edge-b", 1000, 2000)]);
    }

    /// A hand-off that went this far and of which the coordinator knows nothing, of a session placed so.
    fn forgotten(placement: Placement, attached: usize, ends: Option<ToClient>) -> String {
        let [a, b]: [NodeId; 2] = ["edge-a", "edge-b"].map(|edge| edge.parse().unwrap());
        let mut journal = Journal::default();
        let both = [Description::One, Description::Zero];
        for (n, description) in both.into_iter().take(attached.max(1)).enumerate() {
            let (from, to, start) = (a.clone(), b.clone(), GroupId(3));
            journal.order(&ToClient::Attach { order: ORDER, description, from, to, start });
            if n < attached {
                let (edge, order) = (b.clone(), Some(ORDER));
                journal.note(at(1000), &Note::Attached { description, edge, order });
            }
        }
        ends.into_iter().for_each(|order| journal.order(&order));
        journal.learn(&[], MediaTime(0), placement);
        journal.finish(at(9000), at(1000)).handoffs.remove(0).outcome
    }

    #[test]
    fn a_hand_off_that_the_coordinator_has_forgotten_ended_as_the_client_saw_it() {
        use Placement::{Diverse, Together};
        let edge = || "edge-a".parse().unwrap();
        let finish = || Some(ToClient::Finish { order: ORDER, edge: edge() });
        let description = Description::One;
        let back = || Some(ToClient::Return { order: ORDER, description, to: edge() });
        for (placement, attached, ends, outcome) in [
            (Together, 2, finish(), "completed"),
            (Diverse, 1, finish(), "completed"),
            (Together, 1, back(), "rolled_back"),
            (Together, 2, None, "completed"),
            (Diverse, 1, None, "completed"),
            (Together, 1, None, "failed"),
            (Together, 0, None, "rolled_back"),
        ] {
            let ended = forgotten(placement, attached, ends.clone());
            assert_eq!(ended, outcome, "{placement:?}, {attached} attached, {ends:?}");
        }
    }

    #[test]
    fn a_hand_off_of_which_the_coordinator_was_not_asked_is_as_the_client_was_told() {
        let [from, to]: [NodeId; 2] = ["edge-a", "edge-b"].map(|edge| edge.parse().unwrap());
        let (description, start) = (Description::One, GroupId(3));
        let attach = ToClient::Attach { order: ORDER, description, from, to: to.clone(), start };
        for (orders, outcome) in [
            (vec![attach.clone()], "running"),
            (vec![attach, ToClient::Finish { order: ORDER, edge: to }], "completed"),
        ] {
            let mut journal = Journal::default();
            orders.iter().for_each(|order| journal.order(order));
            assert_eq!(journal.finish(at(2000), at(1000)).handoffs[0].outcome, outcome);
        }
    }

    #[test]
    fn a_loss_is_noted_until_another_edge_delivers() {
        let (a, b): (NodeId, NodeId) = ("edge-a".parse().unwrap(), "edge-b".parse().unwrap());
        let mut journal = Journal::default();
        journal.frame(at(900), Description::Zero, false, false);
        journal.note(
            at(1000),
            &Note::Recovering { description: Description::Zero, from: a, cause: Reason::Closed },
        );
        journal.shown(at(1000), at(40), Verdict::Side);
        journal.frame(at(1050), Description::Zero, true, false);
        journal.note(
            at(1060),
            &Note::Attached { description: Description::Zero, edge: b, order: None },
        );
        journal.shown(at(1040), at(40), Verdict::Side);
        let recovery = &journal.finish(at(2000), at(1000)).recoveries[0];
        assert_eq!(recovery.cause, "closed");
        assert_eq!((recovery.last_frame_ms, recovery.first_frame_ms), (Some(900), Some(1050)));
        assert_eq!((recovery.attached_ms, recovery.side_ms), (Some(1060), 80));
    }

    #[test]
    fn losses_close_together_each_count_what_was_seen_of_them() {
        let edges = ["edge-a", "edge-b", "edge-c"].map(|edge| edge.parse::<NodeId>().unwrap());
        let [a, b, c] = &edges;
        let (zero, mut journal) = (Description::Zero, Journal::default());
        for (lost, from, cause, to) in [(1000, a, Reason::Starved, b), (1500, b, Reason::Closed, c)]
        {
            journal.frame(at(lost - 200), zero, false, false);
            let from = from.clone();
            journal.note(at(lost), &Note::Recovering { description: zero, from, cause });
            // What still comes from the old leg is not the new one's.
            journal.frame(at(lost + 10), zero, false, false);
            journal.frame(at(lost + 50), zero, true, false);
            let attached = Note::Attached { description: zero, edge: to.clone(), order: None };
            journal.note(at(lost + 60), &attached);
        }
        for frame in 0..20 {
            journal.shown(at(1000 + frame * 40), at(40), Verdict::Side);
        }
        let recoveries = journal.finish(at(4000), at(1000)).recoveries;
        let times = |r: &Recovery| (r.last_frame_ms, r.detected_ms, r.first_frame_ms, r.side_ms);
        let seen: Vec<_> = recoveries.iter().map(times).collect();
        assert_eq!(seen, [(Some(800), 1000, Some(1050), 300), (Some(1300), 1500, Some(1550), 500)]);
    }

    #[test]
    fn a_description_found_again_by_an_order_has_recovered() {
        let (a, b): (NodeId, NodeId) = ("edge-a".parse().unwrap(), "edge-b".parse().unwrap());
        let (description, mut journal) = (Description::One, Journal::default());
        let cause = Reason::Closed;
        journal.note(at(1000), &Note::Recovering { description, from: a.clone(), cause });
        journal.note(at(1200), &Note::Lost { description });
        let (from, to, start) = (a, b.clone(), GroupId(3));
        journal.order(&ToClient::Attach { order: ORDER, description, from, to, start });
        let attached = Note::Attached { description, edge: b.clone(), order: Some(ORDER) };
        journal.note(at(3000), &attached);
        let records = journal.finish(at(9000), at(1000));
        assert_eq!(records.recoveries[0].to, Some(b));
        assert_eq!(records.recoveries[0].attached_ms, Some(3000));
        assert_eq!(records.handoffs[0].steps[0].attached_ms, Some(3000));
    }

    #[test]
    fn leaving_an_edge_is_noted_once_it_has_come_about() {
        let (a, b): (NodeId, NodeId) = ("edge-a".parse().unwrap(), "edge-b".parse().unwrap());
        let mut journal = Journal::default();
        for description in Description::BOTH {
            let crossing = Note::Crossing { description, from: a.clone(), to: b.clone() };
            journal.note(at(1000), &crossing);
            journal.note(at(2000), &crossing);
        }
        let (description, order) = (Description::One, None);
        journal.note(at(2500), &Note::Attached { description, edge: b, order });
        let recoveries = journal.finish(at(9000), at(1000)).recoveries;
        let [crossed] = &recoveries[..] else { panic!("{recoveries:?}") };
        assert_eq!((crossed.cause.as_str(), crossed.detected_ms), ("leaving", 1000));
        assert_eq!((crossed.attached_ms, crossed.side_ms), (Some(2500), 0));
    }
}
