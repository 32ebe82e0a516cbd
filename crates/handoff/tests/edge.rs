//! An edge's end, by table: what it is told, and what it does.

#![allow(clippy::unwrap_used, reason = "a broken test is to stop")]

use gibbon_handoff::{
    FromEdge, OrderId, Reason, Source, Term, ToEdge,
    edge::{Action, Event, Holding, Leg},
};
use gibbon_media::{
    Description::{self, One, Zero},
    GroupId, HandoffId, SessionId,
};

fn order(step: u64) -> OrderId {
    OrderId { term: Term(1), step, handoff: HandoffId(1) }
}

fn prefetch(step: u64, description: Description, fetch: Source) -> Event {
    Event::Order(ToEdge::Prefetch {
        order: order(step),
        session: SessionId(1),
        stream: "live/a".parse().unwrap(),
        description,
        fetch,
        first_edge: "a".parse().unwrap(),
    })
}

fn release(step: u64) -> Event {
    Event::Order(ToEdge::Release { order: order(step), session: SessionId(1) })
}

fn ready(step: u64, description: Description) -> Action {
    Action::Reply(FromEdge::Ready { order: order(step), description, group: GroupId(7) })
}

fn settled(step: u64, description: Description) -> Action {
    Action::Reply(FromEdge::Settled { order: order(step), description })
}

const FETCHED: Event = Event::Fetched { description: One, group: GroupId(7) };
const SUBSCRIBED: Event = Event::Subscribed { description: One };

#[test]
fn a_bootstrap_from_the_first_edge_is_left_when_the_client_is_there() {
    let mut holding = Holding::default();
    let source = Source::FirstEdge;
    let fetch = Action::Fetch { description: One, source };
    assert_eq!(holding.handle(prefetch(1, One, source)), [Action::SetTimer, fetch]);
    assert_eq!(holding.handle(FETCHED), [ready(1, One)]);
    assert_eq!(holding.handle(SUBSCRIBED), [Action::Settle { description: One }]);
    assert_eq!(holding.leg(One), Leg::Serving);
    let now_settled = [ready(1, One), settled(1, One)];
    assert_eq!(holding.handle(Event::Settled { description: One }), now_settled);
    assert_eq!(holding.handle(prefetch(1, One, source))[1..], now_settled);
    let drop = Action::Drop { description: One };
    assert_eq!(holding.handle(release(2)), [Action::SetTimer, drop]);
    assert_eq!(holding.leg(One), Leg::Serving);
}

#[test]
fn a_prefetch_from_the_origin_is_settled_as_soon_as_it_is_ready() {
    let mut holding = Holding::default();
    holding.handle(prefetch(1, One, Source::Origin));
    assert_eq!(holding.handle(FETCHED), [ready(1, One), settled(1, One)]);
    assert_eq!(holding.handle(SUBSCRIBED), []);
}

#[test]
fn a_client_that_comes_before_the_bootstrap_is_ready_is_served_and_settled_afterwards() {
    let mut holding = Holding::default();
    holding.handle(prefetch(1, One, Source::FirstEdge));
    assert_eq!(holding.handle(SUBSCRIBED), []);
    assert_eq!(holding.handle(FETCHED), [ready(1, One), Action::Settle { description: One }]);
}

#[test]
fn a_prefetch_that_fails_is_refused_and_may_be_asked_for_again() {
    let mut holding = Holding::default();
    holding.handle(prefetch(1, One, Source::Origin));
    let reason = Reason::NoSource;
    let refused = Action::Reply(FromEdge::Refused { order: order(1), reason });
    assert_eq!(holding.handle(Event::NotFetched { description: One, reason }), [refused]);
    assert!(holding.is_empty());
    assert_eq!(holding.handle(prefetch(1, One, Source::Origin)).len(), 2);
}

#[test]
fn a_prefetch_nobody_takes_up_is_dropped_on_release_and_when_its_time_is_over() {
    for end in [release(2), Event::Expired] {
        let mut holding = Holding::default();
        holding.handle(prefetch(1, Zero, Source::Origin));
        assert!(holding.handle(end).contains(&Action::Drop { description: Zero }));
        assert!(holding.is_empty());
    }
}

#[test]
fn an_older_order_is_passed_over_and_a_newer_one_answered_under_its_own_name() {
    let mut holding = Holding::default();
    holding.handle(prefetch(3, One, Source::FirstEdge));
    assert_eq!(holding.handle(prefetch(2, One, Source::FirstEdge)), []);
    assert_eq!(holding.handle(release(2)), []);
    holding.handle(FETCHED);
    assert_eq!(holding.handle(prefetch(4, One, Source::FirstEdge))[1..], [ready(4, One)]);
}

#[test]
fn the_capacity_of_a_leg_that_ended_is_kept_until_the_hand_off_ends() {
    for (end, is_free) in [
        (release(1), true),
        (Event::Expired, true),
        (Event::Closed, true),
        (Event::Cancelled { description: One }, true),
        (prefetch(1, Zero, Source::Origin), false),
    ] {
        let mut holding = Holding::default();
        holding.handle(SUBSCRIBED);
        assert_eq!(holding.handle(Event::Ended { description: One }), [Action::SetTimer]);
        assert_eq!(holding.leg(One), Leg::Reserved);
        holding.handle(end.clone());
        assert_eq!(holding.leg(One) == Leg::None, is_free, "{end:?}");
    }
}

#[test]
fn a_description_that_comes_back_takes_the_capacity_kept_for_it() {
    let mut holding = Holding::default();
    holding.handle(SUBSCRIBED);
    holding.handle(Event::Ended { description: One });
    holding.handle(SUBSCRIBED);
    assert_eq!(holding.leg(One), Leg::Serving);
}
