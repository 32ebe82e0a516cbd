//! What the coordinator decides ahead of need: each information by itself, together, garbage, and what is told of it.

use std::sync::{Arc, Mutex};

use gibbon_control::{
    node::{FromNode, NodeReport},
    portal::{DecidedBy, HandoffInfo, HandoffOutcome, HandoffRequest, SessionRequest},
    telemetry::{ClientTelemetry, MotionPoint, MotionReport, NodeHealth, PathReport},
};
use gibbon_coordinator::{foresee::Mode, telemetry::Source};
use gibbon_handoff::{Cause, Reason as Why, ToEdge};
use gibbon_media::{MediaTime, Priority, SessionId};
use gibbon_monitor::{Monitor, testing::Read};

use crate::network::{
    self, SECOND, id, link,
    live::{Live, place},
    watch, watch_diverse,
};

/// How a value goes from one to another in so many seconds, and stays there.
fn ramp(from: f64, to: f64, seconds: u64, at: u64) -> f64 {
    from + (to - from) * (at as f64 / seconds as f64).min(1.0)
}

/// Why a session was moved first, and when, counted from `start`; none: it was not.
fn moved(live: &Live, session: SessionId, start: MediaTime) -> Option<(Cause, f64)> {
    let first = live.handoffs(session).into_iter().next()?;
    let began = MediaTime(first.progress[0].at_us);
    Some((first.cause, began.since(start).as_secs_f64()))
}

/// Of a session at edge a: why it moved and after how many seconds, if within `seconds` of what `each` does.
fn told(seconds: u64, each: impl FnMut(&mut Live, u64)) -> (Live, Option<(Cause, f64)>) {
    in_mode(Mode::Ahead, seconds, each)
}

fn in_mode(
    mode: Mode,
    seconds: u64,
    mut each: impl FnMut(&mut Live, u64),
) -> (Live, Option<(Cause, f64)>) {
    let mut live = Live::new(mode);
    let session = live.at_a();
    live.run(30, |_, _| {});
    assert_eq!(moved(&live, session, live.network.now), None, "nothing has happened yet");
    let start = live.network.now;
    live.run(seconds, |live, second| each(live, second));
    let moved = moved(&live, session, start);
    (live, moved)
}

const FIRST: SessionId = SessionId(1);

#[test]
fn nothing_moves_where_nothing_is_told() {
    let (live, moved) = told(120, |_, _| {});
    assert_eq!(moved, None);
    assert!(live.network.manager.handoffs().is_empty());
}

#[test]
fn m2_an_edge_whose_load_climbs_is_left_before_its_limit() {
    // 90 % is reached after 80 s.
    let (live, moved) = told(90, |live, t| live.edge("edge-a").others = ramp(0.5, 0.95, 90, t));
    let (cause, after) = moved.unwrap();
    assert_eq!(cause, Cause::Load);
    assert!(after < 80.0, "{after} s");
    assert_eq!(live.edges_of(FIRST), ["edge-b", "edge-b"], "the next one");
}

#[test]
fn m2_and_m8_who_is_at_a_node_that_goes_away_leaves_in_time_and_nobody_else() {
    let mut live = Live::new(Mode::Ahead);
    let (there, elsewhere) = (live.at_a(), live.session("edge-b", "edge-b", watch(Some("edge-b"))));
    let half = live.session("edge-a", "edge-c", watch_diverse());
    live.maintain("edge-a", 60 * SECOND);
    let start = live.network.now;
    live.run(40, |_, _| {});
    assert_eq!(moved(&live, there, start), None, "there is time");
    live.run(20, |_, _| {});
    for session in [there, half] {
        let (cause, after) = moved(&live, session, start).unwrap();
        assert_eq!(cause, Cause::Maintenance);
        assert!(after < 58.0, "{after} s");
        assert!(!live.edges_of(session).contains(&"edge-a".to_owned()));
    }
    assert_eq!(live.edges_of(half), ["edge-b", "edge-c"], "one leg stays where it is");
    assert!(live.handoffs(elsewhere).is_empty());
}

