//! Viewers reach edges over whichever of IPv4 and IPv6 these have.

#![allow(clippy::unwrap_used)]

use std::net::{SocketAddr, UdpSocket};

use gibbon_media::Role;
use gibbon_net::{Certificates, Endpoint, Identity};

#[tokio::test]
async fn one_viewer_reaches_edges_over_ipv4_and_over_ipv6() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::in_folder(folder.path());
    let edge = Identity { id: "edge-a".parse().unwrap(), role: Role::Edge };
    let mut listen: Vec<SocketAddr> = vec!["127.0.0.1:0".parse().unwrap()];
    // A host without IPv6 has edges of one kind only.
    listen.extend(
        "[::1]:0".parse().ok().filter(|address: &SocketAddr| UdpSocket::bind(address).is_ok()),
    );
    let mut viewer = None;
    for listen in listen {
        let endpoint = Endpoint::node(&certificates, &edge, listen).unwrap();
        let viewer = viewer
            .get_or_insert_with(|| Endpoint::viewer(certificates.authority().unwrap()).unwrap());
        let address = endpoint.local_address().unwrap();
        let (accepted, connected) = tokio::join!(
            async { endpoint.accept().await.unwrap().await },
            viewer.connect(&edge, address)
        );
        assert!(accepted.is_ok(), "{listen}: {accepted:?}");
        assert!(connected.is_ok(), "{listen}: {connected:?}");
    }
}
