//! What runs in segments, and what becomes of it when one is lost.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::network::{
    Coordinator, Network, Origin, Reading, Received, ends, instance, runs, signal, soon, source,
    work,
};
use gibbon_control::work::{Input, InstanceReport, InstanceSpec, InstanceState};
use gibbon_media::{Description, Scheme};

/// Waits for so many groups without a hole between them. Each comes on a stream of its own: they may overtake
/// each other.
async fn reads(reading: &mut Reading, groups: usize) -> Vec<Received> {
    let mut received = BTreeMap::new();
    let reading = async {
        loop {
            let came = reading.next().await.expect("the description has ended");
            received.insert(came.group, came);
            let first: Vec<_> = received.values().take(groups).cloned().collect();
            if first.len() == groups && contiguous(&first) {
                return first;
            }
        }
    };
    soon("groups without a hole", reading).await
}

fn contiguous(groups: &[Received]) -> bool {
    groups.is_sorted_by(|a, b| a.group.next() == b.group)
}

fn of_one_producer(groups: &[Received]) -> bool {
    groups.iter().all(|group| group.producer == groups[0].producer)
}

#[tokio::test]
async fn what_a_chain_makes_of_a_stream_can_be_subscribed_to() {
    let network = Network::new();
    let (origin, mut coordinator) = (Origin::start(&network), Coordinator::start(&network));
    let worker = network.worker(Some(&coordinator), &[]).await;
    let spec = instance(1, "mdc");
    // The order may come before the source is known.
    coordinator.orders(1, std::slice::from_ref(&spec));
    assert!(coordinator.answer(1).await.refused.is_empty());
    coordinator.says(origin.directory());
    let report = coordinator.sees("it is published", |r| !r.streams.is_empty()).await;
    let (stream, catalog) = (spec.stream(), &report.streams[0]);
    assert_eq!((&catalog.stream, catalog.scheme), (&stream, Scheme::Alternating));
    let edge = network.edge("edge-a", &worker).await;
    for description in Description::BOTH {
        let mut reading = edge.reads(&stream, description).await.unwrap();
        assert_eq!(reading.catalog, *catalog);
        let groups = reads(&mut reading, 4).await;
        assert!(of_one_producer(&groups), "{groups:?}");
        for group in &groups {
            assert_eq!(group.texts, [group.group.to_string()], "of the same group of the input");
        }
    }
    let mut reading = edge.reads(&stream, Description::Zero).await.unwrap();
    reads(&mut reading, 1).await;
    let subscribed_to = |report: &InstanceReport| {
        report.state == InstanceState::Running && report.output.subscribers == 1
    };
    let report = coordinator.sees_instance("subscribed to", 1, subscribed_to).await;
    assert_eq!(report.input.stream, Some(source()));
    assert_eq!(report.input.peer, Some(origin.address.id.clone()));
    assert_eq!(report.output.stream, Some(stream));
    assert!(report.memory_kib > 0 && report.restarts == 0, "{report:?}");
    let passes = |report: &InstanceReport| report.output.passed.untouched > 0;
    let report = coordinator.sees_instance("it counts", 1, passes).await;
    assert_eq!((report.input.coders, report.output.coders), (0, 0), "text needs none");
    let measured = coordinator.sees("a path", |r| !r.links.is_empty()).await;
    assert!(work(&measured).memory_mib > 0, "{measured:?}");
    let to_origin = coordinator.sees("the path to the origin", |r| {
        r.links.iter().any(|link| link.node == origin.address.id && link.rtt_us > 0)
    });
    to_origin.await;
}

#[tokio::test]
async fn a_killed_segment_is_started_anew_under_another_producer_and_others_go_on() {
    let network = Network::new();
    let (origin, mut coordinator) = (Origin::start(&network), Coordinator::start(&network));
    let worker = network.worker(Some(&coordinator), &[]).await;
    coordinator.says(origin.directory());
    let specs = [instance(1, "mdc"), instance(2, "mdc scheme=duplicate")];
    coordinator.orders(1, &specs);
    for spec in [1, 2] {
        coordinator.sees_running(spec).await;
    }
    let edge = network.edge("edge-a", &worker).await;
    let mut lost = edge.reads(&specs[0].stream(), Description::Zero).await.unwrap();
    let mut other = edge.reads(&specs[1].stream(), Description::Zero).await.unwrap();
    let (before, mut others) = (reads(&mut lost, 2).await, reads(&mut other, 2).await);
    signal(worker.segment(1).await, "KILL").await;
    let restarting = |state: &InstanceState| matches!(state, InstanceState::Restarting { why } if why.contains("signal: 9"));
    coordinator.sees_instance("it is lost", 1, |r| restarting(&r.state)).await;
    let report =
        coordinator.sees_instance("it is back", 1, |r| r.state == InstanceState::Running).await;
    assert_eq!(report.restarts, 1);
    // The same subscription goes on.
    let anew = async { while lost.next().await.unwrap().producer == before[0].producer {} };
    soon("groups of another producer", anew).await;
    others.extend(reads(&mut other, 4).await);
    assert!(contiguous(&others) && of_one_producer(&others), "{others:?}");
    let report = coordinator.sees_running(2).await;
    assert_eq!(report.restarts, 0);
}