#[test]
fn m8_who_has_to_leave_is_in_time_though_the_first_hand_off_fails() {
    // Where another edge is open it goes there, and where there is none, to the same again.
    for (other, then) in [(true, "edge-c"), (false, "edge-b")] {
        let mut live = Live::new(Mode::Ahead);
        let session = live.at_a();
        if !other {
            live.maintain("edge-c", SECOND);
        }
        live.maintain("edge-a", 40 * SECOND);
        let start = live.network.now;
        live.network.starving = vec![id("edge-b")];
        live.run(39, |live, _| {
            let failed = |handoff: &HandoffInfo| handoff.outcome == HandoffOutcome::RolledBack;
            if live.handoffs(session).iter().any(failed) {
                live.network.starving.clear();
            }
        });
        let handoffs = live.handoffs(session);
        let outcomes: Vec<_> = handoffs.iter().map(|handoff| handoff.outcome).collect();
        assert_eq!(outcomes, [HandoffOutcome::RolledBack, HandoffOutcome::Completed]);
        assert_eq!(handoffs[0].reason, Some(Why::Starved));
        assert_eq!(handoffs[0].to, id("edge-b"), "the nearest");
        assert_eq!(live.edges_of(session), [then, then]);
        let over = MediaTime(handoffs[1].progress.last().unwrap().at_us).since(start);
        assert!(over < 35 * SECOND, "{over:?}");
    }
}

#[test]
fn m2_the_priority_of_a_session_decides_who_makes_room() {
    let mut live = Live::new(Mode::Ahead);
    let request =
        |n| SessionRequest { priority: Priority::new(n).unwrap(), ..watch(Some("edge-a")) };
    live.edge("edge-a").others = 0.68;
    let mut sessions = |n, count| {
        let sessions = (0..count).map(|_| live.session("edge-a", "edge-a", request(n)));
        sessions.collect::<Vec<_>>()
    };
    let (matter, do_not) = (sessions(8, 4), sessions(2, 7));
    // With all of them it is at its limit: some have to leave.
    live.run(10, |_, _| {});
    let moved = |of: &[SessionId]| of.iter().filter(|s| !live.handoffs(**s).is_empty()).count();
    assert_eq!(moved(&matter), 0);
    assert!(moved(&do_not) >= 3, "{}", moved(&do_not));
}

#[test]
fn m3_a_client_whose_slack_goes_is_moved_before_it_is_gone() {
    // It is gone after 80 s.
    let (_, moved) = told(80, |live, t| {
        let slack = ramp(800.0, 0.0, 80, t);
        live.client(FIRST).slack.insert(id("edge-a"), slack);
    });
    let (cause, after) = moved.unwrap();
    assert_eq!(cause, Cause::Network);
    assert!(after < 78.0, "{after} s");
}

#[test]
fn m3_who_has_just_come_goes_by_what_others_there_have_seen_for_longer() {
    // Slack shrinks by 8 ms each second; the newcomer has 80 ms left.
    let after = |others: u64| {
        let mut live = Live::new(Mode::Ahead);
        let others: Vec<_> = (0..others).map(|_| live.at_a()).collect();
        let tell = |live: &mut Live, second: u64| {
            let slack = 900.0 - 8.0 * second as f64;
            others.iter().for_each(|session| {
                live.client(*session).slack.insert(id("edge-a"), slack);
            });
        };
        live.run(30, tell);
        let (newcomer, start) = (live.at_a(), live.network.now);
        live.run(10, |live, second| {
            tell(live, 30 + second);
            let slack = 80.0 - 8.0 * second as f64;
            live.client(newcomer).slack.insert(id("edge-a"), slack);
        });
        assert!(others.iter().all(|session| live.handoffs(*session).is_empty()), "they have time");
        let (cause, after) = moved(&live, newcomer, start).unwrap();
        assert_eq!(cause, Cause::Network);
        after
    };
    let (told, alone) = (after(5), after(4));
    assert!(told + 1.5 < alone, "after {told} s, and alone after {alone} s");
}

