//! Each row of what the manager must take in (MISSION.md): a case in which exactly that information changes the
//! decision. What differs between the two sides of each case is said in its `with`.

use std::time::Duration;

use gibbon_media::{Placement, Priority};
use gibbon_placement::{
    Position,
    foresight::{components::Component, *},
    predict::{Fix, Load, Motion},
};

use crate::scene::{PLAYOUT_MS, START, Scene, at, edge, place};

/// Of edge 1, next to edges 0 and 2, with one session.
fn settled() -> Scene {
    let mut scene = Scene::new(3);
    scene.session(edge(1));
    scene
}

/// Where the session goes without and with what is told.
fn told(scene: &Scene, with: impl FnOnce(&mut Scene)) -> [Option<[NodeIndex; 2]>; 2] {
    let mut informed = scene.clone();
    with(&mut informed);
    [scene.goes(), informed.goes()]
}

#[test]
fn m2_a_provider_reports_that_its_load_climbs() {
    let [without, with] = told(&settled(), |scene| scene.climbs(1, 0.88, 0.97));
    assert_eq!((without, with.is_some()), (None, true));
}

#[test]
fn an_old_report_is_less_sure_that_an_edge_is_not_over_its_limit() {
    let scene = Scene::new(1);
    let overload = |seconds: u64| {
        let mut node = scene.nodes[0].clone();
        node.expect_flat(0.8);
        node.commit(0.0, &scene.policy, at(seconds));
        node.overload(0)
    };
    assert!(overload(0) < 0.001, "{}", overload(0));
    assert!(overload(30) > 0.1, "{}", overload(30));
}

#[test]
fn m2_the_location_of_a_module_decides_whether_its_edge_s_trouble_is_its_own() {
    let mut scene = settled();
    scene.nodes[1].leaves_at = Some(at(8));
    let [there, elsewhere] = told(&scene, |scene| scene.sessions[0].edges = edge(0));
    assert_eq!((there.is_some(), elsewhere), (true, None));
    // One leg there: only that one moves.
    let [both, one] = told(&scene, |scene| {
        scene.sessions[0].edges = [NodeIndex(0), NodeIndex(1)];
        scene.sessions[0].placement = Placement::Diverse;
    });
    assert!(both.is_some_and(|to| !to.contains(&NodeIndex(1))));
    assert_eq!(one, Some([NodeIndex(0), NodeIndex(2)]));
}

#[test]
fn m2_the_priority_of_a_module_decides_who_makes_room() {
    let mut scene = settled();
    scene.session(edge(1));
    scene.policy.target = 0.999;
    scene.policy.caution = 0.5;
    // So much too high that one session is enough.
    scene.climbs(1, 0.8903, 0.8905);
    let who = |scene: &mut Scene| scene.pass().moves.iter().map(|d| d.session).collect::<Vec<_>>();
    let priority = |n| Priority::new(n).unwrap();
    (scene.sessions[0].priority, scene.sessions[1].priority) = (priority(2), priority(8));
    assert_eq!(who(&mut scene.clone()), [0]);
    (scene.sessions[0].priority, scene.sessions[1].priority) = (priority(8), priority(2));
    assert_eq!(who(&mut scene), [1]);
}

#[test]
fn m3_a_client_reports_that_its_slack_goes() {
    let [without, with] = told(&settled(), |scene| scene.measures(1, |t| 700.0 - 11.0 * t));
    assert_eq!((without, with.is_some()), (None, true));
}

#[test]
fn m4_a_link_on_the_way_to_the_edge_loses_too_much() {
    let links = |loss| [Link { rtt_ms: 30.0, loss, load: 0.4 }];
    let feed = |scene: &mut Scene, loss| {
        let feed = Feed::through(&Origin::default(), &links(loss));
        scene.streams[0].feeds.insert(NodeIndex(1), feed);
    };
    let mut scene = settled();
    feed(&mut scene, 0.001);
    let [without, with] = told(&scene, |scene| feed(scene, 0.4));
    assert_eq!((without, with.is_some()), (None, true));
}

