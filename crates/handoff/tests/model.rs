//! The machines of coordinator, edges and client together, checked exhaustively: one hand-off of one move
//! or two, four group ids, any two things that go wrong. They are the machines that run in production; only
//! the network, the timers and the frames are made up (`model/world.rs`).
//!
//! A fault is
//! * an order, an answer or a report that is lost, doubled, or delayed: a delayed message is overtaken by
//!   others on its link and by timers, as often as may be;
//! * frames that are delayed: a new leg is given up although it would have been in time;
//! * a crash of the old edge or the new one, with or without what was passing through it; of the third one
//!   where a leg is there at first;
//! * a crash of the coordinator, which starts again under a new term;
//! * a leg found silent although its edge is up.
//!
//! A wish is
//! * an edge, the old or the new one, that wants to be left, or no longer does; while it wants it says so
//!   again as often as may be, and takes legs only of a session that it has something of;
//! * a description that is to be let go, or taken back.
//!
//! | session | moves | faults | wishes |
//! |---|---|---|---|
//! | both legs on A | both to B | 2 | 0 |
//! | both legs on A | both to B, all senders of prefetch information with all sources | 1 | 0 |
//! | both legs on A | both to B | 1 | 1 |
//! | both legs on A | both to B | 0 | 2 |
//! | description 1 on A, 0 on C | description 1 to B | 2 | 0 |
//! | description 1 on A, 0 on C | description 1 to B | 1 | 1 |
//! | description 1 on A, 0 on C | both to B | 1 | 0 |
//!
//! What is bounded, to keep the check small:
//! * a timer overtakes messages in flight, and frames that could arrive, only at the cost of a fault. Among
//!   each other armed timers run out in any order, the coordinator's also before the client's. Only an edge's
//!   time to live, longer than any hand-off, runs out last;
//! * an equal message sent again while the first is in flight adds nothing;
//! * what a client asks of an edge arrives at once, or finds the edge dead: it has a stream of its own; so
//!   does what an edge wishes for;
//! * time goes on to the next group while a leg waits for it, or an order is overtaken by its start; the
//!   last group never ends;
//! * once the hand-off has ended nothing crashes any more; messages are still lost, doubled and delayed, and
//!   wishes come;
//! * the client's reporting interval passes when nothing else happens.
//!
//! C is the standby of the client's grant; where no leg is there at first it never crashes.
//! `GIBBON_MODEL_FAULTS` sets the number of faults of the first ignored test, which checks all senders of
//! prefetch information with all sources.

#![allow(clippy::unwrap_used, reason = "a broken model is to stop")]
#![allow(clippy::borrowed_box, reason = "the checker's properties take the state as it is kept")]

#[path = "model/world.rs"]
mod world;

use gibbon_handoff::{
    Cause, InfoSender, Move, Outcome, Plan, Source, Term,
    client::{self, Hands, Start},
};
use gibbon_media::{Description, HandoffId, NodeId, SessionId};
use stateright::{Checker, HasDiscoveries, Model, Property};
use world::{A, Armed, B, EDGES, Flow, Flying, Message, STANDBY, Sin, World};

const FAULTS: u8 = 2;

#[derive(Debug, Clone)]
struct Handoffs {
    faults: u8,
    /// How often edges may wish for something: to be left, to be taken on again, that a description is
    /// let go or taken back.
    wishes: u8,
    /// How the client misbehaves, if it does.
    broken: Option<Broken>,
    /// Who sends prefetch information, and where descriptions are fetched from.
    plans: Vec<(InfoSender, Source)>,
    /// Where the descriptions 0 and 1 are at first.
    at: [usize; 2],
    /// Which of them move to B, in this order.
    moves: Vec<Description>,
}

impl Default for Handoffs {
    /// Both descriptions from A to B.
    fn default() -> Self {
        Self {
            faults: 0,
            wishes: 0,
            broken: None,
            plans: ALL_PLANS[..1].to_vec(),
            at: [A, A],
            moves: vec![Description::One, Description::Zero],
        }
    }
}

