//! Who is let in at the nodes' door, and what happens to those who are not.

use std::net::SocketAddr;

use gibbon_control::{
    HostAddress,
    link::{self, Registration, coordinator_identity},
    node::{FromNode, NodeReport, ToNode},
};
use gibbon_coordinator::{manager::Output, service::MAX_WAITING};
use gibbon_media::Role;
use gibbon_net::{
    Endpoint, close,
    message::{self, Receiver, Sender},
    wire::StreamKind,
};
use quinn::{Connection, ConnectionError, VarInt};

use crate::{
    network::{catalog, id, registration},
    running::{Running, soon},
};

/// The code and reason that the coordinator closes a connection with.
async fn closed(connection: &Connection) -> (VarInt, String) {
    match soon(connection.closed()).await {
        ConnectionError::ApplicationClosed(close) => {
            (close.error_code, String::from_utf8(close.reason.to_vec()).unwrap())
        }
        other => panic!("{other}"),
    }
}

struct Node {
    connection: Connection,
    sender: Sender,
    receiver: Receiver,
    // Kept open.
    _endpoint: Endpoint,
}

/// A node by certificate that has not said anything yet.
async fn node(running: &Running, name: &str, role: Role) -> Node {
    let endpoint = running.endpoint(name, role);
    let connection = endpoint.connect(&coordinator_identity(), running.nodes).await.unwrap();
    let (sender, receiver) = message::open(&connection, StreamKind::Control).await.unwrap();
    Node { connection, sender, receiver, _endpoint: endpoint }
}

impl Node {
    async fn hears(&mut self) -> ToNode {
        soon(self.receiver.receive_json()).await.unwrap().unwrap()
    }
}

/// A node that has registered.
async fn registered(running: &Running, name: &str, role: Role) -> Node {
    let mut node = node(running, name, role).await;
    node.sender.send_json(&registration(name)).await.unwrap();
    assert!(matches!(node.hears().await, ToNode::Registered { .. }));
    node
}

#[tokio::test]
async fn a_node_registers_is_told_of_the_others_and_comes_back_by_itself() {
    let running = Running::start(false).await;
    let link = |name, role, report: NodeReport| {
        let registration = Registration::new(running.nodes, registration(name));
        link::start(running.endpoint(name, role), registration, move || report.clone())
    };
    let streams = NodeReport { streams: vec![catalog("live/bbb")], ..NodeReport::default() };
    let _studio = link("studio", Role::Origin, streams);
    let mut edge = link("edge-a", Role::Edge, NodeReport::default());
    let knows_the_origin = |message: &ToNode| match message {
        ToNode::Directory(directory) => {
            directory.origins(&"live/bbb".parse().unwrap()).any(|node| node.id == id("studio"))
        }
        _ => false,
    };
    while !knows_the_origin(&soon(edge.from_coordinator.recv()).await.unwrap()) {}
    // Somebody with the same certificate pushes it out; it is back with a directory of its own.
    let twin = registered(&running, "edge-a", Role::Edge).await;
    while !knows_the_origin(&soon(edge.from_coordinator.recv()).await.unwrap()) {}
    assert_eq!(closed(&twin.connection).await.0, close::DONE);
    let nodes = running.service.ask(|manager, now| manager.nodes(now));
    assert_eq!(nodes.iter().filter(|node| node.up).count(), 2);
}

/// Starts a node's link to `coordinator`, and returns where the coordinator then tells others that it is.
async fn told_to_be_at(bound: &str, coordinator: &str, advertise: Option<&str>) -> SocketAddr {
    let running = Running::start(false).await;
    let mut register = registration("edge-a");
    if let FromNode::Register { node, .. } = &mut register {
        node.address = bound.parse().unwrap();
    }
    let coordinator = format!("{coordinator}:{}", running.nodes.port());
    let coordinator: HostAddress = coordinator.parse().unwrap();
    let advertise = advertise.map(|host| host.parse().unwrap());
    let registration = Registration::new(coordinator, register).advertising(advertise);
    let endpoint = running.endpoint("edge-a", Role::Edge);
    let mut link = link::start(endpoint, registration, NodeReport::default);
    soon(link.connected.wait_for(|is| *is)).await.unwrap();
    running.service.ask(|manager, now| manager.nodes(now))[0].address
}

