//! When each edge was last heard, and what it says of its own upstream and of the path from it. Pure: time
//! is passed in, since session start.

use std::{collections::BTreeMap, time::Duration};

use gibbon_media::{Description, NodeId};

/// For this long after an edge has said that a description stands still, it does.
const STALLED_FOR: Duration = Duration::from_millis(150);
/// For this long after that what comes is late because it stood still.
const STALL_ECHO: Duration = Duration::from_secs(2);
/// An edge that has been silent for this long is spoken to: if its way back to us leads nowhere because our
/// address has changed (RFC 9000 §9.3), that shows it the new one, and its answer is heard in time.
const PROBE_AFTER: Duration = Duration::from_millis(70);
/// A connection on which nothing has been heard for this long is dead: even an idle one brings a sign of
/// life every 2 s (QUIC's keep-alive).
const DEAD_AFTER: Duration = Duration::from_millis(3500);

/// Who is heard on the connections that are open.
#[derive(Debug, Default)]
pub struct Ears {
    edges: BTreeMap<NodeId, Ear>,
    /// When a description last stood still, wherever.
    stood_still: [Option<Duration>; 2],
}

/// What came over one connection.
#[derive(Debug)]
struct Ear {
    connection: u64,
    datagrams: u64,
    heard: Duration,
    probed: Duration,
    stalled: [Option<Duration>; 2],
    path: (u64, u64),
}

/// What has come over a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The edge at its other end.
    pub edge: NodeId,
    /// Tells a newer connection to the same edge from an older one.
    pub connection: u64,
    /// Since it was opened.
    pub datagrams: u64,
    /// In them.
    pub bytes: u64,
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Acknowledgements that came, each of which is taken for a measurement of it.
    pub acks: u64,
}

impl Ears {
    /// What has come over all open connections; `slept` is how long nobody could listen since the last
    /// time.
    pub fn listen(&mut self, now: Duration, slept: Duration, counted: Vec<Counted>) {
        self.edges.retain(|edge, ear| {
            counted.iter().any(|c| c.edge == *edge && c.connection == ear.connection)
        });
        for Counted { edge, connection, datagrams, .. } in counted {
            let fresh = Ear {
                connection,
                datagrams,
                heard: now,
                probed: now,
                stalled: [None; 2],
                path: (0, 0),
            };
            let ear = self.edges.entry(edge).or_insert(fresh);
            ear.heard = if datagrams > ear.datagrams { now } else { (ear.heard + slept).min(now) };
            ear.datagrams = datagrams;
        }
    }

    /// When a byte came last over the connection to `edge`, if one is open.
    pub fn heard(&self, edge: &NodeId) -> Option<Duration> {
        self.edges.get(edge).map(|ear| ear.heard)
    }

    /// Edges to be spoken to, so that they answer; each is named once in a while.
    pub fn probe(&mut self, now: Duration) -> Vec<NodeId> {
        let silent = |ear: &&mut Ear| now.saturating_sub(ear.heard.max(ear.probed)) >= PROBE_AFTER;
        let mut edges = Vec::new();
        for (edge, ear) in &mut self.edges {
            if silent(&ear) {
                ear.probed = now;
                edges.push(edge.clone());
            }
        }
        edges
    }

    /// Edges whose connection is dead.
    pub fn dead(&self, now: Duration) -> Vec<NodeId> {
        let dead = |ear: &Ear| now.saturating_sub(ear.heard) > DEAD_AFTER;
        self.edges.iter().filter(|(_, ear)| dead(ear)).map(|(edge, _)| edge.clone()).collect()
    }

    /// An edge says that some descriptions stand still there.
    pub fn stalled(&mut self, now: Duration, edge: &NodeId, descriptions: &[Description]) {
        for description in descriptions {
            self.stood_still[description.index()] = Some(now);
            if let Some(ear) = self.edges.get_mut(edge) {
                ear.stalled[description.index()] = Some(now);
            }
        }
    }

