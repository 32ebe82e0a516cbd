//! Two edges for the two descriptions of a session that is placed on both.

use gibbon_media::{Description, NodeId};

use crate::{Candidate, Request, Selection, rank_edges, select_edge};

/// Two edges of different failure domains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// By description.
    pub edges: [NodeId; 2],
    /// Why, with the numbers, for people.
    pub why: String,
}

/// The two best edges of different failure domains, one leg on each; `None` where there are not two such.
///
/// Description 0 goes to the one of them that has the greater want of it: so each edge's two descriptions,
/// each of which is heavy in alternate groups (DESIGN.md §5), stay balanced.
pub fn select_pair(candidates: &[Candidate], request: &Request<'_>) -> Option<Pair> {
    let one = Request { legs: 1, ..*request };
    let first = select_edge(candidates, &one).ok()?;
    let second = select_partner(candidates, &one, &first.edge)?;
    let surplus = |edge: &NodeId| {
        let legs = candidates.iter().find(|c| c.id == *edge).map_or([0; 2], |c| c.legs);
        i64::from(legs[0]) - i64::from(legs[1])
    };
    let why = format!("{}; {}", first.why, second.why);
    let edges = match surplus(&first.edge) <= surplus(&second.edge) {
        true => [first.edge, second.edge],
        false => [second.edge, first.edge],
    };
    Some(Pair { edges, why })
}

/// The best edge in another failure domain than `other`, for the one leg that `other` is not to carry.
pub fn select_partner(
    candidates: &[Candidate],
    request: &Request<'_>,
    other: &NodeId,
) -> Option<Selection> {
    let beside = candidates.iter().find(|c| c.id == *other)?;
    let mut exclude = request.exclude.to_vec();
    exclude.extend(candidates.iter().filter(|c| c.shares_domain(beside)).map(|c| c.id.clone()));
    select_edge(candidates, &Request { exclude: &exclude, ..*request }).ok()
}

/// Of two legs on `from`, the one whose move to `to` leaves both edges better balanced; description 1 where
/// it makes no difference.
pub fn leg_to_move(from: &Candidate, to: &Candidate) -> Description {
    let lacks_ones = |c: &Candidate| i64::from(c.legs[0]) - i64::from(c.legs[1]);
    if lacks_ones(from) > lacks_ones(to) { Description::Zero } else { Description::One }
}

/// Edges to turn to when those that serve (`serving`) are lost, best first, `at_most` so many. Those to be
/// `shunned` are better than none, and come last.
pub fn select_standbys(
    candidates: &[Candidate],
    request: &Request<'_>,
    serving: &[NodeId],
    shunned: &[NodeId],
    at_most: usize,
) -> Vec<NodeId> {
    let mut exclude = request.exclude.to_vec();
    exclude.extend_from_slice(serving);
    let wanted = Request { newcomer: true, exclude: &exclude, apart_from: serving, ..*request };
    let mut standbys = rank_edges(candidates, &wanted);
    standbys.sort_by_key(|edge| shunned.contains(edge));
    standbys.truncate(at_most);
    standbys
}

#[cfg(test)]
mod tests {
    use gibbon_media::Role;
    use proptest::prelude::*;

    use super::*;
    use crate::select::tests::any_candidate;

    fn edge(n: usize, domain: Option<&str>) -> Candidate {
        Candidate {
            id: format!("e{n}").parse().unwrap(),
            role: Role::Edge,
            up: true,
            draining: false,
            domain: domain.map(str::to_owned),
            legs: [0; 2],
            seconds: 0,
            capacity: 1000,
            kbps: 0,
            capacity_kbps: None,
            position: None,
        }
    }

