//! Components that go from worker to worker: drained, moved by hand, lost, doubled, and taken up again.

use std::collections::BTreeSet;

use gibbon_control::{
    node::ToNode,
    portal::DecidedBy,
    services::{MoveRequest, MoveStep, ServiceRequest, ServiceState},
    work::Input,
};
use gibbon_coordinator::{
    foresee::{Mode, Settings},
    manager::Refusal,
    orders::ACKNOWLEDGE_WITHIN,
    registry::LOST_AFTER,
    services::{LEAVES_AFTER, LEAVES_WITHIN, RUN_WITHIN},
};
use gibbon_media::{InstanceId, Priority, ServiceId, StreamName};

use crate::network::{
    SECOND, id, link,
    workers::{Scene, made, request},
};

/// `scale` and `overlay` run on a or b, `mdc` on c.
fn divided(service: &str) -> (Scene, ServiceId, StreamName) {
    let mut scene = Scene::new(1);
    let first = |offer: &mut gibbon_control::work::WorkerOffer| {
        offer.components = vec!["scale".into(), "grayscale".into()];
    };
    scene.add_with("worker-a", first);
    scene.add_with("worker-b", first);
    scene.add_with("worker-c", |offer| offer.components = vec!["mdc".into()]);
    scene.pass(4 * SECOND);
    let id = scene.running(service);
    assert_eq!(scene.at(id), ["worker-a", "worker-a", "worker-c"]);
    scene.forget_what_was_said();
    (scene, id, made(service))
}

const CHAIN: &str = "scale height=180 | grayscale";

fn move_to(scene: &mut Scene, service: ServiceId, to: &str) -> Result<(), Refusal> {
    let request = MoveRequest { number: 1, to: Some(id(to)), ..MoveRequest::default() };
    let (manager, now) = (&mut scene.network.manager, scene.network.now);
    let (_, out) = manager.move_component(now, service, &request)?;
    scene.network.take(out);
    Ok(())
}

#[test]
fn on_a_drain_the_old_is_named_until_the_new_runs_and_goes_when_nobody_subscribes_to_it() {
    let (mut scene, service, feed) = divided(CHAIN);
    scene.subscribed("worker-a", &feed, 1);
    scene.worker("worker-b").puts_out = false;
    let before = scene.info(service);
    scene.drain("worker-a").unwrap();
    scene.pass(2 * SECOND);
    assert_eq!(scene.runs("worker-b"), ["scale", "raw grayscale (published)"]);
    assert_eq!(scene.at(service), ["worker-a", "worker-a", "worker-c"]);
    assert_eq!(scene.info(service).modules[0].moving_to, Some(id("worker-b")));
    let told = |(_, message): &(_, ToNode)| matches!(message, ToNode::Directory(_));
    assert!(!scene.network.said.iter().any(told), "{:?}", scene.network.said);
    scene.worker("worker-b").puts_out = true;
    scene.pass(SECOND);
    assert_eq!(scene.named(&feed), ["worker-b"]);
    assert_eq!(scene.moves(), [MoveStep::Begun, MoveStep::Completed]);
    scene.pass(LEAVES_AFTER + 2 * SECOND);
    assert_eq!(scene.runs("worker-a"), ["scale", "raw grayscale (published)"], "it is read");
    scene.subscribed("worker-a", &feed, 0);
    scene.pass(SECOND);
    assert!(scene.runs("worker-a").is_empty());
    let after = scene.info(service);
    assert_eq!(after.state, ServiceState::Running);
    assert_eq!(scene.at(service), ["worker-b", "worker-b", "worker-c"]);
    assert_ne!(after.modules[0].instance, before.modules[0].instance);
    assert_eq!(after.modules[2].instance, before.modules[2].instance, "it stays");
}

#[test]
fn a_predecessor_that_is_never_left_goes_all_the_same() {
    let (mut scene, service, feed) = divided(CHAIN);
    scene.subscribed("worker-a", &feed, 1);
    move_to(&mut scene, service, "worker-b").unwrap();
    scene.pass(LEAVES_WITHIN);
    assert_eq!(scene.runs("worker-a").len(), 2);
    scene.pass(2 * SECOND);
    assert!(scene.runs("worker-a").is_empty());
}

