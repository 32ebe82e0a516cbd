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
use gibbon_client::{Arrival, Blind, Engine, Happening, Played, Settings, Stage};
use gibbon_control::portal::SessionTicket;
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
