//! Prefetch ahead of clients that move: to the edges around where one is expected, one of which will serve it; the
//! others are released. The orders are those of a hand-off that has not begun: prefetch, and release.

use std::collections::BTreeMap;
use std::time::Duration;

use gibbon_media::{MediaTime, NodeId, SessionId, StreamName};

/// Sessions that prefetch is sent ahead of, at once.
pub const MAX_AHEAD: usize = 1024;
/// Edges that prefetch for one of them.
pub const MAX_EDGES: usize = gibbon_placement::foresight::neighbourhood::MOST;
/// An edge forgets what it is not told again: that is done so often.
const REPEATED_AFTER: Duration = Duration::from_secs(15);

/// All that has been sent ahead.
#[derive(Debug, Default)]
pub struct Neighbourhoods(BTreeMap<SessionId, Ahead>);

#[derive(Debug)]
struct Ahead {
    stream: StreamName,
    edges: Vec<Holding>,
    wanted: MediaTime,
}

#[derive(Debug)]
struct Holding {
    edge: NodeId,
    told: MediaTime,
    /// What it had received of the stream before.
    before: u64,
}

/// An edge that need not prefetch any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// Which.
    pub edge: NodeId,
    /// Of what.
    pub stream: StreamName,
    /// What it had received of it before it was told to prefetch, in bytes.
    pub before: u64,
    /// Whether it is the one that serves.
    pub serves: bool,
}

impl Neighbourhoods {
    /// Prefetch of a stream for a session is wanted at the edges `around`. Returns those of them that are to be told
    /// so, and those that are not wanted any more. `received` says what an edge has received of the stream.
    pub fn want(
        &mut self,
        now: MediaTime,
        (session, stream): (SessionId, &StreamName),
        around: &[NodeId],
        received: impl Fn(&NodeId) -> u64,
    ) -> (Vec<NodeId>, Vec<Released>) {
        if self.0.len() >= MAX_AHEAD && !self.0.contains_key(&session) {
            return (Vec::new(), Vec::new());
        }
        let nothing = || Ahead { stream: stream.clone(), edges: Vec::new(), wanted: now };
        let ahead = self.0.entry(session).or_insert_with(nothing);
        ahead.wanted = now;
        let around = &around[..around.len().min(MAX_EDGES)];
        let dropped = ahead.edges.extract_if(.., |holding| !around.contains(&holding.edge));
        let released: Vec<_> = dropped.map(|h| h.released(&ahead.stream, false)).collect();
        let mut told = Vec::new();
        for edge in around {
            let known = ahead.edges.iter_mut().find(|holding| holding.edge == *edge);
            match known {
                Some(holding) if now.since(holding.told) < REPEATED_AFTER => continue,
                Some(holding) => holding.told = now,
                None => {
                    let before = received(edge);
                    ahead.edges.push(Holding { edge: edge.clone(), told: now, before });
                }
            }
            told.push(edge.clone());
        }
        (told, released)
    }

    /// A hand-off of a session to these edges begins: the others are released, and what these hold is its own now.
    pub fn chosen(&mut self, session: SessionId, to: &[NodeId]) -> Vec<Released> {
        let Some(ahead) = self.0.remove(&session) else { return Vec::new() };
        let released = |holding: Holding| {
            let serves = to.contains(&holding.edge);
            holding.released(&ahead.stream, serves)
        };
        ahead.edges.into_iter().map(released).collect()
    }

    /// Sessions for which nothing has been wanted for so long, or that are not `there`.
    pub fn given_up(
        &self,
        now: MediaTime,
        patience: Duration,
        there: impl Fn(SessionId) -> bool,
    ) -> Vec<SessionId> {
        let over = |(session, ahead): &(&SessionId, &Ahead)| {
            !there(**session) || now.since(ahead.wanted) > patience
        };
        self.0.iter().filter(over).map(|(session, _)| *session).collect()
    }

    /// Edges that prefetch for a session.
    pub fn of(&self, session: SessionId) -> Vec<NodeId> {
        let ahead = self.0.get(&session);
        ahead.into_iter().flat_map(|ahead| &ahead.edges).map(|h| h.edge.clone()).collect()
    }
}

impl Holding {
    fn released(self, stream: &StreamName, serves: bool) -> Released {
        Released { edge: self.edge, stream: stream.clone(), before: self.before, serves }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: MediaTime = MediaTime(1_000_000_000);

    fn edges(names: &[&str]) -> Vec<NodeId> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn each_edge_is_told_once_and_again_after_a_while_and_whoever_drops_out_is_released() {
        let (mut ahead, stream) = (Neighbourhoods::default(), "live/bbb".parse().unwrap());
        let want = |ahead: &mut Neighbourhoods, now, names: &[&str]| {
            let client = (SessionId(7), &stream);
            let (told, released) = ahead.want(now, client, &edges(names), |_| 5);
            (told, released.into_iter().map(|r| r.edge).collect::<Vec<_>>())
        };
        assert_eq!(
            want(&mut ahead, NOW, &["edge-b", "edge-c"]),
            (edges(&["edge-b", "edge-c"]), vec![])
        );
        assert_eq!(want(&mut ahead, NOW, &["edge-b", "edge-c"]), (vec![], vec![]));
        let moved_on = want(&mut ahead, NOW, &["edge-c", "edge-d"]);
        assert_eq!(moved_on, (edges(&["edge-d"]), edges(&["edge-b"])));
        let later = NOW + REPEATED_AFTER;
        assert_eq!(
            want(&mut ahead, later, &["edge-c", "edge-d"]),
            (edges(&["edge-c", "edge-d"]), vec![])
        );
        let there = |_| true;
        assert!(ahead.given_up(later, REPEATED_AFTER, there).is_empty());
        assert_eq!(ahead.given_up(later, REPEATED_AFTER, |_| false), [SessionId(7)]);
        let chosen = ahead.chosen(SessionId(7), &edges(&["edge-d"]));
        let chosen: Vec<_> = chosen.iter().map(|r| (r.edge.as_str(), r.serves, r.before)).collect();
        assert_eq!(chosen, [("edge-c", false, 5), ("edge-d", true, 5)]);
        assert!(ahead.of(SessionId(7)).is_empty());
    }

    #[test]
    fn it_is_bounded_in_sessions_and_edges() {
        let (mut ahead, stream) = (Neighbourhoods::default(), "live/bbb".parse().unwrap());
        let many: Vec<_> = (0..20).map(|n| format!("edge-{n}").parse().unwrap()).collect();
        for n in 0..MAX_AHEAD as u64 + 3 {
            let (told, _) = ahead.want(NOW, (SessionId(n), &stream), &many, |_| 0);
            let expected = if n < MAX_AHEAD as u64 { MAX_EDGES } else { 0 };
            assert_eq!(told.len(), expected);
        }
    }
}
