//! The coordinator's end, by table: what it is told, and what it does.

#![allow(clippy::unwrap_used, reason = "a broken test is to stop")]

use gibbon_handoff::{
    Cause, FromClient, FromEdge, InfoSender, InvalidPlan, Move, OrderId, Outcome, Plan, Reason,
    Report, Source, Term, ToClient, ToEdge,
    coordinator::{Action, Event, Executor},
    timers::CoordinatorTimer as Timer,
};
use gibbon_media::{Description, GroupId, HandoffId, NodeId, SessionId};

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn plan() -> Plan {
    let leg = |description| Move {
        description,
        from: node("a"),
        to: node("b"),
        fetch: Source::FirstEdge,
    };
    Plan {
        handoff: HandoffId(1),
        session: SessionId(1),
        stream: "live/a".parse().unwrap(),
        term: Term(1),
        first_step: 0,
        cause: Cause::Operator,
        prefetch_info: InfoSender::Coordinator,
        moves: vec![leg(Description::One), leg(Description::Zero)],
    }
}

/// An executor, and a client and an edge B that answer as they are told to.
struct Bench {
    executor: Executor,
    /// What was done at the last event, in words.
    done: Vec<String>,
    order: Option<OrderId>,
    prefetch: Option<OrderId>,
    description: Description,
    revision: u64,
}

impl Bench {
    fn new(plan: Plan) -> Self {
        Self::with(Executor::new(plan).unwrap())
    }

    fn with((executor, actions): (Executor, Vec<Action>)) -> Self {
        let mut bench = Self {
            executor,
            done: Vec::new(),
            order: None,
            prefetch: None,
            description: Description::One,
            revision: 0,
        };
        bench.note(actions);
        bench
    }

    fn note(&mut self, actions: Vec<Action>) {
        for action in actions {
            let words = match action {
                Action::SendToEdge { edge, via, message } => {
                    let via = via.map_or(String::new(), |via| format!(" via {via}"));
                    match message {
                        ToEdge::Prefetch { order, description, fetch, .. } => {
                            self.prefetch = Some(order);
                            self.description = description;
                            format!("prefetch {description} at {edge}{via} from {fetch:?}")
                        }
                        ToEdge::Release { .. } => format!("release {edge}{via}"),
                    }
                }
                Action::SendToClient(message) => {
                    self.order = Some(message.order());
                    match message {
                        ToClient::Attach { description, from, to, start, .. } => {
                            format!("attach {description} from {from} to {to} at {start}")
                        }
                        ToClient::Return { description, to, .. } => {
                            self.description = description;
                            format!("return {description} to {to}")
                        }
                        ToClient::Finish { edge, .. } => format!("finish {edge}"),
                    }
                }
                Action::SetTimer(timer) => format!("set {timer:?}"),
                Action::CancelTimer(timer) => format!("cancel {timer:?}"),
                Action::Finished(outcome) => format!("{outcome:?}"),
                Action::Progress(_) => continue,
            };
            self.done.push(words);
        }
    }

    fn tell(&mut self, event: Event) -> Vec<String> {
        let actions = self.executor.handle(event);
        self.done.clear();
        self.note(actions);
        self.done.clone()
    }

    fn ready(&mut self) -> Vec<String> {
        let order = self.prefetch.unwrap();
        let (description, group) = (self.description, GroupId(7));
        self.tell(Event::Edge(FromEdge::Ready { order, description, group }))
    }

    fn settled(&mut self) -> Vec<String> {
        let (order, description) = (self.prefetch.unwrap(), self.description);
        self.tell(Event::Edge(FromEdge::Settled { order, description }))
    }

    fn report(&mut self, legs: [&str; 2], answer: Option<FromClient>) -> Vec<String> {
        self.revision += 1;
        let legs = legs.map(|name| name.parse().ok());
        let report = Report { revision: self.revision, legs, order: None, answer };
        self.tell(Event::Client(report))
    }

    fn attached(&mut self, legs: [&str; 2]) -> Vec<String> {
        let (order, description) = (self.order.unwrap(), self.description);
        let (edge, start) = (node(legs[description.index()]), GroupId(7));
        self.report(legs, Some(FromClient::Attached { order, description, edge, start }))
    }

    fn held(&mut self, legs: [&str; 2]) -> Vec<String> {
        let (order, description) = (self.order.unwrap(), self.description);
        self.report(legs, Some(FromClient::Held { order, description }))
    }

