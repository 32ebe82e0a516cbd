//! Options that every process has.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use tokio::net::TcpListener;

use crate::{Monitor, Probe, otlp::Collector};

/// How a process is watched.
#[derive(Debug, Clone, clap::Args)]
// Without a group of arguments, which would be called like that of the binary's own `Options`.
#[group(skip)]
pub struct Options {
    /// Serve /metrics (OpenMetrics), /health and /ready over HTTP on this address, as 127.0.0.1:9464 [default: off]
    #[arg(long, env = "GIBBON_METRICS", value_name = "ADDRESS", global = true)]
    pub metrics: Option<SocketAddr>,
    /// Ask the process that serves --metrics whether it is alive or ready, and exit: 0 if it is, else 1
    #[arg(long, value_enum, value_name = "health|ready", global = true)]
    pub probe: Option<Probe>,
    /// Send the spans of hand-offs to an OpenTelemetry collector: OTLP over plain HTTP, as http://127.0.0.1:4318 [default: off]
    #[arg(long, env = "GIBBON_OTLP", value_name = "URL", global = true)]
    pub otlp: Option<Collector>,
}

impl Options {
    /// Where spans go: the option, or what OpenTelemetry's own variable names.
    pub fn collector(&self) -> anyhow::Result<Option<Collector>> {
        const VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        match (&self.otlp, std::env::var(VARIABLE)) {
            (Some(given), _) => Ok(Some(given.clone())),
            (None, Ok(url)) if !url.is_empty() => {
                Ok(Some(url.parse().map_err(anyhow::Error::msg).context(VARIABLE)?))
            }
            _ => Ok(None),
        }
    }

    /// The monitor of this process, not ready yet, and served if that is wanted.
    pub async fn monitor(&self, program: &str, version: &str) -> anyhow::Result<Arc<Monitor>> {
        let monitor = Monitor::new(program, version);
        if let Some(address) = self.metrics {
            let listener = TcpListener::bind(address).await.with_context(|| {
                format!("metrics cannot be served on {address}/tcp; see --metrics")
            })?;
            tracing::info!(address = %listener.local_addr()?, "metrics are served");
            tokio::spawn(crate::http::serve(monitor.clone(), listener));
        }
        Ok(monitor)
    }
}
