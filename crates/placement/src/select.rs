//! Which edge: filter, then score.

use std::{cmp::Ordering, fmt};

use gibbon_media::{Description, NodeId, Role};

use crate::{Kilometres, Position};

/// A node that may be chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Which.
    pub id: NodeId,
    /// What it is; only edges are chosen.
    pub role: Role,
    /// Whether it can be reached.
    pub up: bool,
    /// Whether it is being emptied.
    pub draining: bool,
    /// Nodes of one failure domain may fail together; one that declares none is a domain of its own.
    pub domain: Option<String>,
    /// Legs of each description that it carries, those on their way to it included.
    pub legs: [u32; 2],
    /// Of these, second hands: their sessions can spare them for a newcomer.
    pub seconds: u32,
    /// Legs it can carry.
    pub capacity: u32,
    /// What its legs take, in kbit/s.
    pub kbps: u64,
    /// What it can send to clients, in kbit/s, if that is limited.
    pub capacity_kbps: Option<u64>,
    /// Where it stands, if known.
    pub position: Option<Position>,
}

/// What an edge is wanted for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// How many legs it is to take.
    pub legs: u32,
    /// What one leg takes, in kbit/s; 0 where that is not known.
    pub leg_kbps: u64,
    /// The description, where it is one leg alone: of equally loaded edges the one with fewer of its kind
    /// is better.
    pub description: Option<Description>,
    /// Whether one leg will do for now, and second hands of others may be given up for it.
    pub newcomer: bool,
    /// Where the client is, if known.
    pub client: Option<Position>,
    /// Edges that are not wanted.
    pub exclude: &'a [NodeId],
    /// Edges whose failure domains are better kept clear of.
    pub apart_from: &'a [NodeId],
}

/// The edge chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Which.
    pub edge: NodeId,
    /// Why, with the numbers, for people.
    pub why: String,
}

/// Why a candidate is not eligible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// It is not an edge.
    NotAnEdge(Role),
    /// It is among those not wanted.
    Excluded,
    /// It cannot be reached.
    Down,
    /// It is being emptied.
    Draining,
    /// It has no room for more legs.
    Full {
        /// Legs it carries.
        legs: u32,
        /// Legs it can carry.
        capacity: u32,
    },
    /// It cannot send more.
    Saturated {
        /// What its legs take, in kbit/s.
        kbps: u64,
        /// What it can send, in kbit/s.
        capacity_kbps: u64,
    },
}

/// No candidate is eligible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoEdge(Vec<(NodeId, Unfit)>);

/// Reasons that are spelt out; the rest is counted.
const MAX_NAMED: usize = 8;

/// How much of what is requested an edge has room for; more is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Room {
    /// One leg, in the place of a second hand that another session can spare.
    ForNewcomer,
    /// All of it.
    Free,
}

impl Candidate {
    /// Whether it can take what is requested.
    pub fn check(&self, request: &Request<'_>) -> Result<(), Unfit> {
        self.room_for(request).map(drop)
    }

    /// Whether it is an edge that can be reached and stays, with room or without.
    pub fn is_usable(&self) -> bool {
        self.role == Role::Edge && self.up && !self.draining
    }

    /// Whether a failure may take both away.
    pub fn shares_domain(&self, other: &Self) -> bool {
        self.id == other.id || self.domain.is_some() && self.domain == other.domain
    }

    /// Legs it carries.
    pub fn all_legs(&self) -> u32 {
        self.legs[0].saturating_add(self.legs[1])
    }

    /// Its load as a fraction of what it can carry: by legs or by bit rate, whichever is more. Above 1 where
    /// it is over-committed; infinite where it can carry nothing.
    pub fn load(&self) -> f64 {
        let (part, whole) = self.load_as_fraction();
        if whole == 0 { f64::INFINITY } else { part as f64 / whole as f64 }
    }

