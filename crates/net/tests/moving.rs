//! A viewer whose address changes under its connections.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use gibbon_media::Role;
use gibbon_net::{Certificates, Endpoint, Identity, Viewers};

#[tokio::test]
async fn a_connection_goes_on_from_another_port() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::in_folder(folder.path());
    let edge = Identity { id: "edge-a".parse().unwrap(), role: Role::Edge };
    let endpoint = Endpoint::node(&certificates, &edge, "127.0.0.1:0".parse().unwrap()).unwrap();
    let viewer = Viewers::new(certificates.authority().unwrap()).unwrap().open().unwrap();
    let (accepted, connected) = tokio::join!(
        async { endpoint.accept().await.unwrap().await.unwrap() },
        viewer.connect(&edge, endpoint.local_address().unwrap())
    );
    let (connected, before) = (connected.unwrap(), accepted.remote_address());

    viewer.change_port().unwrap();
    let (mut send, _) = connected.open_bi().await.unwrap();
    send.write_all(b"here").await.unwrap();
    let (_, mut received) = accepted.accept_bi().await.unwrap();
    let mut word = [0; 4];
    received.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"here");
    let moved = async {
        while accepted.remote_address() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), moved).await.unwrap();
    assert_eq!(accepted.remote_address().port(), viewer.local_address().unwrap().port());
}
