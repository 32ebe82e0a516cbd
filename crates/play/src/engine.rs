//! The engine: the one place where a session's parts meet. Network events go to the merger and the hands,
//! what the hands want goes to the network, what is due goes to the screen and the recording.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use gibbon_control::{
    portal::SessionTicket,
    session::{ClientReport, Order},
};
use gibbon_handoff::{
    OrderId, ToClient,
    client::{Action, Event as HandEvent, Hands, Start as HandStart},
    timers::ClientTimer,
    watch::{LegWatch, Verdict as LegVerdict},
};
use gibbon_mdc::{Admission, ChainKey, Due, Sound};
use gibbon_media::{Description, GroupId, Medium, NodeId, SessionId, StreamName};
use gibbon_net::{Endpoint, wire::Start};
use tokio::sync::mpsc;

use crate::{
    edges::{Edges, Event, LegId},
    journal::Journal,
    playing::{Finished, Playing},
    settings::{PIPE, Settings},
    view::{Snapshot, View},
    words,
};

/// Legs are judged, and the view is drawn, this often.
const TICK: Duration = Duration::from_millis(50);
/// The coordinator is told of the legs at every change, and this often in case it was away.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// At the start of a session an edge may have to fetch the stream from afar: the first legs get longer.
const FIRST_LEGS_WITHIN: Duration = Duration::from_secs(6);
/// Events taken at once before deadlines are looked at again.
const MAX_BATCH: usize = 256;

/// A session being played.
pub struct Engine {
    settings: Settings,
    started: Instant,
    edges: Edges,
    events: mpsc::Receiver<Event>,
    hands: Hands,
    timers: HashMap<ClientTimer, Duration>,
    legs: BTreeMap<(Description, NodeId), Leg>,
    /// Legs that are on probation after an order.
    probation: [bool; 2],
    newest_order: Option<OrderId>,
    report_at: Duration,
    playing: Option<Playing>,
    journal: Journal,
    view: View,
    stream: StreamName,
    session: SessionId,
}

/// A leg as the engine sees it.
struct Leg {
    id: LegId,
    start: HandStart,
    watch: Option<LegWatch>,
    ending: bool,
}

/// What is left of a session.
pub struct Played {
    /// The stream; none if nothing was accepted.
    pub playing: Option<Finished>,
    /// What happened.
    pub journal: Journal,
    /// The terminal.
    pub view: View,
    /// How long it took.
    pub duration: Duration,
    /// Why it ended, if not as asked.
    pub failure: Option<String>,
}

