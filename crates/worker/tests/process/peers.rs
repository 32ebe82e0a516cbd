//! Who may speak to a worker, and what becomes of those who speak nonsense.

use crate::network::{Coordinator, Network, Origin, instance, soon, source};
use gibbon_media::{Description, Role};
use gibbon_net::{close, message, wire::RejectCode, wire::StreamKind};
use quinn::ConnectionError;

/// The code that a connection was closed with.
fn code(error: ConnectionError) -> quinn::VarInt {
    match error {
        ConnectionError::ApplicationClosed(closed) => closed.error_code,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn nonsense_closes_the_connection_that_it_came_over_and_no_other() {
    let network = Network::new();
    let (origin, mut coordinator) = (Origin::start(&network), Coordinator::start(&network));
    let worker = network.worker(Some(&coordinator), &[]).await;
    coordinator.says(origin.directory());
    let spec = instance(1, "mdc");
    coordinator.orders(1, std::slice::from_ref(&spec));
    coordinator.sees_running(1).await;
    let good = network.edge("edge-a", &worker).await;
    let mut reading = good.reads(&spec.stream(), Description::Zero).await.unwrap();
    // A length without bound, a field that ends too early, a stream of no kind.
    let garbage = [&b"\x01\x01\xbf\xff\xff\xff"[..], b"\x01\x01\x02\x09\x09", b"\x3f"];
    for garbage in garbage {
        let bad = network.edge("edge-b", &worker).await;
        let (mut send, _recv) = bad.link.connection().open_bi().await.unwrap();
        send.write_all(garbage).await.unwrap();
        let closed = soon("it is closed", bad.link.connection().closed()).await;
        assert_eq!(code(closed), close::MALFORMED, "{garbage:?}");
    }
    for _ in 0..3 {
        reading.next().await.unwrap();
    }
    assert_eq!(good.link.connection().close_reason(), None);
}

#[tokio::test]
async fn only_edges_and_workers_are_served_and_descriptions_only() {
    let network = Network::new();
    let worker = network.worker(None, &[]).await;
    let strangers = [network.viewer(), network.node("origin-9", Role::Origin)];
    for endpoint in strangers {
        let connection = endpoint.connect(&worker.identity(), worker.address).await.unwrap();
        assert_eq!(code(soon("it is closed", connection.closed()).await), close::WRONG_ROLE);
    }
    let edge = network.edge("edge-a", &worker).await;
    let (mut sender, _receiver) =
        message::open(edge.link.connection(), StreamKind::Control).await.unwrap();
    sender.send_json(&"hello").await.unwrap();
    assert_eq!(code(soon("closed", edge.link.connection().closed()).await), close::WRONG_ROLE);
}

#[tokio::test]
async fn a_stream_that_it_does_not_make_may_be_had_elsewhere() {
    let network = Network::new();
    let worker = network.worker(None, &[]).await;
    let edge = network.edge("edge-a", &worker).await;
    let refused = edge.reads(&source(), Description::Zero).await.err().unwrap();
    assert_eq!(refused.code, RejectCode::Unavailable);
    assert!(refused.reason.contains("does not publish live/talk"), "{refused:?}");
}
