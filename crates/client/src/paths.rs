//! What is measured of the paths from the edges, for the coordinator. Pure: time is passed in, since session start.

use std::{collections::BTreeMap, time::Duration};

use gibbon_control::telemetry::{PathReport, Slack, rounded};
use gibbon_media::NodeId;

use crate::ears::Counted;

/// How much of a smoothed round-trip time each measurement leaves of what it was (RFC 9002 §5.3).
const KEPT: f64 = 7.0 / 8.0;

/// The paths of a session.
#[derive(Debug, Default)]
pub struct Paths {
    told: Duration,
    connections: BTreeMap<NodeId, Connection>,
    slack: BTreeMap<NodeId, Moments>,
}

/// A connection as it was when it was last told of.
#[derive(Debug)]
struct Connection {
    counted: Counted,
    lost: u64,
    rtt: Duration,
}

/// Sums over the frames from one edge.
#[derive(Debug, Default)]
struct Moments {
    frames: u32,
    missed: u32,
    sum_ms: f64,
    squares: f64,
}

impl Paths {
    /// How long ago they were told last.
    pub fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.told)
    }

    /// A frame came from an edge; below zero it was late.
    pub fn arrived(&mut self, edge: &NodeId, slack_ms: f64) {
        let moments = self.of(edge);
        moments.frames += 1;
        moments.sum_ms += slack_ms;
        moments.squares += slack_ms * slack_ms;
    }

    /// So many frames were cut off, and do not come from an edge.
    pub fn missed(&mut self, edge: &NodeId, frames: u32) {
        self.of(edge).missed += frames;
    }

    fn of(&mut self, edge: &NodeId) -> &mut Moments {
        // Edges are few, and forgotten when they are told of.
        self.slack.entry(edge.clone()).or_default()
    }

    /// What there is to tell, of the connections `counted` and since it was last told; `lost` packets on the way from
    /// an edge, since its connection was opened, are what that says.
    pub fn tell(
        &mut self,
        now: Duration,
        counted: Vec<Counted>,
        lost: impl Fn(&NodeId) -> u64,
    ) -> Vec<PathReport> {
        let seconds = self.age(now).as_secs_f64().max(1e-3);
        let slack = std::mem::take(&mut self.slack);
        let mut before = std::mem::take(&mut self.connections);
        self.told = now;
        let path = |counted: Counted| {
            let (edge, lost) = (counted.edge.clone(), lost(&counted.edge));
            let same = |c: &Connection| c.counted.connection == counted.connection;
            let before = before.remove(&edge).filter(same);
            let rtt = before.as_ref().map_or(counted.rtt, |before| before.rtt_since(&counted));
            let (bytes, datagrams, losses) = match before {
                Some(Connection { counted, lost, .. }) => (counted.bytes, counted.datagrams, lost),
                None => (0, 0, 0),
            };
            let losses = lost.saturating_sub(losses) as f64;
            let received = counted.datagrams.saturating_sub(datagrams) as f64;
            let bits = counted.bytes.saturating_sub(bytes) as f64 * 8.0;
            let report = PathReport {
                rtt_ms: rounded(rtt.as_secs_f64() * 1000.0, 10.0),
                loss: rounded(losses / (losses + received).max(1.0), 1e4),
                kbps: (bits / 1000.0 / seconds) as u64,
                slack: slack.get(&edge).and_then(Moments::slack),
                edge: edge.clone(),
            };
            self.connections.insert(edge, Connection { counted, lost, rtt });
            report
        };
        counted.into_iter().map(path).collect()
    }
}

impl Connection {
    /// The mean round-trip time since, undoing what is left of the time before. On a connection without a leg there are few
    /// measurements: what is smoothed over eight of them is of long ago.
    fn rtt_since(&self, now: &Counted) -> Duration {
        let measured = now.acks.saturating_sub(self.counted.acks);
        if measured == 0 {
            return self.rtt;
        }
        let kept = KEPT.powi(measured.min(1000) as i32);
        let [before, now] = [self.counted.rtt, now.rtt].map(|rtt| rtt.as_secs_f64());
        Duration::from_secs_f64(((now - kept * before) / (1.0 - kept)).max(0.0))
    }
}

