//! Services: built out of what is asked for, shared, watched and ended.

use gibbon_control::{
    node::{FromNode, NodeReport},
    portal::SessionRequest,
    services::{ServiceInfo, ServiceRequest, ServiceState},
    work::{WorkAnswer, WorkReport},
};
use gibbon_coordinator::{
    builder::BuildError,
    manager::Refusal,
    orders::ACKNOWLEDGE_WITHIN,
    registry::NodeRefusal,
    services::{FAILED_FOR, LINGER, RUN_WITHIN, WATCH_WITHIN},
};
use gibbon_media::{Role, StreamName};

use crate::network::{
    SECOND, catalog, id, link, registration, watch,
    workers::{Scene, made, request},
};

fn watch_stream(stream: &StreamName) -> SessionRequest {
    SessionRequest { stream: stream.clone(), ..watch(None) }
}

#[test]
fn a_service_is_built_on_one_worker_with_raw_neighbours_and_can_be_watched_once_it_runs() {
    let mut scene = Scene::with(&["worker-1"]);
    let service = scene.ask("scale height=180 | grayscale").unwrap();
    let stream = made("scale height=180 | grayscale | mdc");
    assert_eq!(scene.info(service).stream, stream);
    assert_eq!(scene.state(service), ServiceState::Starting);
    let early = scene.network.create(watch_stream(&stream)).unwrap_err();
    assert_eq!(early, Refusal::Starting { stream: stream.clone(), service });
    scene.pass(SECOND);
    assert_eq!(scene.runs("worker-1"), ["scale", "raw grayscale", "raw mdc (published)"]);
    assert_eq!(scene.state(service), ServiceState::Running);
    assert_eq!(scene.named(&stream), ["worker-1"]);
    let session = scene.network.create(watch_stream(&stream)).unwrap().session;
    let session = scene.network.manager.session(session).unwrap();
    assert_eq!((session.origin, session.service), (Some(id("studio")), Some(service)));
    let modules: Vec<_> = session.modules.iter().map(|m| m.component.as_str()).collect();
    assert_eq!(modules, ["scale", "grayscale", "mdc"]);
    let told = scene.network.manager.streams();
    let told = told.iter().find(|info| info.stream == stream).unwrap();
    assert_eq!((told.source.as_ref().unwrap().as_str(), told.sessions), ("live/bbb", 1));
}

#[test]
fn a_chain_over_two_workers_passes_a_plain_feed_that_viewers_cannot_watch() {
    let mut scene = Scene::new(1);
    scene.add_with("worker-1", |offer| offer.components = vec!["scale".into()]);
    scene.add_with("worker-2", |offer| offer.components = vec!["mdc".into()]);
    scene.pass(4 * SECOND);
    let service = scene.running("scale height=180");
    assert_eq!(scene.runs("worker-1"), ["scale (published)"]);
    assert_eq!(scene.runs("worker-2"), ["mdc (published)"]);
    let feed = made("scale height=180");
    assert_eq!(scene.named(&feed), ["worker-1"]);
    let refused = scene.network.create(watch_stream(&feed)).unwrap_err();
    assert_eq!(refused, Refusal::Plain(feed.clone()));
    let [scale, mdc] = &scene.info(service).modules[..] else { panic!() };
    assert!(scale.output_address.ends_with(feed.as_str()), "{scale:?}");
    assert_eq!(mdc.input_address, scale.output_address);
}

#[test]
fn a_worker_that_goes_away_soon_gets_something_new_only_where_there_is_no_other() {
    let mut scene = Scene::with(&["worker-1", "worker-2"]);
    let service = scene.running("scale height=180");
    let first = scene.at(service)[0].clone();
    let other = if first == "worker-1" { "worker-2" } else { "worker-1" };
    scene.maintain(&first, 600_000);
    let service = scene.running("grayscale");
    assert_eq!(scene.at(service), [other, other]);
    let shared = scene.running("scale height=180 | grayscale");
    assert_eq!(scene.at(shared)[0], first, "what runs there may be shared");
    scene.maintain(other, 600_000);
    scene.running("denoise");
}