/// What is wrong with a client that must be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// Ends the old leg as soon as it asks for the new one.
    CutsEarly,
    /// Moves the other description along.
    MovesBoth,
    /// Lets the other description go along.
    LetsGoBoth,
    /// Closes the connection to the old edge as soon as one description has crossed.
    ClosesEarly,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Deliver(Message),
    Lose(Message),
    Double(Message),
    Delay(Message),
    Fire(Armed),
    FramesArrive { edge: usize, description: Description },
    Starve { edge: usize, description: Description },
    Crash { edge: usize, with_orders: bool },
    CrashCoordinator,
    RestartCoordinator,
    GoAway { edge: usize },
    GoAwayAgain { edge: usize },
    Stay { edge: usize },
    LetGo { description: Description },
    TakeBack { description: Description },
    Report,
    Advance,
}

impl Model for Handoffs {
    // Boxed, for the checker moves states about a good deal.
    type State = Box<World>;
    type Action = Step;

    fn init_states(&self) -> Vec<Box<World>> {
        let names = ["edge-a", "edge-b", "edge-c"].map(|name| name.parse::<NodeId>().unwrap());
        self.plans
            .iter()
            .map(|&(prefetch_info, fetch)| {
                let leg = |description: Description| {
                    let (from, to) = (self.at[description.index()], names[B].clone());
                    Move { description, from: names[from].clone(), to, fetch }
                };
                let moves = self.moves.iter().copied().map(leg).collect();
                let plan = Plan {
                    handoff: HandoffId(1),
                    session: SessionId(1),
                    stream: "live/a".parse().unwrap(),
                    term: Term(1),
                    first_step: 0,
                    cause: Cause::Operator,
                    prefetch_info,
                    moves,
                };
                Box::new(World::new(plan, names.clone(), self.at, self.faults, self.wishes))
            })
            .collect()
    }

    fn actions(&self, world: &Box<World>, steps: &mut Vec<Step>) {
        for (at, Flying { message, delayed }) in world.flying.iter().enumerate() {
            let overtakes = |earlier: &Flying| {
                !earlier.delayed && !delayed && earlier.message.link() == message.link()
            };
            if world.flying[..at].iter().any(overtakes) {
                continue;
            }
            steps.push(Step::Deliver(message.clone()));
            if world.faults > 0 && !delayed && !matches!(message, Message::Rejected { .. }) {
                steps.push(Step::Delay(message.clone()));
            }
            if world.faults > 0 && message.is_order_or_report() {
                steps.push(Step::Lose(message.clone()));
                steps.push(Step::Double(message.clone()));
            }
        }
        let due = |timer: &Armed| {
            world.may_fire(*timer) && (world.faults > 0 || !world.is_overtaking(*timer))
        };
        steps.extend(world.timers.iter().copied().filter(due).map(Step::Fire));
        for edge in 0..EDGES {
            for description in Description::BOTH {
                if world.can_arrive(edge, description) {
                    steps.push(Step::FramesArrive { edge, description });
                }
                let flows =
                    matches!(world.edges[edge].flows[description.index()], Flow::InTime { .. });
                if flows && (world.can_fail() || !world.edges[edge].up) {
                    steps.push(Step::Starve { edge, description });
                }
            }
        }
        if world.can_advance() {
            steps.push(Step::Advance);
        }
        if world.coordinator.is_none() {
            steps.push(Step::RestartCoordinator);
        }
        if world.can_fail() {
            let mortal = |edge: &usize| *edge != STANDBY || self.at.contains(&STANDBY);
            for edge in (0..EDGES).filter(mortal).filter(|&edge| world.edges[edge].up) {
                steps.push(Step::Crash { edge, with_orders: false });
                steps.push(Step::Crash { edge, with_orders: true });
            }
            if world.coordinator.is_some() {
                steps.push(Step::CrashCoordinator);
            }
        }
        wishes(world, steps);
        if world.is_quiet() && picture(world) != Some(&world.client.legs()) {
            steps.push(Step::Report);
        }
    }

