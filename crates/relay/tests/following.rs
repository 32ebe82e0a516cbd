//! A relay goes over from worker to worker as the directory says, between groups.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use gibbon_control::node::{Directory, NodeAddress, StreamOrigin};
use gibbon_media::{
    Catalog, Codec, Description, Frame, FrameFlags, FrameNumber, FrameRate, GroupHeader, GroupId,
    MediaTime, Medium, NodeId, ProducerId, Role, Scheme, VideoTrack,
};
use gibbon_net::{
    Certificates, Endpoint, Identity,
    cache::Tracks,
    endpoint, message,
    publish::{self, Pump},
    wire::Start,
};
use gibbon_relay::{Demand, Network, Peers, Pulling, Relays};

const WAIT: Duration = Duration::from_secs(20);
const GROUP: Duration = Duration::from_millis(300);
const FRAMES_PER_GROUP: u64 = 6;
const STREAM: &str = "live/test/0000000000000001";

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn rate() -> FrameRate {
    FrameRate::new(20, 1).unwrap()
}

fn catalog() -> Catalog {
    let video = VideoTrack { codec: Codec::H264, rate: rate(), width: 64, height: 64 };
    Catalog {
        stream: STREAM.parse().unwrap(),
        scheme: Scheme::Plain,
        created: MediaTime(0),
        grids: Catalog::grids_of(Scheme::Plain, GROUP),
        video: Some(video),
        audio: None,
        text: None,
        host: String::new(),
    }
}

fn now() -> MediaTime {
    MediaTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64)
}

/// A worker that publishes the stream under a producer id of its own, from its next group on.
struct Worker {
    address: NodeAddress,
}

/// How far into the group that it is asked for a worker answers; at once if that is over.
type Answers = Duration;

impl Worker {
    fn start(certificates: &Certificates, name: &str, producer: u64, answers: Answers) -> Self {
        let identity = Identity { id: id(name), role: Role::Worker };
        let endpoint =
            Endpoint::node(certificates, &identity, "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = endpoint.local_address().unwrap();
        let tracks = Arc::<Tracks>::default();
        tokio::spawn(produce(tracks.clone(), ProducerId(producer)));
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let tracks = tracks.clone();
                tokio::spawn(async move {
                    let connection = incoming.await.unwrap();
                    endpoint::welcome_node(&connection);
                    let pump = Pump::new(connection.clone(), Arc::default());
                    while let Ok((send, recv)) = connection.accept_bi().await {
                        tokio::spawn(serve(pump.clone(), tracks.clone(), send, recv, answers));
                    }
                });
            }
        });
        Self { address: NodeAddress { id: id(name), role: Role::Worker, address } }
    }
}

async fn serve(
    pump: Pump,
    tracks: Arc<Tracks>,
    send: quinn::SendStream,
    recv: quinn::RecvStream,
    answers: Answers,
) {
    let (_, sender, mut receiver) = message::accept(send, recv).await.unwrap();
    let Ok(Some(request)) = publish::request(&mut receiver).await else { return };
    if let Start::Group { group, .. } = request.start {
        let at = catalog().grids[0].start_of(group) + answers;
        tokio::time::sleep(at.since(now())).await;
    }
    let _ = publish::serve(&pump, sender, receiver, request, &catalog(), tracks).await;
}

async fn produce(tracks: Arc<Tracks>, producer: ProducerId) {
    let grid = catalog().grids[0];
    let first = grid.first_not_begun(now());
    for n in rate().first_at_or_after(grid.start_of(first)).0.. {
        let time = rate().time_of(FrameNumber(n));
        tokio::time::sleep(time.since(now())).await;
        let group = grid.group_at(time);
        let header = GroupHeader { medium: Medium::Video, group, producer, published_us: time.0 };
        let held = tracks.begin(grid, header).unwrap();
        let index = (n - rate().first_at_or_after(held.base).0) as u32;
        let payload = Bytes::from(producer.0.to_be_bytes().to_vec());
        tracks.push(&held, index, Frame { time, flags: FrameFlags::PRIMARY, payload });
        if u64::from(index) + 1 == FRAMES_PER_GROUP {
            tracks.complete(&held, FRAMES_PER_GROUP as u32);
        }
    }
}

struct Scene {
    _folder: tempfile::TempDir,
    workers: [Worker; 2],
    relays: Arc<Relays>,
}

impl Scene {
    fn new() -> Self {
        Self::answering(Duration::ZERO)
    }

