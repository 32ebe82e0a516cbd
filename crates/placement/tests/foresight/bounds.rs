//! What never happens, whatever is foreseen.

use std::{collections::BTreeMap, time::Duration};

use gibbon_media::{MediaTime, Priority};
use gibbon_placement::foresight::{decide::Staying, pace::Held, *};
use proptest::prelude::*;

use crate::scene::{IDLE, START, Scene, at, edge};

const LOOK: Duration = Duration::from_secs(5);

fn any_costs() -> impl Strategy<Value = Costs> {
    proptest::array::uniform10(prop_oneof![0.0..1.0f64, Just(0.0), Just(1.0)]).prop_map(Costs)
}

#[test]
fn who_suffers_moves_with_an_empty_bucket_but_not_at_once_and_not_back() {
    let policy = Policy::default();
    let mut pace = Pace::default();
    (0..policy.burst).for_each(|n| pace.moved(edge(n), edge(n + 1), &policy, START));
    let here = edge(policy.burst);
    let may = |to: u32, suffers: bool, after: Duration| {
        pace.may(here, edge(to), suffers, &policy, START + after)
    };
    let elsewhere = policy.burst + 1;
    let soon = policy.rest / 2;
    assert_eq!(may(elsewhere, true, soon), Err(Held::TooOften), "not at once");
    assert_eq!(may(elsewhere, true, policy.rest), Ok(()));
    assert_eq!(may(elsewhere, false, policy.rest), Err(Held::TooOften), "there is no hurry");
    assert_eq!(may(0, true, policy.rest), Err(Held::JustLeft), "not back");
}

proptest! {
    #[test]
    fn no_costs_make_a_session_move_more_often_than_its_pace_or_back_to_where_it_just_was(
        looks in proptest::collection::vec(proptest::collection::vec(any_costs(), 4), 1..300),
        idle in proptest::collection::vec(0..40u32, 300),
    ) {
        let policy = Policy { trigger: Duration::ZERO, ..Policy::default() };
        let (mut pace, mut now, mut here) = (Pace::default(), START, edge(0));
        let mut moves: Vec<(MediaTime, NodeIndex)> = Vec::new();
        for (costs, idle) in looks.iter().zip(idle) {
            now = now + LOOK * (1 + idle);
            let place = |n: u32| (edge(n), costs[n as usize]);
            let alternatives: Vec<_> = (0..4).map(place).filter(|(to, _)| *to != here)
                .map(|(to, costs)| Alternative { to, costs, lead: policy.lead }).collect();
            let costs = costs[here[0].at()];
            let margin = policy.margin;
            let staying = Staying { at: here, costs, leaves_at: None, picked: false, margin };
            if let Verdict::Move(decided) = weigh(&staying, &alternatives, &pace, &policy, now) {
                prop_assert!(!decided.forced);
                let back = moves.iter().find(|(at, left)| {
                    *left == decided.to[0] && now.since(*at) < policy.dwell
                });
                prop_assert!(back.is_none(), "back to {:?}", back);
                pace.moved(here, decided.to, &policy, now);
                moves.push((now, here[0]));
                here = decided.to;
            }
        }
        for (n, (from, _)) in moves.iter().enumerate() {
            for (m, (to, _)) in moves.iter().enumerate().skip(n) {
                let time = to.since(*from);
                let times = |span: Duration| time.as_secs_f64() / span.as_secs_f64();
                // Those of the bucket, and those who suffered.
                let most = f64::from(policy.burst) + times(policy.refill) + times(policy.rest) + 1.0;
                prop_assert!((m - n + 1) as f64 <= most + 1e-9, "{} in {time:?}", m - n + 1);
            }
        }
    }

    #[test]
    fn no_sweep_sends_a_herd_to_one_place_nor_begins_more_than_the_budget(
        loads in proptest::collection::vec(0.0..1.5f64, 6),
        leaves in proptest::collection::vec(proptest::option::weighted(0.2, 0..100u64), 6),
        sessions in proptest::collection::vec((0..6u32, 0..10u8), 0..400),
        concurrent in 0..300usize,
    ) {
        let mut scene = Scene::new(6);
        scene.policy.concurrent = concurrent;
        for n in 0..6 {
            scene.climbs(n, loads[n as usize].min(0.5), loads[n as usize]);
            scene.nodes[n as usize].leaves_at = leaves[n as usize].map(at);
        }
        for (n, priority) in &sessions {
            scene.session(edge(*n)).priority = Priority::new(*priority).unwrap();
        }
        let plan = scene.pass();
        prop_assert!(plan.moves.len() <= concurrent);
        let mut arrived: BTreeMap<NodeIndex, usize> = BTreeMap::new();
        for decision in &plan.moves {
            decision.to.iter().for_each(|to| *arrived.entry(*to).or_default() += 1);
            prop_assert_ne!(decision.to, decision.from);
        }
        for (to, legs) in arrived {
            let load = loads[to.at()].max(0.0) + 0.001 * legs as f64;
            let forced = plan.moves.iter().any(|decision| decision.forced);
            prop_assert!(load <= 0.9 || forced, "{:?} would be at {}", to, load);
            prop_assert!(leaves[to.at()].is_none(), "{:?} leaves", to);
        }
    }
}