    fn rolled_back(&mut self, legs: [&str; 2], reason: Reason) -> Vec<String> {
        let (order, description) = (self.order.unwrap(), self.description);
        self.report(legs, Some(FromClient::RolledBack { order, description, reason }))
    }

    fn finished(&mut self, legs: [&str; 2]) -> Vec<String> {
        self.finished_with("a", legs)
    }

    fn finished_with(&mut self, edge: &str, legs: [&str; 2]) -> Vec<String> {
        let (order, edge) = (self.order.unwrap(), node(edge));
        self.report(legs, Some(FromClient::Finished { order, edge }))
    }

    fn time_out(&mut self, timer: Timer) -> Vec<String> {
        self.tell(Event::Timer(timer))
    }

    /// Until all sends of the order are spent.
    fn give_up(&mut self, timer: Timer) -> Vec<String> {
        self.time_out(timer);
        self.time_out(timer);
        self.time_out(timer)
    }

    /// Until description 1 is at B and its move is done.
    fn move_one(&mut self) -> Vec<String> {
        self.ready();
        self.attached(["a", "b"]);
        self.settled();
        self.held(["a", "b"])
    }
}

fn includes(done: Vec<String>, words: &str) {
    assert!(done.iter().any(|done| done == words), "{done:?} lacks {words:?}");
}

#[test]
fn two_descriptions_move_one_after_the_other_and_then_the_old_edge_is_left() {
    let mut bench = Bench::new(plan());
    assert_eq!(bench.done, ["prefetch 1 at b from FirstEdge", "set Prefetch"]);
    assert_eq!(bench.ready(), ["cancel Prefetch", "attach 1 from a to b at 7", "set Attach"]);
    assert_eq!(bench.attached(["a", "b"]), ["cancel Attach", "set Probation"]);
    assert_eq!(bench.held(["a", "b"]), [""; 0]);
    let next = ["cancel Probation", "prefetch 0 at b from FirstEdge", "set Prefetch"];
    assert_eq!(bench.settled(), next);
    assert_eq!(bench.ready(), ["cancel Prefetch", "attach 0 from a to b at 7", "set Attach"]);
    assert_eq!(bench.settled(), [""; 0]);
    assert_eq!(bench.attached(["b", "b"]), ["cancel Attach", "set Probation"]);
    assert_eq!(bench.held(["b", "b"]), ["cancel Probation", "finish a", "set Finish"]);
    let end = ["cancel Finish", "release a", "release b", "Completed"];
    assert_eq!(bench.finished(["b", "b"]), end);
    assert_eq!(bench.executor.outcome(), Some(Outcome::Completed));
    assert_eq!(bench.executor.next_step(), 7);
}

#[test]
fn a_single_move_leaves_the_connection_to_the_other_descriptions_edge_open() {
    let mut bench = Bench::new(Plan { moves: plan().moves[..1].to_vec(), ..plan() });
    assert_eq!(bench.move_one(), ["cancel Probation", "release a", "release b", "Completed"]);
}

#[test]
fn the_first_edge_passes_prefetch_information_on_if_the_plan_says_so() {
    let mut bench = Bench::new(Plan { prefetch_info: InfoSender::FirstEdge, ..plan() });
    assert_eq!(bench.done[0], "prefetch 1 at b via a from FirstEdge");
    let end = bench.tell(Event::SessionGone);
    assert_eq!(end[1..3], ["release a", "release b via a"]);
}

#[test]
fn each_wait_repeats_its_order_and_then_gives_up_with_its_own_reason() {
    type Until = fn(&mut Bench);
    type Row<'a> = (&'a str, Timer, Until, &'a [&'a str], &'a str, Reason);
    let table: [Row; 5] = [
        (
            "prefetch",
            Timer::Prefetch,
            |_| {},
            &["prefetch 1 at b from FirstEdge"],
            "release a",
            Reason::PrefetchTimedOut,
        ),
        (
            "attach",
            Timer::Attach,
            |b| drop(b.ready()),
            &["attach 1 from a to b at 7"],
            "return 1 to a",
            Reason::ClientSilent,
        ),
        (
            "held",
            Timer::Probation,
            |b| {
                b.ready();
                b.settled();
                b.attached(["a", "b"]);
            },
            &["attach 1 from a to b at 7"],
            "return 1 to a",
            Reason::ClientSilent,
        ),
        (
            "settled",
            Timer::Probation,
            |b| {
                b.ready();
                b.attached(["a", "b"]);
                b.held(["a", "b"]);
            },
            &["prefetch 1 at b from FirstEdge"],
            "return 1 to a",
            Reason::NotSettled,
        ),
        (
            "held and settled of the second move",
            Timer::Probation,
            |b| {
                b.move_one();
                b.ready();
                b.attached(["b", "b"]);
            },
            &["attach 0 from a to b at 7", "prefetch 0 at b from FirstEdge"],
            "return 0 to a",
            Reason::ClientSilent,
        ),
    ];
    for (name, timer, until, repeated, then, reason) in table {
        let mut bench = Bench::new(plan());
        until(&mut bench);
        for _ in 1..gibbon_handoff::timers::SENDS {
            let again = bench.time_out(timer);
            assert_eq!(again[..again.len() - 1], *repeated, "{name}");
            assert_eq!(again[again.len() - 1], format!("set {timer:?}"), "{name}");
        }
        let given_up = bench.time_out(timer);
        assert_eq!(given_up[..2], [format!("cancel {timer:?}"), then.to_owned()], "{name}");
        while bench.executor.outcome().is_none() {
            let legs = if bench.description == Description::Zero { ["a", "b"] } else { ["a", "a"] };
            bench.held(legs);
        }
        assert_eq!(bench.executor.outcome(), Some(Outcome::RolledBack { reason }), "{name}");
    }
}

