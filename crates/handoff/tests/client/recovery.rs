//! Edges that are lost, or bad.

use gibbon_handoff::{Reason, timers::MAX_TRIES};
use gibbon_media::Description::{One, Zero};

use crate::bench::*;

#[test]
fn when_the_old_edge_does_not_take_it_back_the_standby_does() {
    let mut bench = Bench::on_probation();
    bench.bad(One, "b", Reason::Late);
    let elsewhere = ["stop attach 1", "set reattach 1", "report rolled back 1 Late"];
    assert_eq!(bench.rejected(One, "a"), elsewhere);
    // First the other hand's edge once more, then the standby.
    assert_eq!(bench.reattach(One), ["subscribe 1 a live", "set attach 1"]);
    assert_eq!(bench.rejected(One, "a"), ["stop attach 1", "set reattach 1"]);
    assert_eq!(bench.reattach(One), ["subscribe 1 c live", "set attach 1"]);
    assert_eq!(bench.in_time(One, "c")[..2], ["stop attach 1", "cancel 1 b"]);
}

#[test]
fn a_bad_leg_past_probation_is_recovered_elsewhere_and_cut_only_when_another_delivers() {
    for reason in [Reason::Late, Reason::Lossy, Reason::Starved] {
        let mut bench = Bench::new();
        assert_eq!(bench.bad(One, "a", reason), ["set reattach 1"]);
        assert_eq!(bench.bad(One, "a", reason), NOTHING);
        assert_eq!(bench.reattach(One), ["subscribe 1 c live", "set attach 1"]);
        assert_eq!(bench.bad(One, "a", reason), NOTHING);
        assert_eq!(bench.legs(), ["a", "a"]);
        assert_eq!(bench.in_time(One, "c"), ["stop attach 1", "cancel 1 a", "report"]);
    }
}

#[test]
fn when_an_edge_is_lost_its_description_crosses_to_the_other_hands_edge() {
    let mut bench = Bench::on_probation();
    bench.probation_over(One);
    assert_eq!(bench.closed("a"), ["set reattach 0", "report held 1"]);
    assert_eq!(bench.reattach(Zero), ["subscribe 0 b live", "set attach 0"]);
    assert_eq!(bench.in_time(Zero, "b"), ["stop attach 0", "report held 1"]);
    assert_eq!(bench.legs(), ["b", "b"]);
}

#[test]
fn when_the_only_edge_is_lost_both_cross_to_the_standby() {
    let mut bench = Bench::new();
    assert_eq!(bench.closed("a"), ["set reattach 0", "set reattach 1", "report"]);
    assert_eq!(bench.legs(), ["-", "-"]);
    assert_eq!(bench.reattach(Zero)[0], "subscribe 0 c live");
    assert_eq!(bench.reattach(One)[0], "subscribe 1 c live");
}

#[test]
fn an_old_edge_lost_while_the_new_leg_is_added_leaves_the_new_leg_to_arrive() {
    let mut bench = Bench::new();
    bench.order(attach(1, One));
    assert_eq!(bench.closed("a"), ["set reattach 0", "report"]);
    let attached = ["stop attach 1", "set probation 1", "report attached 1 b 7"];
    assert_eq!(bench.in_time(One, "b"), attached);

    let mut bench = Bench::new();
    bench.order(attach(1, One));
    bench.closed("a");
    let recover =
        ["cancel 1 b", "stop attach 1", "set reattach 1", "report rolled back 1 NotInTime"];
    assert_eq!(bench.not_in_time(One), recover);
}

#[test]
fn with_both_lost_each_edge_is_tried_twice_and_then_the_hands_say_so() {
    let mut bench = Bench::new();
    bench.closed("a");
    assert_eq!(bench.tries(One), ["c", "a", "c", "a"]);
    assert!(bench.hands.is_idle(One));
    // It takes no more tries, until the coordinator has found an edge.
    assert_eq!(bench.reattach(One), NOTHING);
    bench.reattach(Zero);
    bench.in_time(Zero, "c");
    assert_eq!(bench.order(attach(1, One))[0], "subscribe 1 b 7");
    bench.in_time(One, "b");
    assert!(!bench.hands.is_idle(One));
}

#[test]
fn while_the_other_description_holds_each_edge_is_tried_once() {
    let mut bench = Bench::at(["a", "b"], &["c", "d"]);
    bench.closed("b");
    assert_eq!(bench.tries(One), ["a", "c", "d", "b"]);
    assert!(bench.hands.is_idle(One));
    assert_eq!(bench.legs(), ["a", "-"]);
}

