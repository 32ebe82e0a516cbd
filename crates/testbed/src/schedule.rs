//! Which faults befall a network when: a function of a seed.

use std::time::Duration;

use gibbon_media::NodeId;
use rand::{Rng, RngExt, SeedableRng, rngs::ChaCha8Rng, seq::IndexedRandom};
use serde::{Deserialize, Serialize};

use crate::{COORDINATOR, Direction, Fault, Impairment, Loss, Partition, Party, Which};

/// A fault and when it happens, from the beginning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// When, in ms.
    pub at_ms: u64,
    /// What.
    pub fault: Fault,
}

/// What there is to hurt, and for how long.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Edges; at most two of them are out at once.
    pub edges: Vec<NodeId>,
    /// The origin.
    pub origin: NodeId,
    /// Names of players.
    pub players: Vec<String>,
    /// All is whole again when this is over, and has been for [`CALM`].
    pub length: Duration,
}

/// Without faults at the end.
pub const CALM: Duration = Duration::from_secs(8);
/// The odds that a second edge goes out while one is.
const SECOND_OUT: f64 = 0.2;
/// How long a drain is given, and how long the next edge is left alone after it.
const DRAIN: Duration = Duration::from_secs(15);
/// The longest that the origin is frozen: half the default playout delay, less some.
const ORIGIN_FROZEN_MS: u64 = 400;

/// Faults in order of time: three things go on at once. Edges go out, one after the other and sometimes two
/// at a time; the coordinator goes out now and then; and all the while sessions are handed off, paths
/// get worse and better, addresses change, the origin stutters.
pub fn schedule(seed: u64, plan: &Plan) -> Vec<Step> {
    let end = plan.length.saturating_sub(CALM).as_millis() as u64;
    // Each has a generator of its own, so that a change to one does not change all.
    let rng = |n: u64| ChaCha8Rng::seed_from_u64(seed.wrapping_mul(3).wrapping_add(n));
    let mut steps = Steps { list: Vec::new(), end };
    steps.edges_go_out(&mut rng(0), plan);
    let away = steps.coordinator_goes_out(&mut rng(1), plan);
    steps.little_things(&mut rng(2), plan);
    // Nobody can be asked for anything while the coordinator is away.
    let asks = |fault: &Fault| {
        matches!(fault, Fault::HandOff { .. } | Fault::Drain { .. } | Fault::Undrain { .. })
    };
    steps.list.retain(|step| {
        !asks(&step.fault) || !away.iter().any(|(from, to)| (*from..*to).contains(&step.at_ms))
    });
    steps.list.sort_by_key(|step| step.at_ms);
    steps.list
}

struct Steps {
    list: Vec<Step>,
    end: u64,
}

impl Steps {
    /// Something that lasts; nothing of it if it would not be over at the end. Returns whether it is in.
    fn span(&mut self, from: u64, lasts: u64, begin: Fault, end: Fault) -> bool {
        let fits = from + lasts <= self.end;
        if fits {
            self.list.push(Step { at_ms: from, fault: begin });
            self.list.push(Step { at_ms: from + lasts, fault: end });
        }
        fits
    }

    fn edges_go_out(&mut self, rng: &mut impl Rng, plan: &Plan) {
        let mut at = rng.random_range(1000..3000);
        while at < self.end {
            let Some(edge) = plan.edges.choose(rng) else { return };
            let mut over = self.edge_out(rng, at, edge, plan);
            let others: Vec<&NodeId> = plan.edges.iter().filter(|e| *e != edge).collect();
            if rng.random_bool(SECOND_OUT)
                && let Some(second) = others.choose(rng)
            {
                let then = at + rng.random_range(0..1500);
                over = over.max(self.edge_out(rng, then, second, plan));
            }
            // Long enough for standbys to be renewed and legs to be spread again.
            at = over + rng.random_range(3000..6000);
        }
    }