#[test]
fn a_client_that_does_not_answer_at_all_fails_the_hand_off() {
    let mut bench = Bench::new(plan());
    bench.ready();
    assert_eq!(bench.give_up(Timer::Attach)[1], "return 1 to a");
    let failed = bench.give_up(Timer::Return);
    assert_eq!(failed.last().unwrap(), "Failed { reason: ClientSilent }");

    let mut bench = Bench::new(plan());
    bench.move_one();
    bench.ready();
    bench.settled();
    bench.held(["b", "b"]);
    let failed = bench.give_up(Timer::Finish);
    assert_eq!(failed.last().unwrap(), "Failed { reason: ClientSilent }");
}

#[test]
fn a_refused_prefetch_ends_it_without_a_word_to_the_client() {
    let mut bench = Bench::new(plan());
    let order = bench.prefetch.unwrap();
    let end = bench.tell(Event::Edge(FromEdge::Refused { order, reason: Reason::Full }));
    assert_eq!(end, ["cancel Prefetch", "release a", "release b", "RolledBack { reason: Full }"]);
}

#[test]
fn when_the_second_description_fails_its_probation_the_first_goes_back_too() {
    let mut bench = Bench::new(plan());
    bench.move_one();
    bench.ready();
    bench.attached(["b", "b"]);
    let back = bench.rolled_back(["a", "b"], Reason::Late);
    assert_eq!(back, ["cancel Probation", "return 1 to a", "set Return"]);
    assert_eq!(bench.held(["a", "a"]).last().unwrap(), "RolledBack { reason: Late }");
}

#[test]
fn a_description_that_cannot_go_back_makes_it_a_failure() {
    let mut bench = Bench::new(plan());
    bench.move_one();
    bench.ready();
    bench.rolled_back(["a", "b"], Reason::NotInTime);
    let end = bench.rolled_back(["a", "b"], Reason::Rejected);
    assert_eq!(end.last().unwrap(), "Failed { reason: NotInTime }");
}

/// A session on two edges, and where its descriptions 1 and 0 are to go.
fn plan_on_two(from: [&str; 2], to: [&str; 2], prefetch_info: InfoSender) -> Plan {
    let leg = |(description, n): (Description, usize)| Move {
        description,
        from: node(from[n]),
        to: node(to[n]),
        fetch: Source::FirstEdge,
    };
    let moves = [(Description::One, 0), (Description::Zero, 1)].map(leg).to_vec();
    Plan { prefetch_info, moves, ..plan() }
}

/// Carries a plan of two moves out, up to the end of the second one.
fn carry_out(plan: &Plan, executor: (Executor, Vec<Action>)) -> (Bench, Vec<String>) {
    let [one, zero] = [&plan.moves[0], &plan.moves[1]];
    let mut bench = Bench::with(executor);
    let after_one = [zero.from.as_str(), one.to.as_str()];
    bench.ready();
    bench.attached(after_one);
    bench.settled();
    bench.held(after_one);
    let after_both = [zero.to.as_str(), one.to.as_str()];
    bench.ready();
    bench.attached(after_both);
    bench.settled();
    let done = bench.held(after_both);
    (bench, done)
}