#[test]
fn m5_an_origin_reports_that_it_falls_behind_and_nothing_moves_where_that_cannot_help() {
    let late = Origin { lag_ms: 600.0, lag_grows_ms: 30.0, ..Origin::default() };
    let feeds = |scene: &mut Scene, of: &[(u32, Origin)]| {
        for (node, origin) in of {
            scene.streams[0].feeds.insert(NodeIndex(*node), Feed::through(origin, &[]));
        }
    };
    // Edge 1 has the stream of one origin, edge 2 of another.
    let other = Origin::default();
    let [without, with] =
        told(&settled(), |scene| feeds(scene, &[(0, late), (1, late), (2, other)]));
    assert_eq!((without, with), (None, Some(edge(2))));
    let [without, with] =
        told(&settled(), |scene| feeds(scene, &[(0, late), (1, late), (2, late)]));
    assert_eq!((without, with), (None, None));
}

#[test]
fn m6_what_the_network_shares_decides_which_edge_is_the_other_one() {
    let mut scene = settled();
    scene.sessions[0].placement = Placement::Diverse;
    scene.sessions[0].edges = [NodeIndex(0), NodeIndex(1)];
    scene.nodes.push(scene.nodes[2].clone());
    scene.nodes[3].position = Some(place(2.2));
    scene.nodes[1].leaves_at = Some(at(8));
    // What feeds edges 0 and 2 comes through one node.
    let upstream = |scene: &mut Scene| {
        let feed = Feed { holds: true, failure: 0.002, ..Feed::default() };
        for (node, via) in [(0, 1), (2, 1), (3, 2)] {
            let feed = Feed { via: Some(Domain(via)), ..feed };
            scene.streams[0].feeds.insert(NodeIndex(node), feed);
        }
    };
    let [without, with] = told(&scene, upstream);
    assert_eq!(without, Some([NodeIndex(0), NodeIndex(2)]));
    assert_eq!(with, Some([NodeIndex(0), NodeIndex(3)]));
}

#[test]
fn a_leg_leaves_a_bad_path_though_all_edges_around_are_of_the_other_legs_domain() {
    let mut scene = Scene::new(8);
    scene.session([NodeIndex(2), NodeIndex(6)]).placement = Placement::Diverse;
    for (n, node) in scene.nodes.iter_mut().enumerate() {
        node.domain = Some(Domain(n as u32 / 5));
    }
    scene.nodes[7].domain = Some(Domain(2));
    assert_eq!(scene.goes(), None);
    scene.measures(6, |_| -100.0);
    let [zero, one] = scene.goes().unwrap();
    assert!(zero == NodeIndex(2) && [5, 7].contains(&one.0), "{zero:?} {one:?}");
}

#[test]
fn where_paths_to_all_edges_around_are_bad_it_goes_farther() {
    let mut scene = Scene::new(16);
    scene.session(edge(1));
    let bad = PathPrior { base_ms: PLAYOUT_MS, ..scene.policy.prior };
    scene.nodes[..14].iter_mut().for_each(|node| node.prior = Some(bad));
    scene.measures(1, |_| -100.0);
    let to = scene.goes().unwrap();
    assert!(to[0].0 >= 14 && to[0] == to[1], "{to:?}");
}

#[test]
fn who_relieves_an_edge_does_not_go_where_it_would_be_rolled_back_however_idle_that_is() {
    let mut scene = Scene::new(16);
    (0..400).for_each(|_| scene.session(edge(8)).wake());
    // From all edges but these a fifth of all groups would come late.
    let late =
        |base_ms| Some(PathPrior { base_ms, deviation_ms: 23.0, ..Scene::new(0).policy.prior });
    for (n, node) in scene.nodes.iter_mut().enumerate() {
        match n {
            0 | 1 => node.expect_flat(0.75),
            8 => node.expect_flat(0.95),
            _ => node.prior = late(580.0),
        }
    }
    let moves = scene.clone().pass().moves;
    assert!(!moves.is_empty() && moves.iter().all(|decision| decision.to[0].0 <= 1), "{moves:?}");
    // From all others a tenth, which is still too much.
    for n in (0..16).filter(|n| *n != 8) {
        scene.nodes[n].prior = late(570.0);
    }
    assert_eq!(scene.pass().moves, []);
}

