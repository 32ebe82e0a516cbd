//! Each criterion decides alone; what is chosen is the best; load is spread.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

/// Idle, of 8 cores, on the equator at longitude 0.
fn worker(name: &str) -> WorkerState {
    WorkerState {
        id: id(name),
        up: true,
        draining: false,
        domain: None,
        components: ["a", "b", "c"].map(str::to_owned).into(),
        cores: 8.0,
        busy_cores: 0.0,
        measured_cores: 0.0,
        memory_mib: 8192,
        used_memory_mib: 0,
        position: Some(Position::new(0.0, 0.0)),
        uplink_kbps: None,
        sent_kbps: 0,
        links: Default::default(),
    }
}

fn link(rtt_ms: u64, bandwidth_kbps: u64, load_kbps: u64, loss: f64) -> Link {
    Link { rtt: Duration::from_millis(rtt_ms), loss, bandwidth_kbps, load_kbps }
}

fn need(component: &str) -> StepNeed {
    StepNeed {
        component: component.into(),
        cores: 0.5,
        decode_cores: 0.1,
        encode_cores: 0.2,
        memory_mib: 64,
        in_kbps: 4000,
        out_kbps: 4000,
        existing: None,
    }
}

fn shared(component: &str, worker: &str) -> StepNeed {
    StepNeed { existing: Some((InstanceId(7), id(worker))), ..need(component) }
}

fn assigned(steps: &[StepNeed], workers: &[WorkerState]) -> Assignment {
    assigned_for(steps, workers, &AssignRequest::default()).unwrap()
}

fn assigned_for(
    steps: &[StepNeed],
    workers: &[WorkerState],
    request: &AssignRequest<'_>,
) -> Result<Assignment, NoWorker> {
    assign(steps, &SourceAt::default(), workers, request)
}

fn places(assignment: &Assignment) -> Vec<&str> {
    assignment.steps.iter().map(|step| step.worker.as_str()).collect()
}

/// What `criterion` costs a step on a worker.
fn cost(assignment: &Assignment, step: usize, worker: &str, criterion: Criterion) -> f64 {
    let candidates = &assignment.steps[step].candidates;
    let candidate = candidates.iter().find(|c| c.worker.as_str() == worker).unwrap();
    let terms = &candidate.score.as_ref().unwrap().terms;
    terms.iter().filter(|term| term.criterion == criterion).map(|term| term.cost).sum()
}

#[test]
fn the_client_s_location_decides() {
    let at = |longitude| Some(Position::new(0.0, longitude));
    let workers = [
        WorkerState { position: at(60.0), ..worker("far") },
        WorkerState { position: at(5.0), ..worker("near") },
    ];
    for (client, best) in [(0.0, "near"), (70.0, "far")] {
        let request = AssignRequest { client: at(client), ..Default::default() };
        assert_eq!(
            places(&assigned_for(&[need("a"), need("b")], &workers, &request).unwrap()),
            [best; 2]
        );
    }
}

#[test]
fn the_way_to_the_source_decides() {
    let source = SourceAt { nodes: vec![id("origin")], position: None };
    let to_origin =
        |name, link| WorkerState { links: [(id("origin"), link)].into(), ..worker(name) };
    for (one, other) in
        [(link(80, 1, 0, 0.0), link(10, 1, 0, 0.0)), (link(10, 1, 0, 0.05), link(10, 1, 0, 0.0))]
    {
        let workers = [to_origin("a", one), to_origin("b", other)];
        let found = assign(&[need("a")], &source, &workers, &AssignRequest::default()).unwrap();
        assert_eq!(places(&found), ["b"]);
    }
}

#[test]
fn the_path_from_a_worker_that_publishes_the_source_decides() {
    let source = SourceAt { nodes: vec![id("mill")], position: None };
    let links = [(id("x"), link(10, 6_000, 0, 0.0)), (id("y"), link(10, 100_000, 0, 0.0))];
    let mill = WorkerState { components: Vec::new(), links: links.into(), ..worker("mill") };
    let workers = [mill, worker("x"), worker("y")];
    let found = assign(&[need("a")], &source, &workers, &AssignRequest::default()).unwrap();
    assert_eq!(places(&found), ["y"]);
}