    fn room_for(&self, request: &Request<'_>) -> Result<Room, Unfit> {
        if self.role != Role::Edge {
            return Err(Unfit::NotAnEdge(self.role));
        } else if request.exclude.contains(&self.id) {
            return Err(Unfit::Excluded);
        } else if !self.up {
            return Err(Unfit::Down);
        } else if self.draining {
            return Err(Unfit::Draining);
        }
        let all = self.fits(self.all_legs(), self.kbps, request.legs.max(1), request.leg_kbps);
        let Err(unfit) = all else { return Ok(Room::Free) };
        let spared = self.seconds.min(self.all_legs());
        let kbps = self.kbps.saturating_sub(u64::from(spared) * request.leg_kbps);
        let one = self.fits(self.all_legs() - spared, kbps, 1, request.leg_kbps);
        if request.newcomer && one.is_ok() { Ok(Room::ForNewcomer) } else { Err(unfit) }
    }

    /// Whether `more` legs fit beside `legs` that take `kbps`.
    fn fits(&self, legs: u32, kbps: u64, more: u32, leg_kbps: u64) -> Result<(), Unfit> {
        if u64::from(legs) + u64::from(more) > u64::from(self.capacity) {
            return Err(Unfit::Full { legs: self.all_legs(), capacity: self.capacity });
        }
        let wanted = u64::from(more).saturating_mul(leg_kbps).max(1);
        match self.capacity_kbps {
            Some(capacity_kbps) if kbps.saturating_add(wanted) > capacity_kbps => {
                Err(Unfit::Saturated { kbps: self.kbps, capacity_kbps })
            }
            _ => Ok(()),
        }
    }

    fn load_as_fraction(&self) -> (u64, u64) {
        let by_legs = (u64::from(self.all_legs()), u64::from(self.capacity));
        match self.capacity_kbps.map(|capacity| (self.kbps, capacity)) {
            Some(by_rate) if compare(by_rate, by_legs).is_gt() => by_rate,
            _ => by_legs,
        }
    }

    fn compare_load(&self, other: &Self) -> Ordering {
        compare(self.load_as_fraction(), other.load_as_fraction())
    }

    fn describe_load(&self) -> String {
        let legs = format!("{} of {} legs", self.all_legs(), self.capacity);
        match self.capacity_kbps {
            Some(capacity) => format!("{legs}, {} of {capacity} kbit/s", self.kbps),
            None => legs,
        }
    }
}

/// Compares two fractions without rounding.
fn compare(a: (u64, u64), b: (u64, u64)) -> Ordering {
    let cross = |a: (u64, u64), b: (u64, u64)| u128::from(a.0) * u128::from(b.1);
    cross(a, b).cmp(&cross(b, a))
}

/// An eligible candidate and what speaks for it.
struct Scored<'a> {
    candidate: &'a Candidate,
    room: Room,
    /// Whether it is clear of the failure domains to be kept clear of.
    apart: bool,
    /// Legs it carries of the description requested, where it is one alone.
    of_its_kind: u32,
    distance: Option<Kilometres>,
}

impl Scored<'_> {
    /// Better first: more room, then apart, then less load, then fewer legs of the same kind, then nearer
    /// (known before unknown), then by id.
    fn compare(&self, other: &Self) -> Ordering {
        let class = |scored: &Self| (scored.room, scored.apart);
        class(other)
            .cmp(&class(self))
            .then_with(|| self.candidate.compare_load(other.candidate))
            .then_with(|| self.of_its_kind.cmp(&other.of_its_kind))
            .then_with(|| self.compare_distance(other))
            .then_with(|| self.candidate.id.cmp(&other.candidate.id))
    }

    fn compare_distance(&self, other: &Self) -> Ordering {
        match (self.distance, other.distance) {
            (Some(a), Some(b)) => a.as_f64().total_cmp(&b.as_f64()),
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    }
}

