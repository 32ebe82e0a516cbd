//! A service that the viewer asks for: it is requested, and waited for until its stream is there.

use std::{io::IsTerminal, time::Duration};

use anyhow::{Context, bail};
use gibbon_components::Spec;
use gibbon_control::{
    client::Portal,
    services::{ServiceInfo, ServiceRequest, ServiceState},
};
use tokio::time::{Instant, sleep};

/// A service that does not run by then is given up: each step of building it takes seconds at most.
const RUNS_WITHIN: Duration = Duration::from_secs(30);
/// How often it is looked at.
const POLL: Duration = Duration::from_millis(200);

/// Asks for a service and waits until its stream can be watched. One that is given up ends by itself, for nobody
/// watches it.
pub async fn build(portal: &Portal, request: ServiceRequest) -> anyhow::Result<ServiceInfo> {
    let asked = ask(portal, move |portal| portal.start_service(&request)).await?;
    let service = asked.service;
    say(&format!("service {service} is being built: {}", list(&asked)));
    let info = wait(portal, asked).await?;
    say(&format!("service {service} makes {}", info.stream));
    Ok(info)
}

async fn wait(portal: &Portal, asked: ServiceInfo) -> anyhow::Result<ServiceInfo> {
    let (service, begun) = (asked.service, Instant::now());
    let mut told = Ok(asked);
    loop {
        match told {
            Ok(info) if is_watchable(&info)? => return Ok(info),
            Err(error) if begun.elapsed() > RUNS_WITHIN => {
                return Err(error).with_context(|| format!("service {service} is lost"));
            }
            Ok(_) if begun.elapsed() > RUNS_WITHIN => bail!(
                "service {service} does not run after {} s; `gibbonctl services {service}` shows how far it is",
                RUNS_WITHIN.as_secs()
            ),
            // A new start of the coordinator takes the service up again.
            _ => sleep(POLL).await,
        }
        told = ask(portal, move |portal| portal.service(service)).await;
    }
}

/// Whether there is something to watch yet; an error if there never will be.
fn is_watchable(info: &ServiceInfo) -> anyhow::Result<bool> {
    match info.state {
        ServiceState::Starting => Ok(false),
        ServiceState::Running | ServiceState::Impaired => Ok(true),
        ServiceState::Failed => {
            let why = info.why.as_deref().unwrap_or("the coordinator does not say why");
            bail!("service {} could not be built: {why}", list(info))
        }
    }
}

async fn ask<T: Send + 'static>(
    portal: &Portal,
    question: impl FnOnce(&Portal) -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let portal = portal.clone();
    tokio::task::spawn_blocking(move || question(&portal)).await?
}

fn list(info: &ServiceInfo) -> String {
    info.components.iter().map(Spec::to_string).collect::<Vec<_>>().join(" | ")
}

/// A line for whoever looks: on a terminal the log is silent.
fn say(line: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("{line}");
    } else {
        tracing::info!("{line}");
    }
}