    fn next_state(&self, last: &Box<World>, step: Step) -> Option<Box<World>> {
        let mut world = last.clone();
        match step {
            Step::Deliver(message) => {
                remove(&mut world, &message);
                world.deliver(message);
            }
            Step::Lose(message) => {
                world.report_missed |= matches!(message, Message::Report(_));
                world.faults -= 1;
                remove(&mut world, &message);
            }
            Step::Double(message) => {
                world.faults -= 1;
                delay(&mut world, &message);
                world.deliver(message);
            }
            Step::Delay(message) => {
                world.faults -= 1;
                delay(&mut world, &message);
            }
            Step::Fire(timer) => {
                world.faults -= u8::from(world.is_overtaking(timer));
                world.fire(timer);
            }
            Step::FramesArrive { edge, description } => world.frames_arrive(edge, description),
            Step::Starve { edge, description } => {
                let alarm_is_false = world.edges[edge].up;
                let before = world.client.clone();
                world.starve(edge, description);
                if world.client == before {
                    return None;
                }
                world.faults -= u8::from(alarm_is_false);
                world.troubled = true;
            }
            Step::Crash { edge, with_orders } => {
                world.faults -= 1;
                world.crash_edge(edge, with_orders);
            }
            Step::CrashCoordinator => {
                world.faults -= 1;
                world.crash_coordinator();
            }
            Step::RestartCoordinator => world.restart_coordinator(),
            Step::GoAway { edge } => world.grant_wish(|w| w.go_away(edge))?,
            Step::GoAwayAgain { edge } => {
                world.go_away(edge);
                if world == *last {
                    return None;
                }
            }
            Step::Stay { edge } => world.grant_wish(|w| w.stay(edge))?,
            Step::LetGo { description } => {
                world.grant_wish(|w| w.client_event(client::Event::LetGo { description }))?;
            }
            Step::TakeBack { description } => {
                world.grant_wish(|w| w.client_event(client::Event::TakeBack { description }))?;
                world.taken_back = true;
            }
            Step::Report => world.report(),
            Step::Advance => world.now = world.next(),
        }
        if let Some(broken) = self.broken {
            misbehave(broken, last, &mut world);
        }
        world.forget_outdated();
        // Only the order on each link is of account.
        world.flying.sort_by_key(|flying| (flying.message.link(), flying.delayed));
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("I1 served, or help is under way", |_, w: &Box<World>| {
                Description::BOTH.iter().all(|d| is_served(w, *d) || is_helped(w, *d))
            }),
            Property::always("I1 never lets go with both", |_, w: &Box<World>| {
                let someone_is_down = w.edges.iter().any(|site| !site.up);
                someone_is_down || Description::BOTH.iter().any(|d| is_served(w, *d))
            }),
            Property::always("I2 no leg ends before the new one delivers", |_, w: &Box<World>| {
                !w.sins.contains(&Sin::EndedEarly) && !w.sins.contains(&Sin::LeftGap)
            }),
            Property::always("I3 two edges for one group at most", |_, w: &Box<World>| {
                Description::BOTH.iter().all(|d| overlap_is_one_group(w, *d))
            }),
            Property::always("I4 quiet means ended", |_, w: &Box<World>| {
                !w.is_quiet() || w.outcome().is_some()
            }),
            Property::always(
                "I4 quiet means that who wants to be left is left",
                |_, w: &Box<World>| {
                    !w.is_quiet() || (0..EDGES).all(|edge| is_left_if_it_wants(w, edge))
                },
            ),
            // A lost report is made good by the next one, at the latest after the reporting interval.
            Property::always("I5 quiet means that all agree", |_, w: &Box<World>| {
                let known = picture(w) == Some(&w.client.legs());
                let agree = !w.is_quiet() || if known { all_agree(w) } else { w.report_missed };
                agree && !w.sins.contains(&Sin::CompletedTooSoon)
            }),
            Property::always(
                "I6 one description in transit, and A closes last",
                |_, w: &Box<World>| {
                    !w.sins.contains(&Sin::ClosedEarly) && (w.troubled || transits(w) <= 1)
                },
            ),
        ];
        properties.extend(self.possibilities());
        properties
    }
}