#[test]
fn a_move_is_rolled_back_when_the_new_worker_refuses_is_deaf_or_puts_nothing_out() {
    for trouble in ["refuses", "deaf", "silent", "lost"] {
        let (mut scene, service, feed) = divided(CHAIN);
        let b = scene.worker("worker-b");
        match trouble {
            "refuses" => _ = b.refuses.insert("grayscale".into(), "not here".into()),
            "deaf" => b.answers = false,
            _ => b.puts_out = false,
        }
        move_to(&mut scene, service, "worker-b").unwrap();
        let refused = move_to(&mut scene, service, "worker-b").unwrap_err();
        assert_eq!(refused, Refusal::Moving(service));
        scene.pass(SECOND / 2);
        if trouble == "lost" {
            scene.kill("worker-b");
        }
        scene.pass(ACKNOWLEDGE_WITHIN.max(RUN_WITHIN).max(LOST_AFTER) + SECOND);
        assert_eq!(scene.moves(), [MoveStep::Begun, MoveStep::RolledBack], "{trouble}");
        let [why] = &scene.moves_explained(service)[..] else { panic!("{trouble}") };
        let told = (why.moved.step, &*why.grounds.because);
        assert_eq!(told, (MoveStep::RolledBack, "somebody asked for it"));
        assert_eq!(scene.at(service), ["worker-a", "worker-a", "worker-c"]);
        assert_eq!(scene.state(service), ServiceState::Running);
        assert_eq!(scene.info(service).modules[0].moving_to, None);
        let named =
            scene.network.said.iter().any(|(_, said)| format!("{said:?}").contains("worker-a"));
        if named {
            assert_eq!(scene.named(&feed), ["worker-a"]);
        }
        if trouble == "silent" {
            assert!(scene.runs("worker-b").is_empty());
        }
    }
}

#[test]
fn a_drain_tries_another_worker_and_a_worker_that_nothing_can_leave_is_not_drained() {
    let (mut scene, service, _) = divided(CHAIN);
    scene.worker("worker-b").refuses.insert("scale".into(), "not here".into());
    scene.add_with("worker-d", |offer| {
        offer.components = vec!["scale".into(), "grayscale".into()];
        offer.cores = 0.6;
    });
    scene.pass(SECOND);
    scene.drain("worker-a").unwrap();
    scene.pass(4 * SECOND);
    assert_eq!(scene.at(service), ["worker-d", "worker-d", "worker-c"]);
    let [why] = &scene.moves_explained(service)[..] else { panic!("one move, in two tries") };
    assert_eq!(why.moved.to, [id("worker-d"), id("worker-d")]);
    let told = (why.grounds.decided_by, &*why.grounds.because);
    assert_eq!(told, (DecidedBy::Upkeep, "worker-a is being emptied"));
    let refused = scene.drain("worker-c").unwrap_err();
    let Refusal::NowhereToWork { components, why, .. } = refused else { panic!("{refused:?}") };
    assert_eq!(components, "mdc");
    assert!(why.contains("worker-d does not offer mdc"), "{why}");
}

#[test]
fn a_worker_is_told_that_it_runs_nothing_when_it_is_empty() {
    let mut scene = Scene::with(&["worker-a", "worker-b"]);
    let service = scene.running(CHAIN);
    let from = scene.at(service)[0].clone();
    scene.drain(&from).unwrap();
    scene.pass(4 * SECOND);
    let order = scene.worker(&from).order.clone().unwrap();
    assert!(order.instances.is_empty());
    assert!(scene.at(service).iter().all(|worker| *worker != from));
    // One that had nothing to run has been told so before.
    let other = scene.ask("case to=upper").unwrap();
    assert!(scene.at(other).iter().all(|worker| *worker != from), "it is draining");
}

#[test]
fn what_ran_on_a_lost_worker_is_started_elsewhere_at_once() {
    let (mut scene, service, feed) = divided(CHAIN);
    scene.kill("worker-a");
    scene.pass(LOST_AFTER + SECOND);
    assert_eq!(scene.at(service), ["worker-b", "worker-b", "worker-c"]);
    assert_eq!(scene.state(service), ServiceState::Running);
    assert_eq!(scene.named(&feed), ["worker-b"]);
    // It comes back with what it ran, and is told to stop.
    scene.worker("worker-a").up = true;
    scene.add_with("worker-a", |_| {});
    scene.pass(SECOND);
    assert!(scene.runs("worker-a").is_empty());
    assert_eq!(scene.named(&feed), ["worker-b"]);
    // Without any worker left it is impaired, and mended when there is one again.
    scene.kill("worker-b");
    scene.kill("worker-a");
    scene.pass(LOST_AFTER + 2 * SECOND);
    let info = scene.info(service);
    assert_eq!(info.state, ServiceState::Impaired);
    assert!(info.why.unwrap().contains("worker-b is down"));
    scene.worker("worker-b").up = true;
    scene.pass(4 * SECOND);
    assert_eq!(scene.state(service), ServiceState::Running);
}