#[test]
fn an_equal_prefix_is_shared_and_outlives_the_service_that_began_it() {
    let mut scene = Scene::with(&["worker-1", "worker-2"]);
    let first = scene.running("scale height=180 | grayscale");
    let second = scene.running("scale height=180");
    let shared = scene.info(first).modules[0].instance;
    assert_eq!(scene.info(second).modules[0].instance, shared);
    assert_eq!(scene.info(second).modules[0].shared_with, [first]);
    let worker = scene.at(first)[0].clone();
    assert_eq!(scene.runs(&worker).len(), 4, "{:?}", scene.runs(&worker));
    let out = scene.network.manager.end_service(scene.network.now, first).unwrap();
    scene.network.take(out);
    scene.pass(SECOND);
    assert_eq!(scene.runs(&worker), ["scale", "raw mdc (published)"]);
    assert_eq!(scene.info(second).modules[0].instance, shared);
    assert_eq!(scene.state(second), ServiceState::Running);
}

#[test]
fn the_same_asked_for_again_is_the_same_service_and_otherwise_all_is_shared() {
    let mut scene = Scene::with(&["worker-1"]);
    let first = scene.running("grayscale");
    assert_eq!(scene.ask("grayscale | mdc").unwrap(), first);
    let lasting = ServiceRequest { keep: false, ..request("grayscale") };
    let second = scene.ask_for(&lasting).unwrap();
    assert_ne!(second, first);
    scene.pass(SECOND);
    assert_eq!(scene.runs("worker-1").len(), 2);
}

#[test]
fn a_service_on_a_service_goes_on_from_its_chain() {
    let mut scene = Scene::with(&["worker-1"]);
    let first = scene.running("scale height=180");
    let on = ServiceRequest { stream: scene.info(first).stream, ..request("grayscale") };
    let second = scene.ask_for(&on).unwrap();
    assert_eq!(scene.info(second).stream, made("scale height=180 | grayscale | mdc"));
    assert_eq!(scene.info(second).source.as_str(), "live/bbb");
}

#[test]
fn a_worker_that_does_not_acknowledge_is_replaced_and_one_that_refuses_says_why() {
    let mut scene = Scene::new(1);
    scene.add_with("worker-1", |offer| offer.cores = 8.0);
    scene.add("worker-2");
    scene.pass(4 * SECOND);
    scene.worker("worker-1").answers = false;
    let service = scene.ask("grayscale").unwrap();
    assert_eq!(scene.at(service), ["worker-1", "worker-1"]);
    scene.pass(ACKNOWLEDGE_WITHIN + SECOND);
    assert_eq!(scene.at(service), ["worker-2", "worker-2"]);
    assert_eq!(scene.state(service), ServiceState::Running);
    scene.worker("worker-1").answers = true;
    scene.worker("worker-1").refuses.insert("scale".into(), "no room in here".into());
    scene.worker("worker-2").refuses.insert("scale".into(), "there is no such asset".into());
    let refused = scene.ask("scale height=180").unwrap();
    scene.pass(2 * SECOND);
    let info = scene.info(refused);
    assert_eq!(info.state, ServiceState::Failed);
    let why = info.why.unwrap();
    for part in ["component 1, scale", "worker-1 has refused it: no room", "no such asset"] {
        assert!(why.contains(part), "{why}");
    }
    assert!(info.modules.is_empty() && scene.runs("worker-1").is_empty());
    assert_eq!(scene.runs("worker-2"), ["grayscale", "raw mdc (published)"]);
    scene.pass(FAILED_FOR + SECOND);
    assert_eq!(scene.network.manager.service(refused).err(), Some(Refusal::NoService(refused)));
}

