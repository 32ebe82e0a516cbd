//! Publisher and subscriber over real QUIC on loopback.
#![allow(clippy::unwrap_used)]

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use gibbon_media::{
    AudioTrack, Catalog, Description, Frame, FrameFlags, FrameRate, GroupHeader, GroupId,
    MediaTime, Medium, ProducerId, Role, Scheme, VideoTrack,
};
use gibbon_net::{
    Certificates, Endpoint, Identity, Peer,
    cache::{Group, MAX_GROUPS, Tracks},
    close, endpoint, message,
    publish::{self, Pump},
    subscribe::{Event, IncomingGroup, Link, SubscribeError, Subscription},
    wire::{
        self, GroupStart, MediaSet, RejectCode, Rejected, Resume, Start, StreamKind, Subscribe,
    },
};
use quinn::{ConnectionError, ReadError, ReadToEndError, VarInt};

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
    push_sized(tracks, group, frames, complete, 3000);
}

fn push_sized(
    tracks: &Tracks,
    group: u64,
    frames: std::ops::Range<u32>,
    complete: bool,
    bytes: usize,
) -> Weak<Group> {
    push_of(Medium::Video, tracks, group, frames, complete, bytes)
}

fn push_of(
    medium: Medium,
    tracks: &Tracks,
    group: u64,
    frames: std::ops::Range<u32>,
    complete: bool,
    bytes: usize,
) -> Weak<Group> {
    let header =
        GroupHeader { medium, group: GroupId(group), producer: ProducerId(1), published_us: 0 };
    let held = tracks.begin(catalog().grids[0], header).unwrap();
    for index in frames.clone() {
        let time = MediaTime(held.base.0 + u64::from(index));
        let payload = Bytes::from(vec![index as u8; bytes]);
        tracks.push(&held, index, Frame { time, flags: FrameFlags::PRIMARY, payload });
    }
    if complete {
        tracks.complete(&held, frames.end);
    }
    Arc::downgrade(&held)
}

struct Network {
    folder: tempfile::TempDir,
    viewer: Endpoint,
    edge: Identity,
    address: SocketAddr,
    tracks: Arc<Tracks>,
}

/// An edge that serves `live/test` out of `tracks` to anyone.
fn network() -> Network {
    network_of(catalog())
}

fn network_of(catalog: Catalog) -> Network {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::in_folder(folder.path());
    let edge = Identity { id: "edge-a".parse().unwrap(), role: Role::Edge };
    let endpoint = Endpoint::node(&certificates, &edge, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = endpoint.local_address().unwrap();
    let tracks = Arc::new(Tracks::default());
    let served = tracks.clone();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let (served, catalog) = (served.clone(), catalog.clone());
            tokio::spawn(async move {
                if let Ok(connection) = incoming.await {
                    serve_all(connection, catalog, served).await;
                }
            });
        }
    });
    let viewer = Endpoint::viewer(certificates.authority().unwrap()).unwrap();
    Network { folder, viewer, edge, address, tracks }
}