    /// One edge cannot serve, or somebody does not hear it. Returns when that is over.
    fn edge_out(&mut self, rng: &mut impl Rng, at: u64, edge: &NodeId, plan: &Plan) -> u64 {
        let node = || edge.clone();
        let party = || Party::Node(node());
        let lasts = rng.random_range(1000..8000);
        let one_way = rng.random_bool(0.3);
        let (from, to) = match rng.random_range(0..10) {
            0..3 => {
                self.span(at, lasts, Fault::Kill { node: node() }, Fault::Restart { node: node() });
                return at + lasts;
            }
            3 => {
                let lasts = lasts.min(5000);
                self.span(at, lasts, Fault::Freeze { node: node() }, Fault::Wake { node: node() });
                return at + lasts;
            }
            4..6 => return self.drain(rng, at, edge),
            6 => (party(), Party::Coordinator),
            7 => (Party::Clients, party()),
            8 => (party(), Party::Node(plan.origin.clone())),
            _ => {
                let others: Vec<&NodeId> = plan.edges.iter().filter(|e| *e != edge).collect();
                let Some(other) = others.choose(rng) else { return at };
                (party(), Party::Node((*other).clone()))
            }
        };
        let (from, to) = if rng.random_bool(0.5) { (from, to) } else { (to, from) };
        let partition = Partition { from, to, one_way };
        self.span(at, lasts, Fault::Partition(partition.clone()), Fault::Heal(partition));
        at + lasts
    }

    /// A drain to the end, after which the supervisor starts the edge anew; or one that is taken back.
    fn drain(&mut self, rng: &mut impl Rng, at: u64, edge: &NodeId) -> u64 {
        let lasts = DRAIN.as_millis() as u64;
        let drain = Fault::Drain { edge: edge.clone(), deadline_ms: 60_000 };
        if at + lasts > self.end {
            return at + lasts;
        }
        self.list.push(Step { at_ms: at, fault: drain });
        if rng.random_bool(0.3) {
            let at_ms = at + rng.random_range(500..4000);
            self.list.push(Step { at_ms, fault: Fault::Undrain { edge: edge.clone() } });
        }
        at + lasts
    }

    /// Returns when nobody can ask the coordinator for anything, with some time for it to know its network
    /// again.
    fn coordinator_goes_out(&mut self, rng: &mut impl Rng, plan: &Plan) -> Vec<(u64, u64)> {
        let node = || COORDINATOR.parse::<NodeId>().ok();
        let mut away = Vec::new();
        let mut at = rng.random_range(5000..20_000);
        while let (Some(begun), Some(over)) = (node(), node()) {
            let lasts = rng.random_range(500..10_000);
            let kill = rng.random_bool(0.7);
            let delete = kill && rng.random_bool(0.3);
            let spent = match kill {
                true => {
                    self.span(at, lasts, Fault::Kill { node: begun }, Fault::Restart { node: over })
                }
                false => {
                    self.span(at, lasts, Fault::Freeze { node: begun }, Fault::Wake { node: over })
                }
            };
            if !spent {
                break;
            }
            if delete {
                self.list.push(Step { at_ms: at + lasts / 2, fault: Fault::DeleteStore });
            }
            away.push((at.saturating_sub(500), at + lasts + 3000));
            // The longer the more edges there are to lose meanwhile.
            at += lasts + rng.random_range(10_000..40_000) / plan.edges.len().max(1) as u64 * 4;
        }
        away
    }

    fn little_things(&mut self, rng: &mut impl Rng, plan: &Plan) {
        let mut at = rng.random_range(500..2000);
        while at < self.end {
            let (Some(edge), Some(player)) = (plan.edges.choose(rng), plan.players.choose(rng))
            else {
                return;
            };
            match rng.random_range(0..10) {
                0..4 => {
                    let to = plan.edges.choose(rng).filter(|_| rng.random_bool(0.5)).cloned();
                    let fault = Fault::HandOff { player: player.clone(), to };
                    self.list.push(Step { at_ms: at, fault });
                }
                4..6 => {
                    let path = if rng.random_bool(0.7) { Which::Access } else { Which::Control };
                    let fault = Fault::Rebind { node: edge.clone(), path };
                    self.list.push(Step { at_ms: at, fault });
                }
                6 => {
                    let lasts = rng.random_range(50..ORIGIN_FROZEN_MS);
                    let node = || plan.origin.clone();
                    let (freeze, wake) =
                        (Fault::Freeze { node: node() }, Fault::Wake { node: node() });
                    self.span(at, lasts, freeze, wake);
                }
                _ => self.worse(rng, at, edge),
            }
            at += rng.random_range(1500..5000);
        }
    }