#[test]
fn a_component_that_cannot_run_or_puts_nothing_out_is_tried_elsewhere() {
    let mut scene = Scene::new(1);
    scene.add_with("worker-1", |offer| offer.cores = 8.0);
    scene.add("worker-2");
    scene.pass(4 * SECOND);
    scene.worker("worker-1").fails.insert("scale".into());
    let service = scene.ask("scale height=180").unwrap();
    scene.pass(SECOND);
    assert_eq!(scene.at(service), ["worker-2", "worker-2"]);
    scene.worker("worker-1").puts_out = false;
    let silent = scene.ask("grayscale").unwrap();
    assert_eq!(scene.at(silent)[0], "worker-1");
    scene.pass(RUN_WITHIN + SECOND);
    assert_eq!(scene.at(silent)[0], "worker-2");
    assert_eq!(scene.state(silent), ServiceState::Running);
}

#[test]
fn bad_requests_start_nothing() {
    let mut scene = Scene::new(1);
    scene.add_with("worker-1", |offer| offer.cores = 0.1);
    scene.pass(4 * SECOND);
    for (list, why) in [
        ("teleport to=mars", "component 1, teleport: there is no such component"),
        ("mdc | scale height=180", "component 2, scale"),
        ("scale height=100000", "component 1, scale"),
    ] {
        let refused = scene.ask(list).unwrap_err();
        assert!(matches!(refused, Refusal::Build(BuildError::Chain(_))), "{refused:?}");
        assert!(refused.to_string().contains(why), "{refused}");
    }
    let named = ServiceRequest { service: Some("nonsense".into()), ..request("") };
    let refused = scene.ask_for(&named).unwrap_err();
    assert!(matches!(refused, Refusal::Build(BuildError::NoSuchName(_))), "{refused:?}");
    let nowhere: StreamName = "live/nowhere".parse().unwrap();
    let elsewhere = ServiceRequest { stream: nowhere.clone(), ..request("grayscale") };
    assert_eq!(scene.ask_for(&elsewhere), Err(Refusal::NoStream(nowhere)));
    let refused = scene.ask("scale height=360").unwrap_err();
    assert!(matches!(refused, Refusal::NoWorker(_)), "{refused:?}");
    assert!(refused.to_string().contains("worker-1 has no room"), "{refused}");
    let standby = ServiceRequest { standby: true, ..request("case to=upper") };
    assert!(scene.ask_for(&standby).is_err(), "there is but one worker");
    scene.pass(SECOND);
    assert!(scene.network.manager.services().is_empty());
    assert!(scene.runs("worker-1").is_empty());
}

#[test]
fn a_service_that_nobody_watches_ends_unless_it_is_to_stay() {
    let mut scene = Scene::with(&["worker-1"]);
    let kept = scene.running("scale height=180");
    let passing = ServiceRequest { keep: false, ..request("grayscale") };
    let passing = scene.ask_for(&passing).unwrap();
    let stream = scene.info(passing).stream;
    scene.pass(SECOND);
    let session = scene.network.create(watch_stream(&stream)).unwrap().session;
    // Its client never attaches: what was promised to it is kept for 30 s.
    scene.pass(WATCH_WITHIN - SECOND);
    assert_eq!(scene.info(passing).sessions, 1);
    let out = scene.network.manager.end_session(scene.network.now, session).unwrap();
    scene.network.take(out);
    scene.pass(LINGER - SECOND);
    assert_eq!(scene.state(passing), ServiceState::Running);
    scene.pass(2 * SECOND);
    assert!(scene.network.manager.service(passing).is_err());
    assert_eq!(scene.runs("worker-1"), ["scale", "raw mdc (published)"]);
    assert_eq!(scene.state(kept), ServiceState::Running);
    assert!(scene.network.create(watch_stream(&stream)).is_err());
}