fn ranked<'a>(candidates: &'a [Candidate], request: &Request<'_>) -> Vec<Scored<'a>> {
    let near = |c: &&Candidate| request.apart_from.contains(&c.id);
    let near: Vec<_> = candidates.iter().filter(near).collect();
    let scored = |candidate: &'a Candidate| {
        let apart = !near.iter().any(|other| candidate.shares_domain(other));
        Some(Scored {
            candidate,
            room: candidate.room_for(request).ok()?,
            apart,
            of_its_kind: request.description.map_or(0, |d| candidate.legs[d.index()]),
            distance: candidate
                .position
                .zip(request.client)
                .map(|(at, client)| at.distance(client)),
        })
    };
    let mut fit: Vec<_> = candidates.iter().filter_map(scored).collect();
    fit.sort_unstable_by(Scored::compare);
    fit
}

/// All edges that can take what is requested, best first.
pub fn rank_edges(candidates: &[Candidate], request: &Request<'_>) -> Vec<NodeId> {
    ranked(candidates, request).iter().map(|scored| scored.candidate.id.clone()).collect()
}

/// The best edge: one that has room for all that is requested, apart from the failure domains to be kept
/// clear of, the least loaded (legs or bit rate over capacity), then the nearest to the client, then the
/// first by id.
pub fn select_edge(candidates: &[Candidate], request: &Request<'_>) -> Result<Selection, NoEdge> {
    match ranked(candidates, request).as_slice() {
        [] => Err(NoEdge(
            candidates
                .iter()
                .filter_map(|c| Some((c.id.clone(), c.check(request).err()?)))
                .collect(),
        )),
        [best, others @ ..] => {
            Ok(Selection { edge: best.candidate.id.clone(), why: explain(best, others.first()) })
        }
    }
}

fn explain(best: &Scored<'_>, next: Option<&Scored<'_>>) -> String {
    let (id, load) = (&best.candidate.id, best.candidate.describe_load());
    let away = |s: &Scored<'_>| match s.distance {
        Some(distance) => format!("{distance} away"),
        None => "at an unknown distance".into(),
    };
    let Some(next) = next else {
        return format!("{id} is the only eligible edge: {load}, {}", away(best));
    };
    let (other, others) = (&next.candidate.id, next.candidate.describe_load());
    if best.room > next.room {
        format!("{id} alone has room for all: {load}, {other} {others}")
    } else if best.apart && !next.apart {
        format!("{id} is in a failure domain of its own, {other} is not: {load}, {other} {others}")
    } else if best.candidate.compare_load(next.candidate).is_lt() {
        format!("{id} carries least: {load}, then {other} with {others}")
    } else if best.of_its_kind < next.of_its_kind {
        format!(
            "{id} is as little loaded as {other} ({load}) and has fewer legs of this description"
        )
    } else if best.compare_distance(next).is_lt() {
        format!(
            "{id} is as little loaded as {other} ({load}) and nearer to the client: {}, {other} {}",
            away(best),
            away(next)
        )
    } else {
        format!("{id} is the first by name of the least loaded edges ({load}), all {}", away(best))
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::NotAnEdge(role) => write!(f, "has the role {role}"),
            Unfit::Excluded => f.write_str("is in use already"),
            Unfit::Down => f.write_str("is down"),
            Unfit::Draining => f.write_str("is being emptied"),
            Unfit::Full { legs, capacity } => write!(f, "has no room: {legs} of {capacity} legs"),
            Unfit::Saturated { kbps, capacity_kbps } => {
                write!(f, "has no room: {kbps} of {capacity_kbps} kbit/s")
            }
        }
    }
}