#[test]
fn m3_slack_is_gone_when_a_client_would_do_without_a_description() {
    let run = |playout_delay_ms| {
        let (_, moved) = told(80, |live, t| {
            live.client(FIRST).playout_delay_ms = playout_delay_ms;
            live.client(FIRST).slack.insert(id("edge-a"), ramp(800.0, 300.0, 80, t));
        });
        moved.map(|(cause, _)| cause)
    };
    assert_eq!(run(Some(1000)), Some(Cause::Network), "with 333 ms left it lets one go");
    assert_eq!(run(Some(600)), None, "that is at 200 ms");
}

#[test]
fn m4_an_edge_is_left_whose_link_to_the_origin_breaks() {
    let (_, moved) = told(20, |live, _| live.edge("edge-a").loss = 0.5);
    assert_eq!(moved.unwrap().0, Cause::Network);
}

#[test]
fn m5_an_origin_that_falls_behind_moves_those_for_whom_there_is_another_and_nobody_else() {
    let lags = |live: &mut Live, t| {
        let lag = ramp(60.0, 1000.0, 60, t);
        live.origins.insert("studio", lag as u64);
        live.client(FIRST).slack.insert(id("edge-a"), 860.0 - lag);
    };
    let (live, moved) = told(60, lags);
    assert_eq!(moved, None, "moving cannot help: {:?}", live.network.manager.handoffs());
    let fed_by_another = |live: &mut Live, t| {
        if t == 0 {
            live.network.register("studio-2");
            live.origins.insert("studio-2", 60);
            live.edge("edge-c").source = "studio-2";
            // That it is no further away than edge a is known; what comes from there is not late.
            live.client(FIRST).idle.push(id("edge-c"));
        }
        lags(live, t);
    };
    let (live, moved) = told(60, fed_by_another);
    let (cause, after) = moved.unwrap();
    assert_eq!(cause, Cause::Network);
    assert_eq!(live.edges_of(FIRST), ["edge-c", "edge-c"], "it has the stream of the other origin");
    let (_, moved) = in_mode(Mode::Reactive, 70, fed_by_another);
    assert!(moved.is_some_and(|(_, late)| after + 10.0 < late), "{after} s, {moved:?}");
}

#[test]
fn m6_of_a_diverse_session_the_leg_goes_where_it_does_not_share_what_the_other_hangs_on() {
    let goes = |through: &'static str| {
        let mut live = Live::new(Mode::Ahead);
        live.add("edge-d", 110.0);
        live.add("edge-x", 60.0);
        live.add("edge-y", 70.0);
        live.run(3, |_, _| {});
        let session = live.session("edge-a", "edge-b", watch_diverse());
        live.edge("edge-a").source = "edge-x";
        live.edge("edge-c").source = through;
        live.edge("edge-d").source = "edge-y";
        // What comes through others comes less surely.
        ["edge-a", "edge-c", "edge-d"].iter().for_each(|edge| live.edge(edge).loss = 0.16);
        // Those in between are not for viewers.
        ["edge-x", "edge-y"].iter().for_each(|edge| live.edge(edge).others = 0.89);
        live.maintain("edge-b", 20 * SECOND);
        live.run(20, |_, _| {});
        live.edges_of(session)
    };
    assert_eq!(goes("edge-y"), ["edge-a", "edge-c"], "the nearer one");
    assert_eq!(goes("edge-x"), ["edge-a", "edge-d"], "what feeds edge c feeds edge a as well");
}

#[test]
fn m7_m9_a_peak_that_comes_each_cycle_is_foreseen_at_its_third_time() {
    // Each 90 s the load goes to its limit and beyond within a second, for 15 s.
    let load = |t: u64| if t % 90 < 75 { 0.4 } else { 0.97 };
    let run = |mode| {
        let mut live = Live::new(mode);
        live.run(2 * 90, |live, t| live.edge("edge-a").others = load(t));
        let session = live.at_a();
        let start = live.network.now;
        live.run(90, |live, t| live.edge("edge-a").others = load(t));
        moved(&live, session, start)
    };
    let (cause, after) = run(Mode::Ahead).unwrap();
    assert_eq!(cause, Cause::Load);
    assert!(after < 75.0, "before the peak: {after} s");
    let (_, after) = run(Mode::Reactive).unwrap();
    assert!(after > 78.0, "after it has been bad for a while: {after} s");
}

