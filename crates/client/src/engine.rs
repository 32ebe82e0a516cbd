//! The engine: the one place where a session's parts meet. Network events go to the merger and the hands,
//! what the hands want goes to the network, what is due goes to the stage.
//!
//! What the hands want is carried out in `engine/legs.rs`; how the legs are doing is looked at, and what
//! follows from it, in `engine/watching.rs`; doing without a description, in `engine/idle.rs`.

mod idle;
mod legs;
mod trace;
mod watching;

use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gibbon_control::{
    node::NodeAddress,
    portal::SessionTicket,
    process,
    session::{Order, ToViewer},
};
use gibbon_handoff::{
    OrderId, ToClient,
    client::{Event as HandEvent, Hands},
    timers::ClientTimer,
};
use gibbon_mdc::{Admission, ChainKey, Due, Sound};
use gibbon_media::{
    Description, Frame, GroupHeader, GroupId, MediaTime, Medium, NodeId, Placement, SessionId,
    StreamName,
};
use gibbon_net::{
    Endpoint,
    wire::{Accepted, MAX_FRAME, RejectCode},
};
use tokio::sync::mpsc;
use tracing::Span;

use crate::{
    edges::{Edges, Event, Failure, LegId},
    gaps::Gaps,
    happening::Happening,
    journal::Journal,
    motion::Traveller,
    playing::Playing,
    seen::Seen,
    settings::Settings,
    spare::Spare,
    stage::{Arrival, Snapshot, Stage},
};
use idle::{Idle, Without};
use legs::Leg;
use watching::Watching;

/// Legs are judged this often: a silence of 150 ms is to be found without much ado.
const TICK: Duration = Duration::from_millis(20);
/// The coordinator is told of the legs at every change, and this often in case it was away.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// At the start of a session an edge may have to fetch the stream from afar: the first legs get longer.
const FIRST_LEGS_WITHIN: Duration = Duration::from_secs(6);
/// Edges remembered, the standbys of the grant among them.
const MAX_KNOWN: usize = 8;
/// Events taken at once before deadlines are looked at again.
const MAX_BATCH: usize = 256;

/// A session being played.
pub struct Engine<S> {
    settings: Settings,
    started: Instant,
    /// The same by the wall clock.
    started_at: MediaTime,
    edges: Edges,
    events: mpsc::Receiver<Event>,
    hands: Hands,
    timers: HashMap<ClientTimer, Duration>,
    legs: BTreeMap<(Description, NodeId), Leg>,
    /// Legs that are on probation after an order.
    probation: [bool; 2],
    newest_order: Option<OrderId>,
    /// The grant's, best first.
    standbys: Vec<NodeId>,
    /// These, and edges that were named before.
    known: Vec<NodeId>,
    /// The idle connection, where there is to be one.
    spare: Option<Spare>,
    watching: Watching,
    /// Where we are, if that is to be told.
    traveller: Option<Traveller>,
    idle: Idle,
    /// Edges that want to be left, and when they said so last.
    leaving: BTreeMap<NodeId, Duration>,
    tick_at: Duration,
    report_at: Duration,
    playing: Option<Playing>,
    journal: Journal,
    gaps: Gaps,
    /// What is being done with each description by an order, as spans of the hand-off's trace.
    crossing: [Option<Span>; 2],
    stage: S,
    stream: StreamName,
    session: SessionId,
    placement: Placement,
}

/// What is left of a session.
#[derive(Debug)]
pub struct Played<S> {
    /// What was seen; none if nothing was accepted.
    pub seen: Option<Seen>,
    /// What it was played on.
    pub stage: S,
    /// Why it ended, if not as asked.
    pub failure: Option<String>,
}