#[test]
fn legs_move_from_two_edges_to_one_to_others_or_in_place_of_each_other() {
    type Row<'a> = ([&'a str; 2], [&'a str; 2], &'a [&'a str]);
    // Where descriptions 1 and 0 are and go, and which edges are left one after the other.
    let table: [Row; 5] = [
        (["a", "c"], ["b", "b"], &["a", "c"]),
        (["a", "c"], ["b", "d"], &["a", "c"]),
        (["a", "a"], ["b", "c"], &["a"]),
        (["a", "c"], ["c", "a"], &[]),
        (["a", "c"], ["b", "a"], &["c"]),
    ];
    for (from, to, left) in table {
        let plan = plan_on_two(from, to, InfoSender::Coordinator);
        let restarted = Executor::adopt(Term(2), plan.clone()).unwrap();
        for executor in [Executor::new(plan.clone()).unwrap(), restarted] {
            let (mut bench, mut done) = carry_out(&plan, executor);
            for edge in left {
                includes(done, &format!("finish {edge}"));
                done = bench.finished_with(edge, [to[1], to[0]]);
            }
            assert_eq!(done.last().unwrap(), "Completed", "{from:?} {to:?}");
        }
    }
}

#[test]
fn each_first_edge_passes_on_what_it_delivers_itself() {
    let plan = plan_on_two(["a", "c"], ["b", "b"], InfoSender::FirstEdge);
    let mut bench = Bench::new(plan);
    assert_eq!(bench.done[0], "prefetch 1 at b via a from FirstEdge");
    bench.ready();
    bench.attached(["c", "b"]);
    bench.settled();
    includes(bench.held(["c", "b"]), "prefetch 0 at b via c from FirstEdge");
}

#[test]
fn legs_of_two_edges_go_back_to_the_one_each_came_from() {
    let mut bench = Bench::new(plan_on_two(["a", "c"], ["b", "b"], InfoSender::Coordinator));
    bench.ready();
    bench.attached(["c", "b"]);
    bench.settled();
    bench.held(["c", "b"]);
    bench.ready();
    bench.attached(["b", "b"]);
    // The client is not heard of again: what it may have done is undone, last first.
    assert_eq!(bench.give_up(Timer::Probation)[1], "return 0 to c");
    assert_eq!(bench.held(["c", "b"])[1], "return 1 to a");
    let end = bench.held(["c", "a"]);
    let released = ["release a", "release b", "release c", "RolledBack { reason: ClientSilent }"];
    assert_eq!(end[1..], released);
}

#[test]
fn a_single_leg_moves_to_the_edge_of_the_other_one() {
    let moves = vec![Move {
        description: Description::Zero,
        from: node("a"),
        to: node("b"),
        fetch: Source::Origin,
    }];
    let mut bench = Bench::new(Plan { moves, ..plan() });
    assert_eq!(bench.done[0], "prefetch 0 at b from Origin");
    bench.ready();
    bench.settled();
    bench.attached(["b", "b"]);
    includes(bench.held(["b", "b"]), "finish a");
    assert_eq!(bench.finished(["b", "b"]).last().unwrap(), "Completed");
}

#[test]
fn a_leg_that_is_lost_when_it_has_just_passed_probation_is_no_success() {
    for before in [Bench::settled, |bench: &mut Bench| bench.attached(["a", "b"])] {
        let mut bench = Bench::new(Plan { moves: plan().moves[..1].to_vec(), ..plan() });
        bench.ready();
        before(&mut bench);
        bench.settled();
        includes(bench.held(["a", ""]), "return 1 to a");
        assert_eq!(bench.held(["a", "a"]).last().unwrap(), "RolledBack { reason: Strayed }");
    }
}

#[test]
fn a_client_that_leaves_the_new_edge_by_itself_takes_the_hand_off_back() {
    let mut bench = Bench::new(plan());
    bench.move_one();
    assert_eq!(bench.report(["a", ""], None), ["cancel Prefetch", "return 1 to a", "set Return"]);
    assert_eq!(bench.held(["a", "a"]).last().unwrap(), "RolledBack { reason: Strayed }");
}

#[test]
fn a_connection_that_the_client_keeps_makes_it_a_failure() {
    let mut bench = Bench::new(Plan { moves: plan().moves[..1].to_vec(), ..plan() });
    bench.report(["b", "a"], None);
    bench.ready();
    bench.settled();
    includes(bench.held(["b", "b"]), "finish a");
    let (order, edge) = (bench.order.unwrap(), node("a"));
    let end = bench.report(["b", "b"], Some(FromClient::Kept { order, edge }));
    assert_eq!(end.last().unwrap(), "Failed { reason: StillHeld }");
}

#[test]
fn when_the_old_edge_is_lost_the_new_one_is_told_directly_to_fetch_from_the_origin() {
    let mut bench = Bench::new(Plan { prefetch_info: InfoSender::FirstEdge, ..plan() });
    let lost = bench.tell(Event::NodeLost(node("a")));
    includes(lost, "prefetch 1 at b from Origin");
    // The client has meanwhile taken description 0 from B on its own.
    bench.ready();
    bench.settled();
    includes(bench.held(["b", "b"]), "prefetch 0 at b from Origin");
    bench.ready();
    bench.settled();
    bench.held(["b", "b"]);
    assert_eq!(bench.finished(["b", "b"]).last().unwrap(), "Completed");
}

#[test]
fn a_new_edge_that_is_lost_before_it_is_used_ends_the_hand_off_at_once() {
    let mut bench = Bench::new(plan());
    let end = bench.tell(Event::NodeLost(node("b")));
    assert_eq!(end.last().unwrap(), "RolledBack { reason: EdgeLost }");
}

#[test]
fn a_new_edge_that_only_the_coordinator_misses_is_left_to_the_client_to_judge() {
    let mut bench = Bench::new(Plan { prefetch_info: InfoSender::FirstEdge, ..plan() });
    assert_eq!(bench.tell(Event::NodeLost(node("b"))), [""; 0]);
    bench.ready();
    assert_eq!(bench.tell(Event::NodeLost(node("b"))), [""; 0]);
}

#[test]
fn a_session_that_ends_fails_its_hand_off() {
    let mut bench = Bench::new(plan());
    bench.ready();
    let end = bench.tell(Event::SessionGone);
    assert_eq!(end, ["cancel Attach", "release a", "release b", "Failed { reason: SessionGone }"]);
    assert_eq!(bench.tell(Event::SessionGone), [""; 0]);
}

#[test]
fn late_messages_change_nothing_but_the_picture() {
    let mut bench = Bench::new(plan());
    bench.move_one();
    let (stale, revision) = (bench.order, bench.revision);
    let older = OrderId { step: 0, ..bench.prefetch.unwrap() };
    let ready = FromEdge::Ready { order: older, description: Description::One, group: GroupId(7) };
    assert_eq!(bench.tell(Event::Edge(ready)), [""; 0]);
    // Stale: the answer to the first move's order, and a report that another has overtaken.
    assert_eq!(bench.held(["a", "b"]), [""; 0]);
    bench.ready();
    bench.order = stale;
    assert_eq!(bench.held(["a", "b"]), [""; 0]);
    bench.revision = 0;
    assert_eq!(bench.report(["a", "a"], None), [""; 0]);
    assert_eq!(bench.executor.legs(), &[Some(node("a")), Some(node("b"))]);
    // After the end only the picture is kept up to date.
    bench.tell(Event::SessionGone);
    bench.revision = revision + 9;
    assert_eq!(bench.held(["b", "b"]), [""; 0]);
    assert_eq!(bench.ready(), [""; 0]);
    assert_eq!(bench.time_out(Timer::Prefetch), [""; 0]);
    assert_eq!(bench.executor.legs(), &[Some(node("b")), Some(node("b"))]);
}

#[test]
fn a_restarted_coordinator_gives_the_orders_again_under_its_own_term() {
    let mut bench = Bench::with(Executor::adopt(Term(2), plan()).unwrap());
    assert_eq!(bench.prefetch.unwrap().term, Term(2));
    // Description 1 is done, as the client says at once; description 0 is not.
    bench.ready();
    bench.settled();
    includes(bench.held(["a", "b"]), "prefetch 0 at b from FirstEdge");
    // What an earlier term may have begun is undone, whatever this one has ordered.
    assert_eq!(bench.give_up(Timer::Prefetch)[1], "return 0 to a");
    assert_eq!(bench.held(["a", "b"])[1], "return 1 to a");
    assert_eq!(bench.held(["a", "a"]).last().unwrap(), "RolledBack { reason: PrefetchTimedOut }");
}

#[test]
fn plans_that_cannot_be_carried_out_are_refused() {
    let moves = plan().moves;
    let nowhere = Move { from: node("b"), ..moves[0].clone() };
    for (moves, invalid) in [
        (vec![], InvalidPlan::Moves),
        (vec![moves[1].clone(), moves[0].clone()], InvalidPlan::Order),
        (vec![moves[0].clone(), moves[0].clone()], InvalidPlan::Order),
        (vec![nowhere], InvalidPlan::Nowhere),
    ] {
        assert_eq!(Executor::new(Plan { moves, ..plan() }).unwrap_err(), invalid);
    }
}
