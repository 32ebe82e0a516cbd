//! What those without a certificate may try.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::BytesMut;
use gibbon_control::{GrantSigner, process};
use gibbon_media::{Medium, Role};
use gibbon_net::{
    Certificates, close, message,
    message::JSON,
    subscribe::Link,
    wire::{
        Accepted, GroupStart, MAX_JSON, MAX_MESSAGE, MediaSet, MessageDecoder, RejectCode,
        StreamKind, Subscribe, kind,
    },
};
use quinn::{ConnectionError, ReadError, ReadToEndError, TransportConfig, VarInt};

use crate::attacker::{
    Attacker, LOOPBACK, SOON, closed, cut, hello, identity, json_stream, oversized, rejected,
    request, soon, stream, write,
};

/// Datagrams of every length whose first bytes say every kind of packet.
pub async fn garbage(attacker: &Attacker) -> anyhow::Result<()> {
    let socket = tokio::net::UdpSocket::bind(LOOPBACK).await?;
    let mut noise = 0x2545_f491_4f6c_dd1d_u64;
    for first in 0..=255u8 {
        for version in [0, 1, 0x6b33_43cf_u32] {
            let mut datagram = vec![first];
            datagram.extend_from_slice(&version.to_be_bytes());
            for _ in 0..(noise % 180) {
                // Marsaglia's xorshift: any bytes will do, so long as they are the same each time.
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                datagram.extend_from_slice(&noise.to_be_bytes());
            }
            noise = noise.rotate_left(1);
            socket.send_to(&datagram, attacker.edge).await?;
        }
        tokio::task::yield_now().await;
    }
    attacker.viewer().await.context("the edge does not answer after garbage")?;
    Ok(())
}

pub async fn of_another_protocol(attacker: &Attacker) -> anyhow::Result<()> {
    /// RFC 9001, section 8.1: the TLS alert `no_application_protocol`, 120.
    const NO_APPLICATION_PROTOCOL: u64 = 0x178;
    match attacker.bare(b"h3", TransportConfig::default()).await? {
        Err(ConnectionError::ConnectionClosed(closed)) => {
            let code = u64::from(closed.error_code);
            ensure!(code == NO_APPLICATION_PROTOCOL, "{closed}");
            Ok(())
        }
        other => bail!("expected a refusal, got {other:?}"),
    }
}

/// Silence, and a subscription that comes before any grant.
pub async fn without_a_grant(attacker: &Attacker) -> anyhow::Result<()> {
    let (silent, eager) = (attacker.viewer().await?, attacker.viewer().await?);
    let (mut sender, mut receiver) = message::open(&eager, StreamKind::Description).await?;
    sender.send(kind::SUBSCRIBE, &request("live/bbb")?.encode()).await?;
    for connection in [silent, eager] {
        closed(&connection, close::SILENT, "no grant was shown").await?;
    }
    ensure!(receiver.receive().await.is_err(), "it was answered");
    Ok(())
}

pub async fn with_bad_grants(attacker: &Attacker) -> anyhow::Result<()> {
    let expired = attacker.signer.sign(&attacker.grant("live/bbb", process::now())?);
    let folder = tempfile::tempdir()?;
    let stranger = GrantSigner::load_or_make(&Certificates::in_folder(folder.path()))?;
    let later = process::now() + Duration::from_secs(3600);
    let foreign = stranger.sign(&attacker.grant("live/bbb", later)?);
    let good = attacker.good_grant("live/bbb")?;
    let forged = format!("{}A{}", &good[..20], &good[21..]);
    let (signature, other) = ("the grant is not signed by", "the grant is malformed");
    for (grant, reason) in [
        (expired, "the grant has expired; ask the portal for a new one"),
        (foreign, signature),
        (forged, signature),
        (String::new(), other),
        ("A".repeat(9000), other),
    ] {
        let connection = attacker.viewer().await?;
        let refused = hello(&connection, grant).await;
        ensure!(refused.is_err(), "welcomed, though {reason}");
        closed(&connection, close::UNAUTHORISED, reason).await?;
    }
    Ok(())
}