#[test]
fn a_worker_that_leaves_is_not_waited_for() {
    let mut scene = Scene::with(&["worker-a", "worker-b"]);
    let service = scene.running("grayscale");
    let from = scene.at(service)[0].clone();
    scene.kill(&from);
    let network = &mut scene.network;
    let out = network.manager.link_closed(network.now, &id(&from), link(&from), true);
    network.take(out);
    scene.pass(SECOND / 2);
    assert!(scene.at(service).iter().all(|worker| *worker != from));
    assert_eq!(scene.state(service), ServiceState::Running);
}

#[test]
fn a_standby_runs_on_another_worker_and_takes_over_in_the_directory() {
    let mut scene = Scene::with(&["worker-a", "worker-b", "worker-c"]);
    let asked = ServiceRequest { standby: true, ..request("scale height=180") };
    let service = scene.ask_for(&asked).unwrap();
    scene.pass(SECOND);
    let at = scene.at(service);
    assert_eq!(at.len(), 4, "{at:?}");
    assert!(at[0] == at[1] && at[2] == at[3] && at[0] != at[2], "{at:?}");
    let stream = scene.info(service).stream;
    assert_eq!(scene.named(&stream), [at[0].clone(), at[2].clone()]);
    scene.forget_what_was_said();
    scene.kill(&at[0]);
    scene.pass(LOST_AFTER + SECOND);
    let after = scene.at(service);
    assert!(!after.contains(&at[0]) && after[2] == at[2] && after[0] != after[2], "{after:?}");
    assert_eq!(scene.named(&stream), [after[0].clone(), at[2].clone()]);
    assert_eq!(scene.state(service), ServiceState::Running);
    // There is no third worker now: the second chain goes on alone.
    scene.kill(&after[0]);
    scene.pass(LOST_AFTER + SECOND);
    assert_eq!(scene.named(&stream), [at[2].clone()]);
    assert_eq!(scene.state(service), ServiceState::Impaired);
}

/// A standby chain of which `scale` runs on two of a, b and e, and `mdc` on c and d: its workers and its feeds,
/// by replica.
fn divided_with_standby() -> (Scene, ServiceId, [StreamName; 2]) {
    let mut scene = Scene::new(1);
    for (name, component) in WORKERS {
        scene.add_with(name, |offer| offer.components = vec![component.into()]);
    }
    scene.pass(4 * SECOND);
    let asked = ServiceRequest { standby: true, ..request("scale height=180") };
    let service = scene.ask_for(&asked).unwrap();
    scene.pass(SECOND);
    assert_eq!(scene.state(service), ServiceState::Running);
    let feed = made("scale height=180");
    let standby = format!("{feed}.1").parse().unwrap();
    (scene, service, [feed, standby])
}

const WORKERS: [(&str, &str); 5] = [
    ("worker-a", "scale"),
    ("worker-b", "scale"),
    ("worker-c", "mdc"),
    ("worker-d", "mdc"),
    ("worker-e", "scale"),
];

/// The stream that the one instance on a worker reads, and the id of that instance.
fn reads(scene: &Scene, worker: &str) -> (StreamName, InstanceId) {
    let [spec] = &scene.workers[worker].order.as_ref().unwrap().instances[..] else { panic!() };
    let Input::Stream(stream) = &spec.input else { panic!("{spec:?}") };
    (stream.clone(), spec.instance)
}

#[test]
fn each_replica_of_a_chain_over_several_workers_reads_its_own_feed() {
    let (scene, service, feeds) = divided_with_standby();
    let at = scene.at(service);
    let different: BTreeSet<_> = at.iter().collect();
    assert_eq!(different.len(), 4, "{at:?}");
    for (replica, feed) in feeds.iter().enumerate() {
        let [scale, mdc] = [&at[2 * replica], &at[2 * replica + 1]];
        assert_eq!(scene.named(feed), [scale.as_str()]);
        assert_eq!(reads(&scene, mdc).0, *feed);
        assert_eq!(reads(&scene, scale).0.as_str(), "live/bbb");
        let [first, second] = &scene.info(service).modules[2 * replica..][..2] else { panic!() };
        assert!(first.output_address.ends_with(feed.as_str()), "{first:?}");
        assert_eq!(second.input_address, first.output_address);
    }
    let stream = scene.info(service).stream;
    assert_eq!(scene.named(&stream), [at[1].clone(), at[3].clone()], "one name for viewers");
}

