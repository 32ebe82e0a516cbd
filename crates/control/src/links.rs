//! Paths to other nodes: which connections there are to each, and what goes over them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use gibbon_media::{NodeId, Role};
use gibbon_net::Identity;

use crate::telemetry::{LinkReport, rounded};

/// Nodes that the path to is reported.
pub const MAX_LINKS: usize = 64;

/// Open connections to other nodes, in either direction.
#[derive(Debug, Default)]
pub struct Links(Mutex<Vec<(Identity, quinn::Connection)>>);

/// What QUIC says of one connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Congestion window, in bytes.
    pub window: u64,
    /// Bytes sent so far.
    pub bytes: u64,
    /// Packets sent so far.
    pub packets: u64,
    /// Packets lost so far.
    pub lost: u64,
}

/// The figures of all connections at one time, by their ids.
pub type Snapshot = BTreeMap<usize, (Identity, Figures)>;

impl Links {
    /// There is a connection to `node`.
    pub fn note(&self, node: &Identity, connection: &quinn::Connection) {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|(_, held)| held.close_reason().is_none());
        if links.iter().all(|(_, held)| held.stable_id() != connection.stable_id()) {
            links.push((node.clone(), connection.clone()));
        }
    }

    /// How they are.
    pub fn snapshot(&self) -> Snapshot {
        let links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = links.iter().filter(|(_, held)| held.close_reason().is_none());
        open.map(|(node, held)| (held.stable_id(), (node.clone(), figures(held)))).collect()
    }
}

fn figures(connection: &quinn::Connection) -> Figures {
    let stats = connection.stats();
    Figures {
        rtt: stats.path.rtt,
        window: stats.path.cwnd,
        bytes: stats.udp_tx.bytes,
        packets: stats.path.sent_packets,
        lost: stats.path.lost_packets,
    }
}

/// What was sent over all paths, in kbit/s, and each path as it was, from `before` to `now`: where there are more
/// than [`MAX_LINKS`], not those to edges.
pub fn reports(before: &Snapshot, now: &Snapshot, between: Duration) -> (u64, Vec<LinkReport>) {
    let kbps = |bytes: u64| (bytes as f64 * 8.0 / 1000.0 / between.as_secs_f64().max(1e-3)) as u64;
    let mut sent = 0;
    let mut links: BTreeMap<(bool, &NodeId), Sum> = BTreeMap::new();
    for (id, (node, figures)) in now {
        // What there was not before has begun meanwhile.
        let since = |pick: fn(&Figures) -> u64| {
            pick(figures) - before.get(id).map_or(0, |(_, before)| pick(before)).min(pick(figures))
        };
        let sum = links.entry((node.role == Role::Edge, &node.id)).or_default();
        let bytes = since(|f| f.bytes);
        sent += bytes;
        sum.bytes += bytes;
        sum.packets += since(|f| f.packets);
        sum.lost += since(|f| f.lost);
        sum.rtt = Some(sum.rtt.map_or(figures.rtt, |rtt| rtt.min(figures.rtt)));
        sum.bits_per_second = sum.bits_per_second.max(bits_per_second(figures));
    }
    let reports = links.into_iter().take(MAX_LINKS).map(|((_, node), sum)| LinkReport {
        node: node.clone(),
        rtt_us: sum.rtt.unwrap_or_default().as_micros() as u64,
        loss: rounded(sum.lost as f64 / sum.packets.max(1) as f64, 1e4),
        bandwidth_kbps: (sum.bits_per_second / 1000.0) as u64,
        load_kbps: kbps(sum.bytes),
    });
    (kbps(sent), reports.collect())
}

/// What a connection can carry: one congestion window in each round trip (RFC 9002, section 7).
fn bits_per_second(figures: &Figures) -> f64 {
    figures.window as f64 * 8.0 / figures.rtt.as_secs_f64().max(1e-6)
}

/// All connections to one node.
#[derive(Debug, Default)]
struct Sum {
    rtt: Option<Duration>,
    bits_per_second: f64,
    bytes: u64,
    packets: u64,
    lost: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(bytes: u64, packets: u64, lost: u64) -> Figures {
        Figures { rtt: Duration::from_millis(20), window: 50_000, bytes, packets, lost }
    }

    fn snapshot(of: &[(usize, &str, Figures)]) -> Snapshot {
        let identity = |node: &str| {
            let role = if node.starts_with("edge") { Role::Edge } else { Role::Origin };
            Identity { id: node.parse().unwrap(), role }
        };
        of.iter().map(|(id, node, figures)| (*id, (identity(node), *figures))).collect()
    }

    #[test]
    fn a_path_is_all_connections_to_a_node_and_what_went_over_them_since() {
        let before =
            snapshot(&[(1, "edge-a", figures(1000, 10, 0)), (4, "gone", figures(9, 9, 9))]);
        let quick = Figures { rtt: Duration::from_millis(10), ..figures(250_000, 90, 10) };
        let now = snapshot(&[
            (1, "edge-a", figures(1_001_000, 110, 0)),
            (2, "edge-a", quick),
            (3, "origin", figures(0, 0, 0)),
        ]);
        let (sent, links) = reports(&before, &now, Duration::from_secs(2));
        assert_eq!(sent, 5000);
        let [origin, edge] = &links[..] else { panic!("{links:?}") };
        assert_eq!(edge.node.as_str(), "edge-a");
        assert_eq!((edge.rtt_us, edge.load_kbps, edge.bandwidth_kbps), (10_000, 5000, 40_000));
        assert!((edge.loss - 10.0 / 190.0).abs() < 1e-4, "{}", edge.loss);
        assert_eq!((origin.load_kbps, origin.loss, origin.bandwidth_kbps), (0, 0.0, 20_000));
    }

    #[test]
    fn no_more_paths_are_reported_than_the_bound_says() {
        let nodes: Vec<String> = (0..MAX_LINKS + 9).map(|n| format!("edge-{n}")).collect();
        let nodes = nodes.iter().enumerate();
        let nodes = nodes.map(|(n, node)| (n, node.as_str(), figures(1000, 1, 0)));
        let now: Vec<_> = nodes.chain([(9999, "origin", figures(0, 0, 0))]).collect();
        let (sent, links) = reports(&Snapshot::new(), &snapshot(&now), Duration::from_secs(1));
        assert_eq!((links.len(), sent), (MAX_LINKS, 8 * (MAX_LINKS as u64 + 9)));
        assert_eq!(links[0].node.as_str(), "origin", "edges are left out first");
    }
}