#[test]
fn m7_the_more_often_it_looks_the_shorter_are_the_cycles_that_it_sees() {
    // Each 40 s the load goes to its limit and beyond within a second, for 10 s.
    let load = |t: u64| if t % 40 < 30 { 0.4 } else { 0.97 };
    let first = |period| {
        let mut live = Live::looking_every(period, Mode::Ahead);
        live.run(2 * 40, |live, t| live.edge("edge-a").others = load(t));
        let session = live.at_a();
        let start = live.network.now;
        live.run(40, |live, t| live.edge("edge-a").others = load(t));
        moved(&live, session, start).map_or(f64::INFINITY, |(_, after)| after)
    };
    let (often, rarely) = (first(SECOND / 2), first(SECOND));
    assert!(often < 30.0, "before the peak: {often} s");
    assert!(rarely > 30.0, "{rarely} s");
}

#[test]
fn m8_foresight_moves_before_the_need_that_it_tells_and_thresholds_after_it() {
    let slack = |live: &mut Live, t| {
        live.client(FIRST).slack.insert(id("edge-a"), ramp(800.0, -80.0, 88, t));
    };
    let (live, ahead) = told(100, slack);
    let handoff = &live.handoffs(FIRST)[0];
    let why = live.network.manager.why(handoff.handoff).unwrap();
    let (need, end) =
        (why.grounds.foreseen.unwrap().need_us, handoff.progress.last().unwrap().at_us);
    assert_eq!(why.grounds.decided_by, DecidedBy::Foresight);
    assert!(end < need, "completed {} ms after the need", (end - need) / 1000);
    let (live, reactive) = in_mode(Mode::Reactive, 100, slack);
    let why = live.network.manager.why(live.handoffs(FIRST)[0].handoff).unwrap();
    assert_eq!(why.grounds.decided_by, DecidedBy::Threshold);
    let (_, ahead) = ahead.unwrap();
    let (_, reactive) = reactive.unwrap();
    assert!(ahead + 5.0 < reactive, "{ahead} s, {reactive} s");
}

/// A fix, as a device tells it.
fn fix(km: f64) -> Option<MotionReport> {
    let there = place(km);
    Some(MotionReport::At {
        latitude: there.latitude,
        longitude: there.longitude,
        accuracy_m: 5.0,
        age_ms: 100,
    })
}

/// Slack on the way from an edge so far away, as around a radio cell.
fn cell(km: f64) -> f64 {
    800.0 - 30.0 * km.abs()
}

/// Drives from edge a towards edge b, at 40 m/s, and measures its paths; until where edge a no longer serves it well.
fn drives(live: &mut Live, t: u64) {
    let km = 12.0 + 0.04 * t as f64;
    let client = live.client(FIRST);
    client.slack.insert(id("edge-a"), cell(km));
    client.slack.insert(id("edge-b"), cell(50.0 - km));
    client.motion = fix(km);
}

#[test]
fn h7_a_client_that_drives_away_is_handed_off_ahead_of_it() {
    // Slack of edge a is gone at 26.7 km, after 367 s.
    let (live, moved) = told(367, drives);
    assert!(moved.is_some_and(|(_, after)| after < 360.0), "{moved:?}");
    assert_eq!(live.edges_of(FIRST), ["edge-b", "edge-b"]);
}

