//! Sessions of this process: real ones, of `gibbon-client`, that do not decode. Each is a viewer of its own, with
//! a socket of its own and a ticket from the portal.
//!
//! ```text
//!  invite ─▶ ticket ─▶ engine ── frames, verdicts, happenings ─▶ seat ─┬─▶ counts
//!                                                                      └─▶ delays ◀── direct: the same frames,
//!  end ─────────────▶ report                                                          straight from the source
//! ```
//!
//! One stream is followed straight from its source. Some of those who watch it are probes: they share a thread with the
//! direct subscription alone, so that the time an edge adds to a frame is not mixed with the time that this process
//! takes for a thousand others.

mod counts;
mod delays;
mod direct;
mod seat;
mod ticket;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context;
use gibbon_client::{Engine, Played, Seen, Settings};
use gibbon_control::{
    client::Portal,
    portal::{SessionRequest, SessionTicket},
    report::Report,
};
use gibbon_media::{SessionId, StreamName};
use gibbon_net::{Endpoint, Viewers, close};
use hdrhistogram::Histogram;
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use tokio::{
    runtime::{Builder, Runtime},
    sync::{Semaphore, oneshot, watch},
    task::{AbortHandle, JoinSet},
};

pub use counts::{Count, Counts};
use delays::Delays;
use direct::Direct;
pub use direct::Source;
use seat::Seat;

use crate::lock;

/// One in so many of all sessions is a probe …
const PROBE_EVERY: usize = 16;
/// … but no more than one in so many of those who watch the same: their frames come at the same moment, and wait for
/// each other.
const MIN_PROBE_EVERY: usize = 4;
/// Requests to the portal at once.
const MAX_ASKING: usize = 16;
/// Sessions that have not ended this long after they were told to are given up.
const END_WITHIN: Duration = Duration::from_secs(15);

/// What sessions need.
#[derive(Debug)]
pub struct Options {
    /// Where tickets come from.
    pub portal: Portal,
    /// The network's authority.
    pub authority: CertificateDer<'static>,
    /// How each is played.
    pub settings: Settings,
    /// Threads for all but the probes, at least one.
    pub threads: usize,
    /// How much these give way to others on this machine, as of nice(1).
    pub nice: u8,
    /// The stream that probes watch, for what edges add to its delay; a synthetic one.
    pub source: Option<Source>,
    /// How many streams are watched, by turns.
    pub streams: usize,
}

/// Sessions that watch until they are told to end. Not to be used or dropped within a tokio runtime: it has its
/// own.
#[derive(Debug)]
pub struct Audience {
    shared: Arc<Shared>,
    crowd: Runtime,
    probes: Runtime,
    invitations: Mutex<Vec<AbortHandle>>,
    invited: Mutex<u32>,
}

#[derive(Debug)]
struct Shared {
    portal: Portal,
    viewers: Viewers,
    settings: Settings,
    asking: Semaphore,
    counts: Arc<Counts>,
    delays: Arc<Delays>,
    /// What probes compare with, and which sessions of its stream are probes: one in so many.
    direct: Option<Arc<Direct>>,
    probe_every: u32,
    visits: Mutex<JoinSet<Visit>>,
    guests: Mutex<Vec<Guest>>,
    over: watch::Sender<bool>,
}

/// A session under way.
#[derive(Debug)]
struct Guest {
    session: SessionId,
    endpoint: Endpoint,
    /// Ends it, when dropped or used.
    _leave: oneshot::Sender<()>,
    /// How often its address has changed.
    moved: u32,
}

/// A session that is over.
#[derive(Debug)]
pub struct Visit {
    /// Which, if the portal granted one.
    pub session: Option<SessionId>,
    /// What was seen, if anything came.
    pub report: Option<Report>,
    /// Why it ended, if not as told.
    pub failure: Option<Failure>,
    seen: Option<Seen>,
}

/// Why a session could not be had, or ended before its time.
#[derive(Debug)]
pub struct Failure {
    /// Which kind.
    pub kind: FailureKind,
    /// For people.
    pub why: String,
}

/// Kinds of failures.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The portal granted no session.
    NotGranted,
    /// This process could not open a socket.
    NoSocket,
    /// Nothing came.
    NothingPlayed,
    /// It played until no edge could be had any more.
    EdgesLost,
    /// It did not end when it was told to.
    DidNotEnd,
}

impl Failure {
    fn new(kind: FailureKind, why: impl std::fmt::Display) -> Self {
        Self { kind, why: why.to_string() }
    }
}