#[test]
fn to_an_edge_that_is_shunned_only_who_has_to_leave_goes_and_only_if_no_other_is_left() {
    let goes = |leaves: bool, shunned: &[u32]| {
        let mut scene = settled();
        scene.sessions[0].shunned = shunned.iter().map(|n| NodeIndex(*n)).collect();
        if leaves {
            scene.nodes[1].leaves_at = Some(at(9));
        } else {
            scene.measures(1, |t| 600.0 - 9.5 * t);
        }
        scene.goes()
    };
    for leaves in [false, true] {
        assert_eq!(goes(leaves, &[2]), Some(edge(0)), "{leaves}");
        assert_eq!(goes(leaves, &[0]), Some(edge(2)), "{leaves}");
    }
    assert_eq!(goes(false, &[0, 2]), None);
    assert_eq!(goes(true, &[0, 2]), goes(true, &[]));
    assert!(goes(true, &[]).is_some());
}

#[test]
fn who_has_to_leave_begins_so_early_that_there_is_time_for_another_hand_off() {
    let begins = |tries: u32, in_seconds: u64| {
        let mut scene = settled();
        scene.policy.tries = tries;
        scene.nodes[1].leaves_at = Some(at(in_seconds));
        scene.pass().moves.len()
    };
    // A hand-off takes 5 s, one more where the stream has to be fetched first, and the next look is 5 s away.
    assert_eq!([begins(1, 11), begins(1, 13)], [1, 0]);
    assert_eq!([begins(2, 17), begins(2, 19)], [1, 0]);
}

#[test]
fn what_makes_a_path_ever_worse_is_not_escaped_within_its_failure_domain() {
    let mut scene = Scene::new(4);
    scene.session(edge(2));
    let slower = PathPrior { base_ms: 450.0, ..scene.policy.prior };
    scene.nodes.iter_mut().for_each(|node| node.prior = Some(slower));
    // It is 15 ms worse each second: now 200 ms are left, and from the others some 225.
    scene.measures(2, |second| 200.0 + 15.0 * (59.0 - second).min(30.0));
    assert!(scene.goes().is_some());
    scene.nodes.iter_mut().for_each(|node| node.domain = Some(Domain(0)));
    assert_eq!(scene.goes(), None);
    scene.nodes[3].domain = Some(Domain(1));
    assert_eq!(scene.goes(), Some(edge(3)));
}

#[test]
fn m3_who_has_just_come_is_told_by_most_others_there_that_the_paths_get_worse() {
    // Five seconds after it came it sees nothing yet: 45 ms are left, and it is 3 ms worse each second.
    let worse = |slack_ms: f64| move |second: f64| slack_ms + 3.0 * (59.0 - second);
    let told = |others: usize, see_it: usize| {
        let mut scene = Scene::new(3);
        scene.session(edge(1));
        scene.measures_for(0, 5, 1, worse(45.0));
        for n in 1..=others {
            scene.session(edge(1));
            let slope = if n <= see_it { 1.0 } else { 0.0 };
            scene.measures_for(n, 60, 1, |second| 400.0 + slope * worse(0.0)(second));
        }
        let decided = scene.decided();
        decided.map(|decision| {
            scene.pass();
            let why = scene.sweep(|sweep, sessions| sweep.why(&sessions[0], &decision));
            assert!(why.prediction.contains("shrinks by 3 ms"), "{}", why.prediction);
            assert!(why.inputs.iter().any(|input| input.source == "most of its clients"));
            decision.to
        })
    };
    assert!(told(5, 5).is_some_and(|to| to != edge(1)));
    assert!(told(9, 5).is_some(), "most of them see it");
    assert_eq!(told(9, 4), None, "few see it");
    assert_eq!(told(4, 4), None, "there are few");
}

/// Edge 0 leaves. Edges 1 to 6 are ever further away.
fn whole() -> Scene {
    let mut scene = Scene::new(7);
    scene.session(edge(0));
    scene.measures(0, |_| 850.0);
    scene.policy.near = 8;
    scene.policy.paired = 8;
    scene
}

/// A report that has something to say about one edge.
type Report = fn(&mut Scene);

