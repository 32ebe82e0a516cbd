//! Doing without a description for a while.

use gibbon_handoff::Reason;
use gibbon_media::Description::{One, Zero};

use crate::bench::*;

#[test]
fn one_description_is_let_go_and_the_other_is_not() {
    let mut bench = Bench::new();
    assert_eq!(bench.let_go(One), ["cancel 1 a", "report"]);
    assert_eq!(bench.legs(), ["a", "-"]);
    assert!(bench.hands.is_idle(One));
    assert_eq!(bench.let_go(One), NOTHING);
    assert_eq!(bench.let_go(Zero), NOTHING);
    assert_eq!(bench.legs(), ["a", "-"]);
}

#[test]
fn a_description_is_kept_while_the_other_is_not_safe() {
    type Trouble = fn(&mut Bench);
    let table: [(&str, Trouble); 4] = [
        ("lost", |b| drop(b.closed("b"))),
        ("silent", |b| drop(b.bad(One, "b", Reason::Starved))),
        ("given up", |b| {
            b.bad(One, "b", Reason::Starved);
            b.tries(One);
        }),
        ("going back", |b| {
            b.order(attach_to("c", 1, One));
            b.in_time(One, "c");
            b.bad(One, "c", Reason::Late);
        }),
    ];
    for (name, trouble) in table {
        let mut bench = Bench::at(["a", "b"], &["c"]);
        trouble(&mut bench);
        assert_eq!(bench.let_go(Zero), NOTHING, "{name}");
        assert_eq!(bench.legs()[0], "a", "{name}");
    }
}

#[test]
fn a_description_that_an_order_moves_is_kept() {
    let mut bench = Bench::new();
    bench.order(attach(1, One));
    assert_eq!(bench.let_go(One), NOTHING);
    bench.in_time(One, "b");
    assert_eq!(bench.let_go(One), NOTHING, "on probation");
    bench.probation_over(One);
    assert_eq!(bench.let_go(One), ["cancel 1 b", "report held 1"]);
}

#[test]
fn a_description_that_is_looked_for_need_not_be() {
    let mut bench = Bench::at(["a", "b"], &["c"]);
    bench.closed("b");
    assert_eq!(bench.let_go(One), ["stop reattach 1"]);
    assert!(bench.hands.is_idle(One));

    let mut bench = Bench::at(["a", "b"], &["c"]);
    bench.bad(One, "b", Reason::Starved);
    bench.reattach(One);
    let both = ["stop attach 1", "cancel 1 a", "cancel 1 b", "report"];
    assert_eq!(bench.let_go(One), both);
}

#[test]
fn a_description_is_taken_back_from_the_first_edge_that_gives_it() {
    let mut bench = Bench::at(["a", "b"], &["c"]);
    bench.let_go(One);
    assert_eq!(bench.take_back(One), ["subscribe 1 b live", "set attach 1"]);
    assert_eq!(bench.take_back(One), NOTHING);
    assert_eq!(bench.rejected(One, "b"), ["stop attach 1", "set reattach 1"]);
    assert_eq!(bench.reattach(One), ["subscribe 1 a live", "set attach 1"]);
    assert_eq!(bench.in_time(One, "a"), ["stop attach 1", "report"]);
    assert!(!bench.hands.is_idle(One));
    assert_eq!(bench.take_back(One), NOTHING);
}

#[test]
fn a_description_that_nobody_gives_back_stays_idle_without_a_word() {
    let mut bench = Bench::at(["a", "b"], &["c"]);
    bench.let_go(One);
    for _ in 0..3 {
        bench.take_back(One);
        for edge in ["b", "a", "c"] {
            assert_eq!(bench.hands.attaching(One).unwrap().0, &node(edge));
            assert_eq!(bench.rejected(One, edge), ["stop attach 1", "set reattach 1"]);
            assert!(bench.reattach(One) != ["lost 1"]);
        }
        assert!(bench.hands.attaching(One).is_none());
        assert!(bench.hands.is_idle(One));
    }
}

#[test]
fn two_lost_descriptions_are_taken_back_at_once() {
    let mut bench = Bench::new();
    bench.closed("a");
    bench.tries(Zero);
    bench.tries(One);
    assert_eq!(bench.take_back(Zero)[0], "subscribe 0 c live");
    assert_eq!(bench.take_back(One)[0], "subscribe 1 c live");
}

#[test]
fn nothing_is_taken_back_while_the_other_description_is_on_its_way() {
    let mut bench = Bench::at(["a", "b"], &["c"]);
    bench.let_go(One);
    bench.order(attach_to("c", 1, Zero));
    assert_eq!(bench.take_back(One), NOTHING);
    bench.in_time(Zero, "c");
    assert_eq!(bench.take_back(One), NOTHING, "on probation");
    bench.probation_over(Zero);
    assert_eq!(bench.take_back(One)[0], "subscribe 1 b live");
}

#[test]
fn an_order_takes_precedence_over_taking_back() {
    let mut bench = Bench::at(["a", "b"], &["c"]);
    bench.let_go(One);
    bench.take_back(One);
    let moved = ["stop attach 1", "cancel 1 b", "subscribe 0 c 7", "set attach 0"];
    assert_eq!(bench.order(attach_to("c", 1, Zero)), moved);
    assert!(bench.hands.is_idle(One));
    // And may be what takes it back.
    let back = ["stop attach 0", "cancel 0 c", "subscribe 1 c 7", "set attach 1"];
    assert_eq!(bench.order(attach_to("c", 2, One)), back);
    assert_eq!(bench.rejected(One, "c"), ["stop attach 1", "report rolled back 1 Rejected"]);
    assert!(bench.hands.is_idle(One));
}