/// One step runs at `from` already, which has no room for the next; links lead to `x` and `y`.
fn next_hop(to_x: Link, to_y: Link) -> String {
    let from = WorkerState {
        components: vec!["a".into()],
        links: [(id("x"), to_x), (id("y"), to_y)].into(),
        ..worker("from")
    };
    let found = assigned(&[shared("a", "from"), need("b")], &[from, worker("x"), worker("y")]);
    places(&found)[1].to_owned()
}

#[test]
fn the_bandwidth_of_a_link_decides() {
    assert_eq!(next_hop(link(10, 6_000, 0, 0.0), link(10, 100_000, 0, 0.0)), "y");
    assert_eq!(next_hop(link(10, 100_000, 0, 0.0), link(10, 6_000, 0, 0.0)), "x");
}

#[test]
fn the_load_of_a_link_decides() {
    assert_eq!(next_hop(link(10, 50_000, 30_000, 0.0), link(10, 50_000, 0, 0.0)), "y");
    assert_eq!(
        next_hop(link(10, 50_000, 49_000, 0.0), link(300, 50_000, 0, 0.0)),
        "y",
        "it is full"
    );
}

#[test]
fn the_load_of_a_worker_decides() {
    let busy = |name, busy_cores| WorkerState { busy_cores, ..worker(name) };
    assert_eq!(places(&assigned(&[need("a")], &[busy("a", 3.0), busy("b", 2.0)])), ["b"]);
    let small = WorkerState { cores: 3.0, ..busy("b", 2.0) };
    assert_eq!(places(&assigned(&[need("a")], &[busy("a", 3.0), small])), ["a"], "of what it has");
}

#[test]
fn an_equal_prefix_that_runs_is_shared_and_what_follows_stays_beside_it() {
    let busy = WorkerState { busy_cores: 2.0, ..worker("busy") };
    let steps = [shared("a", "busy"), need("b"), need("c")];
    let found = assigned(&steps, &[busy, worker("idle")]);
    assert_eq!(places(&found), ["busy"; 3]);
    assert_eq!(found.steps[0].shared, Some(InstanceId(7)));
    assert!(!found.steps[0].raw && found.steps[1].raw && found.steps[2].raw);
    assert_eq!(cost(&found, 0, "busy", Criterion::Load), 0.0);
    let elsewhere = found.steps[0].candidates.last().unwrap();
    assert_eq!(elsewhere.score, Err(Unfit::RunsAt(id("busy"))));
}

#[test]
fn a_neighbour_saves_a_hop_unless_its_worker_is_much_busier() {
    let only = |name, component: &str| WorkerState {
        components: vec![component.into(), "b".into()],
        ..worker(name)
    };
    let steps = [need("a"), need("b")];
    for (busy_cores, best) in [(2.0, ["one", "one"]), (5.3, ["one", "two"])] {
        let one = WorkerState { busy_cores, ..only("one", "a") };
        let found = assigned(&steps, &[one, only("two", "c")]);
        assert_eq!(places(&found), best);
        assert_eq!(found.steps[1].raw, best[0] == best[1]);
        assert_eq!(cost(&found, 1, "two", Criterion::Hop), weights::HOP);
        assert_eq!(cost(&found, 1, "one", Criterion::Hop), 0.0);
    }
}

#[test]
fn priority_uses_the_reserve() {
    let workers = [WorkerState { busy_cores: 6.0, ..worker("w") }];
    for (priority, fits) in [(0, false), (2, false), (5, true), (9, true)] {
        let priority = Priority::new(priority).unwrap();
        let request = AssignRequest { priority, ..Default::default() };
        let found = assigned_for(&[need("a")], &workers, &request);
        assert_eq!(found.is_ok(), fits, "{priority}: {found:?}");
    }
}