/// What there is in the end.
#[derive(Debug)]
pub struct Ended {
    /// All sessions.
    pub visits: Vec<Visit>,
    /// Counts of all together.
    pub count: Count,
    /// From when a frame was to be sent until it was there, in µs.
    pub latency: Histogram<u64>,
    /// How much later it was there than straight from the source, in µs: what the edges add.
    pub edge_delay: Histogram<u64>,
}

fn runtime(name: &str, threads: usize, nice: u8) -> anyhow::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads).thread_name(name).enable_all();
    // Of the calling thread, on Linux. Whoever may do nothing else may still give way.
    builder.on_thread_start(move || _ = rustix::process::nice(nice.into()));
    builder.build().with_context(|| format!("cannot start {threads} threads"))
}

impl Audience {
    /// Nobody yet.
    pub fn new(options: Options) -> anyhow::Result<Self> {
        let threads = options.threads.max(1);
        let (crowd, probes) =
            (runtime("sessions", threads, options.nice)?, runtime("probes", 1, 0)?);
        let direct = options.source.map(|source| Direct::follow(&probes, source)).transpose()?;
        let shared = Arc::new(Shared {
            portal: options.portal,
            viewers: Viewers::new(options.authority)?,
            settings: options.settings,
            asking: Semaphore::new(MAX_ASKING),
            counts: Arc::default(),
            delays: Arc::new(Delays::new(threads)?),
            direct,
            probe_every: (PROBE_EVERY / options.streams.max(1)).max(MIN_PROBE_EVERY) as u32,
            visits: Mutex::default(),
            guests: Mutex::default(),
            over: watch::Sender::new(false),
        });
        let (invitations, invited) = (Mutex::default(), Mutex::default());
        Ok(Self { shared, crowd, probes, invitations, invited })
    }

    /// So many more sessions come, so many each second. Returns at once.
    pub fn invite(&self, request: SessionRequest, sessions: u32, per_second: f64) {
        let shared = self.shared.clone();
        let first = {
            let mut invited = lock(&self.invited);
            let first = *invited;
            *invited += sessions;
            first
        };
        let (crowd, probes) = (self.crowd.handle().clone(), self.probes.handle().clone());
        let arrivals = self.crowd.spawn(async move {
            let begun = tokio::time::Instant::now();
            for n in 0..sessions {
                let after = Duration::try_from_secs_f64(f64::from(n) / per_second);
                tokio::time::sleep_until(begun + after.unwrap_or_default()).await;
                let number = first + n;
                let probe = shared.probe(number, &request.stream);
                let runtime = if probe.is_some() { &probes } else { &crowd };
                let visit = shared.clone().visit(number, probe, request.clone());
                lock(&shared.visits).spawn_on(visit, runtime);
            }
        });
        lock(&self.invitations).push(arrivals.abort_handle());
    }

    /// How things stand.
    pub fn count(&self) -> Count {
        self.shared.counts.count()
    }

    /// Forgets the delays measured so far.
    pub fn reset_delays(&self) {
        self.shared.delays.reset();
    }

    /// Latencies measured so far: from the intended time of sending, in µs.
    pub fn latency(&self) -> Histogram<u64> {
        self.shared.delays.latency()
    }

    /// Sessions under way.
    pub fn sessions(&self) -> Vec<SessionId> {
        lock(&self.shared.guests).iter().map(|guest| guest.session).collect()
    }

    /// The address of so many sessions changes under their connections, of those first for whom it has changed
    /// least.
    pub fn change_addresses(&self, sessions: usize) -> anyhow::Result<()> {
        let _context = self.crowd.enter();
        let mut guests = lock(&self.shared.guests);
        guests.sort_by_key(|guest| guest.moved);
        for guest in guests.iter_mut().take(sessions) {
            guest.endpoint.change_port().context("cannot open another socket")?;
            guest.moved += 1;
        }
        Ok(())
    }

    /// So many sessions leave, those that came last first.
    pub fn dismiss(&self, sessions: usize) {
        let mut guests = lock(&self.shared.guests);
        let stay = guests.len().saturating_sub(sessions);
        guests.truncate(stay);
    }

    /// Ends all sessions and waits for them.
    pub fn end(self) -> Ended {
        lock(&self.invitations).drain(..).for_each(|arrivals| arrivals.abort());
        self.shared.over.send_replace(true);
        let mut visits = std::mem::take(&mut *lock(&self.shared.visits));
        let mut visits = self.crowd.block_on(async {
            let mut ended = Vec::new();
            let all = async {
                while let Some(visit) = visits.join_next().await {
                    ended.extend(visit.ok());
                }
            };
            let _ = tokio::time::timeout(END_WITHIN, all).await;
            ended
        });
        self.conclude(&mut visits);
        let (latency, edge_delay) = (self.shared.delays.latency(), self.shared.delays.added());
        let count = self.shared.counts.count();
        self.probes.shutdown_background();
        self.crowd.shutdown_background();
        Ended { visits, count, latency, edge_delay }
    }