/// Plays passes each 5 s; a hand-off takes 4 s. Returns when each began, and what was left on edge 0 at `until`.
fn play(
    scene: &mut Scene,
    until: u64,
    demand: impl Fn(f64) -> f64,
) -> (Vec<(u64, Decision<usize>)>, usize) {
    let mut begun: Vec<(u64, Decision<usize>)> = Vec::new();
    for second in (0..=until).step_by(5) {
        scene.now = at(second);
        for (then, decision) in begun.iter().filter(|(then, _)| then + 5 == second) {
            assert!(*then < second);
            scene.sessions[decision.session].edges = decision.to;
        }
        scene.shifts = begun
            .iter()
            .filter(|(then, _)| then + 5 > second)
            .map(|(_, d)| Shift { from: d.from, to: d.to, completed: None })
            .collect();
        let moved = |n: u32| {
            let legs = |d: &Decision<usize>| {
                2.0 * (f64::from(u8::from(d.to == edge(n)))
                    - f64::from(u8::from(d.from == edge(n))))
            };
            begun.iter().filter(|(then, _)| then + 5 <= second).map(|(_, d)| legs(d)).sum::<f64>()
        };
        for n in 0..scene.nodes.len() as u32 {
            let shift = 0.001 * moved(n);
            let node = &mut scene.nodes[n as usize];
            node.reported = scene.now;
            match n {
                0 => {
                    node.load = STEPS.map(|step| gibbon_placement::predict::Forecast {
                        load: demand(second as f64 + step.as_secs_f64()) + shift,
                        deviation: 0.01,
                        period: None,
                    });
                }
                _ => node.expect_flat(IDLE + shift),
            }
        }
        let under_way = begun.iter().filter(|(then, _)| then + 5 > second);
        let busy: Vec<_> = under_way.map(|(_, decision)| decision.session).collect();
        let plan = scene.sweep(|sweep, sessions| {
            sweep.pass(sessions.iter_mut().enumerate().filter(|(n, _)| !busy.contains(n)))
        });
        for decision in plan.moves {
            let policy = scene.policy.clone();
            scene.sessions[decision.session].handed_off(decision.to, &policy, scene.now);
            begun.push((second, decision));
        }
    }
    let left = scene.sessions.iter().filter(|session| session.is_at(NodeIndex(0))).count();
    (begun, left)
}

#[test]
fn a_peak_is_met_by_as_many_moves_as_it_takes_no_later_than_it_needs() {
    let mut scene = Scene::new(5);
    for n in 0..400u32 {
        scene.session(edge(0)).priority = Priority::new((n % 10) as u8).unwrap();
    }
    // At 120 s, within 10 s, the load goes from 0.7 to 1.1; 0.9 is the limit: 100 sessions of two legs are too many.
    let demand = |t: f64| if t < 120.0 { 0.7 } else { 0.7 + 0.04 * (t - 120.0).min(10.0) };
    let (begun, left) = play(&mut scene, 200, demand);
    assert!((100..=150).contains(&begun.len()), "{}", begun.len());
    assert_eq!(left, 400 - begun.len());
    let load_at = |t: u64| {
        let gone = begun.iter().filter(|(then, _)| then + 4 <= t).count();
        demand(t as f64) - 0.002 * gone as f64
    };
    for t in 0..200 {
        assert!(load_at(t) <= 0.9, "at {t} s: {}", load_at(t));
    }
    let first = begun.iter().map(|(then, _)| *then).min().unwrap();
    assert!((90..=120).contains(&first), "{first}");
    let spared = begun.iter().map(|(_, d)| u8::from(scene.sessions[d.session].priority)).max();
    assert!(spared.is_some_and(|most| most <= 5), "{spared:?}");
    assert!(begun.iter().all(|(_, d)| d.cause == Cause::Load && !d.forced));
}

#[test]
fn all_have_left_a_node_before_its_maintenance_and_it_was_begun_no_earlier_than_that_takes() {
    let mut scene = Scene::new(5);
    (0..500).for_each(|_| scene.session(edge(0)).wake());
    scene.nodes[0].leaves_at = Some(at(150));
    let (begun, left) = play(&mut scene, 150, |_| 0.5);
    assert_eq!((begun.len(), left), (500, 0));
    let times: Vec<_> = begun.iter().map(|(then, _)| *then).collect();
    assert!(times.iter().all(|then| (100..=145).contains(then)), "{times:?}");
    assert!(begun.iter().all(|(_, d)| d.forced && d.cause == Cause::Maintenance));
}

#[test]
fn a_move_that_would_gain_less_than_its_price_is_not_made() {
    let policy = Policy { trigger: Duration::ZERO, ..Policy::default() };
    let staying = |cost: f64| Staying {
        at: edge(0),
        costs: Costs([cost; K]),
        leaves_at: None,
        picked: false,
        margin: policy.margin,
    };
    let better = [Alternative { to: edge(1), costs: Costs::default(), lead: policy.lead }];
    let mut pace = Pace::default();
    let moves = |cost, pace: &Pace| {
        matches!(weigh(&staying(cost), &better, pace, &policy, START), Verdict::Move(_))
    };
    let (worth, not) = (policy.margin * 1.5, policy.margin / 2.0);
    assert!(moves(worth, &pace) && !moves(not, &pace));
    assert!(worth * 90.0 < 4.0 * policy.price * 2.0);
    pace.moved(edge(2), edge(0), &policy, START);
    // One recent move has doubled the price.
    assert!(moves(1.0, &pace));
    assert!(!moves(1.5 * policy.price / 90.0, &pace));
}
