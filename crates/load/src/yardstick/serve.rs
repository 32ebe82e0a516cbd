//! The yardstick: what sending this costs at the least with `quinn` as it comes. All of the sender is in
//! this file: quinn on tokio with one worker thread, a stream per group, GSO on (quinn's default),
//! AES-128-GCM by aws-lc-rs, everything else at its default. No caching, no sessions, no priorities.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use bytes::{BufMut, Bytes, BytesMut};
use gibbon_control::process;
use gibbon_media::FrameRate;
use quinn::{SendStream, crypto::rustls::QuicServerConfig};
use rustls::{crypto::aws_lc_rs, pki_types::PrivatePkcs8KeyDer};
use tokio::sync::broadcast;

use crate::stamp::Stamp;

/// Both ends speak this.
pub const ALPN: &[u8] = b"gibbon-yardstick";
/// Name in the certificate.
pub const NAME: &str = "yardstick";
/// What stands before each frame: its length, and room for what a wire format says beside.
pub const HEAD: usize = 8;
/// Descriptions, sent at the same time.
const DESCRIPTIONS: usize = 2;
/// A viewer this many frames behind misses some.
const MAX_BEHIND: usize = 32;

/// Options of `gibbon-load yardstick serve`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// UDP address to serve viewers on; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:4490")]
    listen: SocketAddr,
    /// Where to write the certificate, which watchers want
    #[arg(long, value_name = "FILE", default_value = "yardstick.der")]
    certificate: PathBuf,
    #[command(flatten)]
    pattern: super::Pattern,
}

/// One frame for every viewer, in each description.
#[derive(Clone)]
struct Tick {
    head: Bytes,
    payload: Bytes,
    begins_group: bool,
}

/// Serves until told to stop.
pub fn run(options: Options) -> anyhow::Result<()> {
    super::runtime()?.block_on(async { tokio::spawn(serve(options)).await? })
}

async fn serve(options: Options) -> anyhow::Result<()> {
    let key = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    std::fs::write(&options.certificate, key.cert.der())
        .with_context(|| format!("cannot write {}", options.certificate.display()))?;
    let private = PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider().into())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private.into())?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    let endpoint = quinn::Endpoint::server(config, options.listen)?;
    tracing::info!(listen = %endpoint.local_addr()?, "yardstick is up");
    let (ticks, _) = broadcast::channel(MAX_BEHIND);
    tokio::spawn(tick(options.pattern, ticks.clone()));
    loop {
        tokio::select! {
            () = process::stop_signal() => break,
            Some(incoming) = endpoint.accept() => {
                let ticks = ticks.subscribe();
                tokio::spawn(async move {
                    if let Ok(connection) = incoming.await {
                        // Whoever does not read to the end is not counted.
                        let _ = send(connection, ticks).await;
                    }
                });
            }
        }
    }
    endpoint.close(0_u32.into(), b"over");
    Ok(())
}

/// Makes the frames, in real time.
async fn tick(pattern: super::Pattern, ticks: broadcast::Sender<Tick>) {
    let started = process::now();
    let mut due = tokio::time::interval(pattern.fps.interval());
    let per_group = frames_of(pattern.fps, Duration::from_millis(pattern.group_ms));
    for counter in 0.. {
        due.tick().await;
        let intended = started + pattern.fps.interval().mul_f64(counter as f64);
        let stamp = Stamp { intended, sent: process::now(), counter };
        let payload = stamp.payload(pattern.frame_bytes);
        let mut head = BytesMut::with_capacity(HEAD);
        head.put_u64(payload.len() as u64);
        // Without viewers nobody takes it.
        let begins_group = counter % per_group == 0;
        let _ = ticks.send(Tick { head: head.freeze(), payload, begins_group });
    }
}

fn frames_of(fps: FrameRate, group: Duration) -> u64 {
    ((fps.as_f64() * group.as_secs_f64()).round() as u64).max(1)
}

/// Sends every frame twice, on a stream for each group of each description.
async fn send(
    connection: quinn::Connection,
    mut ticks: broadcast::Receiver<Tick>,
) -> anyhow::Result<()> {
    let mut groups: [Option<SendStream>; DESCRIPTIONS] = Default::default();
    loop {
        let tick = match ticks.recv().await {
            Ok(tick) => tick,
            Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return Ok(()),
        };
        for group in &mut groups {
            if tick.begins_group {
                if let Some(mut ended) = group.take() {
                    let _ = ended.finish();
                }
                *group = Some(connection.open_uni().await?);
            }
            if let Some(stream) = group {
                stream.write_all_chunks(&mut [tick.head.clone(), tick.payload.clone()]).await?;
            }
        }
    }
}

/// AES-128-GCM, and nothing else.
pub fn provider() -> rustls::crypto::CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    provider
}
