//! How a worker is emptied.

use crate::network::{Coordinator, Network, Origin, Worker, ends, instance, runs, work};
use gibbon_control::node::{Draining, ToNode};

/// A worker that runs one instance.
async fn busy(network: &Network, options: &[&str]) -> (Origin, Coordinator, Worker) {
    let (origin, mut coordinator) = (Origin::start(network), Coordinator::start(network));
    let worker = network.worker(Some(&coordinator), options).await;
    coordinator.says(origin.directory());
    coordinator.orders(1, &[instance(1, "mdc")]);
    coordinator.sees_running(1).await;
    (origin, coordinator, worker)
}

#[tokio::test]
async fn a_worker_that_runs_nothing_ends_at_the_first_signal() {
    let network = Network::new();
    let mut worker = network.worker(None, &[]).await;
    worker.terminate().await;
    assert_eq!(worker.ends().await, Some(0));
}

#[tokio::test]
async fn a_worker_asked_to_end_says_so_and_ends_when_what_it_ran_has_been_moved() {
    let network = Network::new();
    let (_origin, mut coordinator, mut worker) = busy(&network, &[]).await;
    let segment = worker.segment(1).await;
    worker.terminate().await;
    let report = coordinator.sees("it drains", |r| r.draining.is_some()).await;
    let draining = report.draining.unwrap();
    assert!((1..=30_000).contains(&draining.within_ms) && !draining.stay, "{draining:?}");
    assert_eq!(work(&report).instances.len(), 1, "it works until it is moved");
    coordinator.orders(2, &[]);
    assert_eq!(worker.ends().await, Some(0));
    assert!(!runs(segment));
}

#[tokio::test]
async fn work_that_nobody_moves_is_cut_off_at_the_deadline_with_an_exit_code_of_its_own() {
    let network = Network::new();
    let (_origin, coordinator, mut worker) = busy(&network, &["--drain-deadline", "1"]).await;
    let segment = worker.segment(1).await;
    drop(coordinator);
    worker.terminate().await;
    assert_eq!(worker.ends().await, Some(3));
    let cut = worker.logged_times("cut at the deadline", 1).await;
    assert_eq!(cut[0]["chain"], instance(1, "mdc").chain.to_string());
    ends(segment).await;
}

#[tokio::test]
async fn a_second_signal_cuts_a_drain_short() {
    let network = Network::new();
    let (_origin, mut coordinator, mut worker) = busy(&network, &[]).await;
    worker.terminate().await;
    coordinator.sees("it drains", |r| r.draining.is_some()).await;
    worker.terminate().await;
    assert_eq!(worker.ends().await, Some(3));
}

#[tokio::test]
async fn a_worker_that_is_to_stay_waits_empty_until_it_is_wanted_again() {
    let network = Network::new();
    let (_origin, mut coordinator, worker) = busy(&network, &[]).await;
    coordinator.says(ToNode::Drain(Draining { within_ms: 60_000, rate: 5.0, stay: true }));
    let report = coordinator.sees("it drains", |r| r.draining.is_some()).await;
    assert!(report.draining.unwrap().stay);
    coordinator.orders(2, &[]);
    worker.logged_times("empty", 1).await;
    coordinator.says(ToNode::Undrain);
    coordinator.sees("it is wanted", |r| r.draining.is_none()).await;
    coordinator.orders(3, &[instance(5, "mdc")]);
    coordinator.sees_running(5).await;
}
