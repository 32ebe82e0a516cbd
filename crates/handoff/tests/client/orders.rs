//! Orders, and how they are carried out.

use gibbon_handoff::{
    Reason, ToClient,
    client::{Event, Hands, Start},
};
use gibbon_media::{
    Description::{One, Zero},
    GroupId,
};

use crate::bench::*;

#[test]
fn a_session_begins_with_both_descriptions_at_the_edges_of_its_grant() {
    let (hands, actions) = Hands::new([node("a"), node("b")], vec![]);
    let words: Vec<_> = actions.into_iter().filter_map(in_words).collect();
    let both = ["subscribe 0 a live", "set attach 0", "subscribe 1 b live", "set attach 1"];
    assert_eq!(words, both);
    let mut bench = Bench { hands };
    assert_eq!(bench.in_time(Zero, "a"), ["stop attach 0", "report"]);
    assert_eq!(bench.in_time(One, "b"), ["stop attach 1", "report"]);
    assert_eq!(bench.legs(), ["a", "b"]);
}

#[test]
fn a_description_is_added_at_the_new_edge_before_it_ends_at_the_old_one() {
    let mut bench = Bench::new();
    assert_eq!(bench.order(attach(1, One)), ["subscribe 1 b 7", "set attach 1"]);
    assert_eq!(bench.legs(), ["a", "a"]);
    let attached = ["stop attach 1", "end 1 a 6", "set probation 1", "report attached 1 b 7"];
    assert_eq!(bench.in_time(One, "b"), attached);
    assert_eq!(bench.legs(), ["a", "b"]);
    assert_eq!(bench.probation_over(One), ["report held 1"]);
    bench.order(attach(2, Zero));
    bench.in_time(Zero, "b");
    assert_eq!(bench.probation_over(Zero), ["report held 0"]);
    assert_eq!(bench.order(finish(3)), ["close a", "report finished a"]);
}

#[test]
fn a_group_that_has_begun_meanwhile_is_not_waited_for() {
    let mut bench = Bench::new();
    let words = bench.tell(Event::Order { order: attach(1, One), next: GroupId(9) });
    assert_eq!(words[0], "subscribe 1 b 9");
    assert_eq!(bench.in_time(One, "b")[1], "end 1 a 8");
}

#[test]
fn a_new_leg_that_does_not_come_is_given_up_and_the_old_one_stays() {
    type Trouble = fn(&mut Bench) -> Vec<String>;
    let table: [(Trouble, &[&str]); 3] = [
        (
            |b| b.not_in_time(One),
            &["cancel 1 b", "stop attach 1", "report rolled back 1 NotInTime"],
        ),
        (|b| b.rejected(One, "b"), &["stop attach 1", "report rolled back 1 Rejected"]),
        (|b| b.closed("b"), &["stop attach 1", "report rolled back 1 Closed"]),
    ];
    for (trouble, words) in table {
        let mut bench = Bench::new();
        bench.order(attach(1, One));
        assert_eq!(trouble(&mut bench), *words);
        assert_eq!(bench.legs(), ["a", "a"]);
        assert_eq!(bench.in_time(One, "b"), NOTHING);
    }
}

#[test]
fn a_bad_leg_on_probation_goes_back_and_is_cut_only_when_the_old_edge_delivers() {
    for reason in [Reason::Late, Reason::Lossy, Reason::Starved] {
        let mut bench = Bench::on_probation();
        let back = ["stop probation 1", "subscribe 1 a live", "set attach 1"];
        assert_eq!(bench.bad(One, "b", reason), back);
        assert_eq!(bench.legs(), ["a", "b"]);
        let words = bench.in_time(One, "a");
        let report = format!("report rolled back 1 {reason:?}");
        assert_eq!(words, ["stop attach 1", "cancel 1 b", &report]);
        assert_eq!(bench.legs(), ["a", "a"]);
    }
}

