//! An edge of several shards.

use std::time::Duration;

use gibbon_media::Description::{One, Zero};
use tokio::task::JoinSet;

use crate::network::{Network, Origin, soon};

/// With so many the chance that one of two shards has none is less than one in a million.
const VIEWERS: u64 = 24;
const TWO_SHARDS: &[&str] = &["--shards", "2"];

#[tokio::test]
async fn viewers_of_all_shards_get_every_frame_of_what_is_pulled_once() {
    let network = Network::new();
    let origin = Origin::start(&network, "studio");
    let edge = network.edge(&[&origin], None, TWO_SHARDS).await;
    let mut watching = JoinSet::new();
    for session in 0..VIEWERS {
        let viewer = network.viewer(&edge, session, 5).await;
        watching.spawn(async move {
            tokio::join!(viewer.takes_whole(Zero, 4), viewer.takes_whole(One, 4));
        });
    }
    while let Some(watched) = watching.join_next().await {
        watched.unwrap();
    }
    assert_eq!(origin.subscriptions(), 2, "one for each description");
}

#[tokio::test]
async fn viewers_whose_address_changes_stay_on_their_shard_and_lose_nothing() {
    let network = Network::new();
    let origin = Origin::start(&network, "studio");
    let edge = network.edge(&[&origin], None, TWO_SHARDS).await;
    let mut watching = JoinSet::new();
    for session in 0..VIEWERS {
        let viewer = network.viewer(&edge, session, 5).await;
        watching.spawn(async move {
            let moving = async {
                loop {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    viewer.moves();
                }
            };
            let both = async {
                tokio::join!(viewer.takes_whole(Zero, 4), viewer.takes_whole(One, 4));
            };
            tokio::select! {
                () = both => {}
                () = moving => {}
            }
        });
    }
    while let Some(watched) = watching.join_next().await {
        watched.unwrap();
    }
    assert_eq!(edge.log("client connected").len(), VIEWERS as usize, "nobody had to come again");
}

#[tokio::test]
async fn a_second_edge_on_the_same_port_ends_with_an_error_and_takes_nothing_from_the_first() {
    let network = Network::new();
    let origin = Origin::start(&network, "studio");
    let edge = network.edge(&[&origin], None, TWO_SHARDS).await;
    let mut second = network.command(edge.address);
    let output = soon("its end", second.args(TWO_SHARDS).output()).await.unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&format!("cannot listen on {}/udp", edge.address)), "{said}");
    let viewer = network.viewer(&edge, 1, 5).await;
    viewer.takes_whole(Zero, 2).await;
}
