//! What a worker shows of itself.

use std::net::SocketAddr;

use gibbon_monitor::testing::{Read, get};

use crate::network::{Coordinator, Network, soon};

const DOCUMENT: &str = include_str!("../../../../docs/metrics.md");

#[tokio::test]
async fn the_page_says_what_the_documentation_says() {
    let network = Network::new();
    let coordinator = Coordinator::start(&network);
    let worker = network.worker(Some(&coordinator), &["--metrics", "127.0.0.1:0"]).await;
    let line = worker.logged_times("metrics are served", 1).await.remove(0);
    let address: SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
    let connected = async {
        loop {
            let asked = tokio::task::spawn_blocking(move || get(address, "/metrics").unwrap());
            let page = Read::page(&asked.await.unwrap().1).unwrap();
            if page.value("gibbon_coordinator_connected", &[]) == Some(1.0) {
                return page;
            }
        }
    };
    let page = soon("the coordinator", connected).await;
    page.check_documented(DOCUMENT, &["Every process", "Every node", "Worker"]);
    assert_eq!(page.value("gibbon_worker_instances", &[]), Some(0.0));
    assert_eq!(page.value("gibbon_ready", &[]), Some(1.0));
    assert!(page.value("gibbon_worker_capacity_cores", &[]).is_some_and(|cores| cores > 0.0));
}