#[test]
fn h7_where_client_and_coordinator_differ_the_client_s_own_word_chooses_the_edge() {
    let run = |own: bool| {
        let mut live = Live::new(Mode::Ahead);
        live.add_at("edge-n", gibbon_control::node::Location { latitude: 0.235, longitude: 0.243 });
        let session = live.at_a();
        // How slack falls with distance is learned from others.
        let other = live.session("edge-b", "edge-b", watch(Some("edge-b")));
        live.run(100, |live, t| {
            let km = 40.0 - 0.2 * t as f64;
            live.client(other).slack.insert(id("edge-b"), cell(50.0 - km));
            live.client(other).motion = fix(km);
        });
        live.clients.remove(&other);
        live.run(120, |live, t| {
            let km = 21.0 + 0.04 * t as f64;
            let here = place(km);
            let point = |in_s: u64| MotionPoint {
                in_ms: in_s * 1000,
                // It will turn north.
                latitude: 0.08 * in_s as f64 / 111.195,
                longitude: here.longitude,
                uncertainty_m: 20.0 + in_s as f64,
            };
            let points = [0, 30, 60, 90].map(point).to_vec();
            let estimate = MotionReport::Estimate { points, route: Vec::new() };
            let client = live.client(session);
            client.slack.insert(id("edge-a"), cell(km));
            client.motion = if own { Some(estimate) } else { fix(km) };
        });
        let handoffs = live.handoffs(session);
        handoffs.first().map(|info| (info.cause, info.to.to_string()))
    };
    assert_eq!(run(false), Some((Cause::Location, "edge-b".to_owned())), "it drives eastward");
    assert_eq!(run(true), Some((Cause::Location, "edge-n".to_owned())), "it will turn north");
}

#[test]
fn h8_a_flapping_edge_is_left_and_harms_nobody_else() {
    let mut live = Live::new(Mode::Ahead);
    let session = live.session("edge-b", "edge-b", watch(Some("edge-b")));
    for _ in 0..6 {
        live.edge("edge-a").up = false;
        live.run(4, |_, _| {});
        live.edge("edge-a").up = true;
        live.run(4, |_, _| {});
    }
    assert!(live.handoffs(session).is_empty());
    assert_eq!(live.edges_of(session), ["edge-b", "edge-b"]);
}

#[test]
fn h9_edges_around_a_moving_client_prefetch_ahead_and_those_not_chosen_are_released() {
    let mut live = Live::new(Mode::Ahead);
    live.add("edge-d", 54.0);
    live.add("edge-e", 58.0);
    live.at_a();
    live.obeys = false;
    let mut prefetched = Vec::new();
    let mut begun = None;
    live.run(380, |live, t| {
        drives(live, t);
        live.client(FIRST).slack.retain(|edge, _| *edge == id("edge-a"));
        for (_, edge, order) in live.network.edge_orders() {
            match order {
                ToEdge::Prefetch { .. } if live.network.running().is_empty() => {
                    prefetched.push(edge.id.to_string());
                }
                ToEdge::Release { .. } => prefetched.retain(|at| *at != edge.id.to_string()),
                _ => {}
            }
        }
        if begun.is_none() && !live.network.running().is_empty() {
            begun = Some((prefetched.clone(), live.handoffs(FIRST)[0].to.to_string()));
        }
    });
    let (_, to) = begun.unwrap();
    assert!(prefetched.iter().all(|edge| *edge == to), "released: {prefetched:?}, to {to}");
    let page = page(live);
    let bytes = |outcome| page.value("gibbon_prefetched_bytes_total", &[("outcome", outcome)]);
    assert!(bytes("served").unwrap() + bytes("wasted").unwrap() > 0.0);
}

#[test]
fn h9_an_edge_that_has_prefetched_keeps_it_where_a_hand_off_that_is_asked_for_goes_there() {
    let mut live = Live::new(Mode::Ahead);
    live.add("edge-d", 54.0);
    live.at_a();
    live.obeys = false;
    let (mut prefetched, mut said) = (Vec::new(), None);
    live.run(380, |live, t| {
        drives(live, t);
        live.client(FIRST).slack.retain(|edge, _| *edge == id("edge-a"));
        for (_, edge, order) in live.network.edge_orders() {
            if matches!(order, ToEdge::Prefetch { .. }) && said.is_none() {
                prefetched.push(edge.id);
            }
        }
        let Some(to) = prefetched.last().filter(|_| said.is_none()) else { return };
        let request = HandoffRequest { to: Some(to.clone()), ..HandoffRequest::default() };
        live.network.hand_off(FIRST, request).unwrap();
        said = Some((to.clone(), live.network.edge_orders()));
    });
    let (to, said) = said.unwrap();
    let (there, elsewhere): (Vec<_>, Vec<_>) = said.iter().partition(|(_, edge, _)| edge.id == to);
    assert!(matches!(there[..], [(_, _, ToEdge::Prefetch { .. })]), "{there:?}");
    let released = |(_, _, order): &&(_, _, ToEdge)| matches!(order, ToEdge::Release { .. });
    assert!(elsewhere.iter().all(released), "{elsewhere:?}");
}