#[tokio::test]
async fn a_node_on_every_interface_is_reached_on_the_one_that_leads_to_its_coordinator() {
    let address = told_to_be_at("0.0.0.0:4483", "localhost", None).await;
    assert_eq!(address, "127.0.0.1:4483".parse().unwrap());
}

#[tokio::test]
async fn a_node_is_reached_at_the_name_and_port_that_it_advertises() {
    let address = told_to_be_at("0.0.0.0:4483", "localhost", Some("127.0.0.2")).await;
    assert_eq!(address, "127.0.0.2:4483".parse().unwrap());
    let address = told_to_be_at("0.0.0.0:4483", "localhost", Some("localhost:9")).await;
    assert!(address.ip().is_loopback() && address.port() == 9, "{address}");
}

#[tokio::test]
async fn a_viewer_is_sent_to_the_portal() {
    let running = Running::start(false).await;
    let viewer = Endpoint::viewer(running.certificates.authority().unwrap()).unwrap();
    let connection = viewer.connect(&coordinator_identity(), running.nodes).await.unwrap();
    let (code, reason) = closed(&connection).await;
    assert_eq!(code, close::UNAUTHORISED);
    assert!(reason.contains("portal"), "{reason}");
}

#[tokio::test]
async fn a_certificate_is_good_for_its_own_id_and_role_only() {
    let running = Running::start(false).await;
    for (certificate, role, registers_as) in [
        ("edge-a", Role::Edge, "edge-b"),
        ("studio", Role::Edge, "studio"),
        ("edge-a", Role::Origin, "edge-a"),
    ] {
        let mut node = node(&running, certificate, role).await;
        node.sender.send_json(&registration(registers_as)).await.unwrap();
        let ToNode::Refused { reason } = node.hears().await else { panic!("it was let in") };
        assert!(reason.starts_with(&format!("the certificate is that of {role} ")), "{reason}");
        assert_eq!(closed(&node.connection).await, (close::WRONG_ROLE, reason));
    }
    assert!(running.service.ask(|manager, now| manager.nodes(now)).is_empty());
}

#[tokio::test]
async fn an_edge_that_reports_streams_is_disconnected_and_others_are_not() {
    let running = Running::start(false).await;
    let mut good = registered(&running, "edge-b", Role::Edge).await;
    let mut edge = registered(&running, "edge-a", Role::Edge).await;
    let report = NodeReport { streams: vec![catalog("live/x")], ..NodeReport::default() };
    edge.sender.send_json(&FromNode::Report(report)).await.unwrap();
    let (code, reason) = closed(&edge.connection).await;
    assert_eq!(code, close::WRONG_ROLE);
    assert_eq!(reason, "an edge may not publish streams; only an origin may");
    assert!(running.service.ask(|manager, _| manager.streams()).is_empty());
    good.sender.send_json(&FromNode::Report(NodeReport::default())).await.unwrap();
    assert!(matches!(good.hears().await, ToNode::Directory(_)));
}

#[tokio::test]
async fn nonsense_closes_the_connection_with_the_reason() {
    let running = Running::start(false).await;
    let mut node = registered(&running, "edge-a", Role::Edge).await;
    node.sender.send_json(&"nonsense").await.unwrap();
    let (code, reason) = closed(&node.connection).await;
    assert_eq!(code, close::MALFORMED);
    assert!(reason.starts_with("not a valid message"), "{reason}");
    let endpoint = running.endpoint("edge-b", Role::Edge);
    let connection = endpoint.connect(&coordinator_identity(), running.nodes).await.unwrap();
    let mut session = message::open(&connection, StreamKind::Session).await.unwrap();
    session.0.send_json(&"hello").await.unwrap();
    assert_eq!(closed(&connection).await.0, close::MALFORMED);
}

// On one thread, so that the queue is not emptied while it is being filled.
#[tokio::test(flavor = "current_thread")]
async fn a_node_that_lets_orders_pile_up_is_disconnected() {
    let running = Running::start(false).await;
    let node = registered(&running, "edge-a", Role::Edge).await;
    let order = || Output::ToNode {
        node: id("edge-a"),
        message: ToNode::Refused { reason: "a message".into() },
    };
    let orders = (0..=MAX_WAITING).map(|_| order()).collect();
    running.service.tell(|_, _| Ok::<_, ()>(((), orders))).unwrap();
    assert_eq!(closed(&node.connection).await.0, close::SILENT);
}