#[test]
fn what_is_explained_names_the_workers_and_starts_nothing() {
    let mut scene = Scene::new(1);
    scene.add("worker-1");
    scene.add_with("worker-2", |offer| offer.components = vec!["mdc".into()]);
    scene.pass(4 * SECOND);
    let explained = scene.network.manager.explain(scene.network.now, &request("grayscale"));
    let explained = explained.unwrap();
    let [grayscale, mdc] = &explained.components[..] else { panic!("{explained:?}") };
    let unfit = grayscale.candidates.iter().find(|c| c.worker == id("worker-2")).unwrap();
    assert!(unfit.unfit.as_ref().unwrap().contains("does not offer grayscale"));
    assert_eq!(mdc.worker, Some(id("worker-1")), "it saves a hop");
    assert!(scene.network.manager.services().is_empty());
    let service = scene.running("grayscale");
    let kept = scene.network.manager.explain_service(scene.network.now, service).unwrap();
    assert_eq!(kept.components.len(), 2);
    let again = scene.network.manager.explain(scene.network.now, &request("grayscale")).unwrap();
    assert!(again.components.iter().all(|component| component.shared));
}

#[test]
fn the_directory_does_not_change_while_nothing_does() {
    let mut scene = Scene::with(&["worker-1", "worker-2"]);
    scene.running("scale height=180 | grayscale");
    scene.network.said.clear();
    scene.network.events.clear();
    scene.pass(5 * SECOND);
    assert!(scene.network.said.is_empty(), "{:?}", scene.network.said);
    assert!(scene.network.events.is_empty(), "{:?}", scene.network.events);
}

#[test]
fn only_workers_work_and_publish_only_what_their_components_make() {
    let mut scene = Scene::with(&["worker-1"]);
    let network = &mut scene.network;
    let streams = vec![catalog("live/bbb")];
    let report = NodeReport { streams, work: Some(WorkReport::default()), ..Default::default() };
    let refused = network.report("worker-1", report).unwrap_err();
    assert_eq!(refused, NodeRefusal::PublishesOther("live/bbb".parse().unwrap()));
    let work = NodeReport { work: Some(WorkReport::default()), ..Default::default() };
    assert_eq!(network.report("edge-a", work), Err(NodeRefusal::Works(Role::Edge)));
    let answer = FromNode::Work(WorkAnswer { version: 1, refused: vec![] });
    assert_eq!(network.says("edge-a", answer), Err(NodeRefusal::Works(Role::Edge)));
    for (name, offers) in [("worker-2", false), ("edge-d", true)] {
        let FromNode::Register { worker: offer, .. } = registration("worker-1") else { panic!() };
        let mut register = registration(name);
        if let FromNode::Register { worker, .. } = &mut register {
            *worker = offer.filter(|_| offers);
        }
        let refused = network.manager.register(network.now, link(name), register).unwrap_err();
        assert!(matches!(refused, NodeRefusal::Offer(_)), "{refused:?}");
    }
}

#[test]
fn two_hundred_services_keep_the_load_of_workers_even() {
    let names: Vec<_> = (0..20).map(|n| format!("worker-{n}")).collect();
    let mut scene = Scene::new(1);
    for name in &names {
        scene.add_with(name, |offer| offer.cores = 8.0);
    }
    scene.pass(4 * SECOND);
    for n in 0..200 {
        let height = 90 + 2 * (n % 100);
        let list = if n < 100 { "" } else { "| grayscale " };
        scene.ask(&format!("scale height={height} {list}| mdc")).unwrap();
    }
    scene.pass(SECOND);
    let running = |info: &ServiceInfo| info.state == ServiceState::Running;
    assert!(scene.network.manager.services().iter().all(running));
    let nodes = scene.network.manager.nodes(scene.network.now);
    let loads: Vec<_> =
        nodes.iter().filter_map(|n| Some(n.worker.as_ref()?.reserved_cores)).collect();
    let (mean, most) =
        (loads.iter().sum::<f64>() / 20.0, loads.iter().fold(0.0, |a: f64, b| a.max(*b)));
    assert!(loads.len() == 20 && most <= 1.3 * mean, "{most} of {mean}: {loads:?}");
}