impl fmt::Display for NoEdge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let edges = || self.0.iter().filter(|(_, unfit)| !matches!(unfit, Unfit::NotAnEdge(_)));
        f.write_str("no edge is eligible")?;
        if edges().next().is_none() {
            return f.write_str(": none is registered");
        }
        for (n, (id, unfit)) in edges().take(MAX_NAMED).enumerate() {
            write!(f, "{} {id} {unfit}", if n == 0 { ":" } else { "," })?;
        }
        match edges().count().saturating_sub(MAX_NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl std::error::Error for NoEdge {}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn edge(name: &str, legs: u32, capacity: u32) -> Candidate {
        Candidate {
            id: id(name),
            role: Role::Edge,
            up: true,
            draining: false,
            domain: None,
            legs: [legs / 2, legs - legs / 2],
            seconds: 0,
            capacity,
            kbps: 0,
            capacity_kbps: None,
            position: None,
        }
    }

    fn at(candidate: Candidate, longitude: f64) -> Candidate {
        Candidate { position: Some(Position::new(0.0, longitude)), ..candidate }
    }

    const TWO: Request<'_> = Request {
        legs: 2,
        leg_kbps: 0,
        description: None,
        newcomer: false,
        client: None,
        exclude: &[],
        apart_from: &[],
    };

    #[test]
    fn load_decides_then_distance_then_name() {
        let client = Some(Position::new(0.0, 0.0));
        let request = Request { client, ..TWO };
        for (candidates, why) in [
            (
                vec![at(edge("a", 4, 100), 0.0), at(edge("b", 2, 100), 90.0)],
                "b carries least: 2 of 100 legs, then a with 4 of 100 legs",
            ),
            (
                vec![edge("a", 4, 1000), edge("b", 2, 100)],
                "a carries least: 4 of 1000 legs, then b with 2 of 100 legs",
            ),
            (
                vec![at(edge("a", 0, 10), 2.0), at(edge("b", 0, 20), 1.0)],
                "b is as little loaded as a (0 of 20 legs) and nearer to the client: 111 km away, \
                 a 222 km away",
            ),
            (
                vec![edge("a", 0, 10), at(edge("b", 0, 10), 1.0)],
                "b is as little loaded as a (0 of 10 legs) and nearer to the client: 111 km away, \
                 a at an unknown distance",
            ),
            (
                vec![edge("b", 1, 10), edge("a", 1, 10)],
                "a is the first by name of the least loaded edges (1 of 10 legs), all at an unknown \
                 distance",
            ),
            (
                vec![edge("a", 8, 10), edge("b", 9, 10)],
                "a is the only eligible edge: 8 of 10 legs, at an unknown distance",
            ),
        ] {
            assert_eq!(select_edge(&candidates, &request).unwrap().why, why);
        }
    }

    #[test]
    fn a_refusal_names_what_is_wrong_with_each_edge() {
        let candidates = [
            edge("a", 0, 10),
            Candidate { up: false, ..edge("b", 0, 10) },
            edge("c", 9, 10),
            Candidate { draining: true, ..edge("d", 0, 10) },
            Candidate { kbps: 900, capacity_kbps: Some(1000), ..edge("e", 0, 10) },
            Candidate { role: Role::Origin, ..edge("o", 0, 10) },
        ];
        let request = Request { exclude: &[id("a")], leg_kbps: 80, ..TWO };
        let refusal = select_edge(&candidates, &request).unwrap_err().to_string();
        assert_eq!(
            refusal,
            "no edge is eligible: a is in use already, b is down, c has no room: 9 of 10 legs, \
             d is being emptied, e has no room: 900 of 1000 kbit/s"
        );
        let refusal = select_edge(&candidates[5..], &request).unwrap_err().to_string();
        assert_eq!(refusal, "no edge is eligible: none is registered");
    }

    #[test]
    fn room_for_all_comes_before_a_domain_of_its_own_and_that_before_load() {
        let rack = |name, legs, rack: &str| Candidate {
            domain: Some(rack.into()),
            ..edge(name, legs, 10)
        };
        let apart = Request { apart_from: &[id("a")], newcomer: true, ..TWO };
        for (candidates, why) in [
            (
                vec![rack("a", 0, "r"), rack("b", 0, "r"), rack("c", 6, "s")],
                "c is in a failure domain of its own, a is not: 6 of 10 legs, a 0 of 10 legs",
            ),
            (
                vec![rack("b", 8, "s"), Candidate { seconds: 1, ..rack("c", 9, "s") }],
                "b alone has room for all: 8 of 10 legs, c 9 of 10 legs",
            ),
            (
                vec![Candidate { seconds: 1, ..rack("c", 10, "s") }],
                "c is the only eligible edge: 10 of 10 legs, at an unknown distance",
            ),
        ] {
            assert_eq!(select_edge(&candidates, &apart).unwrap().why, why);
        }
        let full = [Candidate { seconds: 1, ..edge("c", 10, 10) }];
        assert!(
            select_edge(&full, &TWO).is_err(),
            "nobody is brought down for what is no newcomer"
        );
        assert!(
            select_edge(&[edge("c", 10, 10)], &apart).is_err(),
            "nor where nobody can spare a leg"
        );
    }

    #[test]
    fn the_bit_rate_counts_as_the_legs_do() {
        let by_rate =
            |name, kbps| Candidate { kbps, capacity_kbps: Some(1000), ..edge(name, 1, 10) };
        let chosen = |candidates: &[_]| select_edge(candidates, &TWO).unwrap().edge;
        assert_eq!(chosen(&[by_rate("a", 500), by_rate("b", 400)]), id("b"));
        assert_eq!(chosen(&[by_rate("a", 500), edge("b", 6, 10)]), id("a"));
        assert!((by_rate("a", 500).load() - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_single_leg_goes_where_there_are_fewer_of_its_kind() {
        let one = Request { legs: 1, description: Some(Description::One), ..TWO };
        let of = |name, legs| Candidate { legs, ..edge(name, 0, 10) };
        let chosen = select_edge(&[of("a", [1, 3]), of("b", [3, 1])], &one).unwrap();
        assert_eq!(chosen.edge, id("b"));
        assert!(chosen.why.ends_with("and has fewer legs of this description"), "{}", chosen.why);
    }

    /// For the tests of pairs, too.
    pub(crate) fn any_candidate() -> impl Strategy<Value = Candidate> {
        let role = prop_oneof![3 => Just(Role::Edge), 1 => Just(Role::Origin)];
        let place = proptest::option::of((-180.0..180.0).prop_map(|x| Position::new(10.0, x)));
        let domain = proptest::option::of("[rs]");
        let kbps = (0..12u64, proptest::option::of(0..12u64));
        let states = (role, any::<bool>(), any::<bool>());
        let legs = ([0..6u32, 0..6u32], 0..12u32, 0..12u32);
        (0..20u8, states, domain, legs, kbps, place).prop_map(
            |(n, (role, up, draining), domain, (legs, seconds, capacity), kbps, position)| {
                Candidate {
                    id: id(&format!("n{n}")),
                    role,
                    up,
                    draining,
                    domain,
                    legs,
                    seconds,
                    capacity,
                    kbps: kbps.0,
                    capacity_kbps: kbps.1,
                    position,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn the_chosen_edge_is_fit_and_no_better_one_is_less_loaded(
            candidates in proptest::collection::vec(any_candidate(), 0..12),
            excluded in 0..20u8,
            newcomer in any::<bool>(),
        ) {
            let exclude = [id(&format!("n{excluded}"))];
            let client = Some(Position::new(0.0, 0.0));
            let request = Request { newcomer, client, exclude: &exclude, leg_kbps: 1, ..TWO };
            let fit: Vec<_> = candidates.iter().filter(|c| c.check(&request).is_ok()).collect();
            let ranked = rank_edges(&candidates, &request);
            prop_assert_eq!(ranked.len(), fit.len());
            match select_edge(&candidates, &request) {
                Err(_) => prop_assert!(fit.is_empty()),
                Ok(selection) => {
                    prop_assert_eq!(&ranked[0], &selection.edge);
                    prop_assert_ne!(&selection.edge, &exclude[0]);
                    // Ids may repeat here: some fit candidate of that id is as good as any.
                    let least = fit.iter().filter(|c| c.id == selection.edge).any(|best| {
                        let room = |c: &Candidate| c.room_for(&request).unwrap();
                        fit.iter().all(|c| {
                            room(c) < room(best)
                                || room(c) == room(best) && best.compare_load(c).is_le()
                        })
                    });
                    prop_assert!(least);
                }
            }
        }
    }
}
