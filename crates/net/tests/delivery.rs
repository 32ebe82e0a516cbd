//! Publisher and subscriber over real QUIC on loopback.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use gibbon_media::{
    Catalog, Description, Frame, FrameFlags, FrameRate, GroupHeader, GroupId, MediaTime, Medium,
    ProducerId, Role, Scheme, VideoTrack,
};
use gibbon_net::{
    Certificates, Endpoint, Identity, Peer,
    cache::Tracks,
    endpoint, message,
    publish::{self, Sent},
    subscribe::{Event, IncomingGroup, Link, SubscribeError, Subscription},
    wire::{self, GroupStart, MediaSet, RejectCode, Rejected, Start, StreamKind, Subscribe},
};

const SECOND: u64 = 1_000_000;

fn catalog() -> Catalog {
    Catalog {
        stream: "live/test".parse().unwrap(),
        scheme: Scheme::Alternating,
        created: MediaTime(0),
        grids: Catalog::grids_of(Scheme::Alternating, Duration::from_secs(1)),
        video: Some(VideoTrack {
            codec: gibbon_media::Codec::H264,
            rate: FrameRate::new(24, 1).unwrap(),
            width: 64,
            height: 64,
        }),
        audio: None,
        text: None,
        host: "here".into(),
    }
}

fn push(tracks: &Tracks, group: u64, frames: std::ops::Range<u32>, complete: bool) {
    let base = MediaTime(group * SECOND);
    let header = GroupHeader {
        medium: Medium::Video,
        group: GroupId(group),
        producer: ProducerId(1),
        published_us: 0,
    };
    let held = tracks.admit(&GroupStart { subscription: 0, header, base, first: 0 }).unwrap();
    for index in frames.clone() {
        let time = MediaTime(base.0 + u64::from(index));
        let payload = Bytes::from(vec![index as u8; 3000]);
        tracks.push(&held, index, Frame { time, flags: FrameFlags::PRIMARY, payload });
    }
    if complete {
        held.complete(frames.end);
    }
}

struct Network {
    _folder: tempfile::TempDir,
    viewer: Endpoint,
    edge: Identity,
    address: SocketAddr,
    tracks: Arc<Tracks>,
}

/// An edge that serves `live/test` out of `tracks` to anyone.
fn network() -> Network {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::in_folder(folder.path());
    let edge = Identity { id: "edge-a".parse().unwrap(), role: Role::Edge };
    let endpoint = Endpoint::node(&certificates, &edge, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = endpoint.local_address().unwrap();
    let tracks = Arc::new(Tracks::default());
    let served = tracks.clone();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let served = served.clone();
            tokio::spawn(async move {
                if let Ok(connection) = incoming.await {
                    serve_all(connection, served).await;
                }
            });
        }
    });
    let viewer = Endpoint::viewer(certificates.authority().unwrap()).unwrap();
    Network { _folder: folder, viewer, edge, address, tracks }
}

async fn serve_all(connection: quinn::Connection, tracks: Arc<Tracks>) {
    if let Peer::Node(_) = Peer::of(&connection) {
        endpoint::welcome_node(&connection);
    }
    while let Ok((send, recv)) = connection.accept_bi().await {
        let (connection, tracks) = (connection.clone(), tracks.clone());
        tokio::spawn(async move {
            let (kind, mut sender, mut receiver) = message::accept(send, recv).await.unwrap();
            assert_eq!(kind, StreamKind::Description);
            let message = receiver.receive().await.unwrap().unwrap();
            let request = Subscribe::decode(message.body).unwrap();
            if request.stream.as_str() != "live/test" {
                let rejected = Rejected::new(RejectCode::UnknownStream, "no such stream");
                sender.send(wire::kind::REJECTED, &rejected.encode()).await.unwrap();
                return;
            }
            let sent = Arc::new(Sent::default());
            let _ = publish::serve(connection, sender, receiver, request, &catalog(), tracks, sent)
                .await;
        });
    }
}

