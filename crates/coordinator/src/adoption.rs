//! What an earlier start of the coordinator left behind, read off a client's report.

use gibbon_handoff::{FromClient, Move, Report, Source, ToClient};
use gibbon_media::{Description, NodeId, Placement};

/// The moves that bring a hand-off to its end whose newest order the client reports, or that bring its legs
/// back if it was being rolled back. Empty when nothing was under way, or while a leg is being recovered.
///
/// Of a session that is placed together, one that moved description 1 alone, as asked, looks like one that
/// stopped half-way: it is brought together again. The legs of a diverse one are apart on purpose: the move
/// that is open is finished or brought back, and nothing else.
pub fn moves_left(report: &Report, placement: Placement) -> Vec<Move> {
    let [Some(zero), Some(one)] = &report.legs else { return Vec::new() };
    let legs = Legs { zero, one };
    let Some(order) = &report.order else { return Vec::new() };
    let together = placement == Placement::Together;
    match order {
        ToClient::Attach { description, from, to, .. } => match report.answer {
            Some(FromClient::RolledBack { .. }) if together => legs.bring_back(from, Some(to)),
            Some(FromClient::RolledBack { .. }) => Vec::new(),
            ref answer => {
                let held = matches!(answer, Some(FromClient::Held { .. }));
                match together {
                    true => legs.finish_move(*description, from, to, held),
                    false => legs.finish_alone(*description, from, to, held),
                }
            }
        },
        ToClient::Return { to, .. } if together => legs.bring_back(to, None),
        ToClient::Return { description, to, .. } => {
            let at = legs.of(*description);
            if at == to { Vec::new() } else { vec![a_move(*description, at, to)] }
        }
        // A leg came back to the edge, or its connection is closed.
        ToClient::Finish { edge, .. } if report.answer.is_some() || legs.holds(edge) => Vec::new(),
        // Moving what has been moved is confirmed at once; the connection is closed after it.
        ToClient::Finish { edge, .. } => vec![a_move(Description::Zero, edge, zero)],
    }
}

/// The edges that deliver descriptions 0 and 1.
struct Legs<'a> {
    zero: &'a NodeId,
    one: &'a NodeId,
}

impl Legs<'_> {
    fn of(&self, description: Description) -> &NodeId {
        match description {
            Description::Zero => self.zero,
            Description::One => self.one,
        }
    }

    fn holds(&self, edge: &NodeId) -> bool {
        self.zero == edge || self.one == edge
    }

    /// The newest order was to take `description` from `from` to `to`; `held` if that is done.
    fn finish_move(
        &self,
        description: Description,
        from: &NodeId,
        to: &NodeId,
        held: bool,
    ) -> Vec<Move> {
        let leg = self.of(description);
        let other = description.other();
        // The client has gone its own way, or the old edge goes on with the other description, which was
        // to stay there: description 1 is always the first to move.
        let stays = description == Description::Zero && self.one == from;
        if leg != from && leg != to || held && (leg != to || stays) {
            return Vec::new();
        }
        let with_other = match description {
            Description::One => self.zero == from,
            // So that a roll-back takes description 1 with it.
            Description::Zero => self.one == to,
        };
        let moves = |d: Description| d == description || d == other && with_other;
        [Description::One, Description::Zero]
            .into_iter()
            .filter(|d| moves(*d))
            .map(|d| a_move(d, from, to))
            .collect()
    }

    /// The same where the other description is to stay where it is. What is held already is left alone,
    /// unless the old edge holds nothing any more and its connection is still to be closed.
    fn finish_alone(
        &self,
        description: Description,
        from: &NodeId,
        to: &NodeId,
        held: bool,
    ) -> Vec<Move> {
        let leg = self.of(description);
        let open = if held { leg == to && !self.holds(from) } else { leg == from || leg == to };
        if open { vec![a_move(description, from, to)] } else { Vec::new() }
    }

    /// Every leg (those at `at`, if that is given) goes back to `home`.
    fn bring_back(&self, home: &NodeId, at: Option<&NodeId>) -> Vec<Move> {
        [Description::One, Description::Zero]
            .into_iter()
            .filter(|d| self.of(*d) != home && at.is_none_or(|at| self.of(*d) == at))
            .map(|d| a_move(d, self.of(d), home))
            .collect()
    }
}

/// Fetched from the origin: what the first edge still holds is not known.
fn a_move(description: Description, from: &NodeId, to: &NodeId) -> Move {
    Move { description, from: from.clone(), to: to.clone(), fetch: Source::Origin }
}

#[cfg(test)]
mod tests {
    use gibbon_handoff::{OrderId, Reason, Term};
    use gibbon_media::{GroupId, HandoffId};

    use super::*;

    const ORDER: OrderId = OrderId { term: Term(1), step: 3, handoff: HandoffId(9) };

