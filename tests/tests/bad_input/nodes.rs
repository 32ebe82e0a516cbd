//! What those with a certificate of the network may try beyond their role.

use anyhow::{Context, bail, ensure};
use gibbon_control::node::{FromNode, NodeAddress, NodeReport, ToNode};
use gibbon_media::Role;
use gibbon_net::{
    Endpoint, close, message,
    message::{JSON, Receiver, Sender},
    subscribe::Link,
    wire::{MAX_JSON, MAX_MESSAGE, RejectCode, StreamKind, kind},
};
use quinn::Connection;

use crate::attacker::{
    Attacker, LOOPBACK, closed, coordinator, cut, identity, json_stream, oversized, rejected, soon,
    stream, write,
};

pub async fn at_an_edge(attacker: &Attacker) -> anyhow::Result<()> {
    let (edge, origin) = (attacker.node("evil", Role::Edge)?, attacker.node("evil", Role::Origin)?);
    let target = identity("edge-a", Role::Edge)?;
    let wrong = "an edge serves no such stream to the";
    let too_long = "message of 1048577 bytes is longer than 1048576";
    for (endpoint, bytes, finish, code, reason) in [
        (&edge, json_stream(StreamKind::Session, "{}"), false, close::WRONG_ROLE, wrong),
        (&edge, json_stream(StreamKind::Control, "{}"), false, close::WRONG_ROLE, wrong),
        (
            &origin,
            stream(StreamKind::Description, kind::SUBSCRIBE, b""),
            false,
            close::WRONG_ROLE,
            wrong,
        ),
        (&origin, json_stream(StreamKind::Handoff, "{}"), false, close::WRONG_ROLE, wrong),
        (&edge, oversized(StreamKind::Handoff, JSON, MAX_JSON), false, close::MALFORMED, too_long),
        (
            &edge,
            cut(json_stream(StreamKind::Handoff, "{}")),
            true,
            close::MALFORMED,
            "message ends too early",
        ),
        (
            &edge,
            json_stream(StreamKind::Handoff, "{}"),
            false,
            close::MALFORMED,
            "not a valid message: missing field",
        ),
        (
            &edge,
            oversized(StreamKind::Description, kind::SUBSCRIBE, MAX_MESSAGE),
            false,
            close::MALFORMED,
            "message of 65537 bytes is longer than 65536",
        ),
    ] {
        let connection = endpoint.connect(&target, attacker.edge).await?;
        let _streams = write(&connection, &bytes, finish).await?;
        closed(&connection, code, reason).await?;
    }
    Ok(())
}

pub async fn at_an_origin(attacker: &Attacker) -> anyhow::Result<()> {
    let (edge, origin) = (attacker.node("evil", Role::Edge)?, attacker.node("evil", Role::Origin)?);
    let target = identity("origin-1", Role::Origin)?;
    let connection = origin.connect(&target, attacker.origin).await?;
    closed(&connection, close::WRONG_ROLE, "an origin serves edges and workers only").await?;
    for (bytes, code, reason) in [
        (
            json_stream(StreamKind::Session, "{}"),
            close::WRONG_ROLE,
            "an origin serves description streams only",
        ),
        (
            oversized(StreamKind::Description, kind::SUBSCRIBE, MAX_MESSAGE),
            close::MALFORMED,
            "message of 65537 bytes is longer than 65536",
        ),
    ] {
        let connection = edge.connect(&target, attacker.origin).await?;
        let _streams = write(&connection, &bytes, false).await?;
        closed(&connection, code, reason).await?;
    }
    let link = Link::new(edge.connect(&target, attacker.origin).await?);
    let why = rejected(&link, "live/none").await?;
    ensure!(why.code == RejectCode::UnknownStream, "{why:?}");
    ensure!(why.reason == "this origin does not publish live/none", "{why}");
    Ok(())
}

/// A node that has registered as `role`.
async fn registers(
    endpoint: &Endpoint,
    attacker: &Attacker,
    role: Role,
) -> anyhow::Result<(Connection, Sender, Receiver, ToNode)> {
    let connection = endpoint.connect(&coordinator(), attacker.coordinator).await?;
    let (mut sender, mut receiver) = message::open(&connection, StreamKind::Control).await?;
    sender
        .send_json(&FromNode::Register {
            node: NodeAddress { id: "evil".parse()?, role, address: LOOPBACK },
            location: None,
            failure_domain: None,
            capacity_legs: 2,
            capacity_kbps: None,
            worker: None,
        })
        .await?;
    let answer = soon("an answer", receiver.receive_json()).await??;
    Ok((connection, sender, receiver, answer.context("no answer")?))
}

pub async fn at_the_coordinator(attacker: &Attacker) -> anyhow::Result<()> {
    let edge = attacker.node("evil", Role::Edge)?;
    // An edge's certificate does not make an origin, ...
    let (connection, _sender, _receiver, answer) = registers(&edge, attacker, Role::Origin).await?;
    let impostor = "the certificate is that of edge evil, and it registers as origin evil";
    match answer {
        ToNode::Refused { reason } => ensure!(reason == impostor, "{reason}"),
        other => bail!("expected a refusal, got {other:?}"),
    }
    closed(&connection, close::WRONG_ROLE, impostor).await?;
    // ... and one that has registered as an edge cannot publish.
    let (connection, mut sender, _receiver, answer) =
        registers(&edge, attacker, Role::Edge).await?;
    ensure!(matches!(answer, ToNode::Registered { .. }), "{answer:?}");
    let streams = vec![crate::upstream::catalog("live/bbb")?];
    sender.send_json(&FromNode::Report(NodeReport { streams, ..NodeReport::default() })).await?;
    let reason = "an edge may not publish streams; only an origin may";
    closed(&connection, close::WRONG_ROLE, reason).await?;
    for (bytes, finish, reason) in [
        (
            oversized(StreamKind::Control, JSON, MAX_JSON),
            false,
            "message of 1048577 bytes is longer than 1048576",
        ),
        (cut(json_stream(StreamKind::Control, "{}")), true, "message ends too early"),
        (
            json_stream(StreamKind::Control, "{}"),
            false,
            "not a valid message: missing field `type`",
        ),
        (json_stream(StreamKind::Session, "{}"), false, "a node opens a control stream first"),
    ] {
        let connection = edge.connect(&coordinator(), attacker.coordinator).await?;
        let _streams = write(&connection, &bytes, finish).await?;
        closed(&connection, close::MALFORMED, reason).await?;
    }
    Ok(())
}