#[test]
fn a_lost_worker_disturbs_the_replica_that_it_worked_for_and_no_other() {
    for replica in [0, 1] {
        let (mut scene, service, feeds) = divided_with_standby();
        let other = 1 - replica;
        let before = scene.at(service);
        let [lost, mdc] = [&before[2 * replica], &before[2 * replica + 1]];
        let others = &before[2 * other..][..2];
        let orders = |scene: &Scene| [0, 1].map(|at| scene.workers[&others[at]].order.clone());
        let untouched = orders(&scene);
        let reader = reads(&scene, mdc);
        scene.forget_what_was_said();
        scene.kill(lost);
        scene.pass(LOST_AFTER + SECOND);
        let after = scene.at(service);
        assert_eq!(&after[2 * other..][..2], others);
        assert_eq!(orders(&scene), untouched);
        assert_eq!(scene.named(&feeds[other]), [others[0].clone()]);
        // Its reader goes on under the same name.
        assert_ne!(after[2 * replica], *lost);
        assert_eq!(scene.named(&feeds[replica]), [after[2 * replica].clone()]);
        assert_eq!(reads(&scene, mdc), reader);
        assert_eq!(scene.state(service), ServiceState::Running);
    }
}

#[test]
fn a_component_of_the_standby_is_moved_under_its_own_name() {
    let (mut scene, service, feeds) = divided_with_standby();
    let before = scene.at(service);
    scene.forget_what_was_said();
    let request = MoveRequest { number: 1, replica: 1, to: None };
    let (manager, now) = (&mut scene.network.manager, scene.network.now);
    let (_, out) = manager.move_component(now, service, &request).unwrap();
    scene.network.take(out);
    scene.pass(SECOND);
    let after = scene.at(service);
    assert_eq!([&after[..2], &after[3..]], [&before[..2], &before[3..]]);
    assert!(!before.contains(&after[2]), "{before:?} {after:?}");
    assert_eq!(scene.named(&feeds[1]), [after[2].clone()]);
    assert_eq!(scene.named(&feeds[0]), [before[0].clone()]);
}

#[test]
fn equal_prefixes_of_the_same_replica_are_shared() {
    let (mut scene, first, _) = divided_with_standby();
    let with_crf = |standby| ServiceRequest { standby, ..request("scale height=180 | mdc crf=30") };
    let scales = |scene: &Scene, service| -> Vec<_> {
        let modules = scene.info(service).modules;
        modules.iter().filter(|m| m.number == 1).map(|m| m.instance).collect()
    };
    let (of_first, mut shared) = (scales(&scene, first), Vec::new());
    for standby in [true, false] {
        let service = scene.ask_for(&with_crf(standby)).unwrap();
        scene.pass(SECOND);
        assert_eq!(scene.state(service), ServiceState::Running);
        shared.push(scales(&scene, service));
    }
    assert_eq!(of_first.len(), 2);
    assert_eq!(shared, [of_first.clone(), of_first[..1].to_vec()]);
}

#[test]
fn a_restarted_coordinator_takes_up_both_replicas_of_a_chain_over_several_workers() {
    let (before, service, feeds) = divided_with_standby();
    let mut after = Scene::new(2);
    // The standby comes back first.
    let mut names = before.at(service);
    names.reverse();
    for name in &names {
        let component = WORKERS.iter().find(|(known, _)| known == name).unwrap().1;
        after.workers.insert(name.clone(), before.workers[name].clone());
        after.add_with(name, |offer| offer.components = vec![component.into()]);
        after.pass(SECOND / 2);
    }
    after.pass(6 * SECOND);
    assert_eq!(after.at(service), before.at(service));
    assert_eq!(after.state(service), ServiceState::Running);
    for name in &names {
        let specs = |scene: &Scene| scene.workers[name].order.clone().unwrap().instances;
        assert_eq!(specs(&after), specs(&before));
    }
    for (replica, feed) in feeds.iter().enumerate() {
        assert_eq!(after.named(feed), [after.at(service)[2 * replica].clone()]);
    }
}

