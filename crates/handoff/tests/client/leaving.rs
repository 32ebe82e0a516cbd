//! Leaving an edge that wants to be left.

use gibbon_handoff::{
    Reason,
    client::{Action, Event, Note},
};
use gibbon_media::{
    Description::{One, Zero},
    GroupId,
};

use crate::bench::*;

#[test]
fn a_session_crosses_one_description_at_a_time_and_then_closes_the_connection() {
    let mut bench = Bench::new();
    assert_eq!(bench.go_away("a"), ["subscribe 1 c 6", "set attach 1"]);
    assert!(bench.hands.is_crossing(&node("a")));
    assert_eq!(bench.go_away("a"), NOTHING);
    let one = ["stop attach 1", "end 1 a 5", "set leave 1", "report"];
    assert_eq!(bench.in_time(One, "c"), one);
    assert_eq!(bench.legs(), ["a", "c"]);
    // The other begins at the groups that are told next.
    assert_eq!(bench.go_away("a"), ["subscribe 0 c 5", "set attach 0"]);
    assert_eq!(bench.last_group_over(One), NOTHING);
    let zero = ["stop attach 0", "end 0 a 4", "set leave 0", "report"];
    assert_eq!(bench.in_time(Zero, "c"), zero);
    assert!(!bench.hands.is_crossing(&node("a")));
    assert_eq!(bench.last_group_over(Zero), ["close a"]);
}

#[test]
fn the_players_report_is_told_where_it_crosses_to() {
    let mut bench = Bench::new();
    let next = [GroupId(5), GroupId(6)];
    let actions = bench.hands.handle(Event::GoAway { edge: node("a"), next });
    let crossing = Note::Crossing { description: One, from: node("a"), to: node("c") };
    assert_eq!(actions[0], Action::Note(crossing));
}

#[test]
fn a_leg_on_an_edge_of_its_own_crosses_to_the_other_hands_edge() {
    let mut bench = Bench::at(["a", "b"], &["c"]);
    assert_eq!(bench.go_away("b")[0], "subscribe 1 a 6");
    bench.in_time(One, "a");
    assert_eq!(bench.last_group_over(One), ["close b"]);
}

#[test]
fn a_candidate_that_fails_is_followed_by_the_next_and_then_the_edges_word_is_waited_for() {
    let mut bench = Bench::at(["a", "a"], &["c", "d"]);
    bench.go_away("a");
    assert_eq!(bench.rejected(One, "c"), ["stop attach 1"]);
    assert_eq!(bench.go_away("a")[0], "subscribe 1 d 6");
    assert_eq!(bench.not_in_time(One), ["cancel 1 d", "stop attach 1"]);
    assert_eq!(bench.legs(), ["a", "a"]);
    assert!(bench.hands.is_crossing(&node("a")));
    assert_eq!(bench.go_away("a"), NOTHING);
    assert!(!bench.hands.is_crossing(&node("a")), "nothing is left to try");
    assert_eq!(bench.go_away("a")[0], "subscribe 1 c 6");
}

#[test]
fn an_edge_that_wants_to_be_left_is_no_place_to_cross_to_but_better_than_none() {
    let mut bench = Bench::at(["a", "b"], &["a", "b", "c"]);
    bench.go_away("a");
    bench.in_time(Zero, "b");
    bench.last_group_over(Zero);
    assert_eq!(bench.go_away("b")[0], "subscribe 1 c 6");
    bench.rejected(One, "c");
    assert_eq!(bench.go_away("b"), NOTHING);
    // In need it is tried after those that stay, before the one that was lost.
    bench.closed("b");
    assert_eq!(bench.tries(One), ["c", "a", "b", "c", "a", "b"]);
}

#[test]
fn an_edge_is_left_although_another_could_not_be() {
    let mut bench = Bench::at(["a", "b"], &["c"]);
    bench.go_away("b");
    bench.not_in_time(One);
    assert_eq!(bench.go_away("a")[0], "subscribe 0 c 5");
}

#[test]
fn an_edge_is_trusted_again_when_it_stays_or_the_coordinator_names_it() {
    type Trust = fn(&mut Bench);
    let table: [(&str, Trust); 3] = [
        ("stays", |b| drop(b.tell(Event::Stays { edge: node("c") }))),
        ("a standby", |b| b.hands.set_standbys(vec![node("c")])),
        ("an order", |b| {
            b.order(attach_to("c", 1, One));
            b.rejected(One, "c");
        }),
    ];
    for (name, trust) in table {
        let mut bench = Bench::new();
        bench.go_away("c");
        assert_eq!(bench.go_away("a"), NOTHING, "{name}");
        trust(&mut bench);
        assert_eq!(bench.go_away("a")[0], "subscribe 1 c 6", "{name}");
    }
}