    #[test]
    fn an_edge_that_declares_no_domain_is_one_of_its_own() {
        let pair = |domains: [Option<&str>; 2]| {
            let candidates = [edge(0, domains[0]), edge(1, domains[1])];
            select_pair(&candidates, &Request::default())
        };
        for (domains, there_is) in [
            ([None, None], true),
            ([None, Some("rack")], true),
            ([Some("rack"), Some("shelf")], true),
            ([Some("rack"), Some("rack")], false),
        ] {
            assert_eq!(pair(domains).is_some(), there_is, "{domains:?}");
        }
        assert_eq!(select_pair(&[edge(0, None)], &Request::default()), None);
    }

    #[test]
    fn a_standby_is_another_edge_and_first_one_of_another_domain() {
        let domains = [Some("r"), Some("r"), Some("s"), Some("s"), None];
        let mut candidates: Vec<_> =
            domains.into_iter().enumerate().map(|(n, d)| edge(n, d)).collect();
        candidates[2].legs = [9, 9];
        let standbys = |serving: &[usize], shunned: &[usize], at_most| {
            let ids =
                |of: &[usize]| of.iter().map(|n| candidates[*n].id.clone()).collect::<Vec<_>>();
            let (serving, shunned) = (ids(serving), ids(shunned));
            let found =
                select_standbys(&candidates, &Request::default(), &serving, &shunned, at_most);
            found.iter().map(NodeId::to_string).collect::<Vec<_>>()
        };
        assert_eq!(standbys(&[0], &[], 9), ["e3", "e4", "e2", "e1"]);
        assert_eq!(standbys(&[0, 3], &[], 9), ["e4", "e1", "e2"]);
        assert_eq!(standbys(&[0, 3], &[], 1), ["e4"]);
        assert_eq!(standbys(&[0, 3], &[4], 9), ["e1", "e2", "e4"]);
    }

    #[test]
    fn the_leg_that_moves_is_the_one_that_is_too_many() {
        let with = |legs| Candidate { legs, ..edge(0, None) };
        assert_eq!(leg_to_move(&with([4, 2]), &with([1, 1])), Description::Zero);
        assert_eq!(leg_to_move(&with([2, 4]), &with([1, 1])), Description::One);
        assert_eq!(leg_to_move(&with([2, 2]), &with([3, 1])), Description::One);
    }

    proptest! {
        #[test]
        fn a_pair_is_fit_and_in_different_domains_wherever_there_is_one(
            mut candidates in proptest::collection::vec(any_candidate(), 0..12),
            newcomer in any::<bool>(),
        ) {
            candidates.sort_by(|a, b| a.id.cmp(&b.id));
            candidates.dedup_by(|a, b| a.id == b.id);
            let request = Request { legs: 1, leg_kbps: 1, newcomer, ..Request::default() };
            let fit: Vec<_> = candidates.iter().filter(|c| c.check(&request).is_ok()).collect();
            let there_is = fit.iter().any(|a| fit.iter().any(|b| !a.shares_domain(b)));
            let pair = select_pair(&candidates, &request);
            prop_assert_eq!(pair.is_some(), there_is);
            if let Some(pair) = pair {
                let [a, b] = pair.edges.map(|id| *fit.iter().find(|c| c.id == id).unwrap());
                prop_assert!(!a.shares_domain(b));
                prop_assert!(a.up && b.up && !a.draining && !b.draining);
            }
        }

        #[test]
        fn each_edge_s_two_descriptions_stay_balanced(
            edges in 2..9usize,
            racks in proptest::collection::vec(0..4u8, 9),
            sessions in 1..300usize,
        ) {
            let mut candidates: Vec<_> =
                (0..edges).map(|n| edge(n, Some(&racks[n].to_string()))).collect();
            for _ in 0..sessions {
                let Some(pair) = select_pair(&candidates, &Request::default()) else { break };
                for (description, id) in Description::BOTH.into_iter().zip(pair.edges) {
                    let chosen = candidates.iter_mut().find(|c| c.id == id).unwrap();
                    chosen.legs[description.index()] += 1;
                }
            }
            for candidate in &candidates {
                let [zero, one] = candidate.legs;
                prop_assert!(zero.abs_diff(one) <= 3, "{:?}", candidates);
            }
        }
    }
}