#[test]
fn another_failure_domain_is_better_and_the_same_one_better_than_none() {
    let rack = |name, rack: &str| WorkerState { domain: Some(rack.into()), ..worker(name) };
    let avoid_domains = ["r".to_owned()];
    let request = AssignRequest { avoid_domains: &avoid_domains, ..Default::default() };
    let busy = WorkerState { busy_cores: 4.0, ..rack("b", "s") };
    let best = |workers: &[WorkerState]| {
        places(&assigned_for(&[need("a")], workers, &request).unwrap())[0].to_owned()
    };
    assert_eq!(best(&[rack("a", "r"), busy]), "b");
    assert_eq!(best(&[rack("a", "r")]), "a");
}

#[test]
fn a_refusal_names_what_is_wrong_with_each_worker() {
    let workers = [
        WorkerState { up: false, ..worker("a") },
        WorkerState { draining: true, ..worker("b") },
        WorkerState { components: vec!["b".into()], ..worker("c") },
        WorkerState { busy_cores: 7.0, ..worker("d") },
        WorkerState { used_memory_mib: 8190, ..worker("e") },
        WorkerState { uplink_kbps: Some(5000), sent_kbps: 2000, ..worker("f") },
        worker("g"),
        WorkerState { cores: 0.0, ..worker("h") },
    ];
    let exclude =
        [Excluded { worker: id("g"), step: Some(0), why: "has refused it: no font".into() }];
    let request = AssignRequest { exclude: &exclude, ..Default::default() };
    let refusal = assigned_for(&[need("a")], &workers, &request).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "no worker can run component 1, a: a is down, b is being emptied, c does not offer a, \
         d has no room: 7.00 cores busy and 0.80 wanted of 7.20 at this priority, \
         e has no memory: 8190 MiB used and 64 wanted of 8192, \
         f cannot send more: 2000 kbit/s and 4000 wanted of 5000, g has refused it: no font, \
         h has no room: 0.00 cores busy and 0.80 wanted of 0.00 at this priority"
    );
    let second = assigned_for(&[need("a"), need("z")], &workers, &AssignRequest::default());
    assert_eq!(second.unwrap_err().step, 1);
    let none = assigned_for(&[need("a")], &[], &request).unwrap_err().to_string();
    assert_eq!(none, "no worker can run component 1, a: none is registered");
}

#[test]
fn workers_with_no_path_between_them_are_no_chain() {
    let full = link(10, 10_000, 9_000, 0.0);
    let one = WorkerState {
        components: vec!["a".into()],
        links: [(id("two"), full)].into(),
        ..worker("one")
    };
    let two = WorkerState { components: vec!["b".into()], ..worker("two") };
    let refusal = assigned_for(&[need("a"), need("b")], &[one, two], &AssignRequest::default());
    let refusal = refusal.unwrap_err();
    assert_eq!((refusal.step, &refusal.workers[1].1), (1, &Unfit::NoWayThrough));
}

#[test]
fn what_is_moved_goes_between_the_neighbours_that_stay() {
    let fixed = [0, 2].map(|step| Fixed { step, worker: id("stays") });
    let exclude = [Excluded { worker: id("left"), step: None, why: "is left".into() }];
    let request = AssignRequest { fixed: &fixed, exclude: &exclude, ..Default::default() };
    let far = WorkerState { position: Some(Position::new(0.0, 90.0)), ..worker("far") };
    let stays = WorkerState { components: Vec::new(), up: false, ..worker("stays") };
    let workers = [far, worker("left"), worker("near"), stays];
    let found = assigned_for(&["a", "b", "c"].map(need), &workers, &request).unwrap();
    assert_eq!(places(&found), ["stays", "near", "stays"]);
}