#[test]
fn an_edge_that_stays_after_all_keeps_what_has_not_crossed() {
    let mut bench = Bench::new();
    bench.go_away("a");
    bench.in_time(One, "c");
    bench.go_away("a");
    let kept = ["stop attach 0", "cancel 0 c"];
    assert_eq!(bench.tell(Event::Stays { edge: node("a") }), kept);
    assert!(!bench.hands.is_crossing(&node("a")));
    assert_eq!(bench.legs(), ["a", "c"]);
}

#[test]
fn an_order_takes_precedence_and_the_hands_wait_for_the_edges_word() {
    let mut bench = Bench::new();
    bench.go_away("a");
    let moved = ["stop attach 1", "cancel 1 c", "subscribe 1 b 7", "set attach 1"];
    assert_eq!(bench.order(attach(1, One)), moved);
    assert!(!bench.hands.is_crossing(&node("a")));
    assert_eq!(bench.go_away("a"), NOTHING);
    bench.in_time(One, "b");
    assert_eq!(bench.go_away("a"), NOTHING, "on probation");
    bench.probation_over(One);
    assert_eq!(bench.go_away("a")[0], "subscribe 0 b 5");
    // An order to the edge that is being tried goes on with it.
    assert_eq!(bench.order(attach(2, Zero)), NOTHING);
    let attached = ["stop attach 0", "end 0 a 4", "set probation 0", "report attached 0 b 5"];
    assert_eq!(bench.in_time(Zero, "b"), attached);
}

#[test]
fn a_crossing_becomes_a_recovery_when_the_old_edge_falls_silent_or_closes() {
    let mut bench = Bench::new();
    bench.go_away("a");
    let live = ["stop attach 1", "cancel 1 c", "set reattach 1"];
    assert_eq!(bench.bad(One, "a", Reason::Starved), live);
    assert_eq!(bench.reattach(One)[0], "subscribe 1 c live");

    let mut bench = Bench::at(["a", "b"], &["c"]);
    bench.go_away("b");
    let live = ["stop attach 1", "cancel 1 a", "set reattach 1", "report"];
    assert_eq!(bench.closed("b"), live);
    assert_eq!(bench.reattach(One)[0], "subscribe 1 a live");
}

#[test]
fn a_late_leg_goes_on_crossing() {
    let mut bench = Bench::new();
    bench.go_away("a");
    assert_eq!(bench.bad(One, "a", Reason::Late), NOTHING);
    // With nothing under way it need not be borne.
    bench.rejected(One, "c");
    assert_eq!(bench.bad(One, "a", Reason::Late), ["set reattach 1"]);
}

#[test]
fn nothing_crosses_while_a_description_is_being_recovered() {
    let mut bench = Bench::at(["a", "b"], &["c"]);
    bench.closed("b");
    assert_eq!(bench.go_away("a"), NOTHING);
    assert!(bench.hands.is_crossing(&node("a")));
    bench.reattach(One);
    bench.in_time(One, "c");
    assert_eq!(bench.go_away("a")[0], "subscribe 0 c 5");
}

#[test]
fn an_edge_that_serves_nothing_is_left_at_once_unless_something_may_go_back_to_it() {
    let mut bench = Bench::new();
    assert_eq!(bench.go_away("c"), ["close c"]);
    let mut bench = Bench::on_probation();
    bench.closed("a");
    assert_eq!(bench.go_away("a"), NOTHING);
}

#[test]
fn an_edge_that_is_taken_again_in_time_keeps_its_connection() {
    let mut bench = Bench::at(["b", "a"], &["c"]);
    bench.go_away("a");
    bench.in_time(One, "b");
    bench.order(give_back(1, One));
    assert_eq!(bench.last_group_over(One), NOTHING);
}

#[test]
fn edges_that_want_to_be_left_are_remembered_within_bounds() {
    let mut bench = Bench::at(["a", "a"], &["s8", "s0"]);
    (0..9).for_each(|n| drop(bench.go_away(&format!("s{n}"))));
    assert_eq!(bench.go_away("a")[0], "subscribe 1 s0 6");
}