#[test]
fn a_leg_that_breaks_on_probation_goes_back_at_once() {
    let mut bench = Bench::on_probation();
    let back = ["stop probation 1", "subscribe 1 a live", "set attach 1", "report attached 1 b 7"];
    assert_eq!(bench.closed("b"), back);
    assert_eq!(bench.legs(), ["a", "-"]);
    assert_eq!(bench.in_time(One, "a"), ["stop attach 1", "report rolled back 1 Closed"]);
}

#[test]
fn an_older_order_is_passed_over() {
    let mut bench = Bench::on_probation();
    assert_eq!(bench.order(attach(0, Zero)), NOTHING);
    let older_term = ToClient::Finish { order: order(0, 9), edge: node("a") };
    assert_eq!(bench.order(older_term), NOTHING);
}

#[test]
fn a_repeated_order_has_its_answer_repeated_once_there_is_one() {
    let mut bench = Bench::new();
    bench.order(attach(1, One));
    assert_eq!(bench.order(attach(1, One)), NOTHING);
    bench.in_time(One, "b");
    assert_eq!(bench.order(attach(1, One)), ["report attached 1 b 7"]);
    bench.probation_over(One);
    assert_eq!(bench.order(attach(1, One)), ["report held 1"]);
}

#[test]
fn an_order_given_again_by_a_restarted_coordinator_goes_on_where_it_stands() {
    let mut bench = Bench::new();
    bench.order(attach(1, One));
    assert_eq!(bench.order(attach(2, One)), NOTHING);
    assert_eq!(bench.in_time(One, "b").last().unwrap(), "report attached 1 b 7");
    assert_eq!(bench.order(attach(3, One)), ["report attached 1 b 7"]);
    bench.probation_over(One);
    assert_eq!(bench.order(attach(4, One)), ["report held 1"]);
}

#[test]
fn a_newer_order_ends_what_an_older_one_began() {
    let mut bench = Bench::new();
    bench.order(attach(1, One));
    let other = ["stop attach 1", "cancel 1 b", "subscribe 0 b 7", "set attach 0"];
    assert_eq!(bench.order(attach(2, Zero)), other);
    assert_eq!(bench.legs(), ["a", "a"]);
}

#[test]
fn a_description_is_returned_as_it_was_attached() {
    // Not yet moved.
    let mut bench = Bench::new();
    bench.order(attach(1, One));
    let stay = ["stop attach 1", "cancel 1 b", "report held 1"];
    assert_eq!(bench.order(give_back(2, One)), stay);
    // On probation.
    let mut bench = Bench::on_probation();
    let back = ["stop probation 1", "subscribe 1 a 5", "set attach 1"];
    assert_eq!(bench.order(give_back(2, One))[..3], back);
    assert_eq!(bench.in_time(One, "a"), ["stop attach 1", "end 1 b 4", "report held 1"]);
    // The old edge does not take it.
    let mut bench = Bench::on_probation();
    bench.order(give_back(2, One));
    let stay = ["stop attach 1", "report rolled back 1 Rejected"];
    assert_eq!(bench.rejected(One, "a"), stay);
    assert_eq!(bench.legs(), ["a", "b"]);
}

#[test]
fn orders_wait_while_a_description_is_recovered() {
    let mut bench = Bench::on_probation();
    bench.bad(One, "b", Reason::Late);
    assert_eq!(bench.order(give_back(2, One)), NOTHING);
    bench.in_time(One, "a");
    assert_eq!(bench.order(give_back(2, One)), ["report held 1"]);

    let mut bench = Bench::on_probation();
    bench.closed("b");
    assert_eq!(bench.order(attach(2, Zero)), NOTHING);
    assert_eq!(bench.hands.attaching(One), Some((&node("a"), Start::Live)));
}

#[test]
fn a_description_that_is_not_where_the_order_says_is_not_moved() {
    let mut bench = Bench::new();
    bench.bad(One, "a", Reason::Starved);
    bench.reattach(One);
    bench.in_time(One, "c");
    assert_eq!(bench.order(attach(1, One)), ["report rolled back 1 Elsewhere"]);
}

#[test]
fn the_connection_to_an_edge_that_delivers_something_is_kept() {
    let mut bench = Bench::on_probation();
    assert_eq!(bench.order(finish(2)), ["report kept a"]);
}