#[test]
fn a_chain_that_comes_back_to_a_worker_has_to_fit_there_as_a_whole() {
    let offers = |name, components: &[&str], busy_cores| WorkerState {
        components: components.iter().map(|c| (*c).to_owned()).collect(),
        cores: 2.0,
        busy_cores,
        ..worker(name)
    };
    let steps = ["a", "b", "c"].map(need);
    let middle = offers("m", &["b"], 0.0);
    // Each visit alone would fit at "x"; both do not, and "y" is worse than either.
    let found = assigned(
        &steps,
        &[offers("x", &["a", "c"], 0.1), middle.clone(), offers("y", &["c"], 0.8)],
    );
    assert_eq!(places(&found), ["x", "m", "y"]);
    let found = assigned(&steps, &[offers("x", &["a", "c"], 0.0), middle.clone()]);
    assert_eq!(places(&found), ["x", "m", "x"]);
    let refusal =
        assigned_for(&steps, &[offers("x", &["a", "c"], 0.5), middle], &AssignRequest::default());
    assert_eq!(refusal.unwrap_err().step, 2);
}

/// Assigns and takes note of what the workers are now busy with.
fn take_on(workers: &mut [WorkerState], steps: &[StepNeed], found: &Assignment) {
    let ends = |n: usize| found.steps.get(n + 1).is_none_or(|next| !next.raw);
    for (n, (step, at)) in steps.iter().zip(&found.steps).enumerate() {
        let worker = workers.iter_mut().find(|w| w.id == at.worker).unwrap();
        worker.busy_cores += step.cores
            + if at.raw { 0.0 } else { step.decode_cores }
            + if ends(n) { step.encode_cores } else { 0.0 };
    }
}

/// Places all over the world, by a fixed rule.
fn place(n: u32) -> Option<Position> {
    let (latitude, longitude) = (n * 37 % 120, n * 83 % 360);
    Some(Position::new(f64::from(latitude) - 60.0, f64::from(longitude) - 180.0))
}

/// The load of twenty workers of mixed sizes and places once they have been given 200 chains of three
/// components, for clients all over the world or all in one place.
fn loads_after_200(scale: f64, clients: impl Fn(u32) -> u32) -> Vec<f64> {
    let of_size = |n: u32| WorkerState {
        cores: [4.0, 8.0, 16.0, 32.0, 64.0][n as usize % 5],
        position: place(n),
        ..worker(&format!("w{n:02}"))
    };
    let mut workers: Vec<_> = (0..20).map(of_size).collect();
    for n in 0..200 {
        let cores = scale * [0.2, 0.5, 1.0, 0.8][n as usize % 4];
        let steps = ["a", "b", "c"].map(|c| StepNeed { cores, ..need(c) });
        let request = AssignRequest { client: place(clients(n)), ..Default::default() };
        let found = assigned_for(&steps, &workers, &request).unwrap();
        take_on(&mut workers, &steps, &found);
    }
    workers.iter().map(WorkerState::load).collect()
}

#[test]
fn two_hundred_services_leave_no_worker_with_more_than_1_3_times_the_mean() {
    // Where there is room everywhere, clients who are all in one place are better served near it.
    let everywhere = [0.05, 0.2, 0.4, 0.8].map(|scale| loads_after_200(scale, |n| n * 7 + 3));
    let in_one_place = [0.4, 0.8].map(|scale| loads_after_200(scale, |_| 5));
    for loads in everywhere.iter().chain(&in_one_place) {
        let mean = loads.iter().sum::<f64>() / loads.len() as f64;
        let most = loads.iter().copied().fold(0.0, f64::max);
        assert!(most <= 1.3 * mean, "{most:.3} of mean {mean:.3}: {loads:.2?}");
    }
}

