//! A network that carries datagrams in one direction only, between a node and the coordinator.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use gibbon_control::{
    link::{self, NodeLink, Registration},
    node::NodeReport,
};
use gibbon_coordinator::registry::LOST_AFTER;
use gibbon_media::Role;
use tokio::{net::UdpSocket, sync::watch};

use crate::{
    network::{id, registration},
    running::{Running, any_port, soon},
};

/// Both are to notice within this: reports go unheard for two seconds, and the machine may be busy.
const NOTICED_WITHIN: Duration = Duration::from_secs(6);

/// A path from one node to the coordinator; each direction can be cut.
#[derive(Clone, Default)]
struct Relay {
    to_coordinator_cut: Arc<AtomicBool>,
    to_node_cut: Arc<AtomicBool>,
}

impl Relay {
    /// Where the node is to connect to.
    async fn open(&self, coordinator: SocketAddr) -> SocketAddr {
        let inner = UdpSocket::bind(any_port()).await.unwrap();
        let outer = UdpSocket::bind(any_port()).await.unwrap();
        outer.connect(coordinator).await.unwrap();
        let address = inner.local_addr().unwrap();
        let relay = self.clone();
        tokio::spawn(async move {
            let (mut up, mut down) = ([0; 2048], [0; 2048]);
            let mut node = None;
            loop {
                tokio::select! {
                    Ok((length, from)) = inner.recv_from(&mut up) => {
                        node = Some(from);
                        if !relay.to_coordinator_cut.load(Relaxed) {
                            let _ = outer.send(&up[..length]).await;
                        }
                    }
                    Ok(length) = outer.recv(&mut down) => {
                        if let Some(node) = node.filter(|_| !relay.to_node_cut.load(Relaxed)) {
                            let _ = inner.send_to(&down[..length], node).await;
                        }
                    }
                }
            }
        });
        address
    }

    fn cut(&self, to_coordinator: bool, to_node: bool) {
        self.to_coordinator_cut.store(to_coordinator, Relaxed);
        self.to_node_cut.store(to_node, Relaxed);
    }
}

async fn until(connected: &mut watch::Receiver<bool>, wanted: bool) {
    soon(connected.wait_for(|is| *is == wanted)).await.unwrap();
}

async fn until_up(running: &Running, wanted: bool) {
    let is_up = || {
        let nodes = running.service.ask(|manager, now| manager.nodes(now));
        nodes.iter().any(|node| node.id == id("edge-a") && node.up)
    };
    soon(async {
        while is_up() != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_partition_is_noticed_by_both_ends_in_either_direction_and_healed() {
    let running = Running::start(false).await;
    let relay = Relay::default();
    let coordinator = relay.open(running.nodes).await;
    let endpoint = running.endpoint("edge-a", Role::Edge);
    let registration = Registration::new(coordinator, registration("edge-a"));
    let NodeLink { mut connected, mut from_coordinator, to_coordinator: _still } =
        link::start(endpoint, registration, NodeReport::default);
    tokio::spawn(async move { while from_coordinator.recv().await.is_some() {} });
    for (to_coordinator, to_node) in [(true, false), (false, true)] {
        until(&mut connected, true).await;
        until_up(&running, true).await;
        let cut = Instant::now();
        relay.cut(to_coordinator, to_node);
        until(&mut connected, false).await;
        until_up(&running, false).await;
        assert!(cut.elapsed() < NOTICED_WITHIN + LOST_AFTER, "{:?}", cut.elapsed());
        relay.cut(false, false);
    }
    until(&mut connected, true).await;
    until_up(&running, true).await;
}
