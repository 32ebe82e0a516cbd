//! Which edge: filter, then score.

use std::{cmp::Ordering, fmt};

use gibbon_media::{NodeId, Role};

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
    /// Legs it carries, those on their way to it included.
    pub legs: u32,
    /// Legs it can carry.
    pub capacity: u32,
    /// Where it stands, if known.
    pub position: Option<Position>,
}

/// What an edge is wanted for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// How many legs it is to take.
    pub legs: u32,
    /// Where the client is, if known.
    pub client: Option<Position>,
    /// Edges that are not wanted.
    pub exclude: &'a [NodeId],
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
    /// It has no room.
    Full {
        /// Legs it carries.
        legs: u32,
        /// Legs it can carry.
        capacity: u32,
    },
}

/// No candidate is eligible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoEdge(Vec<(NodeId, Unfit)>);

/// Reasons that are spelt out; the rest is counted.
const MAX_NAMED: usize = 8;

impl Candidate {
    /// Whether it can take what is requested.
    pub fn check(&self, request: &Request<'_>) -> Result<(), Unfit> {
        let free = self.capacity.saturating_sub(self.legs);
        if self.role != Role::Edge {
            Err(Unfit::NotAnEdge(self.role))
        } else if request.exclude.contains(&self.id) {
            Err(Unfit::Excluded)
        } else if !self.up {
            Err(Unfit::Down)
        } else if free < request.legs || free == 0 {
            Err(Unfit::Full { legs: self.legs, capacity: self.capacity })
        } else {
            Ok(())
        }
    }

    /// Compares `legs / capacity` without rounding.
    fn compare_load(&self, other: &Self) -> Ordering {
        let cross = |a: &Self, b: &Self| u64::from(a.legs) * u64::from(b.capacity);
        cross(self, other).cmp(&cross(other, self))
    }

    fn load(&self) -> String {
        format!("{} of {} legs", self.legs, self.capacity)
    }
}

/// An eligible candidate and how far it is from the client.
struct Scored<'a>(&'a Candidate, Option<Kilometres>);

impl Scored<'_> {
    /// Better first: less load, then nearer (known before unknown), then by id.
    fn compare(&self, other: &Self) -> Ordering {
        self.0
            .compare_load(other.0)
            .then_with(|| self.compare_distance(other))
            .then_with(|| self.0.id.cmp(&other.0.id))
    }

    fn compare_distance(&self, other: &Self) -> Ordering {
        match (self.1, other.1) {
            (Some(a), Some(b)) => a.as_f64().total_cmp(&b.as_f64()),
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    }
}

fn ranked<'a>(candidates: &'a [Candidate], request: &Request<'_>) -> Vec<Scored<'a>> {
    let distance = |c: &Candidate| Some(c.position?.distance(request.client?));
    let fit = candidates.iter().filter(|c| c.check(request).is_ok());
    let mut fit: Vec<_> = fit.map(|c| Scored(c, distance(c))).collect();
    fit.sort_unstable_by(Scored::compare);
    fit
}

/// All edges that can take what is requested, best first.
pub fn rank_edges(candidates: &[Candidate], request: &Request<'_>) -> Vec<NodeId> {
    ranked(candidates, request).iter().map(|scored| scored.0.id.clone()).collect()
}

/// The best edge: the least loaded (legs over capacity), then the nearest to the client, then the first
/// by id.
pub fn select_edge(candidates: &[Candidate], request: &Request<'_>) -> Result<Selection, NoEdge> {
    let ranked = ranked(candidates, request);
    match ranked.as_slice() {
        [] => Err(NoEdge(
            candidates
                .iter()
                .filter_map(|c| Some((c.id.clone(), c.check(request).err()?)))
                .collect(),
        )),
        [best, others @ ..] => {
            Ok(Selection { edge: best.0.id.clone(), why: explain(best, others.first()) })
        }
    }
}

fn explain(best: &Scored<'_>, next: Option<&Scored<'_>>) -> String {
    let (id, load) = (&best.0.id, best.0.load());
    let away = |s: &Scored<'_>| match s.1 {
        Some(distance) => format!("{distance} away"),
        None => "at an unknown distance".into(),
    };
    let Some(next) = next else {
        return format!("{id} is the only eligible edge: {load}, {}", away(best));
    };
    let other = &next.0.id;
    if best.0.compare_load(next.0).is_lt() {
        format!("{id} carries least: {load}, then {other} with {}", next.0.load())
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
            Unfit::Full { legs, capacity } => write!(f, "has no room: {legs} of {capacity} legs"),
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn edge(name: &str, legs: u32, capacity: u32) -> Candidate {
        Candidate { id: id(name), role: Role::Edge, up: true, legs, capacity, position: None }
    }

    fn at(candidate: Candidate, longitude: f64) -> Candidate {
        Candidate { position: Some(Position::new(0.0, longitude)), ..candidate }
    }

    const TWO: Request<'_> = Request { legs: 2, client: None, exclude: &[] };

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
            Candidate { role: Role::Origin, ..edge("o", 0, 10) },
        ];
        let request = Request { exclude: &[id("a")], ..TWO };
        let refusal = select_edge(&candidates, &request).unwrap_err().to_string();
        assert_eq!(
            refusal,
            "no edge is eligible: a is in use already, b is down, c has no room: 9 of 10 legs"
        );
        let refusal = select_edge(&candidates[3..], &request).unwrap_err().to_string();
        assert_eq!(refusal, "no edge is eligible: none is registered");
    }

    fn any_candidate() -> impl Strategy<Value = Candidate> {
        let role = prop_oneof![3 => Just(Role::Edge), 1 => Just(Role::Origin)];
        let place = proptest::option::of(-180.0..180.0);
        (0..20u8, role, any::<bool>(), 0..12u32, 0..12u32, place).prop_map(
            |(n, role, up, legs, capacity, place)| Candidate {
                id: id(&format!("n{n}")),
                role,
                up,
                legs,
                capacity,
                position: place.map(|longitude| Position::new(10.0, longitude)),
            },
        )
    }

    proptest! {
        #[test]
        fn the_chosen_edge_is_fit_and_none_is_less_loaded(
            candidates in proptest::collection::vec(any_candidate(), 0..12),
            excluded in 0..20u8,
        ) {
            let exclude = [id(&format!("n{excluded}"))];
            let request =
                Request { legs: 2, client: Some(Position::new(0.0, 0.0)), exclude: &exclude };
            let fit: Vec<_> = candidates.iter().filter(|c| c.check(&request).is_ok()).collect();
            let ranked = rank_edges(&candidates, &request);
            prop_assert_eq!(ranked.len(), fit.len());
            match select_edge(&candidates, &request) {
                Err(_) => prop_assert!(fit.is_empty()),
                Ok(selection) => {
                    prop_assert_eq!(&ranked[0], &selection.edge);
                    prop_assert_ne!(&selection.edge, &exclude[0]);
                    // Ids may repeat here: some fit candidate of that id is as little loaded as any.
                    let least = fit.iter().filter(|c| c.id == selection.edge).any(|best| {
                        fit.iter().all(|c| best.compare_load(c).is_le())
                    });
                    prop_assert!(least);
                }
            }
        }
    }
}
