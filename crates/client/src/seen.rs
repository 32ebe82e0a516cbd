//! What was seen of a session, in the end.

use std::time::{Duration, Instant};

use gibbon_control::portal::HandoffInfo;
use gibbon_mdc::{Stats, Verdict};
use gibbon_media::{Catalog, MediaTime, Placement, SessionId};

use crate::{
    journal::Journal,
    latency::Latencies,
    report::{Display, MAX_SPANS, Report, SCHEMA, VerdictSpan},
};

/// A session that was played.
#[derive(Debug)]
pub struct Seen {
    pub(crate) catalog: Catalog,
    pub(crate) session: SessionId,
    pub(crate) placement: Placement,
    pub(crate) started: Instant,
    pub(crate) started_at: MediaTime,
    pub(crate) duration: Duration,
    pub(crate) first_shown: Option<Duration>,
    pub(crate) stats: Stats,
    pub(crate) latencies: Latencies,
    pub(crate) journal: Journal,
}

impl Seen {
    /// When the session started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Adds what only the coordinator knows of hand-offs; those of other sessions are passed over.
    pub fn learn(&mut self, handoffs: &[HandoffInfo]) {
        let ours = handoffs.iter().filter(|handoff| handoff.session == self.session);
        self.journal.learn(&ours.collect::<Vec<_>>(), self.started_at, self.placement);
    }

    /// The report, without what only the player knows: `startup_ms` counts from session start, there is no
    /// service, and nothing was displayed late. With it, all stretches of what was shown.
    pub fn report(self) -> (Report, Vec<VerdictSpan>) {
        let Self { catalog, session, placement, started_at, duration, stats, .. } = self;
        let playout_delay = Duration::from_millis(stats.playout_delay.latest);
        let records = self.journal.finish(duration, playout_delay);
        let report = Report {
            schema: SCHEMA,
            stream: catalog.stream,
            service: None,
            session,
            scheme: catalog.scheme,
            placement,
            session_start_us: started_at.as_micros(),
            duration_ms: duration.as_millis() as u64,
            startup_ms: self.first_shown.map(|at| at.as_millis() as u64),
            playout_delay_ms: stats.playout_delay,
            frames: stats.frames,
            freezes: stats.freezes,
            audio: stats.audio,
            text: stats.text,
            latency_ms: self.latencies.quantiles(),
            bytes: stats.bytes,
            display: Display::default(),
            legs: records.legs,
            handoffs: records.handoffs,
            recoveries: records.recoveries,
            verdicts: impaired(&records.spans),
        };
        (report, records.spans)
    }
}

/// The newest stretches in which the picture was less than whole.
fn impaired(spans: &[VerdictSpan]) -> Vec<VerdictSpan> {
    let mut impaired: Vec<_> = spans
        .iter()
        .rev()
        .filter(|s| s.verdict != Verdict::Central)
        .take(MAX_SPANS)
        .copied()
        .collect();
    impaired.reverse();
    impaired
}