const REPORTS: [(&str, Report); 5] = [
    ("M2: the edges themselves: one leaves, one will be overloaded", |scene| {
        scene.nodes[0].leaves_at = Some(at(8));
        scene.climbs(1, 0.8, 0.95);
    }),
    ("M3: the client: its path to edge 2 is bad", |scene| scene.measures(2, |_| 20.0)),
    ("M4: the link to edge 3 is full", |scene| {
        let full = [Link { rtt_ms: 10.0, loss: 0.0, load: 1.05 }];
        scene.streams[0].feeds.insert(NodeIndex(3), Feed::through(&Origin::default(), &full));
    }),
    ("M5: the origin that feeds edge 4 ends", |scene| {
        let ends = Origin { ends_at: Some(at(20)), ..Origin::default() };
        scene.streams[0].feeds.insert(NodeIndex(4), Feed::through(&ends, &[]));
    }),
    ("M6: the region of edge 5 fails often", |scene| {
        scene.nodes[5].domain = Some(Domain(9));
        scene.nodes[5].domain_failure = 0.01;
    }),
];

#[test]
fn m2_to_m6_together_choose_the_edge_and_with_any_one_withheld_it_is_another() {
    let goes = |withheld: Option<usize>| {
        let mut scene = whole();
        let told = REPORTS.iter().enumerate().filter(|(n, _)| Some(*n) != withheld);
        told.for_each(|(_, (_, report))| report(&mut scene));
        scene.goes()
    };
    assert_eq!(goes(None), Some(edge(6)));
    for (n, (name, _)) in REPORTS.iter().enumerate() {
        // Without M2 it does not know that it has to go at all.
        let expected = if n == 0 { None } else { Some(edge(n as u32 + 1)) };
        assert_eq!(goes(Some(n)), expected, "without {name}");
    }
}

#[test]
fn m7_a_hand_off_is_initiated_out_of_all_that_is_known_and_says_so() {
    let mut scene = whole();
    REPORTS.iter().for_each(|(_, report)| report(&mut scene));
    let decision = scene.decided().unwrap();
    assert_eq!((decision.from, decision.to), (edge(0), edge(6)));
    assert!(decision.forced && decision.gain > 50.0, "{decision:?}");
    assert_eq!(decision.need, at(8), "when the edge leaves, which is between two steps");
    let session = scene.sessions[0].clone();
    let why = scene.sweep(|sweep, _| sweep.why(&session, &decision));
    assert!(why.prediction.starts_with("edge-0 leaves, as announced; from"), "{why:?}");
    let input = |name: &str| {
        let found = why.inputs.iter().find(|input| input.name == name);
        found.unwrap_or_else(|| panic!("{name:?} is not in {why:?}"))
    };
    let leaves = input("time left of edge-0");
    assert_eq!(
        (leaves.value, leaves.unit.as_str(), leaves.age_ms, leaves.weight),
        (8.0, "s", 0, 1.0)
    );
    assert_eq!(leaves.source, "edge-0's report");
    assert!(input("slack of the path from edge-2").source.contains("client"));
    assert_eq!(input("priority of the session").value, 5.0);
    let reason = |at: u32| {
        let id = scene.nodes[at as usize].id.clone();
        let found = why.alternatives.iter().find(|other| other.edges == [id.clone(), id.clone()]);
        found.map(|other| other.reason.as_str()).unwrap_or_else(|| panic!("{id} is not in {why:?}"))
    };
    assert!(reason(6).starts_with("chosen: it gains"), "{why:?}");
    assert_eq!(reason(0), "staying: it leaves");
    assert_eq!(reason(1), "it has no room");
}

#[test]
fn m8_it_is_decided_before_it_is_needed_and_not_long_before() {
    let mut scene = settled();
    // Slack is gone some 17 s from now, and all seems well still.
    scene.measures(1, |t| 700.0 - 9.0 * t);
    let told = |scene: &Scene, seconds: u64| {
        let mut later = scene.clone();
        for second in 60..60 + seconds {
            later.now = at(second - 60);
            let slack_ms = 700.0 - 9.0 * second as f64;
            let sample = Sample { at: later.now, slack_ms, deviation_ms: 15.0, missed: 0.0 };
            let _ = later.sessions[0].measured(NodeIndex(1), sample);
        }
        later
    };
    assert_eq!(told(&scene, 1).decided(), None);
    let decision = told(&scene, 12).decided().unwrap();
    let (need, now) = (decision.need, at(11));
    assert!(need > now, "{:?} ahead", need.since(now));
    assert!(need.since(now) <= decision.lead + scene.policy.period, "{:?}", need.since(now));
}

