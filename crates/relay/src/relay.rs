//! One description of one stream on its way through this node.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use gibbon_control::node::{NodeAddress, SourceBytes, UpstreamReport};
use gibbon_media::{Catalog, Description, GroupId, Medium, NodeId, StreamName};
use gibbon_net::{
    cache::{Beat, Tracks, mirror},
    subscribe::{SubscribeError, Subscription},
    wire::{MediaSet, RejectCode, Rejected, Start, Subscribe},
};
use tokio::{runtime::Handle, sync::watch, task::JoinSet};

use crate::{
    help,
    network::Network,
    peers::Peers,
    pull::{Pull, Received},
    silence::{self, Silence},
};

/// A relay that nobody wants goes on for this long, in case somebody comes back.
const LINGER: Duration = Duration::from_secs(3);
/// Who wants a description waits this long for its first source.
pub const FIRST_SOURCE_WITHIN: Duration = Duration::from_secs(5);
/// A source that has been told to end after a group has this long to do so: the longest group, and some.
const OLD_ENDS_WITHIN: Duration = Duration::from_secs(12);
/// A source that is silent for this long is left, where there is another.
const SILENT_TOO_LONG: Duration = Duration::from_secs(1);
/// A source that is preferred to the one in use, and was not just lost, is gone over to after this.
const PREFER_AFTER: Duration = Duration::from_secs(3);
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(1);
/// Descriptions that a node relays at once.
const MAX_RELAYS: usize = 512;

type Key = (StreamName, Description);

/// How a node pulls.
#[derive(Debug, Clone, Copy)]
pub struct Pulling {
    /// How far back a relay begins.
    backlog: Duration,
    /// Whether other edges are asked for help while an upstream is silent.
    pub(crate) helped: bool,
}

impl Pulling {
    /// An edge: viewers begin at once at the default playout delay, and edges help each other.
    pub const FOR_VIEWERS: Pulling = Pulling { backlog: Duration::from_secs(2), helped: true };
    /// A worker: what comes out is to be as new as can be.
    pub const FOR_COMPONENTS: Pulling = Pulling { backlog: Duration::ZERO, helped: false };
}

/// All relays of this node.
pub struct Relays {
    peers: Arc<Peers>,
    /// Where they find their sources.
    pub network: Arc<Network>,
    pub(crate) pulling: Pulling,
    /// Where relays run: all on one shard, however many there are.
    runtime: Handle,
    readers: Vec<Readers>,
    running: Mutex<HashMap<Key, Arc<Relay>>>,
}

/// Those who read what has come on one shard: tasks of one runtime, that are told of it at the beats of one beat.
#[derive(Clone)]
pub struct Readers {
    /// Where they run.
    pub runtime: Handle,
    /// When they are told.
    pub beat: Arc<Beat>,
}

/// One description of one stream, on its way through this node.
pub struct Relay {
    /// The stream.
    pub stream: StreamName,
    /// The description.
    pub description: Description,
    /// What has come.
    pub tracks: Arc<Tracks>,
    /// The same for the readers on each shard, where there are several.
    copies: Vec<Arc<Tracks>>,
    /// Whether nothing comes.
    pub silence: Silence,
    /// What it takes to send to one viewer, in kbit/s; 0 until known.
    kbps: AtomicU64,
    state: watch::Sender<State>,
    /// An edge to pull from until somebody asks for the regular upstream.
    bootstrap: watch::Sender<Option<NodeAddress>>,
    wanted: watch::Sender<u32>,
    source: watch::Sender<Option<Source>>,
    received: Mutex<BTreeMap<NodeId, Arc<Received>>>,
}

/// Whom a relay pulls from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The node.
    pub node: NodeAddress,
    /// Whether it is the regular upstream, not a bootstrap or a help.
    pub regular: bool,
}

#[derive(Clone)]
enum State {
    Looking,
    Ready(Arc<Ready>),
    Refused(Rejected),
}