    /// Whether a description stands still at an edge.
    pub fn is_stalled(&self, now: Duration, edge: &NodeId, description: Description) -> bool {
        let said = self.edges.get(edge).and_then(|ear| ear.stalled[description.index()]);
        said.is_some_and(|said| now.saturating_sub(said) <= STALLED_FOR)
    }

    /// Whether what comes of a description may be late because it stood still.
    pub fn stood_still(&self, now: Duration, description: Description) -> bool {
        let said = self.stood_still[description.index()];
        said.is_some_and(|said| now.saturating_sub(said) <= STALL_ECHO)
    }

    /// An edge has sent so many packets to us, of which it takes so many for lost.
    pub fn path(&mut self, edge: &NodeId, sent: u64, lost: u64) {
        if let Some(ear) = self.edges.get_mut(edge) {
            ear.path = (sent, lost);
        }
    }

    /// The last it said of that.
    pub fn path_of(&self, edge: &NodeId) -> (u64, u64) {
        self.edges.get(edge).map_or((0, 0), |ear| ear.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn edge() -> NodeId {
        "edge-a".parse().unwrap()
    }

    fn counted(connection: u64, datagrams: u64) -> Vec<Counted> {
        vec![Counted { edge: edge(), connection, datagrams, bytes: 0, rtt: ms(0), acks: 0 }]
    }

    #[test]
    fn any_datagram_is_a_sign_of_life_and_silence_is_none() {
        let mut ears = Ears::default();
        ears.listen(ms(0), ms(0), counted(1, 5));
        ears.listen(ms(20), ms(0), counted(1, 6));
        ears.listen(ms(40), ms(0), counted(1, 6));
        assert_eq!(ears.heard(&edge()), Some(ms(20)));
        assert_eq!(ears.dead(ms(3520)), []);
        assert_eq!(ears.dead(ms(3521)), [edge()]);
        ears.listen(ms(60), ms(0), Vec::new());
        assert_eq!(ears.heard(&edge()), None);
    }

    #[test]
    fn a_player_that_slept_does_not_take_that_for_silence() {
        let mut ears = Ears::default();
        ears.listen(ms(0), ms(0), counted(1, 5));
        ears.listen(ms(20), ms(0), counted(1, 6));
        ears.listen(ms(5040), ms(5000), counted(1, 6));
        assert_eq!(ears.heard(&edge()), Some(ms(5020)));
        assert_eq!(ears.dead(ms(5040)), []);
    }

    #[test]
    fn a_silent_edge_is_spoken_to_now_and_then() {
        let mut ears = Ears::default();
        ears.listen(ms(0), ms(0), counted(1, 5));
        let probed = |ears: &mut Ears, at| !ears.probe(ms(at)).is_empty();
        let moments: Vec<_> = (0..240).step_by(20).filter(|at| probed(&mut ears, *at)).collect();
        assert_eq!(moments, [80, 160]);
        ears.listen(ms(230), ms(0), counted(1, 6));
        assert!(!probed(&mut ears, 290) && probed(&mut ears, 300));
    }

    #[test]
    fn a_new_connection_is_heard_from_its_beginning_and_knows_no_losses() {
        let mut ears = Ears::default();
        ears.listen(ms(0), ms(0), counted(1, 500));
        ears.path(&edge(), 400, 20);
        assert_eq!(ears.path_of(&edge()), (400, 20));
        ears.listen(ms(1000), ms(0), counted(2, 3));
        assert_eq!((ears.heard(&edge()), ears.path_of(&edge())), (Some(ms(1000)), (0, 0)));
    }

    #[test]
    fn a_stall_is_over_soon_after_it_was_told_last_and_its_echo_later() {
        let [zero, one] = Description::BOTH;
        let mut ears = Ears::default();
        ears.listen(ms(0), ms(0), counted(1, 5));
        ears.stalled(ms(100), &edge(), &[one]);
        assert!(ears.is_stalled(ms(250), &edge(), one) && !ears.is_stalled(ms(251), &edge(), one));
        assert!(ears.stood_still(ms(2100), one) && !ears.stood_still(ms(2101), one));
        assert!(!ears.is_stalled(ms(100), &edge(), zero) && !ears.stood_still(ms(100), zero));
    }
}
