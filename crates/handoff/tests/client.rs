//! The client's end, by table: what it is told, and what it does.

#![allow(clippy::unwrap_used, reason = "a broken test is to stop")]

use gibbon_handoff::{
    FromClient, OrderId, Reason, Report, Term, ToClient,
    client::{Action, Event, Hands, Note, Start},
    timers::ClientTimer as Timer,
};
use gibbon_media::{
    Description::{self, One, Zero},
    GroupId, HandoffId, NodeId,
};

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn order(term: u64, step: u64) -> OrderId {
    OrderId { term: Term(term), step, handoff: HandoffId(1) }
}

fn attach(step: u64, description: Description) -> ToClient {
    let (from, to) = (node("a"), node("b"));
    ToClient::Attach { order: order(1, step), description, from, to, start: GroupId(7) }
}

fn give_back(step: u64, description: Description) -> ToClient {
    ToClient::Return { order: order(1, step), description, to: node("a") }
}

fn finish(step: u64) -> ToClient {
    ToClient::Finish { order: order(1, step), edge: node("a") }
}

/// Hands, and what they do in words.
struct Bench {
    hands: Hands,
}

impl Bench {
    /// Both descriptions at edge A, with a standby C.
    fn new() -> Self {
        let (hands, _) = Hands::new([node("a"), node("a")], vec![node("c")]);
        let mut bench = Self { hands };
        bench.in_time(Zero, "a");
        bench.in_time(One, "a");
        bench
    }

    /// Description 1 on probation at B.
    fn on_probation() -> Self {
        let mut bench = Self::new();
        bench.order(attach(1, One));
        bench.in_time(One, "b");
        bench
    }

    fn tell(&mut self, event: Event) -> Vec<String> {
        self.hands.handle(event).into_iter().filter_map(in_words).collect()
    }

    fn order(&mut self, order: ToClient) -> Vec<String> {
        self.tell(Event::Order { order, next: GroupId(5) })
    }

    fn in_time(&mut self, description: Description, edge: &str) -> Vec<String> {
        self.tell(Event::InTime { description, edge: node(edge) })
    }

    fn bad(&mut self, description: Description, edge: &str, reason: Reason) -> Vec<String> {
        self.tell(Event::Bad { description, edge: node(edge), reason })
    }

    fn closed(&mut self, edge: &str) -> Vec<String> {
        self.tell(Event::Closed { edge: node(edge) })
    }

    fn rejected(&mut self, description: Description, edge: &str) -> Vec<String> {
        self.tell(Event::Rejected { description, edge: node(edge) })
    }

    fn not_in_time(&mut self, description: Description) -> Vec<String> {
        let (_, start) = self.hands.attaching(description).unwrap();
        self.tell(Event::Timer(Timer::Attach { description, start }))
    }

    fn probation_over(&mut self, description: Description) -> Vec<String> {
        self.tell(Event::Timer(Timer::Probation { description }))
    }

    fn reattach(&mut self, description: Description) -> Vec<String> {
        self.tell(Event::Timer(Timer::Reattach { description }))
    }

    fn legs(&self) -> [String; 2] {
        self.hands.legs().map(|leg| leg.map_or("-".to_owned(), String::from))
    }
}

fn in_words(action: Action) -> Option<String> {
    let start = |start| match start {
        Start::Live => "live".to_owned(),
        Start::At(group) => group.to_string(),
    };
    Some(match action {
        Action::Subscribe { description, edge, start: at } => {
            format!("subscribe {description} {edge} {}", start(at))
        }
        Action::End { description, edge, last } => format!("end {description} {edge} {last}"),
        Action::Cancel { description, edge } => format!("cancel {description} {edge}"),
        Action::CloseConnection { edge } => format!("close {edge}"),
        Action::SetTimer(timer) => format!("set {}", timer_in_words(timer)),
        Action::CancelTimer(timer) => format!("stop {}", timer_in_words(timer)),
        Action::Report(Report { answer, .. }) => match answer {
            None => "report".to_owned(),
            Some(FromClient::Attached { description, edge, start, .. }) => {
                format!("report attached {description} {edge} {start}")
            }
            Some(FromClient::Held { description, .. }) => format!("report held {description}"),
            Some(FromClient::RolledBack { description, reason, .. }) => {
                format!("report rolled back {description} {reason:?}")
            }
            Some(FromClient::Finished { edge, .. }) => format!("report finished {edge}"),
            Some(FromClient::Kept { edge, .. }) => format!("report kept {edge}"),
        },
        Action::Note(Note::Lost { description }) => format!("lost {description}"),
        Action::Note(_) => return None,
    })
}

fn timer_in_words(timer: Timer) -> String {
    match timer {
        Timer::Attach { description, .. } => format!("attach {description}"),
        Timer::Probation { description } => format!("probation {description}"),
        Timer::Reattach { description } => format!("reattach {description}"),
        Timer::Leave { description } => format!("leave {description}"),
    }
}

const NOTHING: [&str; 0] = [];

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
fn recovery_tries_each_edge_a_bounded_number_of_times_and_then_says_so() {
    let mut bench = Bench::new();
    bench.closed("a");
    let mut tried = Vec::new();
    loop {
        let words = bench.reattach(One);
        if words[0] == "lost 1" {
            break;
        }
        tried.push(words[0].clone());
        bench.not_in_time(One);
    }
    let one_round = ["subscribe 1 c live", "subscribe 1 a live"];
    assert_eq!(tried, [one_round, one_round].concat());
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
