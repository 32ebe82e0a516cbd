//! QUIC endpoints: what nodes and viewers listen and connect with.

mod viewers;

use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use gibbon_media::Role;
use quinn::{
    IdleTimeout, TokioRuntime, TransportConfig, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::{
    RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::CertificateDer,
    server::WebPkiClientVerifier,
};
use tokio::runtime::Handle;

use crate::{
    identity::{CertificateError, Certificates, Identity},
    reset,
    steering::{self, MAX_SHARDS, Shard},
    wire::ALPN,
};
pub use viewers::Viewers;

/// Codes a connection or stream is closed with; `docs/wire.md` lists them.
pub mod close {
    use quinn::VarInt;
    /// All is said.
    pub const DONE: VarInt = VarInt::from_u32(0x00);
    /// A message is not of the specified form.
    pub const MALFORMED: VarInt = VarInt::from_u32(0x10);
    /// No grant, or not one for this.
    pub const UNAUTHORISED: VarInt = VarInt::from_u32(0x12);
    /// The certificate's role does not allow it.
    pub const WRONG_ROLE: VarInt = VarInt::from_u32(0x13);
    /// The peer did not say what it wants in time.
    pub const SILENT: VarInt = VarInt::from_u32(0x14);
    /// The node is about to exit.
    pub const LEAVING: VarInt = VarInt::from_u32(0x20);
    /// The node holds all the sessions it can.
    pub const FULL: VarInt = VarInt::from_u32(0x21);
    /// Stream: the subscription ended before the group did.
    pub const CANCELLED: VarInt = VarInt::from_u32(0x30);
    /// Stream: the group is past its usefulness.
    pub const SUPERSEDED: VarInt = VarInt::from_u32(0x31);
    /// Stream: nobody subscribes under this id.
    pub const NO_SUBSCRIPTION: VarInt = VarInt::from_u32(0x32);
}

/// A connection without traffic for this long is dead.
const IDLE: Duration = Duration::from_secs(10);
/// A peer that has not completed the handshake by then is taken for unreachable.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Streams that a node may have open towards us at once: six tracks of a few groups for each stream.
const MAX_GROUP_STREAMS: u32 = 1024;
/// Requests that a node may have open at once.
const MAX_NODE_REQUESTS: u32 = 1024;
/// A viewer needs a session stream and two description streams, and twice the latter in a hand-off.
const MAX_VIEWER_REQUESTS: u32 = 8;
/// What we hold of one stream, and of one connection, that the application has not yet read.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// What we hold for one peer that it has not yet acknowledged: bounds the memory of a slow viewer.
const SEND_WINDOW: u64 = 2 * 1024 * 1024;

/// Why an endpoint could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Certificates are missing or bad.
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    /// TLS refuses what it was given.
    #[error("TLS: {0}")]
    Tls(String),
    /// The address cannot be bound.
    #[error("cannot listen on {address}/udp: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Why a peer could not be reached.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot connect to {role} {id} at {address}: {why}")]
pub struct ConnectError {
    id: String,
    role: Role,
    address: SocketAddr,
    why: String,
}

/// A UDP socket with QUIC on it: a node's accepts and connects, a viewer's connects.
#[derive(Debug, Clone)]
pub struct Endpoint {
    quinn: quinn::Endpoint,
}

impl Endpoint {
    /// A node's endpoint on `address`, with the node's own certificate in both directions.
    pub fn node(
        certificates: &Certificates,
        identity: &Identity,
        address: SocketAddr,
    ) -> Result<Self, EndpointError> {
        let bind = |source| EndpointError::Bind { address, source };
        let config = NodeConfig::of(certificates, identity)?;
        let socket = UdpSocket::bind(address).map_err(bind)?;
        config.endpoint(socket, Shard::ONLY).map_err(bind)
    }

    /// The same for a node made of shards, at most [`MAX_SHARDS`]: on one address an endpoint for each of
    /// the runtimes `shards`, in their order, each with connections of its own.
    pub fn sharded(
        certificates: &Certificates,
        identity: &Identity,
        address: SocketAddr,
        shards: &[Handle],
    ) -> Result<Vec<Self>, EndpointError> {
        let bind = |source| EndpointError::Bind { address, source };
        let config = NodeConfig::of(certificates, identity)?;
        let count = shards.len().clamp(1, MAX_SHARDS.into()) as u8;
        let sockets = steering::sockets(address, count).map_err(bind)?;
        let shards = sockets.into_iter().zip(Shard::all(count)).zip(shards);
        let endpoint = |((socket, shard), runtime): ((UdpSocket, Shard), &Handle)| {
            let _within = runtime.enter();
            config.endpoint(socket, shard).map_err(bind)
        };
        shards.map(endpoint).collect()
    }

    /// A viewer's endpoint: no certificate of its own, trusts `authority`. Reaches edges over IPv6 as over IPv4,
    /// where the host has both.
    pub fn viewer(authority: CertificateDer<'static>) -> Result<Self, EndpointError> {
        Viewers::new(authority)?.open()
    }

    /// Connects to the node `to` at `address`; fails unless its certificate names it so.
    pub async fn connect(
        &self,
        to: &Identity,
        address: SocketAddr,
    ) -> Result<quinn::Connection, ConnectError> {
        let failed =
            |why: String| ConnectError { id: to.id.to_string(), role: to.role, address, why };
        let connecting =
            self.quinn.connect(address, &to.dns_name()).map_err(|e| failed(e.to_string()))?;
        match tokio::time::timeout(CONNECT_WITHIN, connecting).await {
            Ok(connected) => connected.map_err(|e| failed(e.to_string())),
            Err(_) => Err(failed(format!("no answer within {CONNECT_WITHIN:?}"))),
        }
    }

    /// The next peer that knocks; `None` once closed.
    pub async fn accept(&self) -> Option<quinn::Incoming> {
        self.quinn.accept().await
    }

    /// The address bound.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.quinn.local_addr()
    }

    /// Closes all connections with `code` and waits until peers know, for a bounded time.
    pub async fn close(&self, code: VarInt, reason: &str) {
        self.quinn.close(code, reason.as_bytes());
        let _ = tokio::time::timeout(Duration::from_secs(2), self.quinn.wait_idle()).await;
    }
}

