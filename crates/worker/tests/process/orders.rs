//! What a worker answers to orders.

use crate::network::{Coordinator, Network, Origin, id, instance};
use gibbon_control::{
    node::FromNode,
    work::{Input, InstanceState},
};
use gibbon_media::{InstanceId, Role};

#[tokio::test]
async fn a_worker_says_who_it_is_and_what_it_offers() {
    let network = Network::new();
    let mut coordinator = Coordinator::start(&network);
    let options = [
        ["--components", "scale,mdc"],
        ["--cores", "1.5"],
        ["--memory", "700"],
        ["--uplink-kbps", "9000"],
        ["--location", "-33.9,18.4"],
    ];
    let worker = network.worker(Some(&coordinator), options.as_flattened()).await;
    let pick = |message| match message {
        FromNode::Register { node, location, failure_domain, worker, .. } => {
            Some((node, location.unwrap(), failure_domain.unwrap(), worker.unwrap()))
        }
        _ => None,
    };
    let (node, location, domain, offer) = coordinator.hears("its registration", pick).await;
    assert_eq!((node.id, node.role, node.address), (id("worker-1"), Role::Worker, worker.address));
    assert_eq!((location.latitude, domain.as_str()), (-33.9, "rack-7"));
    assert_eq!(offer.components, ["scale", "mdc"]);
    assert_eq!((offer.cores, offer.memory_mib, offer.uplink_kbps), (1.5, 700, Some(9000)));
}

#[tokio::test]
async fn what_it_cannot_run_is_refused_at_once_and_the_rest_runs() {
    let network = Network::new();
    let (origin, mut coordinator) = (Origin::start(&network), Coordinator::start(&network));
    let options = ["--components", "mdc,overlay", "--memory", "100000"];
    let _worker = network.worker(Some(&coordinator), &options).await;
    coordinator.says(origin.directory());
    let mut orphan = instance(3, "mdc");
    orphan.input = Input::Instance(InstanceId(77));
    let bad = [instance(2, "scale height=180"), orphan, instance(4, "overlay image=logo.png")];
    coordinator.orders(1, &[&bad[..], &[instance(1, "mdc")]].concat());
    let mut refused = coordinator.answer(1).await.refused;
    refused.sort_by_key(|refused| refused.instance);
    let whys = ["does not offer scale", "does not run here", "no file logo.png"];
    assert_eq!(refused.len(), whys.len(), "{refused:?}");
    for (refused, why) in refused.iter().zip(whys) {
        assert!(refused.why.contains(why), "{refused:?}");
    }
    coordinator.sees_running(1).await;
}

#[tokio::test]
async fn a_chain_that_does_not_fit_its_source_fails_with_a_reason_and_the_rest_runs() {
    let network = Network::new();
    let (origin, mut coordinator) = (Origin::start(&network), Coordinator::start(&network));
    let _worker = network.worker(Some(&coordinator), &[]).await;
    coordinator.says(origin.directory());
    coordinator.orders(1, &[instance(1, "scale height=180"), instance(2, "mdc")]);
    assert!(coordinator.answer(1).await.refused.is_empty(), "it cannot know yet");
    let failed = |state: &InstanceState| matches!(state, InstanceState::Failed { why } if why.contains("pictures"));
    coordinator.sees_instance("it fails", 1, |r| failed(&r.state)).await;
    coordinator.sees_running(2).await;
}