#[test]
fn m9_a_peak_that_recurs_is_foreseen_by_its_pattern() {
    // Each 200 s the load goes to 0.95 within a few seconds, for 20 s.
    let demand = |t: f64| if (t / 200.0).fract() < 0.9 { 0.4 } else { 0.95 };
    let foresees = |cycles: f64| {
        let mut load = Load::begin(START);
        let now = (cycles * 200.0) as u64;
        (0..=now).for_each(|second| load.update(at(second), demand(second as f64)));
        let mut scene = settled();
        scene.now = at(now);
        scene.nodes.iter_mut().for_each(|node| node.reported = scene.now);
        scene.nodes[1].expect_all(changes(&load, 0.4, scene.now));
        scene.goes()
    };
    assert_eq!(foresees(0.88), None, "nobody can know");
    assert!(
        foresees(2.88).is_some(),
        "2.4 s before the third peak: hand-offs take {:?}",
        Policy::default().lead
    );
    assert_eq!(foresees(2.5), None, "there is time");
}

#[test]
fn m10_a_component_leaves_a_worker_whose_load_climbs() {
    let link = |rtt_ms| vec![Link { rtt_ms, loss: 0.0, load: 0.1 }];
    let component = |priority| Component {
        at: NodeIndex(0),
        priority: Priority::new(priority).unwrap(),
        weight: 200.0,
        carries: 1.0,
        lead: Duration::from_secs(4),
        places: vec![
            (NodeIndex(0), link(1.0)),
            (NodeIndex(1), link(20.0)),
            (NodeIndex(2), link(30.0)),
        ],
        bound_for: None,
        pace: Pace::default(),
    };
    let mut running = [component(5), component(3)];
    let decide = |scene: &mut Scene, running: &mut [Component]| {
        components::pass(running, &mut scene.nodes, &scene.policy, scene.now);
        let later = scene.now + Duration::from_secs(3);
        let moves = components::pass(running, &mut scene.nodes, &scene.policy, later);
        moves.iter().map(|m| (m.component, m.to)).collect::<Vec<_>>()
    };
    let mut scene = Scene::new(3);
    assert_eq!(decide(&mut scene.clone(), &mut running.clone()), []);
    scene.climbs(0, 0.87, 0.95);
    // One is enough: that which matters less.
    assert_eq!(decide(&mut scene.clone(), &mut running.clone()), [(1, NodeIndex(1))]);
    scene.nodes[1].expect_flat(0.8);
    assert_eq!(decide(&mut scene.clone(), &mut running.clone()), [(1, NodeIndex(2))]);
    // While that is under way, nothing else has to go.
    running[1].bound_for = Some(NodeIndex(2));
    assert_eq!(decide(&mut scene, &mut running), []);
}

/// Around each edge the path gets worse with every km, as that of a radio cell does; it ends at some 30 km.
fn cells(scene: &mut Scene) {
    let prior =
        PathPrior { base_ms: 10.0, per_km_ms: 19.5, deviation_ms: 15.0, deviation_per_km_ms: 0.1 };
    scene.nodes.iter_mut().for_each(|node| node.prior = Some(prior));
}

/// Where edge 1 still serves well: 27 km away.
const RIM: f64 = 1.546;

/// Drives eastward for a minute, and is at the rim now.
fn drives() -> Motion {
    drives_to(place(RIM))
}

/// The same, and is there now.
fn drives_to(here: Position) -> Motion {
    let fix = |second: u64| {
        let position = here.moved([100.0 * (second as f64 - 60.0), 0.0]);
        Fix { at: START.back(Duration::from_secs(60 - second)), position, accuracy: 5.0 }
    };
    let mut motion = Motion::begin(fix(0)).unwrap();
    (1..=60).for_each(|second| motion.update(fix(second)).unwrap());
    motion
}

#[test]
fn h7_a_moving_client_s_edge_is_that_of_its_estimated_motion_and_its_own_word_comes_first() {
    let mut scene = settled();
    // Edge 3 is to the north, edge 2 to the east.
    scene.nodes.push(scene.nodes[2].clone());
    scene.nodes[3].position = Some(place(RIM).moved([0.0, 25_000.0]));
    cells(&mut scene);
    scene.sessions[0].moves(Whereabouts::Still(place(RIM)));
    let estimated = Whereabouts::of_motion(&drives(), START);
    let [stands, moves] = told(&scene, |scene| scene.sessions[0].moves(estimated.clone()));
    assert_eq!((stands, moves), (None, Some(edge(2))));
    let route = [(at(0), place(RIM)), (at(90), place(RIM).moved([0.0, 20_000.0]))];
    let own = Whereabouts::of_route(&route, START);
    let [_, says] = told(&scene, |scene| {
        scene.now = at(25);
        scene.nodes.iter_mut().for_each(|node| node.reported = at(25));
        scene.sessions[0].moves(Whereabouts::choose(Some(own), estimated, at(25)));
    });
    assert_eq!(says, Some(edge(3)));
}