impl Handoffs {
    /// What must be possible, so that the rest means something.
    fn possibilities(&self) -> Vec<Property<Self>> {
        let mut some = vec![
            Property::sometimes("completes", |_, w: &Box<World>| {
                w.outcome() == Some(Outcome::Completed)
            }),
            Property::sometimes("rolls back", |_, w: &Box<World>| {
                matches!(w.outcome(), Some(Outcome::RolledBack { .. }))
            }),
        ];
        if self.faults > 0 {
            some.extend([
                Property::sometimes("completes under a new term", |_, w: &Box<World>| {
                    w.plan.term > Term(1) && w.outcome() == Some(Outcome::Completed)
                }),
                Property::sometimes("completes without the old edge", |_, w: &Box<World>| {
                    !w.edges[A].up && w.outcome() == Some(Outcome::Completed)
                }),
                Property::sometimes("rolls back from a lost edge", |_, w: &Box<World>| {
                    !w.edges[B].up && matches!(w.outcome(), Some(Outcome::RolledBack { .. }))
                }),
            ]);
        }
        if self.wishes > 1 {
            some.push(Property::sometimes("takes a description back", |_, w: &Box<World>| {
                !w.troubled && w.taken_back && w.client.legs().iter().all(Option::is_some)
            }));
        }
        if self.wishes > 0 {
            some.extend([
                Property::sometimes("leaves an edge by itself", |_, w: &Box<World>| {
                    let standby = Some(w.edges[STANDBY].name.clone());
                    w.edges[A].leaving
                        && !w.edges[A].connected
                        && w.client.legs().contains(&standby)
                }),
                Property::sometimes("does without a description", |_, w: &Box<World>| {
                    !w.troubled && Description::BOTH.iter().any(|d| w.client.is_idle(*d))
                }),
            ]);
        }
        some
    }
}

/// What edges may wish for now.
fn wishes(world: &World, steps: &mut Vec<Step>) {
    for edge in (0..EDGES).filter(|edge| world.edges[*edge].up && *edge != STANDBY) {
        match world.edges[edge].leaving {
            true => steps.push(Step::GoAwayAgain { edge }),
            false if world.wishes > 0 => steps.push(Step::GoAway { edge }),
            false => {}
        }
        if world.edges[edge].leaving && world.wishes > 0 {
            steps.push(Step::Stay { edge });
        }
    }
    for description in Description::BOTH.into_iter().filter(|_| world.wishes > 0) {
        steps.push(match world.client.is_idle(description) {
            true => Step::TakeBack { description },
            false => Step::LetGo { description },
        });
    }
}

fn remove(world: &mut World, message: &Message) {
    let at = world.flying.iter().position(|flying| flying.message == *message).unwrap();
    world.flying.remove(at);
}

fn delay(world: &mut World, message: &Message) {
    let mut flying = world.flying.iter_mut();
    flying.find(|flying| flying.message == *message).unwrap().delayed = true;
}

/// What the coordinator takes the legs to be.
fn picture(world: &World) -> Option<&[Option<NodeId>; 2]> {
    world.coordinator.as_ref().map(|executor| executor.legs())
}

fn is_served(world: &World, description: Description) -> bool {
    world
        .edges
        .iter()
        .any(|site| site.up && matches!(site.flows[description.index()], Flow::InTime { .. }))
}

/// An edge that wants to be left has no connection, or will be left at its next word; at the one after
/// that, if everything has just been tried in vain.
fn is_left_if_it_wants(world: &World, edge: usize) -> bool {
    use client::Action::{CloseConnection, Subscribe};
    let site = &world.edges[edge];
    let mut client = Hands::clone(&world.client);
    let mut goes = || {
        let actions = client.handle(world.goaway_of(edge));
        let goes = |action| matches!(action, &Subscribe { .. } | &CloseConnection { .. });
        actions.iter().any(goes)
    };
    !site.leaving || !site.up || !site.connected || goes() || goes()
}

