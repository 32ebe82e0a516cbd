//! Sessions without decoding, between scripted edges.

#![allow(clippy::unwrap_used)]

mod edge;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use edge::{Edge, PAYLOAD, id, ticket};
use gibbon_client::{
    Arrival, Blind, Engine, Happening, Journey, Played, Position, Settings, Stage, Tells, Track,
};
use gibbon_control::{
    portal::SessionTicket,
    telemetry::{DeviceClass, MotionReport},
};
use gibbon_handoff::client::Note;
use gibbon_mdc::{Candidate, Config, Merger, Shown};
use gibbon_net::{Certificates, Endpoint, Viewers, close};

/// Nothing here takes longer, on a machine however busy.
const WAIT: Duration = Duration::from_secs(20);

struct Network {
    _folder: tempfile::TempDir,
    certificates: Certificates,
}

impl Network {
    /// Of a network that has a node, and so an authority.
    fn viewer(&self) -> Endpoint {
        Viewers::new(self.certificates.authority().unwrap()).unwrap().open().unwrap()
    }
}

fn network() -> Network {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::in_folder(folder.path());
    Network { _folder: folder, certificates }
}

fn settings() -> Settings {
    let merger = Config { playout_delay: Duration::from_millis(700), ..Config::default() };
    Settings { merger, give_up_after: Duration::from_secs(2), ..Settings::default() }
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(WAIT, future).await.unwrap_or_else(|_| panic!("in vain: {what}"))
}

/// Plays this long.
async fn play<S: Stage>(
    endpoint: &Endpoint,
    ticket: SessionTicket,
    seconds: f64,
    stage: S,
) -> Played<S> {
    let settings = Settings { duration: Some(Duration::from_secs_f64(seconds)), ..settings() };
    let stream = "live/test".parse().unwrap();
    let engine = Engine::new(endpoint.clone(), stream, ticket, settings, stage);
    soon("the session ends", engine.play(std::future::pending())).await.unwrap()
}

#[tokio::test]
async fn sessions_share_an_endpoint_and_each_ends_by_itself() {
    let network = network();
    let edge = Edge::start(&network.certificates, "edge-a");
    let endpoint = network.viewer();
    let (short, long) = tokio::join!(
        play(&endpoint, ticket(&edge, &[]), 1.0, Blind),
        play(&endpoint, ticket(&edge, &[]), 3.0, Blind)
    );
    for (played, frames) in [(short, 25), (long, 75)] {
        assert_eq!(played.failure, None);
        let (report, spans) = played.seen.unwrap().report();
        assert_eq!(spans.len(), 1, "{spans:?}");
        assert!(report.frames.central >= frames, "{:?}", report.frames);
        assert_eq!(report.frames.central, report.frames.expected);
    }
    endpoint.close(close::DONE, "all is seen").await;
}

/// Watches the edge that frames come from.
#[derive(Clone, Default)]
struct Watch {
    from_b: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
}

impl Stage for Watch {
    fn arrived(&mut self, arrival: Arrival<'_>) {
        self.from_b.fetch_add(u64::from(*arrival.edge == id("edge-b")), Relaxed);
    }

    fn happened(&mut self, _: Duration, happening: Happening<'_>) {
        assert!(!matches!(happening, Happening::Without { .. }), "{happening:?}");
        let lost = matches!(happening, Happening::Done(Note::Recovering { .. }));
        self.lost.fetch_add(u64::from(lost), Relaxed);
    }
}

#[tokio::test]
async fn a_lost_edge_is_replaced_by_a_standby_and_nothing_freezes() {
    let network = network();
    let [a, b] = ["edge-a", "edge-b"].map(|name| Edge::start(&network.certificates, name));
    let endpoint = network.viewer();
    let watch = Watch::default();
    let session = play(&endpoint, ticket(&a, &[&b]), 4.0, watch.clone());
    let loss = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        a.stop().await;
    };
    let (played, ()) = tokio::join!(session, loss);
    let (report, _) = played.seen.unwrap().report();
    assert_eq!(report.frames.frozen, 0, "{:?}", report.frames);
    assert!(report.frames.expected >= 100, "{:?}", report.frames);
    let to: Vec<_> = report.recoveries.iter().map(|recovery| recovery.to.clone()).collect();
    assert_eq!(to, [Some(id("edge-b")), Some(id("edge-b"))]);
    assert_eq!(watch.lost.load(Relaxed), 2);
    assert!(watch.from_b.load(Relaxed) >= 50);
}