    /// Makes the reports, with what the coordinator tells of hand-offs. Where it is gone, they have the clients'.
    fn conclude(&self, visits: &mut Vec<Visit>) {
        let handoffs = self.shared.portal.handoffs();
        if let Err(error) = &handoffs {
            tracing::warn!(%error, "the portal does not tell of the hand-offs");
        }
        for visit in visits.iter_mut() {
            if let Some(mut seen) = visit.seen.take() {
                handoffs.iter().for_each(|handoffs| seen.learn(handoffs));
                visit.report = Some(seen.report().0);
            }
        }
        for guest in lock(&self.shared.guests).drain(..) {
            if !visits.iter().any(|visit| visit.session == Some(guest.session)) {
                let why = format!("it goes on {END_WITHIN:?} after it was told to end");
                let failure = Failure::new(FailureKind::DidNotEnd, why);
                visits.push(Visit::failed(Some(guest.session), failure));
            }
        }
    }
}

impl Visit {
    fn failed(session: Option<SessionId>, failure: Failure) -> Self {
        Self { session, report: None, failure: Some(failure), seen: None }
    }

    fn over(session: SessionId, played: anyhow::Result<Played<Seat>>) -> Self {
        let (seen, why) = match played {
            Ok(Played { seen, failure, .. }) => (seen, failure),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        let kind = match &seen {
            Some(_) => FailureKind::EdgesLost,
            None => FailureKind::NothingPlayed,
        };
        let why = match &seen {
            None => why.or_else(|| Some("it was told to end before anything came".into())),
            Some(_) => why,
        };
        let failure = why.map(|why| Failure::new(kind, why));
        Self { session: Some(session), report: None, failure, seen }
    }
}

impl Shared {
    /// What session `number` compares its delays with, if it is a probe.
    fn probe(&self, number: u32, stream: &StreamName) -> Option<Arc<Direct>> {
        let followed = self.direct.as_ref().filter(|direct| direct.stream() == stream);
        followed.filter(|_| number.is_multiple_of(self.probe_every)).cloned()
    }

    /// One session, from the request for its ticket to its end.
    async fn visit(
        self: Arc<Self>,
        number: u32,
        probe: Option<Arc<Direct>>,
        request: SessionRequest,
    ) -> Visit {
        self.counts.asked();
        let mut over = self.over.subscribe();
        let ticket = tokio::select! {
            ticket = ticket::ask(&self.portal, &self.asking, &request) => ticket,
            _ = over.wait_for(|over| *over) => Err(anyhow::anyhow!("it was told to end before")),
        };
        let visit = match ticket {
            Ok(ticket) => {
                let seat =
                    Seat::new(self.counts.clone(), self.delays.clone(), number as usize, probe);
                self.watch(seat, request, ticket, over).await
            }
            Err(error) => {
                let failure = Failure::new(FailureKind::NotGranted, format!("{error:#}"));
                Visit::failed(None, failure)
            }
        };
        if let Some(Failure { kind, why }) = &visit.failure {
            self.counts.failed();
            tracing::warn!(session = ?visit.session, ?kind, why, "a session failed");
        }
        visit
    }

    async fn watch(
        &self,
        seat: Seat,
        request: SessionRequest,
        ticket: SessionTicket,
        mut over: watch::Receiver<bool>,
    ) -> Visit {
        let session = ticket.session;
        let endpoint = match self.viewers.open() {
            Ok(endpoint) => endpoint,
            Err(error) => {
                let failure = Failure::new(FailureKind::NoSocket, error);
                return Visit::failed(Some(session), failure);
            }
        };
        let (leave, left) = oneshot::channel();
        let guest = Guest { session, endpoint: endpoint.clone(), _leave: leave, moved: 0 };
        lock(&self.guests).push(guest);
        let settings = self.settings.clone();
        let engine = Engine::new(endpoint.clone(), request.stream, ticket, settings, seat);
        let played = engine
            .play(async {
                tokio::select! {
                    _ = left => {}
                    _ = over.wait_for(|over| *over) => {}
                }
            })
            .await;
        endpoint.close(close::DONE, "the session is over").await;
        lock(&self.guests).retain(|guest| guest.session != session);
        Visit::over(session, played)
    }
}