impl Moments {
    fn slack(&self) -> Option<Slack> {
        let frames = f64::from(self.frames);
        let mean_ms = self.sum_ms / frames;
        let variance = (self.squares / frames - mean_ms * mean_ms).max(0.0);
        (self.frames > 0).then(|| Slack {
            mean_ms: rounded(mean_ms, 10.0),
            deviation_ms: rounded(variance.sqrt(), 10.0),
            missed: rounded(f64::from(self.missed) / (frames + f64::from(self.missed)), 1e4),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn counted(name: &str, connection: u64, datagrams: u64) -> Counted {
        let (bytes, rtt) = (datagrams * 1250, Duration::from_micros(20_040));
        Counted { edge: edge(name), connection, datagrams, bytes, rtt, acks: datagrams }
    }

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_path_is_told_by_what_came_and_was_lost_since_it_was_told_last() {
        let mut paths = Paths::default();
        paths.tell(second(1), vec![counted("edge-a", 1, 500)], |_| 7);
        for slack_ms in [900.0, 920.0, 940.0] {
            paths.arrived(&edge("edge-a"), slack_ms);
        }
        paths.missed(&edge("edge-a"), 1);
        let now = vec![counted("edge-a", 1, 590), counted("edge-b", 2, 10)];
        let told = paths.tell(second(3), now, |to| if *to == edge("edge-a") { 17 } else { 0 });
        let [a, b] = &told[..] else { panic!("{told:?}") };
        assert_eq!((a.rtt_ms, a.loss, a.kbps), (20.0, 0.1, 450));
        let slack = a.slack.unwrap();
        assert_eq!((slack.mean_ms, slack.deviation_ms, slack.missed), (920.0, 16.3, 0.25));
        assert_eq!((b.kbps, b.loss, b.slack), (50, 0.0, None));
        assert!(a.check().is_ok() && b.check().is_ok());
        let told = paths.tell(second(4), vec![counted("edge-a", 1, 590)], |_| 17);
        assert_eq!((told[0].kbps, told[0].loss, told[0].slack), (0, 0.0, None), "nothing since");
    }

    #[test]
    fn a_round_trip_time_is_told_as_it_is_however_seldom_it_is_measured() {
        let mut paths = Paths::default();
        let (mut smoothed, mut acks) = (0.6, 4);
        let mut told = |second: u64, measured: &[f64]| {
            for rtt in measured {
                smoothed = KEPT * smoothed + (1.0 - KEPT) * rtt;
            }
            acks += measured.len() as u64;
            let rtt = Duration::from_secs_f64(smoothed);
            let idle = Counted { rtt, acks, ..counted("edge-a", 1, 10) };
            paths.tell(Duration::from_secs(second), vec![idle], |_| 0)[0].rtt_ms
        };
        assert_eq!(told(1, &[]), 600.0, "all that is known");
        assert_eq!(told(2, &[0.4]), 400.0);
        assert_eq!(told(3, &[]), 400.0, "nothing new");
        assert_eq!(told(4, &[0.2, 0.2]), 200.0);
        assert!((told(5, &[0.02; 500]) - 20.0).abs() < 0.1);
    }

    #[test]
    fn another_connection_to_the_same_edge_counts_from_its_beginning() {
        let mut paths = Paths::default();
        paths.tell(second(1), vec![counted("edge-a", 1, 5000)], |_| 300);
        let told = paths.tell(second(2), vec![counted("edge-a", 2, 100)], |_| 0);
        assert_eq!((told[0].kbps, told[0].loss), (1000, 0.0));
    }
}