#[test]
fn a_search_ends_however_many_standbys_there_are() {
    let names: Vec<String> = (0..30).map(|n| format!("s{n}")).collect();
    let standbys: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut bench = Bench::at(["a", "b"], &standbys);
    bench.closed("b");
    assert_eq!(bench.tries(One).len(), MAX_TRIES);
}

#[test]
fn a_second_description_that_is_refused_is_done_without() {
    let mut bench = Bench::beginning(["a", "b"], &["c"]);
    bench.in_time(Zero, "a");
    assert_eq!(bench.rejected(One, "b"), ["stop attach 1", "set reattach 1"]);
    for edge in ["a", "c"] {
        assert_eq!(bench.reattach(One)[0], format!("subscribe 1 {edge} live"));
        bench.rejected(One, edge);
    }
    assert_eq!(bench.reattach(One), ["lost 1"]);
    assert!(bench.hands.is_idle(One) && !bench.hands.is_idle(Zero));
}

#[test]
fn an_edge_that_fails_both_descriptions_is_tried_last_by_both() {
    let mut bench = Bench::at(["a", "b"], &["b", "c"]);
    bench.bad(One, "b", Reason::Starved);
    bench.bad(Zero, "a", Reason::Starved);
    assert_eq!(bench.reattach(Zero)[0], "subscribe 0 c live");
    assert_eq!(bench.reattach(One)[0], "subscribe 1 c live");
    assert_eq!(bench.not_in_time(Zero)[0], "cancel 0 c");
    assert_eq!(bench.reattach(Zero)[0], "subscribe 0 b live");
}

#[test]
fn an_edge_that_falls_silent_while_it_is_being_tried_is_not_waited_for() {
    let mut bench = Bench::at(["a", "b"], &["c"]);
    bench.closed("a");
    assert_eq!(bench.reattach(Zero)[0], "subscribe 0 b live");
    let next = ["set reattach 1", "cancel 0 b", "stop attach 0", "set reattach 0"];
    assert_eq!(bench.bad(One, "b", Reason::Starved), next);
    assert_eq!(bench.reattach(Zero)[0], "subscribe 0 c live");
    // A leg that is only late says nothing of the edge's life.
    let mut bench = Bench::at(["a", "b"], &["c"]);
    bench.closed("a");
    bench.reattach(Zero);
    assert_eq!(bench.bad(One, "b", Reason::Late), ["set reattach 1"]);
    assert_eq!(bench.hands.attaching(Zero).unwrap().0, &node("b"));
}

#[test]
fn an_edge_that_closes_while_it_is_being_tried_is_not_waited_for() {
    let mut bench = Bench::at(["a", "b"], &["c"]);
    bench.closed("a");
    bench.reattach(Zero);
    assert_eq!(bench.closed("b"), ["stop attach 0", "set reattach 0", "set reattach 1", "report"]);
    assert_eq!(bench.reattach(Zero)[0], "subscribe 0 c live");
    assert_eq!(bench.reattach(One)[0], "subscribe 1 c live");
}

#[test]
fn a_silent_edge_is_left_when_nothing_comes_from_it_any_more() {
    let mut bench = Bench::new();
    for description in [Zero, One] {
        bench.bad(description, "a", Reason::Starved);
        bench.reattach(description);
    }
    // Its other leg is still waited for.
    assert_eq!(bench.in_time(One, "c"), ["stop attach 1", "cancel 1 a", "report"]);
    assert_eq!(bench.in_time(Zero, "c"), ["stop attach 0", "cancel 0 a", "close a", "report"]);
}

#[test]
fn a_silent_edge_that_probation_may_go_back_to_is_kept() {
    let mut bench = Bench::on_probation();
    bench.bad(Zero, "a", Reason::Starved);
    bench.reattach(Zero);
    let words = bench.in_time(Zero, "b");
    assert_eq!(words[..2], ["stop attach 0", "cancel 0 a"]);
    assert!(!words.contains(&"close a".to_owned()), "{words:?}");
}

#[test]
fn a_leg_that_was_given_up_counts_again_when_it_comes_back() {
    let mut bench = Bench::at(["a", "b"], &[]);
    bench.bad(One, "b", Reason::Starved);
    assert_eq!(bench.tries(One), ["a"]);
    assert!(bench.hands.is_idle(One));
    assert_eq!(bench.legs(), ["a", "b"]);
    bench.in_time(One, "b");
    assert!(!bench.hands.is_idle(One));
}