#[tokio::test]
async fn a_segment_that_says_nothing_is_killed_and_started_anew() {
    let network = Network::new();
    let (origin, mut coordinator) = (Origin::start(&network), Coordinator::start(&network));
    let worker = network.worker(Some(&coordinator), &[]).await;
    coordinator.says(origin.directory());
    coordinator.orders(1, &[instance(1, "mdc")]);
    coordinator.sees_running(1).await;
    let stuck = worker.segment(1).await;
    signal(stuck, "STOP").await;
    let silent = |state: &InstanceState| matches!(state, InstanceState::Restarting { why } if why.contains("said nothing"));
    coordinator.sees_instance("it is lost", 1, |r| silent(&r.state)).await;
    assert!(!runs(stuck));
    coordinator.sees_running(1).await;
}

#[tokio::test]
async fn a_worker_that_was_frozen_does_not_take_its_own_silence_for_that_of_a_segment() {
    let network = Network::new();
    let (origin, mut coordinator) = (Origin::start(&network), Coordinator::start(&network));
    let worker = network.worker(Some(&coordinator), &[]).await;
    coordinator.says(origin.directory());
    let spec = instance(1, "mdc");
    coordinator.orders(1, std::slice::from_ref(&spec));
    coordinator.sees_running(1).await;
    let edge = network.edge("edge-a", &worker).await;
    let mut reading = edge.reads(&spec.stream(), Description::Zero).await.unwrap();
    let before = reads(&mut reading, 1).await;
    signal(worker.pid(), "STOP").await;
    // Longer than a segment may be silent.
    tokio::time::sleep(Duration::from_secs(6)).await;
    signal(worker.pid(), "CONT").await;
    let after = reads(&mut reading, 3).await;
    assert!(of_one_producer(&[before, after].concat()));
    let report = coordinator.sees_running(1).await;
    assert_eq!(report.restarts, 0);
}

#[tokio::test]
async fn a_segment_is_limited_and_has_nothing_of_the_network() {
    let network = Network::new();
    let (origin, mut coordinator) = (Origin::start(&network), Coordinator::start(&network));
    let worker = network.worker(Some(&coordinator), &["--segment-memory", "800"]).await;
    coordinator.says(origin.directory());
    coordinator.orders(1, &[instance(1, "mdc")]);
    coordinator.sees_running(1).await;
    let process = format!("/proc/{}", worker.segment(1).await);
    let limits = std::fs::read_to_string(format!("{process}/limits")).unwrap();
    let address_space = limits.lines().find(|line| line.starts_with("Max address space")).unwrap();
    assert!(address_space.contains(&(800 << 20).to_string()), "{address_space}");
    let environment = std::fs::read(format!("{process}/environ")).unwrap();
    let mut variables = environment.split(|byte| *byte == 0);
    assert!(variables.all(|variable| !variable.starts_with(b"GIBBON_")));
    for file in std::fs::read_dir(format!("{process}/fd")).unwrap() {
        let open = std::fs::read_link(file.unwrap().path()).unwrap();
        assert!(!open.starts_with(network.path()) && !open.to_string_lossy().contains("socket"));
    }
}

#[tokio::test]
async fn segments_do_not_outlive_their_worker() {
    let network = Network::new();
    let (origin, mut coordinator) = (Origin::start(&network), Coordinator::start(&network));
    let mut worker = network.worker(Some(&coordinator), &[]).await;
    coordinator.says(origin.directory());
    coordinator.orders(1, &[instance(1, "mdc")]);
    coordinator.sees_running(1).await;
    let segment = worker.segment(1).await;
    signal(worker.pid(), "KILL").await;
    assert_eq!(worker.ends().await, None, "by the signal");
    ends(segment).await;
}