#[test]
fn where_nothing_is_decided_ahead_who_is_gone_is_forgotten_all_the_same() {
    let told_of = |live: &Live| {
        let ages = live.network.manager.telemetry().ages(live.network.now);
        ages.iter().find(|(source, _)| *source == Source::Client).unwrap().1.sources
    };
    for mode in [Mode::Ahead, Mode::Off, Mode::Never] {
        let mut live = Live::new(mode);
        let session = live.at_a();
        live.run(10, |_, _| {});
        assert_eq!(told_of(&live), 1, "{mode:?}");
        live.clients.remove(&session);
        live.network.manager.end_session(live.network.now, session).unwrap();
        live.run(10, |_, _| {});
        assert!(live.network.manager.session(session).is_err());
        assert_eq!(told_of(&live), 0, "{mode:?}");
    }
}

/// The page of what the coordinator shows.
fn page(live: Live) -> Read {
    let monitor = Monitor::new("gibbon-coordinator", "1");
    let (manager, now) = (Arc::new(Mutex::new(live.network.manager)), live.network.now);
    monitor.register(|registry| manager.lock().unwrap().metrics().register(registry));
    monitor.collect(move |page| manager.lock().unwrap().collect(now, page));
    Read::page(&monitor.page()).unwrap()
}

/// Nonsense of each kind that a client may tell.
fn nonsense() -> Vec<ClientTelemetry> {
    let path =
        |rtt_ms, loss| PathReport { edge: id("edge-a"), rtt_ms, loss, kbps: 10, slack: None };
    let of = |path| ClientTelemetry { paths: vec![path], ..ClientTelemetry::default() };
    let at = |latitude, longitude, age_ms| ClientTelemetry {
        motion: Some(MotionReport::At { latitude, longitude, accuracy_m: 5.0, age_ms }),
        ..ClientTelemetry::default()
    };
    let hours = 5 * 3_600_000;
    vec![
        of(path(f64::NAN, 0.0)),
        of(path(f64::INFINITY, 0.0)),
        of(path(5.0, 7.0)),
        at(f64::NAN, 0.0, 0),
        at(400.0, 0.0, 0),
        at(0.0, 0.1, hours),
        at(0.0, 0.1, 90_000),
        at(60.0, 120.0, 100),
    ]
}

#[test]
fn garbage_is_counted_by_what_is_wrong_with_it_and_changes_nothing_for_anybody() {
    let run = |garbage: bool| {
        let mut live = Live::new(Mode::Ahead);
        let [liar, other] = [live.at_a(), live.at_a()];
        live.client(liar).slack.clear();
        live.run(10, |live, _| live.client(liar).motion = fix(1.0));
        live.client(liar).motion = None;
        live.run(60, |live, t| {
            // Slack of the other one goes, and the load of edge c: both are to be seen all the same.
            live.client(other).slack.insert(id("edge-a"), ramp(800.0, 100.0, 70, t));
            if garbage {
                let all = nonsense();
                let edges = live.network.manager.session(liar).unwrap().edges;
                live.tells(liar, edges.clone(), all[t as usize % all.len()].clone());
                let mad = NodeHealth { cpu: f64::NAN, ..live.edge("edge-c").health };
                let report = live.network.held("edge-c");
                let report = NodeReport { health: Some(mad), ..report };
                live.network.report("edge-c", report).unwrap();
            }
        });
        let of = |session| {
            let handoffs = live.handoffs(session).into_iter();
            handoffs.map(|info| (info.cause, info.to, info.progress[0].at_us)).collect::<Vec<_>>()
        };
        (of(liar), of(other), page(live))
    };
    let (quiet, mad) = (run(false), run(true));
    assert_eq!(quiet.0, []);
    assert_eq!((&mad.0, &mad.1), (&quiet.0, &quiet.1));
    let refused = |page: &Read, source, reason| {
        let labels = [("source", source), ("reason", reason)];
        page.value("gibbon_telemetry_refused_total", &labels).unwrap()
    };
    for (source, reason) in [
        ("client", "not_a_number"),
        ("client", "out_of_bounds"),
        ("client", "old"),
        ("client", "unlikely"),
        ("node", "not_a_number"),
    ] {
        assert_eq!(refused(&quiet.2, source, reason), 0.0);
        assert!(refused(&mad.2, source, reason) > 0.0, "{source} {reason}");
    }
}

