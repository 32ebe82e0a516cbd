//! The binary `gibbon-coordinator`.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Parser;
use gibbon_control::{
    GrantSigner,
    link::coordinator_identity,
    portal::DEFAULT_PORTAL,
    process::{self, Common},
};
use gibbon_coordinator::{
    catalogue::Catalogue,
    foresee::{Mode, PERIODS, Settings},
    manager::Manager,
    nodes,
    portal::{self, Access},
    service::Service,
    store::Store,
    token::Token,
};
use gibbon_net::{Certificates, Endpoint, close};

/// The service manager of a Gibbon network: knows its nodes, streams and sessions, selects edges, hands
/// sessions off from edge to edge, and builds services out of components on workers
#[derive(Parser)]
#[command(name = "gibbon-coordinator", version)]
struct Options {
    /// Where origins, edges and workers reach it, over QUIC
    #[arg(long, env = "GIBBON_LISTEN", default_value = "127.0.0.1:4481", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where the portal listens, over HTTP. Not encrypted: beyond this machine, put it behind a proxy that is
    #[arg(long, env = "GIBBON_PORTAL_LISTEN", default_value = DEFAULT_PORTAL, value_name = "ADDRESS")]
    portal: SocketAddr,
    /// Folder of certificates and keys; what is missing is made
    #[arg(long, env = "GIBBON_CERTS", default_value = "certs", value_name = "FOLDER")]
    certs: PathBuf,
    /// Where it keeps what it must not forget: a file, or a folder that exists
    #[arg(
        long,
        env = "GIBBON_STATE",
        default_value = "state/coordinator.json",
        value_name = "PATH"
    )]
    state: PathBuf,
    /// The token that callers of the portal must show to change something; made on first use [default: portal.token in the folder of certificates]
    #[arg(long, env = "GIBBON_PORTAL_TOKEN_FILE", value_name = "FILE")]
    portal_token_file: Option<PathBuf>,
    /// Services that viewers can ask for by name, in TOML [default: a few that are built in]
    #[arg(long, env = "GIBBON_SERVICES", value_name = "FILE")]
    services: Option<PathBuf>,
    /// Let anybody who reaches the portal create sessions and ask for services, without the token
    #[arg(long, env = "GIBBON_OPEN_PORTAL")]
    open_portal: bool,
    #[command(flatten)]
    foresight: Foresight,
    #[command(flatten)]
    common: Common,
}

/// How it decides what nobody asked for.
#[derive(clap::Args)]
struct Foresight {
    /// What it goes by when it moves sessions and components that nobody asked it to move
    #[arg(long, env = "GIBBON_FORESIGHT", value_enum, default_value_t, value_name = "HOW")]
    foresight: Mode,
    /// Time between two looks ahead, as 5s
    #[arg(
        long,
        env = "GIBBON_FORESIGHT_PERIOD",
        default_value = "5s",
        value_parser = process::span,
        value_name = "SPAN"
    )]
    foresight_period: Duration,
    /// Of --foresight reactive: for how long it has to have been bad
    #[arg(
        long,
        env = "GIBBON_FORESIGHT_DWELL",
        default_value = "5s",
        value_parser = process::span,
        value_name = "SPAN"
    )]
    foresight_dwell: Duration,
}

impl Foresight {
    fn settings(&self) -> anyhow::Result<Settings> {
        anyhow::ensure!(
            PERIODS.contains(&self.foresight_period),
            "--foresight-period {:?}: use {:?} to {:?}",
            self.foresight_period,
            PERIODS.start(),
            PERIODS.end()
        );
        let (mode, period, dwell) = (self.foresight, self.foresight_period, self.foresight_dwell);
        Ok(Settings { mode, period, dwell })
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    process::conclude("gibbon-coordinator", start().await)
}

async fn start() -> anyhow::Result<ExitCode> {
    let options: Options = process::parse()?;
    options.common.start_logging()?;
    run(options).await?;
    Ok(ExitCode::SUCCESS)
}

async fn run(options: Options) -> anyhow::Result<()> {
    let monitor = options.common.monitor().await?;
    let certificates = Certificates::in_folder(&options.certs);
    let signer = GrantSigner::load_or_make(&certificates)
        .with_context(|| format!("no key to sign grants with in {}", options.certs.display()))?;
    let token_file = options.portal_token_file.unwrap_or(certificates.file("portal.token"));
    let access = Access { token: Token::load_or_make(&token_file)?, open: options.open_portal };
    let catalogue = match &options.services {
        Some(file) => Catalogue::load(file)?,
        None => Catalogue::built_in()?,
    };
    // Before the term is raised: a start that fails here was none.
    let endpoint = Endpoint::node(&certificates, &coordinator_identity(), options.listen)?;
    let listener = tokio::net::TcpListener::bind(options.portal)
        .await
        .with_context(|| format!("the portal cannot listen on {}/tcp", options.portal))?;
    let (store, maintenance) = Store::begin(&options.state, process::now());
    let term = store.term;
    let manager = Manager::new(term, signer)
        .offering(catalogue)
        .maintaining(maintenance)
        .foreseeing(options.foresight.settings()?);
    let service = Service::keeping(manager, Some(store));
    tracing::info!(
        term = term.0,
        nodes = %endpoint.local_address()?,
        portal = %listener.local_addr()?,
        token = %token_file.display(),
        "the coordinator is ready"
    );
    service.ask(|manager, _| monitor.register(|registry| manager.metrics().register(registry)));
    let shown = service.clone();
    monitor.collect(move |page| shown.ask(|manager, now| manager.collect(now, page)));
    monitor.ready_unless(|| Ok(()));
    let router = portal::router(service.clone(), access);
    tokio::select! {
        () = nodes::serve(endpoint.clone(), service.clone()) => {}
        served = axum::serve(listener, router).into_future() => served?,
        () = service.keep_time() => {}
        () = process::stop_signal() => {}
    }
    tracing::info!("stopping; what streams goes on streaming");
    endpoint.close(close::LEAVING, "the coordinator stops").await;
    Ok(())
}
