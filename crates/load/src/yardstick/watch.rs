//! Watchers: they read all that is sent to them, count it, and throw it away. One kind for the yardstick's
//! sender, one for an edge; both cost the machine little and the server what a viewer costs it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, ensure};
use bytes::{Buf, BytesMut};
use gibbon_control::{
    portal::SessionTicket,
    session::{ClientReport, FromViewer, ToViewer},
};
use gibbon_media::StreamName;
use gibbon_net::{
    Endpoint, Identity, message,
    subscribe::{Event, IncomingGroup, Link, Subscription},
    wire::{MediaSet, Start, StreamKind, Subscribe},
};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::{RootCertStore, pki_types::CertificateDer};
use tokio::task::JoinSet;

use super::{
    serve::{self, ALPN, HEAD, NAME},
    tally::Tally,
};

/// What of a stream is read at once, in bytes.
const CHUNK: usize = 64 * 1024;
/// A watcher tries to connect so often.
const ATTEMPTS: u32 = 4;

/// Watches the yardstick's sender until the connection ends.
pub async fn yardstick(
    server: SocketAddr,
    certificate: &Path,
    tally: Arc<Tally>,
) -> anyhow::Result<()> {
    let certificate = std::fs::read(certificate)
        .with_context(|| format!("cannot read {}", certificate.display()))?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate))?;
    let mut tls = rustls::ClientConfig::builder_with_provider(serve::provider().into())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut endpoint = quinn::Endpoint::client((Ipv4Addr::UNSPECIFIED, 0).into())?;
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    endpoint.set_default_client_config(config);
    let connection = endpoint.connect(server, NAME)?.await?;
    let mut groups = JoinSet::new();
    while let Ok(stream) = connection.accept_uni().await {
        groups.spawn(read(stream, tally.clone()));
        while groups.try_join_next().is_some() {}
    }
    Ok(())
}

async fn read(mut stream: quinn::RecvStream, tally: Arc<Tally>) {
    let mut buffer = BytesMut::new();
    while let Ok(Some(chunk)) = stream.read_chunk(CHUNK, true).await {
        buffer.extend_from_slice(&chunk.bytes);
        while let Some(length) = frame_length(&buffer) {
            buffer.advance(HEAD);
            tally.note(&buffer.split_to(length));
        }
    }
}

/// The length of the first frame, if all of it is there.
fn frame_length(buffer: &[u8]) -> Option<usize> {
    let head = buffer.get(..HEAD)?.try_into().ok()?;
    let length = usize::try_from(u64::from_be_bytes(head)).ok()?;
    (buffer.len() - HEAD >= length).then_some(length)
}

/// Watches a stream at the edge (or edges) of a ticket, as a viewer does that is never moved, until the
/// connections end.
pub async fn edge(
    authority: CertificateDer<'static>,
    stream: StreamName,
    ticket: SessionTicket,
    tally: Arc<Tally>,
) -> anyhow::Result<()> {
    let endpoint = Endpoint::viewer(authority)?;
    let mut streams = Vec::new();
    let mut groups = JoinSet::new();
    let together = ticket.edges[0] == ticket.edges[1];
    let mut links: Vec<Arc<Link>> = Vec::new();
    for edge in &ticket.edges[..if together { 1 } else { 2 }] {
        let to = Identity { id: edge.id.clone(), role: edge.role };
        let link = Link::new(connect(&endpoint, &to, edge.address).await?);
        let (mut session, mut answers) =
            message::open(link.connection(), StreamKind::Session).await?;
        session.send_json(&FromViewer::Hello { grant: ticket.grant.clone() }).await?;
        let welcome = answers.receive_json().await?;
        ensure!(matches!(welcome, Some(ToViewer::Welcome)), "refused: {welcome:?}");
        streams.push((session, answers));
        links.push(link);
    }
    for description in gibbon_media::Description::BOTH {
        let link = &links[description.index() % links.len()];
        let request = Subscribe {
            stream: stream.clone(),
            description,
            media: MediaSet::ALL,
            start: Start::Next,
            end: None,
            priority: 1,
            patience: None,
        };
        let subscription = Subscription::open(link, &request).await?;
        groups.spawn(follow(subscription, tally.clone()));
    }
    let legs = ticket.edges.each_ref().map(|edge| Some(edge.id.clone()));
    let hands = gibbon_handoff::Report { revision: 1, legs, order: None, answer: None };
    let report = FromViewer::Report(ClientReport::new(hands));
    for (session, _) in &mut streams {
        session.send_json(&report).await?;
    }
    groups.join_all().await;
    Ok(())
}

/// Hundreds that knock at once wait for each other: one that gets no answer tries again.
async fn connect(
    endpoint: &Endpoint,
    to: &Identity,
    address: SocketAddr,
) -> anyhow::Result<quinn::Connection> {
    for _ in 1..ATTEMPTS {
        if let Ok(connection) = endpoint.connect(to, address).await {
            return Ok(connection);
        }
    }
    Ok(endpoint.connect(to, address).await?)
}

async fn follow(mut subscription: Subscription, tally: Arc<Tally>) {
    let mut groups = JoinSet::new();
    while let Event::Group(group) = subscription.next().await {
        groups.spawn(take(group, tally.clone()));
        while groups.try_join_next().is_some() {}
    }
}

async fn take(mut group: IncomingGroup, tally: Arc<Tally>) {
    while let Ok(Some((_, frame))) = group.next_frame().await {
        tally.note(&frame.payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_taken_when_all_of_it_is_there() {
        let frame = [&5_u64.to_be_bytes()[..], b"hello"].concat();
        assert_eq!(frame_length(&frame), Some(5));
        assert_eq!(frame_length(&frame[..12]), None);
        assert_eq!(frame_length(&frame[..7]), None);
    }
}