/// After a crash: the client has yet to find out, or does something about it, or has tried everything.
fn is_helped(world: &World, description: Description) -> bool {
    use gibbon_handoff::timers::ClientTimer;
    let finding_out = world.flying.iter().any(
        |flying| matches!(&flying.message, Message::Closed { edge } if !world.edges[*edge].up),
    );
    let trying = world.timers.iter().any(|timer| match timer {
        Armed::Client(
            ClientTimer::Attach { description: d, .. } | ClientTimer::Reattach { description: d },
        ) => *d == description,
        _ => false,
    });
    let let_go = world.moved_itself && world.client.is_idle(description);
    let crashed = world.edges.iter().any(|site| !site.up);
    let_go || crashed && (finding_out || trying || world.client.is_idle(description))
}

fn overlap_is_one_group(world: &World, description: Description) -> bool {
    let mut starts: Vec<_> = world
        .edges
        .iter()
        .filter(|site| site.up)
        .filter_map(|site| match site.flows[description.index()] {
            Flow::None => None,
            Flow::Asked { from } | Flow::InTime { from } => Some(from),
        })
        .collect();
    starts.sort_unstable();
    match starts[..] {
        [] | [_] => true,
        [_, second] => world.now <= second,
        _ => false,
    }
}

fn transits(world: &World) -> usize {
    let in_transit = |d: &Description| {
        world.edges.iter().any(|site| matches!(site.flows[d.index()], Flow::Asked { .. }))
    };
    Description::BOTH.iter().filter(|d| in_transit(d)).count()
}

/// The edges hold what the client receives and nothing else, and the outcome is true.
fn all_agree(world: &World) -> bool {
    use gibbon_handoff::edge::Leg;
    let legs = world.client.legs();
    let edges_agree = world.edges.iter().filter(|site| site.up).all(|site| {
        let holds = |d: Description| legs[d.index()].as_ref() == Some(&site.name);
        Description::BOTH.into_iter().all(|d| (site.holding.leg(d) == Leg::Serving) == holds(d))
            && (Description::BOTH.into_iter().any(holds) || site.holding.is_empty())
    });
    let plan = &world.plan;
    let at = |leg: &Move| legs[leg.description.index()].as_ref();
    let closed = |leg: &Move| {
        let old = world.edges.iter().find(|site| site.name == leg.from).unwrap();
        !old.connected || legs.iter().flatten().any(|edge| *edge == old.name)
    };
    let outcome_is_true = world.troubled
        || world.moved_itself
        || match world.outcome() {
            Some(Outcome::Completed) => {
                plan.moves.iter().all(|leg| at(leg) == Some(&leg.to) && closed(leg))
            }
            Some(Outcome::RolledBack { .. }) => {
                plan.moves.iter().all(|leg| at(leg) == Some(&leg.from))
            }
            Some(Outcome::Failed { .. }) => true,
            None => false,
        };
    edges_agree && outcome_is_true
}

/// Makes the client do what it must not, when it has just asked for a new leg, let go or crossed.
fn misbehave(broken: Broken, last: &World, world: &mut World) {
    use client::Action::{Cancel, CloseConnection, End, Subscribe};
    let old = world.edges[A].name.clone();
    for description in Description::BOTH {
        let (other, legs) = (description.other(), world.client.legs());
        let begins = match world.client.attaching(description) {
            Some((edge, Start::At(group))) if last.client.attaching(description).is_none() => {
                Some((edge.clone(), group))
            }
            _ => None,
        };
        let is_let_go = world.client.is_idle(description) && !last.client.is_idle(description);
        let has_left = legs[description.index()] != last.client.legs()[description.index()];
        let crime = match (broken, begins) {
            (Broken::CutsEarly, Some((_, group))) => {
                Some(End { description, edge: old.clone(), last: group.previous() })
            }
            (Broken::MovesBoth, Some((edge, group))) => {
                Some(Subscribe { description: other, edge, start: Start::At(group) })
            }
            (Broken::LetsGoBoth, _) if is_let_go => {
                legs[other.index()].clone().map(|edge| Cancel { description: other, edge })
            }
            (Broken::ClosesEarly, _) if has_left => Some(CloseConnection { edge: old.clone() }),
            _ => None,
        };
        crime.into_iter().for_each(|crime| world.client_does(crime));
    }
}

const ALL_PLANS: [(InfoSender, Source); 4] = [
    (InfoSender::FirstEdge, Source::FirstEdge),
    (InfoSender::FirstEdge, Source::Origin),
    (InfoSender::Coordinator, Source::FirstEdge),
    (InfoSender::Coordinator, Source::Origin),
];

