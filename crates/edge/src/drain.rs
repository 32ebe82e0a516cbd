//! Emptying this edge: by order of the coordinator or by SIGTERM. The coordinator hands the sessions off;
//! where it does not, clients are asked to go by themselves.

use std::{collections::HashMap, sync::Arc, time::Duration};

use gibbon_control::{
    drain::{End, Order},
    node::{Draining, FromNode},
    session::ToViewer,
};
use gibbon_media::SessionId;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use crate::edge::Edge;

/// How often it is looked how far the drain has come.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// If no leg leaves for this long, clients are asked to go: whoever should move them does not.
const STUCK_AFTER: Duration = Duration::from_secs(3);
/// A client that is still here is asked again after this.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

// === the decision ===

/// How far a drain has come.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// Legs that are left.
    legs: usize,
    /// Subscriptions of other edges that are left.
    downstreams: u32,
    /// Whether its time is over.
    over: bool,
    /// Whether the coordinator is there to move sessions.
    coordinator: bool,
    /// For how long no leg has left.
    still: Duration,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The coordinator moves the sessions.
    Wait,
    /// The clients are to go by themselves.
    AskToGo,
    /// Nothing is left.
    Empty,
    /// What is left is cut.
    Cut,
}

fn step(progress: Progress) -> Step {
    match progress {
        Progress { legs: 0, downstreams: 0, .. } => Step::Empty,
        Progress { over: true, .. } => Step::Cut,
        Progress { legs: 0, .. } => Step::Wait,
        Progress { coordinator: false, .. } => Step::AskToGo,
        Progress { still, .. } if still >= STUCK_AFTER => Step::AskToGo,
        _ => Step::Wait,
    }
}

/// Whom to ask to go and when: new ones at a bounded rate, and each again until it is gone.
#[derive(Debug)]
struct Calls {
    rate: f64,
    allowance: f64,
    looked: Instant,
    asked: HashMap<SessionId, Instant>,
}

impl Calls {
    /// From `now` on, at `rate` new ones per second.
    fn new(rate: f64, now: Instant) -> Self {
        // The first is asked at once.
        Self { rate, allowance: 1.0, looked: now, asked: HashMap::new() }
    }

    /// Those to ask now, of the sessions that are `here`.
    fn due(&mut self, here: &[SessionId], now: Instant) -> Vec<SessionId> {
        let earned = self.rate * (now - self.looked).as_secs_f64();
        self.allowance = (self.allowance + earned).min(self.rate.max(1.0));
        self.looked = now;
        let mut due = Vec::new();
        let asked = std::mem::take(&mut self.asked);
        for session in here {
            let before = asked.get(session).copied();
            let at = match before {
                Some(at) if now - at < ASK_AGAIN_AFTER => at,
                None if self.allowance < 1.0 => continue,
                _ => {
                    self.allowance -= if before.is_none() { 1.0 } else { 0.0 };
                    due.push(*session);
                    now
                }
            };
            self.asked.insert(*session, at);
        }
        due
    }
}

// === the task ===

/// Empties this edge when that is wanted, until the process is to end. `connected` says whether the coordinator is
/// there; `by_signal` and `signals` as in
/// [`Drain::run`](gibbon_control::drain::Drain::run).
pub async fn run(
    edge: Arc<Edge>,
    by_signal: Draining,
    signals: mpsc::Receiver<()>,
    connected: watch::Receiver<bool>,
) -> End {
    let carry_out = async |order| carry_out(&edge, order, &connected).await;
    edge.drain.run(by_signal, signals, carry_out).await
}