#[test]
fn two_hundred_workers_and_sixteen_components_take_no_time() {
    let workers: Vec<_> = (0..200)
        .map(|n| WorkerState {
            busy_cores: f64::from(n % 7),
            links: (0..200)
                .map(|m| (id(&format!("w{m}")), link(m % 90, 50_000, 100, 0.0)))
                .collect(),
            ..worker(&format!("w{n}"))
        })
        .collect();
    let steps: Vec<_> = (0..16).map(|n| need(["a", "b", "c"][n % 3])).collect();
    // The best of some runs, with room for a machine that does other things, too: trying them all would take years.
    let bound = Duration::from_millis(1000);
    let took = (0..5).map(|_| {
        let begun = Instant::now();
        assert_eq!(assigned(&steps, &workers).steps.len(), 16);
        begun.elapsed()
    });
    let took = took.min().unwrap();
    assert!(took < bound, "{took:?}");
}

/// The least cost over all assignments, with loads taken together; by trying them all.
fn by_brute_force(
    steps: &[StepNeed],
    workers: &[WorkerState],
    request: &AssignRequest<'_>,
) -> Option<f64> {
    let source = SourceAt::default();
    let problem = Problem::new(steps, &source, workers, request);
    let mut best: Option<f64> = None;
    for code in 0..workers.len().pow(steps.len() as u32) {
        let at: Vec<_> =
            (0..steps.len() as u32).map(|n| code / workers.len().pow(n) % workers.len()).collect();
        let cost = chain::cost(&problem, &at);
        best = best.into_iter().chain(cost).reduce(f64::min);
    }
    best
}

fn any_worker(n: usize) -> impl Strategy<Value = WorkerState> {
    let components = proptest::sample::subsequence(vec!["a", "b", "c"], 1..=3);
    let uplink = proptest::option::of(3000..15_000u64);
    let links = proptest::collection::vec(
        proptest::option::of((1..100u64, 1000..20_000u64, 0..8000u64, 0.0..0.1)),
        4,
    );
    (components, 1.0..4.0, 0.0..2.0, -180.0..180.0, uplink, links, any::<bool>()).prop_map(
        move |(components, cores, busy_cores, longitude, uplink_kbps, links, racked)| {
            let known = links.into_iter().enumerate().filter_map(|(to, l)| Some((to, l?)));
            WorkerState {
                components: components.into_iter().map(str::to_owned).collect(),
                cores,
                busy_cores,
                position: Some(Position::new(0.0, longitude)),
                uplink_kbps,
                domain: racked.then(|| "r".into()),
                links: known
                    .map(|(to, (rtt, bandwidth, load, loss))| {
                        (id(&format!("w{to}")), link(rtt, bandwidth, load, loss))
                    })
                    .collect(),
                ..worker(&format!("w{n}"))
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn what_is_chosen_costs_least_of_all_that_there_is(
        workers in (any_worker(0), any_worker(1), any_worker(2), any_worker(3)),
        needs in proptest::collection::vec(("[abc]", 0.05..0.6), 1..5),
        longitude in -180.0..180.0,
        runs in proptest::option::of(0..4usize),
    ) {
        let workers: [_; 4] = workers.into();
        let mut steps: Vec<_> =
            needs.iter().map(|(c, cores)| StepNeed { cores: *cores, ..need(c) }).collect();
        steps[0].existing = runs.map(|at| (InstanceId(1), id(&format!("w{at}"))));
        let avoid_domains = ["r".to_owned()];
        let client = Some(Position::new(0.0, longitude));
        let request = AssignRequest { client, avoid_domains: &avoid_domains, ..Default::default() };
        let best = by_brute_force(&steps, &workers, &request);
        match assigned_for(&steps, &workers, &request) {
            Err(_) => prop_assert_eq!(best, None),
            Ok(found) => {
                let best = best.unwrap();
                prop_assert!((found.total - best).abs() < 1e-6, "{} not {best}", found.total);
                for step in &found.steps {
                    for score in step.candidates.iter().filter_map(|c| c.score.as_ref().ok()) {
                        let sum: f64 = score.terms.iter().map(|term| term.cost).sum();
                        prop_assert!((sum - score.total).abs() < 1e-6);
                    }
                }
            }
        }
    }
}