/// Streams that are for nodes, and nodes that are not for viewers.
pub async fn on_the_wrong_streams(attacker: &Attacker) -> anyhow::Result<()> {
    for kind in [StreamKind::Control, StreamKind::Handoff] {
        let (connection, _sender, _receiver) = attacker.granted("live/bbb").await?;
        let _streams = write(&connection, &json_stream(kind, "{}"), false).await?;
        let reason = "control and hand-off streams are for nodes with a certificate";
        closed(&connection, close::WRONG_ROLE, reason).await?;
    }
    let origin = identity("origin-1", Role::Origin)?;
    let connection = attacker.viewer_at(&origin, attacker.origin).await?;
    closed(&connection, close::WRONG_ROLE, "an origin serves edges and workers only").await?;
    let coordinator = crate::attacker::coordinator();
    let connection = attacker.viewer_at(&coordinator, attacker.coordinator).await?;
    closed(&connection, close::UNAUTHORISED, "only nodes with a certificate").await
}

/// Everything that can be wrong with the first message of a stream.
pub async fn with_bad_messages(attacker: &Attacker) -> anyhow::Result<()> {
    let subscribe = request("live/bbb")?.encode();
    let description = |message, body: &[u8]| stream(StreamKind::Description, message, body);
    let session = |json: &str| json_stream(StreamKind::Session, json);
    let cases: [(&str, Vec<u8>, bool); 13] = [
        (
            "message of 1048577 bytes is longer than 1048576",
            oversized(StreamKind::Session, JSON, MAX_JSON),
            false,
        ),
        (
            "message of 65537 bytes is longer than 65536",
            oversized(StreamKind::Description, kind::SUBSCRIBE, MAX_MESSAGE),
            false,
        ),
        ("message ends too early", cut(session(r#"{"type":"bye"}"#)), true),
        ("message ends too early", cut(description(kind::SUBSCRIBE, &subscribe)), true),
        ("first message ends too early", vec![StreamKind::Session as u8], true),
        ("field ends too early", description(kind::SUBSCRIBE, &subscribe[..4]), false),
        ("Subscribe lacks its field stream", description(kind::SUBSCRIBE, b""), false),
        (
            "unknown message kind 0x1",
            stream(StreamKind::Session, kind::SUBSCRIBE, &subscribe),
            false,
        ),
        ("not a valid message: unknown variant `detach`", session(r#"{"type":"detach"}"#), false),
        ("not a valid message: missing field `grant`", session(r#"{"type":"hello"}"#), false),
        (
            "not a valid message: recursion limit",
            session(&format!(r#"{{"type":"hello","grant":{}"#, "[".repeat(1000))),
            false,
        ),
        ("unknown request 0x2", description(kind::UPDATE, &subscribe), false),
        ("unknown stream kind 0x5", vec![5], false),
    ];
    for (reason, bytes, finish) in cases {
        let connection = attacker.viewer().await?;
        let _streams = write(&connection, &bytes, finish).await?;
        closed(&connection, close::MALFORMED, reason).await?;
    }
    let connection = attacker.viewer().await?;
    let _streams = write(&connection, &session(r#"{"type":"bye"}"#), false).await?;
    closed(&connection, close::UNAUTHORISED, "say hello first").await?;
    later_messages(attacker).await
}

/// Later messages are no better trusted than the first.
async fn later_messages(attacker: &Attacker) -> anyhow::Result<()> {
    let (connection, mut sender, _receiver) = attacker.granted("live/bbb").await?;
    sender.send_json(&serde_json::json!({ "type": "report", "revision": -1 })).await?;
    closed(&connection, close::MALFORMED, "not a valid message: invalid value").await?;
    let (connection, _sender, _receiver) = attacker.granted("live/bbb").await?;
    let (mut sender, mut receiver) = message::open(&connection, StreamKind::Description).await?;
    // Cues only: quinn-proto 0.11 sends no close while the congestion window is full (quinn issue 2785).
    let cues = Subscribe { media: MediaSet::only(Medium::Text), ..request("live/bbb")? };
    sender.send(kind::SUBSCRIBE, &cues.encode()).await?;
    let answer = soon("an answer", receiver.receive()).await??.context("no answer")?;
    ensure!(answer.kind == kind::ACCEPTED, "{answer:?}");
    sender.send(kind::UPDATE, &cues.encode()).await?;
    closed(&connection, close::MALFORMED, "Update lacks its field end").await
}

pub async fn that_want_what_there_is_not(attacker: &Attacker) -> anyhow::Result<()> {
    let (connection, _sender, _receiver) = attacker.granted("live/other").await?;
    let why = rejected(&Link::new(connection), "live/bbb").await?;
    ensure!(why.code == RejectCode::Unauthorised, "{why:?}");
    ensure!(why.reason == "the grant is for live/other, not for live/bbb", "{why}");
    let (connection, _sender, _receiver) = attacker.granted("live/none").await?;
    let why = rejected(&Link::new(connection), "live/none").await?;
    ensure!(why.code == RejectCode::UnknownStream, "{why:?}");
    ensure!(why.reason == "nobody publishes live/none", "{why}");
    Ok(())
}

/// A viewer may have eight streams open, and none of the kind that carries groups.
pub async fn with_too_many_streams(attacker: &Attacker) -> anyhow::Result<()> {
    const HELD_BACK: Duration = Duration::from_millis(300);
    let (connection, _sender, _receiver) = attacker.granted("live/bbb").await?;
    let mut open = Vec::new();
    for _ in 0..7 {
        open.push(soon("a stream", write(&connection, &[1], false)).await??);
    }
    let ninth = tokio::time::timeout(HELD_BACK, connection.open_bi()).await;
    ensure!(ninth.is_err(), "a ninth stream was allowed");
    let group = tokio::time::timeout(HELD_BACK, connection.open_uni()).await;
    ensure!(group.is_err(), "a viewer may publish groups");
    // QUIC announces free places two at a time here.
    for (mut send, mut recv) in open.drain(..2) {
        send.finish()?;
        soon("the end of a stream", recv.read_to_end(1)).await??;
    }
    soon("the place of a stream that ended", connection.open_bi()).await??;
    ensure!(connection.close_reason().is_none());
    Ok(())
}

/// Flow control holds everything back for longer than the edge keeps groups. What it has let go is reset,
/// and the viewer goes on with the newest.
pub async fn that_stops_reading(attacker: &Attacker) -> anyhow::Result<()> {
    const UNREAD: Duration = Duration::from_secs(9);
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(VarInt::from_u32(16 * 1024))
        .receive_window(VarInt::from_u32(48 * 1024));
    let connection = attacker.bare(gibbon_net::wire::ALPN, transport).await??;
    let _session = hello(&connection, attacker.good_grant("live/bbb")?).await?;
    let (mut sender, mut receiver) = message::open(&connection, StreamKind::Description).await?;
    sender.send(kind::SUBSCRIBE, &request("live/bbb")?.encode()).await?;
    let answer = soon("an answer", receiver.receive()).await??.context("no answer")?;
    let accepted = Accepted::decode(answer.body)?;
    tokio::time::sleep(UNREAD).await;
    let mut superseded = 0;
    let newest = async {
        loop {
            let mut stream = connection.accept_uni().await?;
            match stream.read_to_end(16 << 20).await {
                Ok(bytes) if begins_after(&bytes, &accepted)? => return anyhow::Ok(()),
                Ok(_) => {}
                Err(ReadToEndError::Read(ReadError::Reset(code))) => {
                    ensure!(code == close::SUPERSEDED, "a group was reset with {code}");
                    superseded += 1;
                }
                Err(error) => bail!("a group broke off: {error}"),
            }
        }
    };
    soon("a new group", newest).await??;
    ensure!(superseded > 0, "nothing was given up in {UNREAD:?}");
    Ok(())
}

/// Whether a group begins later than [`SOON`]'s half after the subscription.
fn begins_after(group: &[u8], accepted: &Accepted) -> anyhow::Result<bool> {
    let message = MessageDecoder::new(MAX_MESSAGE).decode(&mut BytesMut::from(group))?;
    let start = GroupStart::decode(message.context("a group without a header")?.body)?;
    Ok(start.base > accepted.live + SOON / 2)
}