#[tokio::test]
async fn a_segment_that_ends_again_and_again_is_started_ever_more_seldom() {
    let network = Network::new();
    let (origin, mut coordinator) = (Origin::start(&network), Coordinator::start(&network));
    // Less than it needs.
    let worker = network.worker(Some(&coordinator), &["--segment-memory", "256"]).await;
    coordinator.says(origin.directory());
    let began = Instant::now();
    coordinator.orders(1, &[instance(1, "mdc")]);
    let restarted = |report: &InstanceReport| {
        matches!(report.state, InstanceState::Restarting { .. }) && report.restarts >= 3
    };
    coordinator.sees_instance("it is lost again", 1, restarted).await;
    worker.logged_times("segment started", 4).await;
    let least = Duration::from_millis(200 + 400 + 800);
    assert!(began.elapsed() >= least, "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_is_no_longer_ordered_is_withdrawn_and_its_process_ends() {
    let network = Network::new();
    let (origin, mut coordinator) = (Origin::start(&network), Coordinator::start(&network));
    let worker = network.worker(Some(&coordinator), &[]).await;
    coordinator.says(origin.directory());
    let spec = instance(1, "mdc");
    coordinator.orders(1, std::slice::from_ref(&spec));
    coordinator.sees_running(1).await;
    let edge = network.edge("edge-a", &worker).await;
    let mut reading = edge.reads(&spec.stream(), Description::Zero).await.unwrap();
    reads(&mut reading, 1).await;
    let pid = worker.segment(1).await;
    // An older order changes nothing.
    coordinator.orders(0, &[]);
    reads(&mut reading, 3).await;
    coordinator.orders(2, &[]);
    assert!(coordinator.answer(2).await.refused.is_empty());
    let report = coordinator.sees("nothing is left", |r| work(r).instances.is_empty()).await;
    assert!(report.streams.is_empty(), "{report:?}");
    while reading.next().await.is_some() {}
    worker.logged_times("segment ended", 1).await;
    assert!(!runs(pid));
    assert!(edge.reads(&spec.stream(), Description::Zero).await.is_err());
}

#[tokio::test]
async fn a_plain_feed_of_the_standby_is_published_under_a_name_of_its_own() {
    let network = Network::new();
    let (origin, mut coordinator) = (Origin::start(&network), Coordinator::start(&network));
    let worker = network.worker(Some(&coordinator), &[]).await;
    coordinator.says(origin.directory());
    let standby = InstanceSpec { replica: 1, ..instance(1, "case to=upper") };
    coordinator.orders(1, std::slice::from_ref(&standby));
    let report = coordinator.sees_running(1).await;
    assert_eq!(report.output.stream, Some(standby.stream()));
    let edge = network.edge("edge-a", &worker).await;
    let mut reading = edge.reads(&standby.stream(), Description::Zero).await.unwrap();
    assert_eq!(reading.catalog.stream.as_str(), format!("{}.1", standby.chain.stream()));
    reads(&mut reading, 2).await;
    assert!(edge.reads(&standby.chain.stream(), Description::Zero).await.is_err());
}

#[tokio::test]
async fn an_instance_that_is_to_publish_too_begins_to_while_what_hangs_on_it_goes_on() {
    let network = Network::new();
    let (origin, mut coordinator) = (Origin::start(&network), Coordinator::start(&network));
    let worker = network.worker(Some(&coordinator), &[]).await;
    coordinator.says(origin.directory());
    let first = InstanceSpec { publish: false, ..instance(1, "case to=upper") };
    let last = InstanceSpec {
        input: Input::Instance(first.instance),
        ..instance(2, "case to=upper | mdc")
    };
    coordinator.orders(1, &[first.clone(), last.clone()]);
    coordinator.sees_running(2).await;
    let edge = network.edge("edge-a", &worker).await;
    let mut reading = edge.reads(&last.stream(), Description::One).await.unwrap();
    let mut groups = reads(&mut reading, 2).await;
    let stream = first.stream();
    assert!(edge.reads(&stream, Description::Zero).await.is_err(), "not published yet");
    coordinator.orders(2, &[InstanceSpec { publish: true, ..first.clone() }, last.clone()]);
    coordinator.sees("both are published", |r| r.streams.len() == 2).await;
    let mut plain = edge.reads(&stream, Description::Zero).await.unwrap();
    assert_eq!(plain.catalog.scheme, Scheme::Plain);
    reads(&mut plain, 2).await;
    coordinator.orders(3, &[first, last]);
    while plain.next().await.is_some() {}
    groups.extend(reads(&mut reading, 6).await);
    assert!(contiguous(&groups) && of_one_producer(&groups), "{groups:?}");
}