#[test]
fn a_client_that_moves_leaves_for_less_than_one_that_stands() {
    let mut scene = settled();
    cells(&mut scene);
    // How far from the edge it goes, in m.
    let goes_at = |moving: f64, moves: bool| {
        let goes = |metres: &u32| {
            let mut scene = scene.clone();
            scene.policy.moving = moving;
            let here = place(1.0).moved([f64::from(*metres), 0.0]);
            scene.sessions[0].moves(match moves {
                true => Whereabouts::of_motion(&drives_to(here), START),
                false => Whereabouts::Still(here),
            });
            scene.goes().is_some()
        };
        (24_000..40_000).step_by(50).find(goes).unwrap()
    };
    let part = scene.policy.moving;
    assert!(goes_at(part, true) + 50 < goes_at(1.0, true));
    assert_eq!(goes_at(part, false), goes_at(1.0, false));
}

#[test]
fn h8_for_each_cause_its_information_and_no_other_makes_the_hand_off() {
    let cause = |tell: &dyn Fn(&mut Scene)| {
        let mut scene = settled();
        assert_eq!(scene.decided(), None);
        tell(&mut scene);
        scene.decided().map(|decision| decision.cause)
    };
    let slack = |t: f64| 600.0 - 9.5 * t;
    assert_eq!(cause(&|scene| scene.measures(1, slack)), Some(Cause::Network));
    assert_eq!(cause(&|scene| scene.climbs(1, 0.88, 0.97)), Some(Cause::Load));
    let moves = |scene: &mut Scene| {
        cells(scene);
        scene.sessions[0].moves(Whereabouts::of_motion(&drives(), START));
    };
    assert_eq!(cause(&moves), Some(Cause::Location));
    assert_eq!(cause(&|scene| scene.nodes[1].leaves_at = Some(at(9))), Some(Cause::Maintenance));
    assert_eq!(cause(&|scene| scene.nodes[1].up = false), Some(Cause::Failure));
}

#[test]
fn h9_prefetch_goes_to_more_edges_the_less_certain_and_the_less_loaded_they_are() {
    let around = |uncertainty: f64, load: f64| {
        let mut scene = Scene::new(9);
        cells(&mut scene);
        scene.session(edge(4));
        scene.nodes.iter_mut().for_each(|node| node.expect_flat(load));
        let mut ahead = Ahead {
            said: START,
            at: STEPS.map(|step| gibbon_placement::predict::Predicted {
                position: place(4.0 + step.as_secs_f64() / 40.0),
                uncertainty,
            }),
            own: true,
        };
        ahead.at[0].uncertainty = 10.0;
        scene.sessions[0].moves(Whereabouts::Moving(Box::new(ahead)));
        let plan = scene.pass();
        let prepared = plan.prepared.first().expect("it will have to move");
        assert!(prepared.to.iter().all(|to| prepared.around.contains(to)));
        prepared.around.len()
    };
    let [certain, uncertain, busy] =
        [around(500.0, 0.2), around(100_000.0, 0.2), around(100_000.0, 0.75)];
    assert_eq!(certain, 1);
    assert!(uncertain > busy && busy >= 1, "{uncertain} {busy}");
}

#[test]
fn h10_two_edges_serve_one_description_each_where_their_losses_are_apart() {
    let mut scene = settled();
    // Its path has little slack, that of edges 0 and 2 as little: together both descriptions would miss at once.
    for node in 0..3 {
        scene.measures(node, |_| 10.0);
    }
    let to = scene.goes().unwrap();
    assert_ne!(to[0], to[1]);
    assert!(to.contains(&NodeIndex(1)), "one leg stays where it is: {to:?}");
    // The more their paths have in common, the less there is to gain.
    let [_, same_fate] = told(&scene, |scene| scene.policy.access_correlation = 0.99);
    assert_eq!(same_fate, None);
}