    /// Its second worker answers so far into the group that it is asked for.
    fn answering(second: Answers) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::in_folder(folder.path());
        let workers = [("worker-1", 1, Duration::ZERO), ("worker-2", 2, second)]
            .map(|(name, producer, answers)| Worker::start(&certificates, name, producer, answers));
        let identity = Identity { id: id("edge-a"), role: Role::Edge };
        let endpoint =
            Endpoint::node(&certificates, &identity, "127.0.0.1:0".parse().unwrap()).unwrap();
        let network = Arc::new(Network::new(id("edge-a"), Vec::new()));
        let relays = Relays::new(
            Arc::new(Peers::new(endpoint, Arc::default())),
            network,
            Pulling::FOR_COMPONENTS,
        );
        Self { _folder: folder, workers, relays }
    }

    /// The stream is to be pulled from these, best first.
    fn name(&self, workers: &[usize]) {
        let named = workers.iter().map(|at| &self.workers[*at].address);
        let origin = |node: &NodeAddress| StreamOrigin {
            stream: STREAM.parse().unwrap(),
            origin: node.id.clone(),
        };
        let nodes = self.workers.iter().map(|worker| worker.address.clone()).collect();
        self.relays.network.update(Directory { nodes, streams: named.map(origin).collect() });
    }

    fn demand(&self) -> Demand {
        self.relays.demand(&STREAM.parse().unwrap(), Description::Zero, None).unwrap()
    }
}

/// Producers of the groups that are held whole, oldest first.
fn whole(demand: &Demand) -> BTreeMap<GroupId, u64> {
    let groups = demand.relay.tracks.ring(Medium::Video).groups();
    let whole = groups.iter().filter(|group| group.is_complete());
    whole.map(|group| (group.header.group, group.header.producer.0)).collect()
}

fn assert_none_is_missing(seen: &BTreeMap<GroupId, u64>) {
    let (first, last) = (seen.keys().next().unwrap().0, seen.keys().last().unwrap().0);
    assert_eq!(seen.len() as u64, last - first + 1, "a group is missing: {seen:?}");
}

/// Waits until a whole group of `producer` is there; notes all that are on the way.
async fn until(demand: &Demand, producer: u64, seen: &mut BTreeMap<GroupId, u64>) {
    let wait = async {
        loop {
            let groups = whole(demand);
            let there = groups.values().last() == Some(&producer);
            seen.extend(groups);
            if there {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WAIT, wait).await.unwrap_or_else(|_| panic!("in vain: {producer}"));
}

#[tokio::test]
async fn a_relay_follows_the_directory_between_groups_and_misses_none() {
    let scene = Scene::new();
    scene.name(&[0]);
    let demand = scene.demand();
    demand.relay.ready().await.map_err(|why| why.reason).unwrap();
    let mut seen = BTreeMap::new();
    until(&demand, 1, &mut seen).await;
    scene.name(&[1]);
    until(&demand, 2, &mut seen).await;
    scene.name(&[0]);
    until(&demand, 1, &mut seen).await;
    assert_none_is_missing(&seen);
    let changes = seen.values().zip(seen.values().skip(1)).filter(|(a, b)| a != b).count();
    assert_eq!(changes, 2, "{seen:?}");
}

/// Goes over from the first worker to the second when it has come to this place within a group, and misses none.
async fn goes_over(scene: &Scene, within: Duration) {
    scene.name(&[0]);
    let demand = scene.demand();
    demand.relay.ready().await.map_err(|why| why.reason).unwrap();
    let mut seen = BTreeMap::new();
    until(&demand, 1, &mut seen).await;
    let (tracks, grid) = (&demand.relay.tracks, catalog().grids[0]);
    let there = grid.start_of(grid.group_at(tracks.live()).next()) + within;
    let comes = async {
        while tracks.live() < there {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(WAIT, comes).await.unwrap();
    scene.name(&[1]);
    until(&demand, 2, &mut seen).await;
    assert_none_is_missing(&seen);
}

#[tokio::test]
async fn a_group_of_which_the_first_frame_has_come_is_left_to_who_began_it() {
    goes_over(&Scene::new(), Duration::ZERO).await;
}

#[tokio::test]
async fn a_group_that_begins_while_the_next_source_is_asked_is_finished_by_the_old_one() {
    let answers = Duration::from_millis(75);
    goes_over(&Scene::answering(answers), Duration::from_millis(100)).await;
}

#[tokio::test]
async fn a_relay_goes_over_to_a_better_source_that_has_come_up_and_stays_where_it_is_named() {
    let scene = Scene::new();
    scene.name(&[1]);
    let demand = scene.demand();
    demand.relay.ready().await.map_err(|why| why.reason).unwrap();
    let mut seen = BTreeMap::new();
    until(&demand, 2, &mut seen).await;
    // Named behind another it is not left, and for the better one only.
    scene.name(&[1, 0]);
    for _ in 0..3 {
        let newest = *seen.keys().last().unwrap();
        let wait = async {
            while *seen.keys().last().unwrap() == newest {
                seen.extend(whole(&demand));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(WAIT, wait).await.unwrap();
    }
    assert!(seen.values().all(|producer| *producer == 2), "{seen:?}");
    scene.name(&[0, 1]);
    until(&demand, 1, &mut seen).await;
}