#[test]
fn a_restarted_coordinator_takes_up_what_runs_and_starts_nothing() {
    let mut before = Scene::with(&["worker-a", "worker-b"]);
    let standby = ServiceRequest { standby: true, ..request(CHAIN) };
    let first = before.ask_for(&standby).unwrap();
    let named = ServiceRequest {
        service: Some("sd".into()),
        priority: 9.try_into().unwrap(),
        ..request("")
    };
    let second = before.ask_for(&named).unwrap();
    before.pass(SECOND);
    let mut after = Scene::new(2);
    after.workers = before.workers.clone();
    after.add("worker-a");
    after.add("worker-b");
    after.pass(6 * SECOND);
    for service in [first, second] {
        let (was, is) = (before.info(service), after.info(service));
        let instances = |info: &gibbon_control::services::ServiceInfo| {
            info.modules.iter().map(|m| (m.instance, m.worker.clone())).collect::<Vec<_>>()
        };
        assert_eq!(instances(&is), instances(&was));
        assert_eq!((&is.name, is.priority, is.standby), (&was.name, was.priority, was.standby));
        assert_eq!((is.stream, is.state), (was.stream, ServiceState::Running));
    }
    for worker in ["worker-a", "worker-b"] {
        let specs = |scene: &Scene| scene.workers[worker].order.clone().unwrap().instances;
        assert_eq!(specs(&after), specs(&before));
        let version = |scene: &Scene| scene.workers[worker].order.clone().unwrap().version;
        assert!(version(&after) > version(&before));
    }
    // What was taken up can be moved and ended like any other.
    after.drain("worker-b").unwrap_err();
    let out = after.network.manager.end_service(after.network.now, first).unwrap();
    after.network.take(out);
    after.pass(SECOND);
    after.drain("worker-b").unwrap();
    after.pass(4 * SECOND);
    assert!(after.runs("worker-b").is_empty());
    assert_eq!(after.state(second), ServiceState::Running);
}

#[test]
fn a_shared_component_is_moved_once_for_all_that_use_it() {
    let mut scene = Scene::with(&["worker-a", "worker-b"]);
    let first = scene.running(CHAIN);
    let second = scene.running("scale height=180");
    let from = scene.at(first)[0].clone();
    let to = if from == "worker-a" { "worker-b" } else { "worker-a" };
    move_to(&mut scene, first, to).unwrap();
    scene.pass(4 * SECOND);
    for service in [first, second] {
        assert!(scene.at(service).iter().all(|worker| worker == to), "{:?}", scene.at(service));
        assert_eq!(scene.state(service), ServiceState::Running);
    }
    assert_eq!(scene.runs(to).len(), 4);
    assert!(scene.runs(&from).is_empty());
    assert_eq!(move_to(&mut scene, first, to), Err(Refusal::AlreadyThere(id(to))));
    assert_eq!(move_to(&mut scene, first, "worker-x"), Err(Refusal::NoNode(id("worker-x"))));
}

#[test]
fn what_is_asked_for_on_components_that_move_is_built_when_they_have() {
    let (mut scene, service, _) = divided(CHAIN);
    scene.worker("worker-b").puts_out = false;
    move_to(&mut scene, service, "worker-b").unwrap();
    let other = scene.ask("scale height=180 | mdc crf=30").unwrap();
    assert_eq!(scene.state(other), ServiceState::Starting);
    scene.pass(SECOND);
    assert!(scene.at(other).len() < 2);
    scene.worker("worker-b").puts_out = true;
    scene.pass(2 * SECOND);
    assert_eq!(scene.at(other), ["worker-b", "worker-c"]);
    assert_eq!(scene.state(other), ServiceState::Running);
}

#[test]
fn a_service_that_is_ended_while_it_moves_leaves_nothing() {
    let (mut scene, service, _) = divided(CHAIN);
    scene.worker("worker-b").puts_out = false;
    move_to(&mut scene, service, "worker-b").unwrap();
    scene.pass(SECOND);
    let out = scene.network.manager.end_service(scene.network.now, service).unwrap();
    scene.network.take(out);
    scene.pass(SECOND);
    for worker in ["worker-a", "worker-b", "worker-c"] {
        assert!(scene.runs(worker).is_empty(), "{worker}: {:?}", scene.runs(worker));
    }
    assert!(scene.network.manager.services().is_empty());
}

/// Under a coordinator that looks each second and decides like this.
fn looking(mut scene: Scene, mode: Mode) -> Scene {
    let settings = Settings { period: SECOND, ..Settings::of(mode) };
    scene.network = scene.network.foreseeing(settings);
    scene
}

/// The same as `divided`, looked at like this, with the first worker's load known.
fn deciding(mode: Mode) -> (Scene, ServiceId) {
    let (scene, service, _) = divided(CHAIN);
    let mut scene = looking(scene, mode);
    scene.worker("worker-a").busy = 0.3;
    scene.pass(20 * SECOND);
    assert_eq!(scene.at(service), ["worker-a", "worker-a", "worker-c"]);
    (scene, service)
}