    fn edge(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn attach(description: Description) -> ToClient {
        let (from, to) = (edge("a"), edge("b"));
        ToClient::Attach { order: ORDER, description, from, to, start: GroupId(7) }
    }

    fn take_back(description: Description) -> ToClient {
        ToClient::Return { order: ORDER, description, to: edge("a") }
    }

    fn attached(description: Description) -> FromClient {
        FromClient::Attached { order: ORDER, description, edge: edge("b"), start: GroupId(7) }
    }

    fn held(description: Description) -> FromClient {
        FromClient::Held { order: ORDER, description }
    }

    fn undone(description: Description) -> FromClient {
        FromClient::RolledBack { order: ORDER, description, reason: Reason::Late }
    }

    #[test]
    fn what_was_left_behind_is_finished_or_brought_back() {
        use Description::{One, Zero};
        let finish = || ToClient::Finish { order: ORDER, edge: edge("a") };
        let finished = FromClient::Finished { order: ORDER, edge: edge("a") };
        let both = vec![(1, "a", "b"), (0, "a", "b")];
        for (legs, order, answer, left) in [
            ("aa", attach(One), None, both.clone()),
            ("ab", attach(One), Some(attached(One)), both.clone()),
            ("ab", attach(One), Some(held(One)), both.clone()),
            ("aa", attach(One), Some(undone(One)), vec![]),
            ("ab", attach(Zero), None, both.clone()),
            ("bb", attach(Zero), Some(attached(Zero)), both.clone()),
            ("bb", attach(Zero), Some(held(Zero)), both.clone()),
            ("ab", attach(Zero), Some(undone(Zero)), vec![(1, "b", "a")]),
            ("bb", finish(), None, vec![(0, "a", "b")]),
            ("bb", finish(), Some(finished), vec![]),
            ("ab", take_back(Zero), Some(held(Zero)), vec![(1, "b", "a")]),
            ("bb", take_back(Zero), None, vec![(1, "b", "a"), (0, "b", "a")]),
            ("aa", take_back(One), Some(held(One)), vec![]),
            // One description alone, as asked for.
            ("ca", attach(One), None, vec![(1, "a", "b")]),
            ("ba", attach(Zero), Some(held(Zero)), vec![]),
            ("ba", attach(Zero), Some(attached(Zero)), vec![(0, "a", "b")]),
            // The client helped itself.
            ("cc", attach(One), None, vec![]),
            ("ac", attach(One), Some(held(One)), vec![]),
        ] {
            assert_eq!(left_of(Placement::Together, legs, order, answer), left);
        }
    }

    #[test]
    fn of_a_diverse_session_the_open_move_is_finished_or_brought_back_and_nothing_else() {
        use Description::{One, Zero};
        let finish = || ToClient::Finish { order: ORDER, edge: edge("a") };
        for (legs, order, answer, left) in [
            ("ca", attach(One), None, vec![(1, "a", "b")]),
            ("cb", attach(One), Some(attached(One)), vec![(1, "a", "b")]),
            // It is held, and the connection to a is to be closed.
            ("cb", attach(One), Some(held(One)), vec![(1, "a", "b")]),
            ("cc", attach(One), Some(held(One)), vec![]),
            ("ca", attach(One), Some(undone(One)), vec![]),
            // Both were to move from a to b: one has, and it was to be the other's turn.
            ("ab", attach(One), Some(held(One)), vec![]),
            ("ab", attach(Zero), None, vec![(0, "a", "b")]),
            ("ab", attach(Zero), Some(undone(Zero)), vec![]),
            ("cb", take_back(One), None, vec![(1, "b", "a")]),
            ("ca", take_back(One), Some(held(One)), vec![]),
            ("bb", take_back(Zero), None, vec![(0, "b", "a")]),
            ("cb", finish(), None, vec![(0, "a", "c")]),
            ("cb", attach(Zero), None, vec![]),
        ] {
            assert_eq!(left_of(Placement::Diverse, legs, order, answer), left);
        }
    }

    /// The moves left as (description, from, to), the legs given as a letter for each description.
    fn left_of(
        placement: Placement,
        legs: &str,
        order: ToClient,
        answer: Option<FromClient>,
    ) -> Vec<(u8, &'static str, &'static str)> {
        let legs: Vec<_> = legs.chars().map(|c| Some(edge(&c.to_string()))).collect();
        let legs = [legs[0].clone(), legs[1].clone()];
        let report = Report { revision: 1, legs, order: Some(order), answer };
        let name = |edge: &NodeId| *["a", "b", "c"].iter().find(|n| **n == edge.as_str()).unwrap();
        let moves = moves_left(&report, placement);
        moves.iter().map(|m| (u8::from(m.description), name(&m.from), name(&m.to))).collect()
    }

    #[test]
    fn nothing_is_taken_up_while_a_leg_is_being_recovered() {
        let report = Report {
            revision: 1,
            legs: [Some(edge("a")), None],
            order: Some(attach(Description::One)),
            answer: None,
        };
        for placement in [Placement::Together, Placement::Diverse] {
            assert_eq!(moves_left(&report, placement), vec![]);
        }
    }
}