/// What is known once the first source has answered.
pub struct Ready {
    /// What the stream is made of.
    pub catalog: Catalog,
    /// The first group received whole.
    pub first: GroupId,
}

/// Keeps a relay going. Drop it when the description is no longer wanted.
pub struct Demand {
    /// What is wanted.
    pub relay: Arc<Relay>,
}

impl Drop for Demand {
    fn drop(&mut self) {
        self.relay.wanted.send_modify(|n| *n -= 1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Relays ===

impl Relays {
    /// [`sharded`](Self::sharded), with readers on the current runtime only.
    pub fn new(peers: Arc<Peers>, network: Arc<Network>, pulling: Pulling) -> Arc<Self> {
        Self::sharded(peers, network, pulling, Vec::new())
    }

    /// Pulls over connections of `peers` from where `network` says, for `readers`. Runs on the current runtime.
    pub fn sharded(
        peers: Arc<Peers>,
        network: Arc<Network>,
        pulling: Pulling,
        readers: Vec<Readers>,
    ) -> Arc<Self> {
        let (runtime, running) = (Handle::current(), Mutex::default());
        Arc::new(Self { peers, network, pulling, runtime, readers, running })
    }

    /// Wants a description; a relay that does not run yet begins with `bootstrap`, if given.
    pub fn demand(
        self: &Arc<Self>,
        stream: &StreamName,
        description: Description,
        bootstrap: Option<NodeAddress>,
    ) -> Result<Demand, Rejected> {
        let mut running = lock(&self.running);
        if let Some(relay) = running.get(&(stream.clone(), description)) {
            if bootstrap.is_none() {
                // Who did not ask for it must not depend on it.
                relay.leave_bootstrap();
            }
            return Ok(relay.demand());
        }
        if running.len() >= MAX_RELAYS {
            return Err(Rejected::new(
                RejectCode::Full,
                format!("{MAX_RELAYS} tracks are relayed"),
            ));
        }
        let (tracks, copies) = self.caches();
        let relay = Arc::new(Relay {
            stream: stream.clone(),
            description,
            tracks,
            copies,
            silence: Silence::default(),
            kbps: AtomicU64::new(0),
            state: watch::Sender::new(State::Looking),
            bootstrap: watch::Sender::new(bootstrap),
            wanted: watch::Sender::new(0),
            source: watch::Sender::new(None),
            received: Mutex::default(),
        });
        let demand = relay.demand();
        running.insert((stream.clone(), description), relay.clone());
        self.runtime.spawn(run(Arc::downgrade(self), relay));
        Ok(demand)
    }

    /// What a relay fills, and what is copied from there.
    fn caches(&self) -> (Arc<Tracks>, Vec<Arc<Tracks>>) {
        let paced = |readers: &Readers| Arc::new(Tracks::paced(readers.beat.clone()));
        match &self.readers[..] {
            [] => (Arc::default(), Vec::new()),
            [only] => (paced(only), Vec::new()),
            several => (Arc::default(), several.iter().map(paced).collect()),
        }
    }

    /// What is pulled, for the report.
    pub fn report(&self) -> Vec<UpstreamReport> {
        let mut upstreams: Vec<_> = lock(&self.running).values().map(|r| r.report()).collect();
        upstreams.sort_by(|a, b| (&a.stream, a.description).cmp(&(&b.stream, b.description)));
        upstreams
    }

    /// The length of a group of `stream`, if it is relayed.
    pub fn group(&self, stream: &StreamName) -> Option<Duration> {
        let running = lock(&self.running);
        Description::BOTH.into_iter().find_map(|description| {
            match &*running.get(&(stream.clone(), description))?.state.borrow() {
                State::Ready(ready) => Some(ready.catalog.grid(description).duration()),
                State::Looking | State::Refused(_) => None,
            }
        })
    }

    /// What it takes to send a description to one viewer, in kbit/s; 0 until known.
    pub fn kbps(&self, stream: &StreamName, description: Description) -> u64 {
        let running = lock(&self.running);
        running.get(&(stream.clone(), description)).map_or(0, |relay| relay.kbps())
    }

    /// Payload bytes held in all caches.
    pub fn cached_bytes(&self) -> usize {
        lock(&self.running).values().map(|relay| relay.tracks.bytes()).sum()
    }

    /// Groups held in all caches, whole or in part.
    pub fn cached_groups(&self) -> usize {
        let held = |relay: &Arc<Relay>| Medium::ALL.map(|m| relay.tracks.ring(m).groups().len());
        lock(&self.running).values().flat_map(held).sum()
    }

    /// Takes the relay off the list, unless somebody wants it again.
    fn retire(&self, relay: &Relay) -> bool {
        let mut running = lock(&self.running);
        if *relay.wanted.borrow() > 0 && !matches!(*relay.state.borrow(), State::Refused(_)) {
            return false;
        }
        running.remove(&(relay.stream.clone(), relay.description));
        true
    }
}

// === impl Relay ===

impl Relay {
    fn demand(self: &Arc<Self>) -> Demand {
        self.wanted.send_modify(|n| *n += 1);
        Demand { relay: self.clone() }
    }

    /// What has come, for readers on the shard of that index.
    pub fn tracks_on(&self, shard: usize) -> Arc<Tracks> {
        self.copies.get(shard).unwrap_or(&self.tracks).clone()
    }

    /// Waits for the first source, for a bounded time.
    pub async fn ready(&self) -> Result<Arc<Ready>, Rejected> {
        let mut state = self.state.subscribe();
        let known = state.wait_for(|state| !matches!(state, State::Looking));
        match tokio::time::timeout(FIRST_SOURCE_WITHIN, known).await.map(|r| r.map(|s| s.clone())) {
            Ok(Ok(State::Ready(ready))) => Ok(ready),
            Ok(Ok(State::Refused(why))) => Err(why),
            _ => Err(Rejected::new(
                RejectCode::Unavailable,
                format!("no source of {} answered within {FIRST_SOURCE_WITHIN:?}", self.stream),
            )),
        }
    }

    /// Whether a first source has answered.
    pub fn has_begun(&self) -> bool {
        matches!(*self.state.borrow(), State::Ready(_))
    }

    /// Whom it pulls from, if anybody, apart from helpers.
    pub fn source(&self) -> Option<NodeId> {
        self.source.borrow().as_ref().map(|source| source.node.id.clone())
    }

    /// Moves on to the regular upstream, and waits until nothing depends on the bootstrap any more.
    pub async fn settle(&self) {
        self.leave_bootstrap();
        let mut source = self.source.subscribe();
        let _ = source.wait_for(|source| source.as_ref().is_some_and(|s| s.regular)).await;
    }

    fn leave_bootstrap(&self) {
        self.bootstrap.send_if_modified(|bootstrap| bootstrap.take().is_some());
    }

    /// What it takes to send the description to one viewer, in kbit/s; 0 until known.
    pub fn kbps(&self) -> u64 {
        self.kbps.load(Ordering::Relaxed)
    }

    /// Measures the rate anew, from the groups that have arrived whole.
    pub fn measure(&self) {
        let State::Ready(ready) = &*self.state.borrow() else { return };
        let group_ms = ready.catalog.grid(self.description).duration().as_millis() as u64;
        let bytes: usize = Medium::ALL.map(|m| self.tracks.ring(m).mean_group_bytes()).iter().sum();
        let kbps = (bytes as u64 * 8).checked_div(group_ms).unwrap_or(0);
        self.kbps.store(kbps, Ordering::Relaxed);
    }

    /// Waits until nothing has come for `limit`, or for longer where less often something is to come.
    pub(crate) async fn silent_for(&self, limit: Duration) {
        let usual = match &*self.state.borrow() {
            State::Ready(ready) => silence::limit(&ready.catalog),
            State::Looking | State::Refused(_) => Duration::ZERO,
        };
        self.silence.lasts(limit.max(usual)).await
    }

    /// What has come from a source.
    pub fn received_from(&self, source: &NodeId) -> Arc<Received> {
        lock(&self.received).entry(source.clone()).or_default().clone()
    }

    fn report(&self) -> UpstreamReport {
        let received = lock(&self.received);
        UpstreamReport {
            stream: self.stream.clone(),
            description: self.description,
            source: self.source(),
            received: received
                .iter()
                .map(|(source, received)| SourceBytes {
                    source: source.clone(),
                    bytes: received.bytes.load(Ordering::Relaxed),
                })
                .collect(),
            subscribers: *self.wanted.borrow(),
        }
    }
}

// === the task of a relay ===

/// Pulls until nobody has wanted the description for [`LINGER`].
async fn run(relays: Weak<Relays>, relay: Arc<Relay>) {
    let mut mirrors = JoinSet::new();
    if let Some(relays) = relays.upgrade() {
        for (readers, copy) in relays.readers.iter().zip(&relay.copies) {
            mirrors.spawn_on(mirror(relay.tracks.clone(), copy.clone()), &readers.runtime);
        }
    }
    tokio::select! {
        () = pull(relays.clone(), &relay) => {}
        () = watch_silence(&relay) => {}
        () = help::seek(relays, &relay) => {}
    }
}

/// Never returns.
async fn watch_silence(relay: &Relay) {
    let mut state = relay.state.subscribe();
    let limit = loop {
        if let State::Ready(ready) = &*state.borrow_and_update() {
            break silence::limit(&ready.catalog);
        }
        if state.changed().await.is_err() {
            return std::future::pending().await;
        }
    };
    relay.silence.watch(limit).await
}

async fn pull(relays: Weak<Relays>, relay: &Arc<Relay>) {
    let mut retry = FIRST_RETRY;
    let mut lost = None;
    loop {
        let Some(relays) = relays.upgrade() else { return };
        match connect(&relays, relay, None, |node| Some(node) == lost.as_ref()).await {
            Some((pull, source)) => {
                retry = FIRST_RETRY;
                let ended = keep(&relays, relay, pull, source, &mut lost).await;
                relay.source.send_replace(None);
                match ended {
                    Kept::Unwanted if relays.retire(relay) => return,
                    Kept::Unwanted => {}
                    Kept::Lost(source) => lost = Some(source),
                }
            }
            None => {
                let refused = matches!(*relay.state.borrow(), State::Refused(_));
                if (refused || *relay.wanted.borrow() == 0) && relays.retire(relay) {
                    return;
                }
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(LAST_RETRY);
            }
        }
    }
}

/// Finds a source that accepts; `last` says which are asked last. `from` is the group to begin at, if the relay
/// has begun.
async fn connect(
    relays: &Relays,
    relay: &Arc<Relay>,
    from: Option<GroupId>,
    last: impl Fn(&NodeId) -> bool,
) -> Option<(Pull, Source)> {
    let bootstrap = relay.bootstrap.borrow().clone();
    let mut regular = relays.network.upstreams(&relay.stream, relay.description);
    regular.sort_by_key(|node| last(&node.id));
    if bootstrap.is_none() && regular.is_empty() {
        refuse(
            relay,
            Rejected::new(RejectCode::UnknownStream, format!("nobody publishes {}", relay.stream)),
        );
        return None;
    }
    let sources = bootstrap
        .into_iter()
        .map(|node| Source { node, regular: false })
        .chain(regular.into_iter().map(|node| Source { node, regular: true }));
    let mut unknown = None;
    for source in sources {
        match open(relays, relay, &source, from).await {
            Ok(pull) => {
                tracing::info!(
                    stream = %relay.stream, description = %relay.description,
                    source = %source.node.id, regular = source.regular, "pulling"
                );
                return Some((pull, source));
            }
            Err(SubscribeError::Rejected(why)) => {
                tracing::warn!(stream = %relay.stream, source = %source.node.id, %why, "refused");
                if why.code == RejectCode::UnknownStream {
                    unknown = Some(why);
                }
            }
            Err(error) => {
                tracing::warn!(stream = %relay.stream, source = %source.node.id, %error, "no source");
            }
        }
    }
    if let Some(why) = unknown {
        refuse(relay, why);
    }
    None
}

/// Tells those who wait for a first source that there is none. One that has begun goes on trying.
fn refuse(relay: &Relay, why: Rejected) {
    relay.state.send_if_modified(|state| {
        let waiting = matches!(state, State::Looking);
        if waiting {
            *state = State::Refused(why);
        }
        waiting
    });
}

/// Begins to pull from `source`, with `from` or else with what broke off.
pub async fn open(
    relays: &Relays,
    relay: &Arc<Relay>,
    source: &Source,
    from: Option<GroupId>,
) -> Result<Pull, SubscribeError> {
    let link = relays.peers.link(&source.node).await.map_err(|error| {
        SubscribeError::Message(gibbon_net::message::MessageError::Broken(error.to_string()))
    })?;
    let start = match from.or_else(|| unfinished(&relay.tracks)) {
        Some(group) => Start::Group { group, resume: None },
        None => Start::Live(relays.pulling.backlog),
    };
    let request = Subscribe {
        stream: relay.stream.clone(),
        description: relay.description,
        media: MediaSet::ALL,
        start,
        end: None,
        priority: 0,
        patience: None,
    };
    let subscription = Subscription::open(&link, &request).await?;
    let accepted = &subscription.accepted;
    relay.tracks.advance_live(accepted.live);
    let ready = Ready { catalog: accepted.catalog.clone(), first: accepted.first };
    relay.state.send_if_modified(|state| {
        let first = !matches!(state, State::Ready(_));
        if first {
            *state = State::Ready(Arc::new(ready));
        }
        first
    });
    Ok(Pull::start(subscription, relay.clone(), relay.received_from(&source.node.id)))
}

/// The oldest group of any medium that broke off: what the next source is to begin with. Frames that are
/// here already are recognised by their index.
fn unfinished(tracks: &Tracks) -> Option<GroupId> {
    let newest = |medium: Medium| tracks.ring(medium).span().map(|(_, newest)| newest);
    let open = Medium::ALL.into_iter().flat_map(|medium| tracks.ring(medium).groups());
    let open = open.filter(|group| !group.is_complete()).map(|group| group.header.group).min();
    open.or_else(|| Medium::ALL.into_iter().filter_map(newest).max().map(GroupId::next))
}

/// Why a source is no longer kept.
enum Kept {
    /// It is lost.
    Lost(NodeId),
    /// Nobody wants the description.
    Unwanted,
}

/// Stays with a source, or those that follow it, until it is lost or nobody wants the description. `lost` is
/// not gone back to as long as the directory goes on naming it.
async fn keep(
    relays: &Relays,
    relay: &Arc<Relay>,
    mut pull: Pull,
    mut source: Source,
    lost: &mut Option<NodeId>,
) -> Kept {
    relay.source.send_replace(Some(source.clone()));
    let mut bootstrap = relay.bootstrap.subscribe();
    let mut directory = relays.network.directory();
    let mut retry = FIRST_RETRY;
    loop {
        directory.mark_unchanged();
        let regular = relays.network.upstreams(&relay.stream, relay.description);
        lost.take_if(|lost| !regular.iter().any(|node| node.id == *lost));
        let wanted = match source.regular {
            true => change_after(&regular, &source.node.id, lost.as_ref()),
            false => bootstrap.borrow_and_update().is_none().then_some(Duration::ZERO),
        };
        tokio::select! {
            ended = pull.ended() => {
                let why = ended.err().unwrap_or_else(|| "it ended".into());
                tracing::warn!(stream = %relay.stream, source = %source.node.id, why, "upstream lost");
                relay.leave_bootstrap();
                return Kept::Lost(source.node.id);
            }
            () = outlasted(relays, relay, &source.node.id) => {
                tracing::warn!(stream = %relay.stream, source = %source.node.id, "upstream silent");
                relay.leave_bootstrap();
                return Kept::Lost(source.node.id);
            }
            () = unwanted(relay) => return Kept::Unwanted,
            changed = bootstrap.changed() => if changed.is_err() { return Kept::Unwanted },
            _ = directory.changed() => {}
            () = after(wanted) => match change_upstream(relays, relay, &mut pull, &source).await {
                Some((new_pull, new_source)) => {
                    (pull, source) = (new_pull, new_source);
                    relay.source.send_replace(Some(source.clone()));
                    retry = FIRST_RETRY;
                }
                None => {
                    // The old source goes on delivering meanwhile.
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(LAST_RETRY);
                }
            },
        }
    }
}

/// When to leave `source`, which is pulled from, for another of the `regular` ones: at once if it is not one of
/// them any more, after a while if another is preferred.
fn change_after(
    regular: &[NodeAddress],
    source: &NodeId,
    lost: Option<&NodeId>,
) -> Option<Duration> {
    let first = &regular.first()?.id;
    let is_named = regular.iter().any(|node| node.id == *source);
    match is_named {
        false => Some(Duration::ZERO),
        true if first != source && Some(first) != lost => Some(PREFER_AFTER),
        true => None,
    }
}

async fn after(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Goes over to another source at a group boundary: it begins with the first group not yet begun, the old one
/// ends with the group before.
async fn change_upstream(
    relays: &Relays,
    relay: &Arc<Relay>,
    old: &mut Pull,
    old_source: &Source,
) -> Option<(Pull, Source)> {
    let State::Ready(ready) = relay.state.borrow().clone() else { return None };
    // What is live has come: its group has begun, even if that was its first frame.
    let boundary = ready.catalog.grid(relay.description).group_at(relay.tracks.live()).next();
    let is_old = |node: &NodeId| *node == old_source.node.id;
    let (pull, source) = connect(relays, relay, Some(boundary), is_old).await?;
    if source == *old_source {
        return None;
    }
    old.end_after(boundary.previous()).await;
    match tokio::time::timeout(OLD_ENDS_WITHIN, old.ended()).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => {
            tracing::warn!(stream = %relay.stream, why, "the old source was lost before the boundary");
        }
        Err(_) => {
            tracing::warn!(stream = %relay.stream, "the old source did not end; it is cancelled")
        }
    }
    Some((pull, source))
}

/// Waits until `source` has been silent for so long that another one, if there is one, is to be preferred.
async fn outlasted(relays: &Relays, relay: &Relay, source: &NodeId) {
    loop {
        relay.silent_for(SILENT_TOO_LONG).await;
        let others = relays.network.upstreams(&relay.stream, relay.description);
        if others.iter().any(|node| node.id != *source) {
            return;
        }
    }
}

async fn unwanted(relay: &Relay) {
    let mut wanted = relay.wanted.subscribe();
    loop {
        let _ = wanted.wait_for(|n| *n == 0).await;
        let again = wanted.wait_for(|n| *n > 0);
        if tokio::time::timeout(LINGER, again).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use gibbon_media::Role;

    use super::*;

    fn nodes(names: &[&str]) -> Vec<NodeAddress> {
        let address = ([127, 0, 0, 1], 1).into();
        let node = |name: &&str| NodeAddress { id: id(name), role: Role::Worker, address };
        names.iter().map(node).collect()
    }

    fn id(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    #[test]
    fn a_source_is_left_at_once_when_it_is_not_named_and_later_for_a_better_one() {
        for (regular, source, lost, expected) in [
            (&["a"][..], "a", None, None),
            (&["b"], "a", None, Some(Duration::ZERO)),
            (&["b", "a"], "a", None, Some(PREFER_AFTER)),
            (&["b", "a"], "a", Some("b"), None),
            (&["a", "b"], "a", None, None),
            (&[], "a", None, None),
        ] {
            let lost = lost.map(id);
            let found = change_after(&nodes(regular), &id(source), lost.as_ref());
            assert_eq!(found, expected, "{regular:?} {source} {lost:?}");
        }
    }
}