/// The load of the first worker climbs, and is at 90 % after a minute. Returns when it has been left.
fn climbs(scene: &mut Scene, service: ServiceId) -> Option<u32> {
    let mut left_at = None;
    for second in 0..75 {
        scene.worker("worker-a").busy = 0.3 + 0.01 * f64::from(second.min(65));
        scene.pass(SECOND);
        if left_at.is_none() && scene.at(service)[0] == "worker-b" {
            left_at = Some(second);
        }
    }
    left_at
}

#[test]
fn m10_a_component_leaves_a_worker_whose_load_climbs_before_it_is_at_its_limit() {
    let (mut scene, service) = deciding(Mode::Ahead);
    let left_at = climbs(&mut scene, service);
    assert!(left_at.is_some_and(|second| second < 57), "{left_at:?}");
    assert_eq!(scene.moves(), [MoveStep::Begun, MoveStep::Completed], "once");
    let [why] = &scene.moves_explained(service)[..] else { panic!("it says why, once") };
    assert_eq!(why.moved.step, MoveStep::Completed);
    let grounds = &why.grounds;
    assert!(grounds.because.starts_with("the load of worker-a will be "), "{grounds:?}");
    let known = |name: &str| grounds.inputs.iter().find(|input| input.name == name).unwrap();
    let (now, peak) = (known("load of worker-a"), known("predicted peak of worker-a"));
    assert!(now.value < 90.0 && peak.value > 90.0 && now.weight > 0.8, "{grounds:?}");
    assert!(grounds.foreseen.unwrap().need_us > grounds.decided_us);
    let weighed: Vec<_> = grounds.alternatives.iter().map(|a| a.edges[0].as_str()).collect();
    assert_eq!(weighed, ["worker-b", "worker-a"], "{grounds:?}");
    assert!(grounds.alternatives[0].cost < grounds.alternatives[1].cost, "{grounds:?}");
}

#[test]
fn m10_what_starts_does_not_make_a_worker_full_where_others_take_less_than_was_reserved() {
    let mut scene = looking(Scene::new(1), Mode::Ahead);
    scene.add_with("worker-a", |offer| offer.cores = 0.5);
    scene.add_with("worker-b", |offer| offer.cores = 0.5);
    let busy = |scene: &mut Scene, cores: [f64; 2]| {
        scene.worker("worker-a").busy = cores[0];
        scene.worker("worker-b").busy = cores[1];
        scene.pass(2 * SECOND);
    };
    let (mut services, mut refused) = (Vec::new(), false);
    while !refused {
        // What is asked for goes to the first, and then there would be room at the other.
        busy(&mut scene, [0.1, 0.5]);
        let list = format!("scale height={}", 100 + 2 * services.len());
        let request = ServiceRequest { priority: Priority::MAX, ..request(&list) };
        match scene.ask_for(&request) {
            Ok(service) => services.push(service),
            Err(_) => refused = true,
        }
        busy(&mut scene, [0.1, 0.0]);
        scene.pass(12 * SECOND);
    }
    assert!((2..20).contains(&services.len()), "{} were taken on", services.len());
    assert_eq!(scene.moves(), []);
    assert!(services.iter().all(|service| scene.at(*service)[0] == "worker-a"));
}

#[test]
fn m10_by_thresholds_a_component_leaves_once_its_worker_has_been_at_its_limit_for_a_while() {
    let (mut scene, service) = deciding(Mode::Reactive);
    let left_at = climbs(&mut scene, service);
    assert!(left_at.is_some_and(|second| second > 60), "{left_at:?}");
    assert_eq!(scene.moves_explained(service)[0].grounds.decided_by, DecidedBy::Threshold);
    let (mut scene, service) = deciding(Mode::Never);
    assert_eq!(climbs(&mut scene, service), None);
}

#[test]
fn m10_components_leave_a_worker_that_goes_away_in_time() {
    let (mut scene, service) = deciding(Mode::Ahead);
    scene.maintain("worker-a", 60_000);
    scene.pass(30 * SECOND);
    assert_eq!(scene.at(service)[0], "worker-a", "there is time");
    scene.pass(28 * SECOND);
    assert_eq!(scene.at(service), ["worker-b", "worker-b", "worker-c"]);
    assert_eq!(scene.moves_explained(service)[0].grounds.because, "worker-a goes away");
}