#[test]
fn who_tells_too_often_or_nothing_that_is_understood_is_not_heard() {
    let mut live = Live::new(Mode::Ahead);
    let session = live.at_a();
    live.run(2, |_, _| {});
    let edges = live.network.manager.session(session).unwrap().edges;
    for n in 0..50 {
        let mut telemetry = ClientTelemetry { buffer_ms: Some(n), ..ClientTelemetry::default() };
        live.tells(session, edges.clone(), telemetry.clone());
        // The same over another connection is no more than it was.
        telemetry.buffer_ms = Some(n);
        live.tells(session, edges.clone(), telemetry);
    }
    let hands =
        gibbon_handoff::Report { revision: 2_000_000, legs: edges, order: None, answer: None };
    let mut report = gibbon_control::session::ClientReport::new(hands);
    report.more.insert("paths".into(), "nonsense".into());
    live.network.says("edge-a", FromNode::Client { session, report }).unwrap();
    let page = page(live);
    let of = |reason| {
        let labels = [("source", "client"), ("reason", reason)];
        page.value("gibbon_telemetry_refused_total", &labels)
    };
    let too_often = of("too_often").unwrap();
    // Those that were heard came twice, too, and were not counted for it.
    assert!((80.0..98.0).contains(&too_often), "{too_often}");
    assert_eq!(of("malformed"), Some(1.0));
}

#[test]
fn new_sessions_go_where_nothing_is_announced_while_there_is_such_an_edge() {
    let mut live = Live::new(Mode::Ahead);
    live.maintain("edge-a", 600 * SECOND);
    let node = |live: &Live| live.network.manager.nodes(live.network.now).swap_remove(0);
    assert_eq!(node(&live).maintenance_in_ms, Some(600_000));
    let here = || SessionRequest { location: Some(place(0.0)), ..watch(None) };
    let ticket = live.network.create(here()).unwrap();
    assert!(ticket.edges.iter().all(|edge| edge.id != id("edge-a")), "{ticket:?}");
    assert_eq!(live.network.create(watch(Some("edge-a"))).unwrap().edges[0].id, id("edge-a"));
    ["edge-b", "edge-c"].iter().for_each(|edge| live.maintain(edge, 600 * SECOND));
    assert!(live.network.create(here()).is_ok(), "all go away, and viewers come still");
    live.network.manager.cancel_maintenance(&id("edge-a")).unwrap();
    assert_eq!(node(&live).maintenance_in_ms, None);
    // A node may know it by itself.
    live.edge("edge-a").health.maintenance_in_ms = Some(90_000);
    live.run(2, |_, _| {});
    assert!(node(&live).maintenance_in_ms.is_some_and(|ms| (80_000..=90_000).contains(&ms)));
}

#[test]
fn what_was_announced_is_done_when_its_node_has_started_again_after_that_time() {
    let mut live = Live::new(Mode::Ahead);
    live.maintain("edge-a", 10 * SECOND);
    let told = |live: &Live| live.network.manager.maintenance().of(&id("edge-a")).is_some();
    live.run(12, |_, _| {});
    assert!(told(&live), "it has not gone yet");
    let out =
        live.network.manager.link_closed(live.network.now, &id("edge-a"), link("edge-a"), true);
    live.network.take(out);
    live.add("edge-a", 0.0);
    assert!(!told(&live));
}