/// Reports, and carries `order` out if there is one; returns when the process is to end.
async fn carry_out(edge: &Edge, order: Option<Order>, connected: &watch::Receiver<bool>) -> End {
    edge.coordinator.tell(FromNode::Report(edge.report()));
    let Some(order) = order else { return std::future::pending().await };
    let mut look = tokio::time::interval(LOOK_EVERY);
    let (mut departed, mut left_at) = (edge.sessions.departed(), Instant::now());
    let (mut calls, mut emptied) = (None, false);
    loop {
        let now = look.tick().await;
        if std::mem::replace(&mut departed, edge.sessions.departed()) != departed {
            left_at = now;
        }
        let legs = edge.sessions.legs();
        let step = step(Progress {
            legs: legs.len(),
            downstreams: edge.downstreams.count(),
            over: now >= order.ends,
            // Once asked to go, clients are asked on: their going is no sign of the coordinator.
            coordinator: *connected.borrow() && calls.is_none(),
            still: now.saturating_duration_since(left_at),
        });
        match step {
            Step::Wait => {}
            Step::AskToGo => {
                let calls = calls.get_or_insert_with(|| Calls::new(order.given.rate, now));
                let mut here: Vec<_> = legs.iter().map(|(session, _)| *session).collect();
                here.dedup();
                let within_ms = order.ends.saturating_duration_since(now).as_millis() as u64;
                for session in calls.due(&here, now) {
                    edge.sessions.tell(session, ToViewer::GoAway { within_ms });
                }
            }
            Step::Empty => {
                if !std::mem::replace(&mut emptied, true) {
                    tracing::info!("empty");
                    edge.sessions.close(false);
                }
                if !order.stays() {
                    tracing::info!("drained");
                    return End::Drained;
                }
            }
            Step::Cut if order.stays() => {
                cut(edge);
                edge.sessions.close(true);
            }
            Step::Cut => return cut(edge),
        }
    }
}

fn cut(edge: &Edge) -> End {
    for (session, description) in edge.sessions.legs() {
        tracing::warn!(%session, %description, "leg cut at the deadline");
    }
    let downstreams = edge.downstreams.count();
    if downstreams > 0 {
        tracing::warn!(downstreams, "subscriptions of other edges cut at the deadline");
    }
    End::Cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_depends_on_what_is_left_who_moves_it_and_the_time() {
        let (soon, stuck) = (Duration::from_secs(1), STUCK_AFTER);
        for (legs, downstreams, over, coordinator, still, expected) in [
            (0, 0, false, true, soon, Step::Empty),
            (0, 0, false, false, stuck, Step::Empty),
            (0, 0, true, true, stuck, Step::Empty),
            (0, 1, false, false, stuck, Step::Wait),
            (0, 1, true, true, soon, Step::Cut),
            (2, 0, false, true, soon, Step::Wait),
            (2, 1, false, true, stuck, Step::AskToGo),
            (2, 0, false, false, soon, Step::AskToGo),
            (1, 0, true, true, soon, Step::Cut),
            (1, 0, true, false, soon, Step::Cut),
        ] {
            let progress = Progress { legs, downstreams, over, coordinator, still };
            assert_eq!(step(progress), expected, "{progress:?}");
        }
    }

    #[test]
    fn clients_are_asked_in_turn_at_the_rate_and_again_each_second_until_they_are_gone() {
        let here: Vec<_> = (0..10).map(SessionId).collect();
        let start = Instant::now();
        let mut calls = Calls::new(5.0, start);
        let mut asked: HashMap<SessionId, Vec<u128>> = HashMap::new();
        for tick in 0..100 {
            let now = start + tick * LOOK_EVERY;
            // The first leaves after 1.5 s.
            let here = if now - start < Duration::from_millis(1500) { &here } else { &here[1..] };
            for session in calls.due(here, now) {
                asked.entry(session).or_default().push((now - start).as_millis());
            }
        }
        assert_eq!(asked[&SessionId(0)], [0, 1000]);
        for (n, session) in here.iter().enumerate().skip(1) {
            let times = &asked[session];
            let turn = n as u128 * 200;
            assert!(times[0].abs_diff(turn) <= 50, "{n}: {times:?}");
            assert!(times.is_sorted_by(|a, b| (1000..=1050).contains(&(b - a))), "{n}: {times:?}");
            assert_eq!(times.len() as u128, (4950 - times[0]) / 1000 + 1, "{n}: {times:?}");
        }
    }
}
