//! What an edge may meet where it expects an origin.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use gibbon_control::{
    link::{self, NodeLink, Registration},
    node::{FromNode, NodeAddress, NodeReport},
    process,
};
use gibbon_media::{
    Catalog, Codec, FrameRate, GroupHeader, GroupId, MediaTime, Medium, ProducerId, Role, Scheme,
    VideoTrack,
};
use gibbon_net::{
    Endpoint, close, message,
    message::Sender,
    publish,
    subscribe::{Link, Subscription},
    wire::{
        Accepted, GroupStart, MAX_FRAME, MAX_MESSAGE, RejectCode, StreamKind, encode_message, kind,
        put_varint,
    },
};
use quinn::{Connection, SendStream};

use crate::attacker::{Attacker, closed, rejected, request, soon};

/// A stream of pictures.
pub fn catalog(stream: &str) -> anyhow::Result<Catalog> {
    Ok(Catalog {
        stream: stream.parse()?,
        scheme: Scheme::Alternating,
        created: MediaTime(0),
        grids: Catalog::grids_of(Scheme::Alternating, Duration::from_secs(1)),
        video: Some(VideoTrack {
            codec: Codec::H264,
            rate: FrameRate::new(24, 1)?,
            width: 64,
            height: 64,
        }),
        audio: None,
        text: None,
        host: "nowhere".into(),
    })
}

/// Registers the origin `id`, which publishes `stream`, as being reached where `served` listens.
fn publishes(
    attacker: &Attacker,
    id: &str,
    stream: &str,
    served: &Endpoint,
) -> anyhow::Result<NodeLink> {
    let node =
        NodeAddress { id: id.parse()?, role: Role::Origin, address: served.local_address()? };
    let register = FromNode::Register {
        node,
        location: None,
        failure_domain: None,
        capacity_legs: 0,
        capacity_kbps: None,
        worker: None,
    };
    let registration = Registration::new(attacker.coordinator, register);
    let report = NodeReport { streams: vec![catalog(stream)?], ..NodeReport::default() };
    Ok(link::start(attacker.node(id, Role::Origin)?, registration, move || report.clone()))
}

/// An edge's certificate where the directory names an origin: the handshake fails, and the viewer is told
/// that the stream cannot be had.
pub async fn of_another_certificate(attacker: &Attacker) -> anyhow::Result<()> {
    let impostor = attacker.node("evil", Role::Edge)?;
    let _link = publishes(attacker, "fake", "live/fake", &impostor)?;
    let handshake = async { anyhow::Ok(impostor.accept().await.context("closed")?.await) };
    let asking = async {
        loop {
            let (connection, _sender, _receiver) = attacker.granted("live/fake").await?;
            let why = rejected(&Link::new(connection), "live/fake").await?;
            // The edge may not have heard of the stream yet.
            if why.code != RejectCode::UnknownStream {
                return anyhow::Ok(why);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (handshake, why) = tokio::try_join!(handshake, asking)?;
    let refusal = handshake.err().context("the edge took an edge for an origin")?.to_string();
    ensure!(refusal.contains("certificate"), "{refusal}");
    ensure!(why.code == RejectCode::Unavailable, "{why:?}");
    ensure!(why.reason == "no source of live/fake answered within 5s", "{why}");
    Ok(())
}

/// An origin by certificate whose groups are not of the specified form: the edge closes the connection,
/// or stops the group, says why, and tries again.
pub async fn that_sends_nonsense(attacker: &Attacker) -> anyhow::Result<()> {
    let origin = attacker.node("broken", Role::Origin)?;
    let _link = publishes(attacker, "broken", "live/broken", &origin)?;
    let (connection, _sender, _receiver) = attacker.granted("live/broken").await?;
    let viewer = Link::new(connection);
    let subscribed = async {
        loop {
            match Subscription::open(&viewer, &request("live/broken")?).await {
                Ok(subscription) => return anyhow::Ok(subscription),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    let (subscription, ()) =
        tokio::try_join!(async { soon("a subscription", subscribed).await? }, async {
            soon("the edge to see all the nonsense", nonsense(&origin)).await?
        },)?;
    drop(subscription);
    Ok(())
}

async fn nonsense(origin: &Endpoint) -> anyhow::Result<()> {
    let mut too_long = vec![kind::GROUP as u8];
    put_varint(&mut too_long, MAX_MESSAGE as u64 + 1);
    for (bytes, finish, reason) in [
        (too_long, false, "group stream: message of 65537 bytes is longer than 65536"),
        (vec![kind::GROUP as u8, 9, 1], true, "group stream: group header ends too early"),
        (vec![kind::GROUP as u8, 0], false, "group stream: Group lacks its field medium"),
        (vec![kind::SUBSCRIBE as u8, 0], false, "group stream: unknown unidirectional stream 0x1"),
    ] {
        let (connection, _sender, _) = asked(origin).await?;
        let _group = send_group(&connection, &bytes, finish).await?;
        closed(&connection, close::MALFORMED, reason).await?;
    }
    let (connection, _sender, subscription) = asked(origin).await?;
    let mut bytes = group_start(subscription);
    bytes.extend_from_slice(&[0, 1]);
    put_varint(&mut bytes, MAX_FRAME as u64 + 1);
    let group = send_group(&connection, &bytes, false).await?;
    let stopped = group.stopped().await?;
    ensure!(stopped == Some(close::MALFORMED), "{stopped:?}");
    Ok(())
}

/// The edge connects and asks; it is answered as it should be.
async fn asked(origin: &Endpoint) -> anyhow::Result<(Connection, Sender, u64)> {
    let connection = origin.accept().await.context("closed")?.await?;
    let (send, recv) = connection.accept_bi().await?;
    let (stream_kind, mut sender, mut receiver) = message::accept(send, recv).await?;
    ensure!(stream_kind == StreamKind::Description);
    let Some(request) = publish::request(&mut receiver).await? else { bail!("no request") };
    let accepted = Accepted {
        catalog: catalog(request.stream.as_str())?,
        live: process::now(),
        first: GroupId(1),
    };
    sender.send(kind::ACCEPTED, &accepted.encode()).await?;
    let subscription = sender.id();
    // Kept: the edge would take the end of the stream for the end of the description.
    tokio::spawn(async move {
        let _ = receiver.receive().await;
    });
    Ok((connection, sender, subscription))
}

async fn send_group(
    connection: &Connection,
    bytes: &[u8],
    finish: bool,
) -> anyhow::Result<SendStream> {
    let mut stream = connection.open_uni().await?;
    stream.write_all(bytes).await?;
    if finish {
        stream.finish()?;
    }
    Ok(stream)
}

fn group_start(subscription: u64) -> Vec<u8> {
    let header = GroupHeader {
        medium: Medium::Video,
        group: GroupId(1),
        producer: ProducerId(1),
        published_us: 0,
    };
    let start = GroupStart { subscription, header, base: MediaTime(0), first: 0 };
    encode_message(kind::GROUP, &start.encode()).to_vec()
}