#[tokio::test]
async fn where_no_edge_is_reached_the_session_says_so_and_nothing_was_seen() {
    let network = network();
    let edge = Edge::start(&network.certificates, "edge-a");
    edge.stop().await;
    let endpoint = network.viewer();
    let played = play(&endpoint, ticket(&edge, &[]), 1.0, Blind).await;
    assert!(played.seen.is_none());
    let why = played.failure.unwrap();
    assert!(why.starts_with("no edge could be reached"), "{why}");
}

/// Looks at the payload of pictures that are shown.
struct Look {
    wants_media: bool,
    shown: u64,
}

impl Stage for Look {
    fn wants_media(&self) -> bool {
        self.wants_media
    }

    fn arrived(&mut self, arrival: Arrival<'_>) {
        assert_eq!(arrival.frame.payload, PAYLOAD);
    }

    fn show(&mut self, merger: &Merger, shown: Shown) {
        let Some(Candidate::Coded(picture)) = shown.source else { panic!("{shown:?}") };
        let (_, frame) = merger.coded(&picture.chain, picture.index).next().unwrap();
        let expected = if self.wants_media { PAYLOAD } else { &[0; PAYLOAD.len()] };
        assert_eq!(frame.payload, expected);
        self.shown += 1;
    }
}

#[tokio::test]
async fn payload_is_kept_for_those_who_want_it_and_all_see_the_same() {
    let network = network();
    let edge = Edge::start(&network.certificates, "edge-a");
    let endpoint = network.viewer();
    let look =
        |wants_media| play(&endpoint, ticket(&edge, &[]), 1.5, Look { wants_media, shown: 0 });
    let (seeing, counting) = tokio::join!(look(true), look(false));
    for played in [seeing, counting] {
        let (report, _) = played.seen.unwrap().report();
        assert!(played.stage.shown >= 37);
        assert_eq!(report.frames.central, played.stage.shown);
        let bytes = report.bytes.media + report.bytes.duplicate;
        assert_eq!(bytes % PAYLOAD.len() as u64, 0);
        assert!(bytes >= 2 * 37 * PAYLOAD.len() as u64, "{bytes}");
    }
}

#[tokio::test]
async fn paths_and_positions_are_told_once_a_second_over_one_connection_and_then_over_another() {
    let network = network();
    let edges = ["edge-a", "edge-b"].map(|name| Edge::start(&network.certificates, name));
    let endpoint = network.viewer();
    let start = Position::new(45.27, 13.71);
    let journey =
        Journey { track: Track::still(start), route: Vec::new(), tells: Tells::Positions };
    let settings = Settings {
        duration: Some(Duration::from_secs(6)),
        device: Some(DeviceClass::Phone),
        journey: Some(journey),
        ..settings()
    };
    // The first serves both descriptions, the second is connected to for when it is lost.
    let ticket = ticket(&edges[0], &[&edges[1]]);
    let engine = Engine::new(endpoint, "live/test".parse().unwrap(), ticket, settings, Blind);
    soon("the session ends", engine.play(std::future::pending())).await.unwrap();
    let told = edges.each_ref().map(|edge| {
        let reports = edge.reports.lock().unwrap();
        let told = reports.iter().map(|report| report.telemetry().unwrap());
        told.filter(|told| !told.is_empty()).collect::<Vec<_>>()
    });
    let times = told.each_ref().map(Vec::len);
    assert!((3..=7).contains(&times.iter().sum::<usize>()), "{told:?}");
    assert!(times.iter().all(|times| *times >= 1), "{told:?}");
    let paths = told.iter().flatten().flat_map(|told| &told.paths);
    paths.clone().for_each(|path| path.check().unwrap());
    let fed = paths.clone().find(|path| path.slack.is_some()).unwrap();
    let slack = fed.slack.unwrap();
    assert!(fed.edge == id("edge-a") && fed.kbps > 0 && fed.rtt_ms > 0.0, "{fed:?}");
    assert!((200.0..=701.0).contains(&slack.mean_ms) && slack.missed == 0.0, "{slack:?}");
    // What was there when it came is not measured: the path has brought it all at once.
    let deviations = paths.clone().filter_map(|path| path.slack).map(|slack| slack.deviation_ms);
    assert!(deviations.clone().all(|ms| ms < 50.0), "{:?}", deviations.collect::<Vec<_>>());
    let idle = paths.clone().find(|path| path.edge == id("edge-b")).unwrap();
    assert_eq!(idle.slack, None);
    let motions: Vec<_> = told.iter().flatten().filter_map(|told| told.motion.as_ref()).collect();
    assert_eq!(motions.len(), 1, "it stays, and that is no news");
    let MotionReport::At { latitude, .. } = motions[0] else { panic!("{motions:?}") };
    assert_eq!(*latitude, 45.27);
    assert!(told.iter().flatten().all(|told| told.device == Some(DeviceClass::Phone)));
}