fn request(start: Start) -> Subscribe {
    Subscribe {
        stream: "live/test".parse().unwrap(),
        description: Description::Zero,
        media: MediaSet::ALL,
        start,
        end: None,
        priority: 1,
    }
}

async fn group(subscription: &mut Subscription) -> IncomingGroup {
    match subscription.next().await {
        Event::Group(group) => group,
        other => panic!("expected a group, got {other:?}"),
    }
}

async fn read_all(group: &mut IncomingGroup) -> Result<u32, message::MessageError> {
    while let Some((index, frame)) = group.next_frame().await? {
        assert_eq!(&frame.payload[..], vec![index as u8; 3000]);
    }
    Ok(group.frames())
}

#[tokio::test]
async fn a_subscriber_gets_the_groups_it_asked_for_and_then_the_end() {
    let network = network();
    push(&network.tracks, 1, 0..24, true);
    push(&network.tracks, 2, 0..10, false);
    let link = Link::new(network.viewer.connect(&network.edge, network.address).await.unwrap());
    let start = Start::Live(Duration::from_millis(900));
    let mut subscription = Subscription::open(&link, &request(start)).await.unwrap();
    assert_eq!(subscription.accepted.first, GroupId(1));
    assert_eq!(subscription.accepted.live, MediaTime(2 * SECOND + 9));
    let mut first = group(&mut subscription).await;
    let mut second = group(&mut subscription).await;
    if first.start.header.group != GroupId(1) {
        std::mem::swap(&mut first, &mut second);
    }
    assert_eq!(read_all(&mut first).await.unwrap(), 24);
    subscription.end_after(GroupId(2)).await.unwrap();
    push(&network.tracks, 2, 0..24, true);
    assert_eq!(read_all(&mut second).await.unwrap(), 24);
    assert!(matches!(subscription.next().await, Event::Ended));
}

#[tokio::test]
async fn ending_before_a_group_under_way_breaks_it_off_and_never_finishes_it() {
    let network = network();
    push(&network.tracks, 1, 0..24, true);
    push(&network.tracks, 2, 0..10, false);
    let link = Link::new(network.viewer.connect(&network.edge, network.address).await.unwrap());
    let start = Start::Group { group: GroupId(2), resume: None };
    let mut subscription = Subscription::open(&link, &request(start)).await.unwrap();
    let mut begun = group(&mut subscription).await;
    begun.next_frame().await.unwrap().unwrap();
    subscription.end_after(GroupId(1)).await.unwrap();
    assert!(read_all(&mut begun).await.is_err(), "a part must not be taken for the whole");
}

#[tokio::test]
async fn a_subscriber_may_resume_within_a_group_of_the_same_producer() {
    let network = network();
    push(&network.tracks, 1, 0..24, true);
    let link = Link::new(network.viewer.connect(&network.edge, network.address).await.unwrap());
    for (producer, expected) in [(ProducerId(1), 20), (ProducerId(2), 0)] {
        let start = Start::Group { group: GroupId(1), resume: Some((producer, 20)) };
        let mut subscription = Subscription::open(&link, &request(start)).await.unwrap();
        assert_eq!(group(&mut subscription).await.start.first, expected);
    }
}

#[tokio::test]
async fn an_unknown_stream_is_refused_with_a_reason() {
    let network = network();
    let link = Link::new(network.viewer.connect(&network.edge, network.address).await.unwrap());
    let unknown = Subscribe { stream: "live/none".parse().unwrap(), ..request(Start::Next) };
    match Subscription::open(&link, &unknown).await {
        Err(SubscribeError::Rejected(why)) => assert_eq!(why.code, RejectCode::UnknownStream),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_node_of_another_name_is_not_talked_to() {
    let network = network();
    for (id, role) in [("edge-b", Role::Edge), ("edge-a", Role::Origin)] {
        let wrong = Identity { id: id.parse().unwrap(), role };
        assert!(network.viewer.connect(&wrong, network.address).await.is_err());
    }
}