async fn serve_all(connection: quinn::Connection, catalog: Catalog, tracks: Arc<Tracks>) {
    if let Peer::Node(_) = Peer::of(&connection) {
        endpoint::welcome_node(&connection);
    }
    let pump = Pump::new(connection.clone(), Arc::default());
    while let Ok((send, recv)) = connection.accept_bi().await {
        let (pump, catalog, tracks) = (pump.clone(), catalog.clone(), tracks.clone());
        tokio::spawn(async move {
            let (kind, mut sender, mut receiver) = message::accept(send, recv).await.unwrap();
            assert_eq!(kind, StreamKind::Description);
            let request = match publish::request(&mut receiver).await {
                Ok(request) => request.unwrap(),
                Err(error) => {
                    let reason = error.to_string();
                    return pump.connection().close(close::MALFORMED, reason.as_bytes());
                }
            };
            if request.stream.as_str() != "live/test" {
                let rejected = Rejected::new(RejectCode::UnknownStream, "no such stream");
                sender.send(wire::kind::REJECTED, &rejected.encode()).await.unwrap();
                return;
            }
            let _ = publish::serve(&pump, sender, receiver, request, &catalog, tracks).await;
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
        patience: None,
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
        let start = Start::Group {
            group: GroupId(1),
            resume: Some(Resume { producer, frames: [20, 0, 0] }),
        };
        let mut subscription = Subscription::open(&link, &request(start)).await.unwrap();
        assert_eq!(group(&mut subscription).await.start.first, expected);
    }
}

#[tokio::test]
async fn what_is_missing_of_each_medium_comes_out_of_a_cache_that_two_upstreams_filled() {
    let sound = AudioTrack { sample_rate: 48_000, channels: 2, packet_us: 20_000 };
    let network = network_of(Catalog { audio: Some(sound), ..catalog() });
    let fill = |medium, frames, complete| {
        push_of(medium, &network.tracks, 1, frames, complete, 3000);
    };
    fill(Medium::Video, 0..10, false);
    fill(Medium::Audio, 0..30, false);
    // The first upstream is lost; the second begins the group anew.
    fill(Medium::Video, 0..24, true);
    fill(Medium::Audio, 0..50, true);
    let link = Link::new(network.viewer.connect(&network.edge, network.address).await.unwrap());
    let had = [7, 43, 0];
    let start = Start::Group {
        group: GroupId(1),
        resume: Some(Resume { producer: ProducerId(1), frames: had }),
    };
    let mut subscription = Subscription::open(&link, &request(start)).await.unwrap();
    for _ in 0..2 {
        let mut group = group(&mut subscription).await;
        let medium = group.start.header.medium;
        let mut indices = Vec::new();
        while let Some((index, frame)) = group.next_frame().await.unwrap() {
            assert_eq!(&frame.payload[..], vec![index as u8; 3000]);
            indices.push(index);
        }
        let frames = if medium == Medium::Video { 24 } else { 50 };
        assert_eq!(indices, Vec::from_iter(had[medium.index()]..frames), "{medium}");
    }
}

#[tokio::test]
async fn an_older_group_goes_before_a_newer_one() {
    let network = network();
    let link = Link::new(network.viewer.connect(&network.edge, network.address).await.unwrap());
    push_sized(&network.tracks, 1, 0..3, true, 500_000);
    push_sized(&network.tracks, 2, 0..1, true, 400_000);
    let start = Start::Group { group: GroupId(1), resume: None };
    let mut subscription = Subscription::open(&link, &request(start)).await.unwrap();
    let mut arriving = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let mut group = group(&mut subscription).await;
        arriving.spawn(async move {
            while group.next_frame().await.unwrap().is_some() {}
            group.start.header.group
        });
    }
    assert_eq!(arriving.join_next().await.unwrap().unwrap(), GroupId(1));
}

#[tokio::test]
async fn a_group_is_given_up_when_its_subscriber_has_no_more_patience() {
    let network = network();
    push_sized(&network.tracks, 1, 0..3, true, 1024 * 1024);
    push(&network.tracks, 2, 0..24, true);
    let patience = Duration::from_millis(500);
    // Group 1 ended 450 ms ago.
    network.tracks.advance_live(MediaTime(2 * SECOND + 450_000));
    let connection = network.viewer.connect(&network.edge, network.address).await.unwrap();
    let (mut sender, mut receiver) =
        message::open(&connection, StreamKind::Description).await.unwrap();
    let start = Start::Group { group: GroupId(1), resume: None };
    let request = Subscribe { patience: Some(patience), ..request(start) };
    sender.send(wire::kind::SUBSCRIBE, &request.encode()).await.unwrap();
    assert_eq!(receiver.receive().await.unwrap().unwrap().kind, wire::kind::ACCEPTED);
    // Neither is read. All of group 1 is in QUIC's hands, more than the subscriber lets through.
    let mut streams =
        [connection.accept_uni().await.unwrap(), connection.accept_uni().await.unwrap()];
    network.tracks.advance_live(MediaTime(2 * SECOND + 500_001));
    let reset = streams[0].received_reset();
    let reset = tokio::time::timeout(Duration::from_secs(5), reset).await.expect("it is held");
    assert_eq!(reset.unwrap(), Some(close::SUPERSEDED));
    assert!(streams[1].read_to_end(usize::MAX).await.is_ok(), "group 2 is still of use");
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

#[tokio::test]
async fn a_subscriber_that_does_not_read_holds_no_group_that_the_cache_has_let_go() {
    let network = network();
    push(&network.tracks, 1, 0..1, true);
    let connection = network.viewer.connect(&network.edge, network.address).await.unwrap();
    let (mut sender, mut receiver) =
        message::open(&connection, StreamKind::Description).await.unwrap();
    sender.send(wire::kind::SUBSCRIBE, &request(Start::Next).encode()).await.unwrap();
    assert_eq!(receiver.receive().await.unwrap().unwrap().kind, wire::kind::ACCEPTED);
    // Three times what the viewer's flow control lets through.
    let mut groups = Vec::new();
    for group in 2..18 {
        groups.push(push_sized(&network.tracks, group, 0..3, true, 1024 * 1024));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let evicted = &groups[..groups.len() - MAX_GROUPS];
    let freed = async {
        while evicted.iter().any(|group| group.strong_count() > 0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), freed).await.expect("evicted groups are held");
    // What had been handed to QUIC comes whole; the first that had not is reset.
    loop {
        let mut stream = connection.accept_uni().await.unwrap();
        match stream.read_to_end(usize::MAX).await {
            Ok(_) => {}
            Err(ReadToEndError::Read(ReadError::Reset(code))) => {
                return assert_eq!(code, close::SUPERSEDED);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// A connection on which the other side, a publisher, has sent `bytes` on a group stream; what became of
/// the stream there.
async fn stopped_with(
    bytes: Vec<u8>,
    read: impl AsyncFnOnce(Arc<Link>),
) -> Result<Option<VarInt>, quinn::StoppedError> {
    let network = network();
    let folder = network.folder.path();
    let certificates = Certificates::in_folder(folder);
    let hostile = Identity { id: "hostile".parse().unwrap(), role: Role::Origin };
    let endpoint = Endpoint::node(&certificates, &hostile, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = endpoint.local_address().unwrap();
    let publisher = tokio::spawn(async move {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let (mut send, _recv) = connection.accept_bi().await.unwrap();
        let accepted = wire::Accepted { catalog: catalog(), live: MediaTime(9), first: GroupId(1) };
        let answer = wire::encode_message(wire::kind::ACCEPTED, &accepted.encode());
        send.write_all(&answer).await.unwrap();
        let mut group = connection.open_uni().await.unwrap();
        group.write_all(&bytes).await.unwrap();
        group.stopped().await
    });
    let link = Link::new(network.viewer.connect(&hostile, address).await.unwrap());
    read(link).await;
    publisher.await.unwrap()
}

fn group_start() -> Vec<u8> {
    let header = GroupHeader {
        medium: Medium::Video,
        group: GroupId(1),
        producer: ProducerId(1),
        published_us: 0,
    };
    let start = GroupStart { subscription: 0, header, base: MediaTime(0), first: 0 };
    wire::encode_message(wire::kind::GROUP, &start.encode()).to_vec()
}

#[tokio::test]
async fn an_oversized_frame_ends_its_group_and_the_publisher_learns_why() {
    let mut bytes = group_start();
    bytes.extend_from_slice(&[0, 0]);
    wire::put_varint(&mut bytes, wire::MAX_FRAME as u64 + 1);
    let stopped = stopped_with(bytes, async |link| {
        let mut subscription = Subscription::open(&link, &request(Start::Next)).await.unwrap();
        let mut begun = group(&mut subscription).await;
        let error = begun.next_frame().await.unwrap_err();
        assert!(error.is_malformed(), "{error}");
    });
    assert_eq!(stopped.await.unwrap(), Some(close::MALFORMED));
}

#[tokio::test]
async fn an_oversized_group_header_closes_the_connection() {
    let mut bytes = vec![wire::kind::GROUP as u8];
    wire::put_varint(&mut bytes, wire::MAX_MESSAGE as u64 + 1);
    let stopped = stopped_with(bytes, async |link| {
        let _ = Subscription::open(&link, &request(Start::Next)).await;
        link.connection().closed().await;
    });
    match stopped.await.unwrap_err() {
        quinn::StoppedError::ConnectionLost(ConnectionError::ApplicationClosed(close)) => {
            assert_eq!(close.error_code, close::MALFORMED);
            let reason = String::from_utf8_lossy(&close.reason).into_owned();
            assert_eq!(reason, "group stream: message of 65537 bytes is longer than 65536");
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_description_stream_begins_with_a_subscription() {
    let network = network();
    let connection = network.viewer.connect(&network.edge, network.address).await.unwrap();
    let (mut sender, _receiver) =
        message::open(&connection, StreamKind::Description).await.unwrap();
    sender.send(wire::kind::UPDATE, &wire::Update { end: GroupId(1) }.encode()).await.unwrap();
    match connection.closed().await {
        ConnectionError::ApplicationClosed(closed) => {
            assert_eq!(closed.error_code, close::MALFORMED);
            assert_eq!(&closed.reason[..], b"unknown request 0x2");
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_message_above_its_bound_is_not_sent() {
    let network = network();
    let connection = network.viewer.connect(&network.edge, network.address).await.unwrap();
    let (mut sender, _receiver) =
        message::open(&connection, StreamKind::Description).await.unwrap();
    let long = Bytes::from(vec![0; wire::MAX_MESSAGE + 1]);
    let error = sender.send(wire::kind::SUBSCRIBE, &long).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot send a message of 65537 bytes: the bound is 65536");
}