/// What all endpoints of a node have in common.
struct NodeConfig {
    server: quinn::ServerConfig,
    client: quinn::ClientConfig,
    /// The node's private key.
    secret: Vec<u8>,
}

impl NodeConfig {
    fn of(certificates: &Certificates, identity: &Identity) -> Result<Self, EndpointError> {
        let credentials = certificates.credentials(identity)?;
        let roots = Arc::new(roots(certificates.authority()?)?);
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots.clone(), provider().into())
                .allow_unauthenticated()
                .build()
                .map_err(tls)?;
        let mut server = rustls::ServerConfig::builder_with_provider(provider().into())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(tls)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(credentials.chain.clone(), credentials.key.clone_key())
            .map_err(tls)?;
        server.alpn_protocols = vec![ALPN.to_vec()];
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(
            QuicServerConfig::try_from(server).map_err(tls)?,
        ));
        // Viewers publish nothing: group streams are allowed once a peer has shown to be a node.
        server.transport_config(Arc::new(transport(0, MAX_VIEWER_REQUESTS)));
        let secret = credentials.key.secret_der().to_vec();
        let client = client_tls(roots)?
            .with_client_auth_cert(credentials.chain, credentials.key)
            .map_err(tls)?;
        Ok(Self { server, client: client_config(client)?, secret })
    }

    /// On the current runtime.
    fn endpoint(&self, socket: UdpSocket, shard: Shard) -> std::io::Result<Endpoint> {
        let config = reset::ids_and_resets(&self.secret, shard);
        let server = Some(self.server.clone());
        let mut quinn = quinn::Endpoint::new(config, server, socket, Arc::new(TokioRuntime))?;
        quinn.set_default_client_config(self.client.clone());
        Ok(Endpoint { quinn })
    }
}

/// Lets a peer that has shown to be a node open as many streams as nodes need.
pub fn welcome_node(connection: &quinn::Connection) {
    connection.set_max_concurrent_uni_streams(MAX_GROUP_STREAMS.into());
    connection.set_max_concurrent_bi_streams(MAX_NODE_REQUESTS.into());
}

/// AES-128-GCM first: the cheapest per byte on machines with AES instructions.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![
        aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
        aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
        aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    provider
}

fn client_tls(
    roots: Arc<RootCertStore>,
) -> Result<
    rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert>,
    EndpointError,
> {
    Ok(rustls::ClientConfig::builder_with_provider(provider().into())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls)?
        .with_root_certificates(roots))
}

fn client_config(
    mut tls_config: rustls::ClientConfig,
) -> Result<quinn::ClientConfig, EndpointError> {
    tls_config.alpn_protocols = vec![ALPN.to_vec()];
    let mut config =
        quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls_config).map_err(tls)?));
    config.transport_config(Arc::new(transport(MAX_GROUP_STREAMS, MAX_NODE_REQUESTS)));
    Ok(config)
}

fn transport(uni: u32, bidi: u32) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_uni_streams(uni.into())
        .max_concurrent_bidi_streams(bidi.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(IdleTimeout::try_from(IDLE).ok())
        .keep_alive_interval(Some(KEEP_ALIVE));
    transport
}

fn roots(authority: CertificateDer<'static>) -> Result<RootCertStore, EndpointError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority).map_err(tls)?;
    Ok(roots)
}

fn tls(error: impl std::fmt::Display) -> EndpointError {
    EndpointError::Tls(error.to_string())
}