#[test]
fn nothing_more_is_decided_for_a_session_while_its_hand_off_is_under_way() {
    let mut live = Live::new(Mode::Ahead);
    let session = live.at_a();
    live.maintain("edge-a", 20 * SECOND);
    live.obeys = false;
    let mut most = 0;
    live.run(30, |live, _| {
        let running = live.network.manager.handoffs();
        let running = running.iter().filter(|h| h.outcome == HandoffOutcome::Running).count();
        most = most.max(running);
    });
    assert_eq!(most, 1, "{:?}", live.handoffs(session).len());
    let asked = network::to("edge-b");
    live.run(1, |_, _| {});
    let _ = live.network.hand_off(session, asked);
    let running = live.network.running();
    assert!(running.iter().filter(|(of, ..)| *of == session).count() <= 1);
}

#[test]
fn a_drain_comes_before_what_is_foreseen() {
    let mut live = Live::new(Mode::Ahead);
    let session = live.at_a();
    live.maintain("edge-a", 30 * SECOND);
    let request = gibbon_control::portal::DrainRequest::default();
    let now = live.network.now;
    let (_, out) = live.network.manager.drain(now, &id("edge-a"), &request).unwrap();
    live.network.take(out);
    live.run(5, |_, _| {});
    let handoffs = live.handoffs(session);
    assert_eq!((handoffs.len(), handoffs[0].cause), (1, Cause::Drain));
    let why = live.network.manager.why(handoffs[0].handoff).unwrap();
    assert_eq!(
        (why.grounds.decided_by, &*why.grounds.because),
        (DecidedBy::Upkeep, "edge-a is being emptied")
    );
    assert!(why.grounds.foreseen.is_none() && !why.grounds.inputs.is_empty(), "{why:?}");
}

#[test]
fn without_foresight_nothing_is_decided_ahead() {
    for mode in [Mode::Off, Mode::Never] {
        let (_, moved) = in_mode(mode, 60, |live, t| {
            live.edge("edge-a").others = ramp(0.5, 0.88, 60, t);
        });
        assert_eq!(moved, None, "{mode:?}");
    }
}

#[test]
fn why_names_each_input_with_its_age_and_weight_the_prediction_and_the_alternatives() {
    let (live, _) = told(80, |live, t| {
        live.client(FIRST).slack.insert(id("edge-a"), ramp(800.0, 0.0, 80, t));
    });
    let handoff = live.handoffs(FIRST)[0].clone();
    let why = live.network.manager.why(handoff.handoff).unwrap();
    assert_eq!((why.handoff, why.session, why.cause), (handoff.handoff, FIRST, Cause::Network));
    assert!(
        why.grounds.because.contains("slack of the path from edge-a shrinks"),
        "{}",
        why.grounds.because
    );
    let slack =
        why.grounds.inputs.iter().find(|i| i.name == "slack of the path from edge-a").unwrap();
    assert_eq!((&*slack.unit, &*slack.source), ("ms", "the client"));
    assert!(slack.age_ms < 2000 && slack.weight > 0.9, "{slack:?}");
    assert!(why.grounds.inputs.iter().any(|input| input.name == "load of edge-a"));
    assert_eq!(why.grounds.alternatives[0].edges[0], handoff.to);
    assert!(
        why.grounds.alternatives[1].reason.starts_with("staying"),
        "{:?}",
        why.grounds.alternatives
    );
    assert_eq!(why.grounds.decided_us, handoff.progress[0].at_us);
    assert!(live.network.manager.why(gibbon_media::HandoffId(99)).is_err());
}

#[test]
fn what_is_foreseen_and_comes_is_compared_and_shown_with_its_age() {
    let (live, _) = told(120, |live, t| {
        live.edge("edge-b").others = ramp(0.2, 0.6, 120, t);
        let km = 0.02 * t as f64;
        live.client(FIRST).motion = fix(km);
    });
    let page = page(live);
    for of in ["load", "motion", "path"] {
        let compared = page.value("gibbon_predictions_compared", &[("of", of)]).unwrap();
        assert!(compared > 0.0, "{of}");
    }
    let motion =
        |by| page.value("gibbon_prediction_error", &[("of", "motion"), ("by", by)]).unwrap();
    assert!(motion("foresight") < motion("naive"));
    for source in ["node", "client", "link", "origin"] {
        let labels = [("source", source), ("of", "oldest")];
        let age = page.value("gibbon_telemetry_age_seconds", &labels).unwrap();
        assert!((0.0..2.5).contains(&age), "{source}: {age}");
    }
}