fn check(model: Handoffs) {
    let began = std::time::Instant::now();
    let checker = model
        .clone()
        .checker()
        .threads(1)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_dfs()
        .join();
    println!(
        "{} states ({} steps, the longest path {}), {} of {} plans, {} faults, {} wishes, {:.1?}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        model.plans.len(),
        ALL_PLANS.len(),
        model.faults,
        model.wishes,
        began.elapsed(),
    );
    checker.assert_properties();
}

fn assert_caught(broken: Broken, wishes: u8, property: &'static str) {
    let checker = Handoffs { broken: Some(broken), wishes, ..Handoffs::default() }
        .checker()
        .threads(1)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let path = checker.discovery(property).expect("found nothing wrong");
    println!("{broken:?} breaks \"{property}\":");
    path.into_actions().iter().for_each(|step| println!("  {step:?}"));
}

#[test]
fn every_hand_off_keeps_its_promises_whatever_two_things_go_wrong() {
    check(Handoffs { faults: FAULTS, ..Handoffs::default() });
}

#[test]
fn every_way_to_prefetch_keeps_the_promises_whatever_goes_wrong_once() {
    check(Handoffs { faults: 1, plans: ALL_PLANS.to_vec(), ..Handoffs::default() });
}

#[test]
fn a_session_leaves_edges_that_want_to_be_left_and_lets_go_of_one_description_at_most() {
    check(Handoffs { wishes: 2, ..Handoffs::default() });
}

#[test]
fn wishes_and_a_fault_together_break_no_promise() {
    check(Handoffs { faults: 1, wishes: 1, ..Handoffs::default() });
}

#[test]
fn a_leg_of_a_session_on_two_edges_moves_whatever_two_things_go_wrong() {
    let (at, moves) = ([STANDBY, A], vec![Description::One]);
    check(Handoffs { faults: FAULTS, at, moves, ..Handoffs::default() });
}

#[test]
fn a_leg_of_a_session_on_two_edges_moves_whatever_is_wished_for_and_goes_wrong() {
    let (at, moves) = ([STANDBY, A], vec![Description::One]);
    check(Handoffs { faults: 1, wishes: 1, at, moves, ..Handoffs::default() });
}

#[test]
fn both_legs_of_a_session_on_two_edges_move_to_a_third_whatever_goes_wrong() {
    check(Handoffs { faults: 1, at: [STANDBY, A], ..Handoffs::default() });
}

/// Takes minutes; with `GIBBON_MODEL_FAULTS=3`, hours.
#[test]
#[ignore = "larger than continuous integration allows"]
fn every_way_to_prefetch_keeps_the_promises_whatever_goes_wrong() {
    let faults =
        std::env::var("GIBBON_MODEL_FAULTS").map_or(FAULTS, |faults| faults.parse().unwrap());
    check(Handoffs { faults, plans: ALL_PLANS.to_vec(), ..Handoffs::default() });
}

/// Takes minutes.
#[test]
#[ignore = "larger than continuous integration allows"]
fn more_wishes_and_faults_together_break_no_promise() {
    check(Handoffs { wishes: 3, ..Handoffs::default() });
    let (at, moves) = ([STANDBY, A], vec![Description::One]);
    check(Handoffs { faults: 1, wishes: 2, at, moves, ..Handoffs::default() });
}

#[test]
fn a_client_that_ends_the_old_leg_early_is_caught() {
    assert_caught(Broken::CutsEarly, 0, "I2 no leg ends before the new one delivers");
}

#[test]
fn a_client_that_moves_both_descriptions_at_once_is_caught() {
    assert_caught(Broken::MovesBoth, 0, "I6 one description in transit, and A closes last");
}

#[test]
fn a_client_that_lets_go_with_both_hands_is_caught() {
    assert_caught(Broken::LetsGoBoth, 1, "I1 never lets go with both");
}

#[test]
fn a_client_that_closes_before_both_have_crossed_is_caught() {
    assert_caught(Broken::ClosesEarly, 1, "I6 one description in transit, and A closes last");
}