impl<S: Stage> Engine<S> {
    /// Begins a session, now: connects to the edges of the ticket over `endpoint`, which others may use as
    /// well, and plays on `stage`.
    pub fn new(
        endpoint: Endpoint,
        stream: StreamName,
        ticket: SessionTicket,
        settings: Settings,
        stage: S,
    ) -> Self {
        let (started, started_at) = (Instant::now(), process::now());
        let (edges, events) = Edges::new(endpoint, stream.clone(), ticket.grant.clone(), started);
        for node in ticket.edges.iter().chain(&ticket.standbys) {
            edges.learn(&node.id, node.address);
        }
        let standbys: Vec<_> = ticket.standbys.iter().map(|node| node.id.clone()).collect();
        let served_by = ticket.edges.clone().map(|node| node.id);
        let (hands, actions) = Hands::new(served_by.clone(), standbys.clone());
        let keeps_spare = settings.spare && ticket.placement == Placement::Together;
        let traveller = settings.journey.clone().map(Traveller::new);
        let mut engine = Self {
            settings,
            started,
            started_at,
            edges,
            events,
            hands,
            timers: HashMap::new(),
            legs: BTreeMap::new(),
            probation: [false; 2],
            newest_order: None,
            known: standbys.iter().chain(&served_by).cloned().collect(),
            standbys,
            spare: keeps_spare.then(Spare::default),
            watching: Watching::default(),
            traveller,
            idle: Idle::default(),
            leaving: BTreeMap::new(),
            tick_at: Duration::ZERO,
            report_at: Duration::ZERO,
            playing: None,
            journal: Journal::default(),
            gaps: Gaps::default(),
            crossing: [None, None],
            stage,
            stream,
            session: ticket.session,
            placement: ticket.placement,
        };
        engine.carry_out(actions);
        engine
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Plays until the duration is over, `stop` is done, or no edge could be had for too long.
    pub async fn play(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<Played<S>> {
        tokio::pin!(stop);
        let sleep = tokio::time::sleep_until(self.started.into());
        tokio::pin!(sleep);
        let failure = loop {
            let wake = (self.started + self.next_deadline()).into();
            if sleep.deadline() != wake {
                sleep.as_mut().reset(wake);
            }
            tokio::select! {
                event = self.events.recv() => {
                    if let Some(event) = event {
                        self.network(event)?;
                    }
                }
                () = &mut sleep => {}
                () = &mut stop => break None,
            }
            // What has arrived goes in before it is judged, and before what is due goes out.
            self.network_waiting()?;
            if self.now() >= self.tick_at {
                self.tick();
                self.tick_at = self.now() + TICK;
            }
            self.fire_timers();
            self.show_due();
            if let Some(playing) = &mut self.playing {
                self.stage.prepare(&mut playing.merger);
            }
            if let Some(why) = self.has_given_up() {
                break Some(why);
            }
            if self.is_over() || self.stage.is_deserted() {
                break None;
            }
        };
        self.finish(failure).await
    }

    fn is_over(&self) -> bool {
        let Some(duration) = self.settings.duration else { return false };
        // Counted from the first frame, so that every run of a duration has the same number of frames.
        match &self.playing {
            Some(playing) => playing.played(self.now()) >= duration,
            None => self.now() >= duration + FIRST_LEGS_WITHIN,
        }
    }

    fn next_deadline(&self) -> Duration {
        // Where nobody watches, what is due is looked at with the next tick, at the latest.
        let watched = self.playing.as_ref().filter(|_| self.stage.wants_media());
        let due = watched.and_then(|playing| playing.merger.next_deadline());
        let timers = self.timers.values().copied();
        due.into_iter().chain(timers).fold(self.tick_at, Duration::min)
    }

    // --- from the network ---

    fn network_waiting(&mut self) -> anyhow::Result<()> {
        for _ in 0..MAX_BATCH {
            match self.events.try_recv() {
                Ok(event) => self.network(event)?,
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn network(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Said { edge, said } => self.said(edge, *said),
            Event::Accepted { leg, accepted, at } => self.accepted(&leg, *accepted, at)?,
            Event::Rejected { leg, why } => self.rejected(&leg, why),
            Event::Ended { leg } => {
                let ordered = self.legs.get(&key(&leg)).is_some_and(|l| l.id == leg && l.ending);
                if self.forget(&leg) && !ordered {
                    let LegId { description, edge, .. } = leg;
                    self.tell_hands(HandEvent::Rejected { description, edge });
                }
            }
            Event::Closed { edge, connection, why } => {
                if self.edges.is_current(&edge, connection) {
                    self.closed(edge, &why);
                }
            }
            Event::Unreachable { edge } => {
                let now = self.now();
                self.spare.iter_mut().for_each(|spare| spare.failed(now, &edge));
            }
            Event::Frame { leg, header, index, frame, at } => {
                self.frame(&leg, &header, index, frame, at);
            }
            Event::GroupEnd { leg, header, frames, at } => {
                self.group_end(&leg, &header, frames, at)
            }
            Event::GroupBroken { leg, header, frames } => self.group_broken(&leg, &header, frames),
        }
        Ok(())
    }

    fn said(&mut self, edge: NodeId, said: ToViewer) {
        let now = self.now();
        match said {
            ToViewer::Order(order) => self.order(order),
            ToViewer::Renewed { grant, standbys } => self.renew(grant, standbys),
            ToViewer::Stalled { descriptions } => {
                self.watching.ears.stalled(now, &edge, &descriptions);
            }
            ToViewer::Path { sent, lost, .. } => self.path(&edge, sent, lost),
            ToViewer::LetGo { description } if self.is_at(description, &edge) => {
                self.let_go(description, Without::Full);
            }
            ToViewer::GoAway { .. } => self.go_away(edge),
            // The leg is elsewhere by now; the handshake is over; goodbyes are taken by the connection.
            ToViewer::LetGo { .. }
            | ToViewer::Welcome
            | ToViewer::Refused { .. }
            | ToViewer::Bye => {}
        }
    }

    fn accepted(&mut self, leg: &LegId, accepted: Accepted, at: Duration) -> anyhow::Result<()> {
        if let Some(accepting) = self.legs.get_mut(&key(leg)).filter(|l| l.id == *leg) {
            (accepting.first, accepting.live) = (Some(accepted.first), accepted.live);
        }
        match &mut self.playing {
            Some(playing) => playing.merger.handle_resumed(leg.description, accepted.live),
            None => {
                let (catalog, live) = (accepted.catalog, accepted.live);
                let position = live.back(self.settings.merger.playout_delay);
                self.stage.begin(&catalog, position, self.started)?;
                self.playing = Some(Playing::begin(catalog, live, at, &self.settings));
                self.begin_without();
            }
        }
        self.watch(leg);
        Ok(())
    }

    fn rejected(&mut self, leg: &LegId, Failure { code, why }: Failure) {
        if !self.forget(leg) {
            return;
        }
        let LegId { description, edge, .. } = leg.clone();
        self.happened(Happening::Refused { description, edge: &edge, why: &why });
        self.idle.refused(description, why, code == Some(RejectCode::Full));
        self.tell_hands(HandEvent::Rejected { description, edge });
    }

    fn closed(&mut self, edge: NodeId, why: &str) {
        let now = self.now();
        self.happened(Happening::Closed { edge: &edge, why });
        self.spare.iter_mut().for_each(|spare| spare.failed(now, &edge));
        let legs: Vec<_> = self.legs.values().map(|l| l.id.clone()).collect();
        for leg in legs.into_iter().filter(|leg| leg.edge == edge) {
            self.forget(&leg);
        }
        self.tell_hands(HandEvent::Closed { edge });
    }

    fn frame(&mut self, leg: &LegId, header: &GroupHeader, index: u32, frame: Frame, at: Duration) {
        let Some(playing) = &mut self.playing else { return };
        let (time, description) = (frame.time, leg.description);
        let deadline = playing.merger.deadline_of(time);
        let leading = header.medium == playing.leading() && header.medium != Medium::Text;
        if index == 0 && header.medium == Medium::Video {
            playing.latencies.group(ChainKey::new(description, header), header, time);
        }
        let kept = match header.medium {
            Medium::Video | Medium::Audio if !self.stage.wants_media() => emptied(&frame),
            _ => frame.clone(),
        };
        let admission = playing.merger.handle_frame(at, description, header, index, kept);
        let edge = &leg.edge;
        let arrival = Arrival { at, edge, description, header, index, frame: &frame, admission };
        self.stage.arrived(arrival);
        if admission != Admission::Refused {
            playing.arrivals.frame(description, header, index);
        }
        if admission != Admission::Refused && leading {
            self.watching.arrived(description, time);
        }
        let attaching = self.hands.attaching(description).is_some_and(|(to, _)| *to == leg.edge);
        let duplicate = admission == Admission::Duplicate;
        self.journal.frame(at, description, attaching, duplicate);
        let deadline = deadline.filter(|_| leading);
        if let Some(watched) = self.legs.get_mut(&key(leg)).filter(|l| l.id == *leg) {
            watched.arrived(at, deadline);
            if let Some(deadline) = deadline.filter(|_| time > watched.live) {
                self.watching.measure(&leg.edge, at, deadline);
            }
        }
        self.judge(description, &leg.edge);
    }

    fn group_end(&mut self, leg: &LegId, header: &GroupHeader, frames: u32, at: Duration) {
        let Some(playing) = &mut self.playing else { return };
        playing.merger.handle_group_end(at, leg.description, header, frames);
        playing.arrivals.end(leg.description, header, frames);
        // Text comes in whole groups, many of them empty: where there is nothing else, legs are judged by these.
        if header.medium == Medium::Text && playing.leading() == Medium::Text {
            let end = playing.catalog.grid(leg.description).end_of(header.group);
            let deadline = playing.merger.deadline_of(end);
            self.watching.arrived(leg.description, end);
            if let Some(deadline) = deadline {
                self.watching.measure(&leg.edge, at, deadline);
            }
            if let Some(watched) = self.legs.get_mut(&key(leg)).filter(|l| l.id == *leg) {
                watched.arrived(at, deadline);
            }
            self.judge(leg.description, &leg.edge);
        }
    }

    /// What is missing of a group that broke off does not come from this leg any more.
    fn group_broken(&mut self, leg: &LegId, header: &GroupHeader, frames: u32) {
        let Some(playing) = &self.playing else { return };
        let whole = playing.arrivals.pictures_in_group(leg.description);
        let watched = self.legs.get_mut(&key(leg)).filter(|l| l.id == *leg && !l.ending);
        if let Some(watched) = watched.filter(|_| header.medium == Medium::Video) {
            let lost = whole.saturating_sub(frames);
            watched.lost(lost);
            self.watching.paths.missed(&leg.edge, lost);
        }
    }

    fn order(&mut self, Order { order, edge, grant, standbys, under_way_ms }: Order) {
        self.edges.learn(&edge.id, edge.address);
        self.remember(edge.id.clone());
        if let Some(grant) = grant {
            self.renew(grant, standbys);
        }
        self.journal.order(&order);
        let under_way = Duration::from_millis(under_way_ms);
        self.gaps.touched(self.now(), order.order().handoff, under_way);
        // Orders come over every connection that is alive.
        if self.newest_order < Some(order.order()) {
            self.newest_order = Some(order.order());
            self.happened(Happening::Ordered(&order));
            self.trace_order(&order);
        }
        let description = match &order {
            ToClient::Attach { description, .. } | ToClient::Return { description, .. } => {
                *description
            }
            ToClient::Finish { .. } => Description::Zero,
        };
        let next = self.first_not_begun(description);
        self.tell_hands(HandEvent::Order { order, next });
    }

    fn renew(&mut self, grant: String, standbys: Vec<NodeAddress>) {
        self.edges.renew(grant);
        standbys.iter().for_each(|standby| self.edges.learn(&standby.id, standby.address));
        self.standbys = standbys.into_iter().map(|standby| standby.id).collect();
        // Whoever was named before is better than nobody, unless it wants to be left.
        for edge in std::mem::replace(&mut self.known, self.standbys.clone()) {
            if !self.leaving.contains_key(&edge) {
                self.remember(edge);
            }
        }
        self.hands.set_standbys(self.known.clone());
    }

    fn remember(&mut self, edge: NodeId) {
        if !self.known.contains(&edge) && self.known.len() < MAX_KNOWN {
            self.known.push(edge);
        }
    }

    /// The first group that has not begun at the live edge, as far as we can tell.
    fn first_not_begun(&self, description: Description) -> GroupId {
        let Some(playing) = &self.playing else { return GroupId(0) };
        playing.catalog.grid(description).first_not_begun(playing.live(self.now()))
    }

    // --- to the viewer ---

    fn happened(&mut self, happening: Happening<'_>) {
        self.stage.happened(self.started.elapsed(), happening);
    }

    fn show_due(&mut self) {
        let now = self.now();
        let Some(playing) = &mut self.playing else { return };
        while let Some(due) = playing.merger.poll(now) {
            match due {
                Due::Video(shown) => {
                    self.stage.show(&playing.merger, shown);
                    playing.show(shown);
                    self.journal.shown(shown.deadline, playing.interval(), shown.verdict);
                    self.gaps.shown(shown, playing.interval());
                }
                Due::Audio(Sound::Packet { frame, .. }) => {
                    playing.hear(now, frame.time);
                    self.stage.hear(frame);
                }
                Due::Audio(Sound::Gap { .. }) => {}
                Due::Cue(cue) => {
                    self.stage.caption(&cue);
                    playing.caption = Some(cue);
                }
            }
        }
    }

    fn update_stage(&mut self, now: Duration) {
        if self.stage.wants_update(now) {
            let snapshot = self.snapshot(now);
            self.stage.update(&snapshot);
        }
    }

    fn snapshot(&self, now: Duration) -> Snapshot {
        let playing = self.playing.as_ref();
        Snapshot {
            stream: self.stream.to_string(),
            session: self.session.to_string(),
            elapsed: now,
            legs: self.hands.legs(),
            attaching: Description::BOTH
                .map(|d| self.hands.attaching(d).map(|(edge, _)| edge.clone())),
            without: self.idle.words(),
            buffer_ms: self.buffer_ms(),
            latency_ms: playing.and_then(|playing| playing.latencies.last_ms()),
            stats: playing.map(|playing| playing.merger.stats()).unwrap_or_default(),
            caption: playing.and_then(|playing| Some(playing.caption.as_ref()?.text.clone())),
        }
    }

    /// Media that are there ahead of their deadline: of the description that has less.
    fn buffer_ms(&self) -> Option<u64> {
        let merger = &self.playing.as_ref()?.merger;
        let slack = Description::BOTH.into_iter().filter_map(|d| merger.slack(d));
        slack.map(|slack| slack.latest_us.max(0) as u64 / 1000).min()
    }

    async fn finish(mut self, failure: Option<String>) -> anyhow::Result<Played<S>> {
        let duration = self.now();
        self.gaps.close();
        self.report(self.hands.report());
        self.events.close();
        self.edges.close_all().await;
        let seen = self.playing.map(|mut playing| {
            while let Some(due) = playing.merger.poll(duration) {
                if let Due::Video(shown) = due {
                    self.stage.show(&playing.merger, shown);
                    playing.show(shown);
                }
            }
            Seen {
                session: self.session,
                placement: self.placement,
                started: self.started,
                started_at: self.started_at,
                duration,
                first_shown: playing.first_shown,
                stats: playing.merger.finish(duration),
                latencies: playing.latencies,
                catalog: playing.catalog,
                journal: self.journal,
            }
        });
        Ok(Played { seen, stage: self.stage, failure })
    }
}

/// A frame whose payload is as long, but takes no memory of its own.
fn emptied(frame: &Frame) -> Frame {
    static NOTHING: LazyLock<&[u8]> = LazyLock::new(|| vec![0; MAX_FRAME].leak());
    let length = frame.payload.len().min(NOTHING.len());
    Frame { payload: Bytes::from_static(&NOTHING[..length]), time: frame.time, flags: frame.flags }
}

fn key(leg: &LegId) -> (Description, NodeId) {
    (leg.description, leg.edge.clone())
}
