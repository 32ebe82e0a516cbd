//! Small scenarios, each of which shows that what it is for is there, and that a run is the same every time.

#![allow(clippy::unwrap_used)]

use gibbon_sim::{
    Cause, Name, Options, Report, report::Outcome, scenario::SHIPPED, scenario::Scenario, simulate,
};

fn play(scenario: &Scenario, policies: &[Name], seed: u64) -> Report {
    simulate("test", scenario, Options { seed, policies, clock: None, progress: &mut |_| () })
}

fn shipped(name: &str) -> Scenario {
    Scenario::shipped(name).unwrap().unwrap()
}

/// Half an hour in one city.
fn small(name: &str) -> Scenario {
    shipped(name).with_edges(30).with_duration(3000)
}

fn outcome(report: &Report, policy: Name) -> &Outcome {
    report.outcome(policy).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_report_and_another_one_another() {
    let scenario = small("season").with_duration(1500);
    let json = |seed| serde_json::to_string(&play(&scenario, &Name::ALL, seed)).unwrap();
    let first = json(7);
    assert_eq!(first, json(7));
    assert_ne!(first, json(8));
}

#[test]
fn every_shipped_scenario_can_be_read_and_what_is_not_one_is_refused() {
    for shipped in SHIPPED {
        let scenario = Scenario::parse(shipped.text).unwrap();
        assert!(!scenario.description.is_empty(), "{}", shipped.name);
    }
    let day = shipped("day");
    assert_eq!((day.edges, day.sessions, day.duration_s), (1000, 1_000_000, 86_400));
    let season = SHIPPED.iter().find(|shipped| shipped.name == "season").unwrap().text;
    for (from, to, told) in [
        ("edges = 60", "edges = 6", "a region has four edges at least"),
        ("admit = 0.85", "admit = 1.5", "admit is above 0"),
        ("admit = 0.85", "admits = 0.85", "unknown field `admits`"),
        ("period_s = 1200", "period_s = 1", "a season's period_s is 60 at least"),
    ] {
        let refused = Scenario::parse(&season.replace(from, to)).unwrap_err().to_string();
        assert!(refused.contains(told), "{refused}");
    }
}

#[test]
fn each_scenario_brings_the_trouble_that_it_is_named_for() {
    for (name, cause) in [
        ("season", Cause::Season),
        ("trend", Cause::Trend),
        ("motion", Cause::Motion),
        ("maintenance", Cause::Maintenance),
        ("flash-crowd", Cause::FlashCrowd),
        ("outage", Cause::Outage),
        ("degradation", Cause::Degradation),
    ] {
        let scenario = shipped(name);
        let report = play(&scenario, &[Name::None], 1);
        let none = outcome(&report, Name::None);
        let most = none.out_of_target_s.iter().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
        assert_eq!(*most.0, cause, "{name}: {:?}", none.out_of_target_s);
        assert!(*most.1 > 20.0, "{name}: {most:?}");
        assert_eq!(none.handoffs_begun(), 0);
    }
}

#[test]
fn announced_maintenance_is_seen_by_nobody_where_it_is_foreseen() {
    let scenario = shipped("maintenance");
    let report = play(&scenario, &[Name::None, Name::Gibbon], 1);
    let out = |policy| outcome(&report, policy).out_of(Cause::Maintenance);
    assert!(out(Name::None) > 100.0 && out(Name::Gibbon) * 10.0 < out(Name::None), "{report:?}");
    let recovered = |policy| outcome(&report, policy).recoveries;
    assert!(recovered(Name::Gibbon) * 20 < recovered(Name::None), "{report:?}");
}

#[test]
fn of_a_season_foresight_leaves_a_tenth_of_what_the_best_thresholds_leave_with_no_more_hand_offs() {
    let report = play(&shipped("season"), &[Name::Reactive, Name::Gibbon], 1);
    let (reactive, gibbon) = (outcome(&report, Name::Reactive), outcome(&report, Name::Gibbon));
    assert!(reactive.foreseeable_s > 10_000.0, "there is something to spare: {reactive:?}");
    assert!(gibbon.foreseeable_s * 10.0 < reactive.foreseeable_s, "{gibbon:?} {reactive:?}");
    assert!(gibbon.handoffs_begun() < 2 * reactive.handoffs_begun(), "{gibbon:?} {reactive:?}");
    // Nothing is spared before two cycles have been seen, and nothing is late after that but by chance.
    let late = |from: u32, till: u32| -> f64 {
        let within = gibbon.intervals.iter().filter(|it| (from..till).contains(&it.from_s));
        within.map(|it| it.foreseeable_s).sum()
    };
    assert!(late(0, 3600) > 5.0 * late(3600, 28_800).max(1.0), "{:?}", gibbon.intervals);
}

#[test]
fn the_best_thresholds_are_those_of_the_least_trouble() {
    let report = play(&small("season"), &[Name::Reactive], 3);
    let chosen = outcome(&report, Name::Reactive);
    let best =
        report.grid.iter().min_by(|a, b| a.out_of_target_s.total_cmp(&b.out_of_target_s)).unwrap();
    assert_eq!(
        chosen.foreseeable_s + chosen.others_s,
        (best.out_of_target_s * 1000.0).round() / 1000.0
    );
    assert!(report.grid.len() > 15, "{} tried", report.grid.len());
}

#[test]
fn hand_offs_are_accounted_for_and_events_are_few() {
    let report = play(&small("motion"), &[Name::Nearest, Name::Gibbon], 5);
    for outcome in &report.policies {
        let ended = outcome.completed + outcome.rolled_back + outcome.cut;
        let under_way = outcome.handoffs_begun() - ended;
        assert!(outcome.completed > 10, "{outcome:?}");
        assert!(under_way < 20, "{under_way} at the end, {outcome:?}");
        assert!(outcome.wasted_bytes <= outcome.prefetched_bytes);
        assert!(outcome.events <= 300 * outcome.sessions);
    }
}
