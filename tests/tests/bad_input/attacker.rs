//! Who attacks: with the network's own keys where that helps, and over bare QUIC.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use gibbon_control::{
    Grant, GrantSigner, link, process,
    session::{FromViewer, ToViewer},
};
use gibbon_media::{Description, MediaTime, Placement, Priority, Role, SessionId};
use gibbon_net::{
    Certificates, Endpoint, Identity,
    message::{self, JSON, Receiver, Sender},
    subscribe::{Link, SubscribeError, Subscription},
    wire::{MediaSet, Rejected, Start, StreamKind, Subscribe, encode_message, put_varint},
};
use quinn::{
    Connection, ConnectionError, RecvStream, SendStream, TransportConfig, VarInt,
    crypto::rustls::QuicClientConfig,
};
use rustls::RootCertStore;

/// What has not come by then does not come.
pub const SOON: Duration = Duration::from_secs(10);
/// An address of this machine with any port.
pub const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub struct Attacker {
    pub certificates: Certificates,
    pub signer: GrantSigner,
    pub edge: SocketAddr,
    pub origin: SocketAddr,
    pub coordinator: SocketAddr,
    viewer: Endpoint,
    sessions: AtomicU64,
}

impl Attacker {
    pub fn new(
        certificates: Certificates,
        edge: SocketAddr,
        origin: SocketAddr,
        coordinator: SocketAddr,
    ) -> anyhow::Result<Self> {
        let signer = GrantSigner::load_or_make(&certificates)?;
        let viewer = Endpoint::viewer(certificates.authority()?)?;
        let sessions = AtomicU64::new(1);
        Ok(Self { certificates, signer, edge, origin, coordinator, viewer, sessions })
    }

    /// What lets a session of its own watch `stream` until `expires`.
    pub fn grant(&self, stream: &str, expires: MediaTime) -> anyhow::Result<Grant> {
        let session = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed));
        Ok(Grant {
            session,
            stream: stream.parse()?,
            standbys: Vec::new(),
            placement: Placement::Together,
            priority: Priority::default(),
            expires,
        })
    }

    /// A good grant, signed.
    pub fn good_grant(&self, stream: &str) -> anyhow::Result<String> {
        let expires = process::now() + Duration::from_secs(3600);
        Ok(self.signer.sign(&self.grant(stream, expires)?))
    }

    /// A viewer at the attacked edge.
    pub async fn viewer(&self) -> anyhow::Result<Connection> {
        Ok(self.viewer.connect(&identity("edge-a", Role::Edge)?, self.edge).await?)
    }

    /// A viewer at another node.
    pub async fn viewer_at(&self, node: &Identity, at: SocketAddr) -> anyhow::Result<Connection> {
        Ok(self.viewer.connect(node, at).await?)
    }

    /// A viewer that has been let in to `stream`.
    pub async fn granted(&self, stream: &str) -> anyhow::Result<(Connection, Sender, Receiver)> {
        let connection = self.viewer().await?;
        let (sender, receiver) = hello(&connection, self.good_grant(stream)?).await?;
        Ok((connection, sender, receiver))
    }

    /// A node's endpoint with a certificate of the network's authority.
    pub fn node(&self, id: &str, role: Role) -> anyhow::Result<Endpoint> {
        Ok(Endpoint::node(&self.certificates, &identity(id, role)?, LOOPBACK)?)
    }

    /// A viewer's connection to the attacked edge over bare QUIC; an error if the handshake fails.
    pub async fn bare(
        &self,
        alpn: &[u8],
        transport: TransportConfig,
    ) -> anyhow::Result<Result<Connection, ConnectionError>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificates.authority()?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![alpn.to_vec()];
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        config.transport_config(Arc::new(transport));
        let endpoint = quinn::Endpoint::client(LOOPBACK)?;
        let name = identity("edge-a", Role::Edge)?.dns_name();
        Ok(endpoint.connect_with(config, self.edge, &name)?.await)
    }
}

pub fn identity(id: &str, role: Role) -> anyhow::Result<Identity> {
    Ok(Identity { id: id.parse()?, role })
}

pub fn coordinator() -> Identity {
    link::coordinator_identity()
}

/// Waits, for a bounded time.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> anyhow::Result<T> {
    let waited = tokio::time::timeout(SOON, future).await;
    waited.with_context(|| format!("waited {SOON:?} in vain for {what}"))
}

/// Shows a grant and is welcomed.
pub async fn hello(connection: &Connection, grant: String) -> anyhow::Result<(Sender, Receiver)> {
    let (mut sender, mut receiver) = message::open(connection, StreamKind::Session).await?;
    sender.send_json(&FromViewer::Hello { grant }).await?;
    match soon("a welcome", receiver.receive_json()).await?? {
        Some(ToViewer::Welcome) => Ok((sender, receiver)),
        other => bail!("expected a welcome, got {other:?}"),
    }
}

/// Writes these bytes on a new bidirectional stream, and finishes it if there is nothing to follow.
pub async fn write(
    connection: &Connection,
    bytes: &[u8],
    finish: bool,
) -> anyhow::Result<(SendStream, RecvStream)> {
    let (mut send, recv) = connection.open_bi().await?;
    send.write_all(bytes).await?;
    if finish {
        send.finish()?;
    }
    Ok((send, recv))
}

/// Fails unless the other side closes the connection with this code, and a reason that begins so.
pub async fn closed(connection: &Connection, code: VarInt, reason: &str) -> anyhow::Result<()> {
    match soon(reason, connection.closed()).await? {
        ConnectionError::ApplicationClosed(closed) => {
            let said = String::from_utf8_lossy(&closed.reason);
            let as_expected = closed.error_code == code && said.starts_with(reason);
            ensure!(as_expected, "expected {code} {reason:?}, got {} {said:?}", closed.error_code);
            Ok(())
        }
        other => bail!("expected {code} {reason:?}, got {other}"),
    }
}

/// The beginning of a stream: its kind, and a message.
pub fn stream(kind: StreamKind, message: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind as u8];
    bytes.extend_from_slice(&encode_message(message, body));
    bytes
}

/// The same with JSON.
pub fn json_stream(kind: StreamKind, json: &str) -> Vec<u8> {
    stream(kind, JSON, json.as_bytes())
}

/// A stream whose first message announces one byte too many.
pub fn oversized(kind: StreamKind, message: u64, bound: usize) -> Vec<u8> {
    let mut bytes = vec![kind as u8];
    put_varint(&mut bytes, message);
    put_varint(&mut bytes, bound as u64 + 1);
    bytes
}

/// The bytes without their last.
pub fn cut(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.pop();
    bytes
}

pub fn request(stream: &str) -> anyhow::Result<Subscribe> {
    Ok(Subscribe {
        stream: stream.parse()?,
        description: Description::Zero,
        media: MediaSet::ALL,
        start: Start::Live(Duration::from_secs(1)),
        end: None,
        priority: 1,
        patience: None,
    })
}

/// Asks for `stream` and is refused.
pub async fn rejected(link: &Arc<Link>, stream: &str) -> anyhow::Result<Rejected> {
    match soon("a refusal", Subscription::open(link, &request(stream)?)).await? {
        Err(SubscribeError::Rejected(why)) => Ok(why),
        other => bail!("expected a refusal, got {other:?}"),
    }
}