    /// A path gets worse for a while.
    fn worse(&mut self, rng: &mut impl Rng, at: u64, edge: &NodeId) {
        let impairment = match rng.random_range(0..4) {
            0 => {
                let mean = rng.random_range(1..=50) as f32 / 1000.0;
                Impairment::none().loss(Loss::Bursty { mean, burst: 3.0 })
            }
            1 => Impairment::none().jitter(rng.random_range(5..=40)),
            2 => Impairment::none().latency(rng.random_range(10..=120)),
            _ => Impairment::none().latency(20).reorder(rng.random_range(3..=20)),
        };
        let direction = if rng.random_bool(0.5) { Direction::ToClient } else { Direction::Both };
        let impair = |impairment| Fault::Impair {
            node: edge.clone(),
            path: Which::Access,
            direction,
            impairment,
        };
        // The end of one is not to end another: each path's are apart, since this goes on in turn.
        let lasts = rng.random_range(1000..1500);
        self.span(at, lasts, impair(impairment), impair(Impairment::none()));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn plan(seconds: u64) -> Plan {
        Plan {
            edges: ["edge-a", "edge-b", "edge-c", "edge-d"].map(|id| id.parse().unwrap()).to_vec(),
            origin: "origin-1".parse().unwrap(),
            players: (0..8).map(|n| format!("player-{n}")).collect(),
            length: Duration::from_secs(seconds),
        }
    }

    /// Faults that last, and whether they begin or end.
    fn lasting(fault: &Fault) -> Option<(String, bool)> {
        Some(match fault {
            Fault::Kill { node } => (format!("down {node}"), true),
            Fault::Restart { node } => (format!("down {node}"), false),
            Fault::Freeze { node } => (format!("frozen {node}"), true),
            Fault::Wake { node } => (format!("frozen {node}"), false),
            Fault::Partition(partition) => (format!("{partition}"), true),
            Fault::Heal(partition) => (format!("{partition}"), false),
            Fault::Impair { node, impairment, .. } => {
                (format!("impaired {node}"), *impairment != Impairment::none())
            }
            _ => return None,
        })
    }

    #[test]
    fn a_seed_gives_the_same_schedule_again_and_another_seed_another() {
        let plan = plan(600);
        assert_eq!(schedule(7, &plan), schedule(7, &plan));
        assert_ne!(schedule(7, &plan), schedule(8, &plan));
    }

    #[test]
    fn all_that_begins_ends_in_time_and_nothing_begins_twice() {
        for seed in 0..200 {
            let plan = plan(120);
            let steps = schedule(seed, &plan);
            let mut open = BTreeSet::new();
            for step in &steps {
                assert!(u128::from(step.at_ms) <= (plan.length - CALM).as_millis());
                match lasting(&step.fault) {
                    Some((what, true)) => assert!(open.insert(what), "seed {seed}: {step:?}"),
                    Some((what, false)) => assert!(open.remove(&what), "seed {seed}: {step:?}"),
                    None => {}
                }
            }
            assert!(open.is_empty(), "seed {seed}: {open:?}");
        }
    }

    #[test]
    fn two_edges_are_out_at_once_at_most_and_mostly_one() {
        let (mut out, mut two, mut steps_seen) = (BTreeSet::new(), 0, 0);
        for seed in 0..100 {
            for step in schedule(seed, &plan(300)) {
                match &step.fault {
                    Fault::Kill { node } | Fault::Freeze { node } => out.insert(node.clone()),
                    Fault::Restart { node } | Fault::Wake { node } => out.remove(node),
                    _ => continue,
                };
                let edges = out.iter().filter(|node| node.as_str().starts_with("edge")).count();
                assert!(edges <= 2, "seed {seed}");
                steps_seen += 1;
                two += usize::from(edges == 2);
            }
        }
        assert!(two > 0 && two * 5 < steps_seen, "{two} of {steps_seen}");
    }

    #[test]
    fn every_kind_of_fault_comes_in_ten_minutes() {
        let kinds: BTreeSet<String> = (0..3)
            .flat_map(|seed| schedule(seed, &plan(600)))
            .map(|step| serde_json::to_value(&step.fault).unwrap()["fault"].to_string())
            .collect();
        assert_eq!(kinds.len(), 12, "{kinds:?}");
    }

    #[test]
    fn nobody_is_asked_for_anything_while_the_coordinator_is_away() {
        for seed in 0..50 {
            let mut away = false;
            for step in schedule(seed, &plan(300)) {
                match &step.fault {
                    Fault::Kill { node } | Fault::Freeze { node }
                        if node.as_str() == COORDINATOR =>
                    {
                        away = true;
                    }
                    Fault::Restart { node } | Fault::Wake { node }
                        if node.as_str() == COORDINATOR =>
                    {
                        away = false;
                    }
                    Fault::HandOff { .. } | Fault::Drain { .. } => assert!(!away, "seed {seed}"),
                    _ => {}
                }
            }
        }
    }
}