impl Engine {
    /// Begins a session: connects to the edges of the ticket.
    pub fn new(
        endpoint: Endpoint,
        ticket: SessionTicket,
        settings: Settings,
        view: View,
        started: Instant,
        stream: StreamName,
    ) -> Self {
        let (edges, events) = Edges::new(endpoint, stream.clone(), ticket.grant.clone(), started);
        for node in ticket.edges.iter().chain(&ticket.standbys) {
            edges.learn(&node.id, node.address);
        }
        let standbys = ticket.standbys.iter().map(|node| node.id.clone()).collect();
        let (hands, actions) = Hands::new(ticket.edges.clone().map(|node| node.id), standbys);
        let mut engine = Self {
            settings,
            started,
            edges,
            events,
            hands,
            timers: HashMap::new(),
            legs: BTreeMap::new(),
            probation: [false; 2],
            newest_order: None,
            report_at: Duration::ZERO,
            playing: None,
            journal: Journal::default(),
            view,
            stream,
            session: ticket.session,
        };
        engine.carry_out(actions);
        engine
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Plays until the duration is over, `stop` is done, or nothing is left to play from.
    pub async fn play(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<Played> {
        tokio::pin!(stop);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let failure = loop {
            let deadline = self.next_deadline();
            tokio::select! {
                event = self.events.recv() => {
                    if let Some(event) = event {
                        self.network(event)?;
                    }
                }
                () = tokio::time::sleep_until((self.started + deadline).into()) => {}
                _ = tick.tick() => self.tick(),
                () = &mut stop => break None,
            }
            // What has arrived goes in before what is due goes out.
            self.network_waiting()?;
            self.fire_timers();
            self.show_due();
            self.playing.iter_mut().for_each(Playing::feed_ahead);
            if Description::BOTH.iter().all(|d| self.hands.is_idle(*d)) {
                break Some("no edge is left to play from".to_owned());
            }
            if self.is_over() || self.nobody_watches() {
                break None;
            }
        };
        self.finish(failure).await
    }

    fn is_over(&self) -> bool {
        let Some(duration) = self.settings.duration else { return false };
        // Counted from the first frame, so that every run of a duration has the same number of frames.
        match &self.playing {
            Some(playing) => {
                let shown = playing.merger.stats();
                match &playing.catalog.video {
                    Some(video) => video.rate.interval() * shown.frames.expected as u32 >= duration,
                    None => Duration::from_millis(shown.audio.expected_ms) >= duration,
                }
            }
            None => self.now() >= duration + FIRST_LEGS_WITHIN,
        }
    }

    /// Whether the program at the other end of the pipe has been closed.
    fn nobody_watches(&self) -> bool {
        let piped = self.settings.record.as_deref() == Some(PIPE);
        piped && self.playing.as_ref().is_some_and(Playing::recording_has_ended)
    }

    fn next_deadline(&self) -> Duration {
        let due = self.playing.as_ref().and_then(|playing| playing.merger.next_deadline());
        let timer = self.timers.values().min().copied();
        due.into_iter().chain(timer).min().unwrap_or(self.now() + TICK)
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
            Event::Order(order) => self.order(order),
            Event::Accepted { leg, accepted, at } => {
                if self.playing.is_none() {
                    self.playing = Some(Playing::begin(
                        accepted.catalog,
                        accepted.live,
                        at,
                        &self.settings,
                        self.started,
                    )?);
                }
                self.watch(&leg);
            }
            Event::Rejected { leg, why } => {
                if self.forget(&leg) {
                    self.view
                        .event(self.now(), &format!("{} of {}: {why}", leg.description, leg.edge));
                    let LegId { description, edge, .. } = leg;
                    self.tell_hands(HandEvent::Rejected { description, edge });
                }
            }
            Event::Ended { leg } => {
                let ordered = self.legs.get(&key(&leg)).is_some_and(|l| l.id == leg && l.ending);
                if self.forget(&leg) && !ordered {
                    let LegId { description, edge, .. } = leg;
                    self.tell_hands(HandEvent::Rejected { description, edge });
                }
            }
            Event::Closed { edge, why } => {
                self.view.event(self.now(), &format!("connection to {edge} closed: {why}"));
                let legs: Vec<_> = self.legs.values().map(|l| l.id.clone()).collect();
                for leg in legs.into_iter().filter(|leg| leg.edge == edge) {
                    self.forget(&leg);
                }
                self.tell_hands(HandEvent::Closed { edge });
            }
            Event::Frame { leg, header, index, frame, at } => {
                self.frame(&leg, &header, index, frame, at);
            }
            Event::GroupEnd { leg, header, frames, at } => {
                if let Some(playing) = &mut self.playing {
                    playing.merger.handle_group_end(at, leg.description, &header, frames);
                }
            }
        }
        Ok(())
    }

    fn frame(
        &mut self,
        leg: &LegId,
        header: &gibbon_media::GroupHeader,
        index: u32,
        frame: gibbon_media::Frame,
        at: Duration,
    ) {
        let Some(playing) = &mut self.playing else { return };
        let deadline = playing.merger.deadline_of(frame.time);
        let leading = match &playing.catalog.video {
            Some(_) => Medium::Video,
            None => Medium::Audio,
        };
        if index == 0 && header.medium == Medium::Video {
            playing.latencies.group(ChainKey::new(leg.description, header), header, frame.time);
        }
        let admission = playing.merger.handle_frame(at, leg.description, header, index, frame);
        let duplicate = admission == Admission::Duplicate;
        self.journal.frame(at, leg.description, &leg.edge, duplicate);
        let watched = self.legs.get_mut(&key(leg)).filter(|l| l.id == *leg);
        if let Some(watch) = watched.and_then(|l| l.watch.as_mut()) {
            match deadline.filter(|_| header.medium == leading) {
                Some(deadline) => watch.arrived(at, deadline),
                None => watch.heard(at),
            }
        }
        self.judge(leg.description, &leg.edge);
    }

    fn order(&mut self, Order { order, edge, grant, standbys }: Order) {
        self.edges.learn(&edge.id, edge.address);
        if let Some(grant) = grant {
            self.edges.renew(grant);
            standbys.iter().for_each(|standby| self.edges.learn(&standby.id, standby.address));
            self.hands.set_standbys(standbys.into_iter().map(|standby| standby.id).collect());
        }
        self.journal.order(&order);
        // Orders come over every connection that is alive.
        if self.newest_order < Some(order.order()) {
            self.newest_order = Some(order.order());
            self.view.event(self.now(), &words::of_order(&order));
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

    /// The first group that has not begun at the live edge, as far as we can tell.
    fn first_not_begun(&self, description: Description) -> GroupId {
        let Some(playing) = &self.playing else { return GroupId(0) };
        playing.catalog.grid(description).first_not_begun(playing.live(self.now()))
    }

    // --- the hands ---

    fn tell_hands(&mut self, event: HandEvent) {
        let actions = self.hands.handle(event);
        self.carry_out(actions);
    }

    fn carry_out(&mut self, mut actions: Vec<Action>) {
        // The report on a closed connection is to go out over that connection, too.
        actions.sort_by_key(|action| matches!(action, Action::CloseConnection { .. }));
        for action in actions {
            match action {
                Action::Subscribe { description, edge, start } => {
                    self.subscribe(description, edge, start)
                }
                Action::End { description, edge, last } => {
                    if let Some(leg) = self.legs.get_mut(&(description, edge)) {
                        leg.ending = true;
                        self.edges.end(&leg.id, last);
                    }
                }
                Action::Cancel { description, edge } => {
                    let leg = self.legs.get(&(description, edge)).map(|l| l.id.clone());
                    if let Some(leg) = leg {
                        self.edges.cancel(&leg);
                        self.forget(&leg);
                    }
                }
                Action::CloseConnection { edge } => self.edges.close(&edge),
                Action::Report(hands) => {
                    self.edges.report(&ClientReport { hands, complaints: Vec::new() });
                }
                Action::SetTimer(timer) => self.set_timer(timer),
                Action::CancelTimer(timer) => {
                    if let ClientTimer::Probation { description } = timer {
                        self.probation[description.index()] = false;
                    }
                    self.timers.remove(&timer);
                }
                Action::Note(note) => {
                    let now = self.now();
                    self.journal.note(now, &note);
                    if let Some(text) = words::of_note(&note) {
                        self.view.event(now, &text);
                    }
                }
            }
        }
    }

    fn subscribe(&mut self, description: Description, edge: NodeId, start: HandStart) {
        if self.settings.only.is_some_and(|only| only != description) {
            // Not wanted: a leg without traffic, which is always in time.
            return self.tell_hands(HandEvent::InTime { description, edge });
        }
        let delay = self.settings.merger.playout_delay;
        let wire = match start {
            HandStart::Live => Start::Live(delay),
            HandStart::At(group) => Start::Group { group, resume: None },
        };
        let id = self.edges.subscribe(description, &edge, wire);
        let leg = Leg { id: id.clone(), start, watch: None, ending: false };
        if let Some(before) = self.legs.insert((description, edge), leg) {
            self.edges.cancel(&before.id);
        }
        self.watch(&id);
    }

    /// Begins to watch a leg, once there is a clock to watch it by.
    fn watch(&mut self, leg: &LegId) {
        let now = self.now();
        let Some(playing) = &self.playing else { return };
        let interval = playing.interval();
        let delay = self.settings.merger.playout_delay;
        for watched in self.legs.values_mut().filter(|l| l.id == *leg && l.watch.is_none()) {
            let due = match watched.start {
                HandStart::Live => now,
                HandStart::At(group) => {
                    let begins = playing.catalog.grid(leg.description).start_of(group);
                    playing.merger.deadline_of(begins).unwrap_or(now).saturating_sub(delay).max(now)
                }
            };
            watched.watch = Some(LegWatch::new(due, delay, interval));
        }
    }

    /// Tells the hands what there is to say about a leg.
    fn judge(&mut self, description: Description, edge: &NodeId) {
        let now = self.now();
        let Some(leg) = self.legs.get(&(description, edge.clone())) else { return };
        let Some(verdict) = leg.watch.as_ref().map(|watch| watch.verdict(now)) else { return };
        let attaching = self.hands.attaching(description).is_some_and(|(e, _)| e == edge);
        let (edge, probation) = (edge.clone(), self.probation[description.index()]);
        match (verdict, verdict.reason()) {
            (LegVerdict::InTime, _) if attaching => {
                self.tell_hands(HandEvent::InTime { description, edge });
            }
            // A leg that nobody ordered is left only when its connection closes.
            (_, Some(reason)) if probation => {
                self.tell_hands(HandEvent::Bad { description, edge, reason });
            }
            _ => {}
        }
    }

    fn forget(&mut self, leg: &LegId) -> bool {
        if self.legs.get(&key(leg)).is_none_or(|l| l.id != *leg) {
            return false;
        }
        self.legs.remove(&key(leg));
        self.journal.leg_ended(self.now(), leg.description, &leg.edge);
        true
    }

    fn set_timer(&mut self, timer: ClientTimer) {
        let now = self.now();
        let duration = match (&self.playing, timer) {
            (None, ClientTimer::Attach { .. }) => FIRST_LEGS_WITHIN,
            (playing, timer) => {
                let group = playing.as_ref().map_or(Duration::from_secs(1), Playing::group);
                timer.duration(group, rand::random_range(0.0..=1.0))
            }
        };
        let from = match (&self.playing, timer) {
            // From the moment its first group begins at the live edge.
            (Some(playing), ClientTimer::Attach { description, start: HandStart::At(group) }) => {
                let begins = playing.catalog.grid(description).start_of(group);
                let delay = self.settings.merger.playout_delay;
                playing.merger.deadline_of(begins).unwrap_or(now).saturating_sub(delay).max(now)
            }
            _ => now,
        };
        if let ClientTimer::Probation { description } = timer {
            self.probation[description.index()] = true;
        }
        self.timers.insert(timer, from + duration);
    }

    fn fire_timers(&mut self) {
        let now = self.now();
        while let Some(timer) = self.timers.iter().find(|(_, due)| **due <= now).map(|(t, _)| *t) {
            self.timers.remove(&timer);
            if let ClientTimer::Probation { description } = timer {
                self.probation[description.index()] = false;
            }
            self.tell_hands(HandEvent::Timer(timer));
        }
    }

    // --- to the viewer ---

    fn show_due(&mut self) {
        let now = self.now();
        let Some(playing) = &mut self.playing else { return };
        while let Some(due) = playing.merger.poll(now) {
            match due {
                Due::Video(shown) => {
                    playing.show(shown);
                    self.journal.shown(shown.deadline, playing.interval(), shown.verdict);
                }
                Due::Audio(Sound::Packet { frame, .. }) => {
                    playing.record_sound(frame);
                }
                Due::Audio(Sound::Gap { .. }) => {}
                Due::Cue(cue) => {
                    if let Some(recording) = &mut playing.recording {
                        recording.text(cue.clone());
                    }
                    playing.caption = Some(cue);
                }
            }
        }
        playing.note_damage();
    }

    fn tick(&mut self) {
        let legs: Vec<_> = self.legs.keys().cloned().collect();
        for (description, edge) in legs {
            self.judge(description, &edge);
        }
        if self.now() >= self.report_at {
            self.report_at = self.now() + REPORT_EVERY;
            let hands = self.hands.report();
            self.edges.report(&ClientReport { hands, complaints: Vec::new() });
        }
        let snapshot = self.snapshot();
        self.view.update(&snapshot);
    }

    fn snapshot(&self) -> Snapshot {
        let now = self.now();
        let mut snapshot = Snapshot {
            stream: self.stream.to_string(),
            session: self.session.to_string(),
            elapsed: now,
            legs: self.hands.legs(),
            ..Snapshot::default()
        };
        snapshot.attaching =
            Description::BOTH.map(|d| self.hands.attaching(d).map(|(edge, _)| edge.clone()));
        if let Some(playing) = &self.playing {
            let stats = playing.merger.stats();
            snapshot.latency_ms = playing.latencies.last_ms();
            snapshot.buffer_ms = Description::BOTH
                .iter()
                .filter_map(|d| playing.merger.slack(*d))
                .map(|slack| slack.latest_us.max(0) as u64 / 1000)
                .min();
            snapshot.stats = stats;
            snapshot.caption = playing.caption.as_ref().map(|cue| cue.text.clone());
        }
        snapshot
    }

    async fn finish(self, failure: Option<String>) -> anyhow::Result<Played> {
        let duration = self.now();
        let Engine { edges, events, playing, journal, view, .. } = self;
        drop(events);
        edges.close_all().await;
        let playing = match playing {
            Some(playing) => Some(playing.finish(duration)?),
            None => None,
        };
        Ok(Played { playing, journal, view, duration, failure })
    }
}

fn key(leg: &LegId) -> (Description, NodeId) {
    (leg.description, leg.edge.clone())
}
