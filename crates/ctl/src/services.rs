//! `services`, `service`, `explain`, `components` and `catalogue`.

mod view;

use std::{
    process::ExitCode,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use gibbon_control::{
    client::Portal,
    node::Location,
    services::{MoveRequest, ServiceInfo, ServiceRequest, ServiceState},
};
use gibbon_media::{NodeId, Priority, ServiceId, StreamName};

use crate::command::{AWAY_AT_MOST, POLL, print, show};

/// A service runs or has failed by then: each of its components is ordered, refused or replaced within seconds.
const WAIT_AT_MOST: Duration = Duration::from_secs(60);

/// `gibbonctl services`.
#[derive(Args)]
pub struct Services {
    /// Show this one with its components: its id, or enough of its beginning [default: list all]
    service: Option<String>,
}

/// `gibbonctl service …`.
#[derive(Subcommand)]
pub enum Service {
    /// Have a service built on a stream
    ///
    /// Says what stream it makes: that is what viewers watch. Nobody watching, it ends after a while.
    Start(Start),
    /// End a service; what other services share goes on
    Stop {
        /// The service: its id, or enough of its beginning
        service: String,
    },
    /// Move a component to another worker, with those it passes raw frames with
    ///
    /// Viewers see nothing of it.
    Move(Move),
}

/// `gibbonctl service start`.
#[derive(Args)]
pub struct Start {
    /// The stream to begin with, as in live/bbb
    stream: StreamName,
    /// A name of the catalogue, or components in order, as in 'scale height=360 | overlay text=LIVE'
    #[arg(value_name = "NAME|LIST")]
    service: String,
    #[command(flatten)]
    wishes: Wishes,
    /// Keep it when nobody watches, until it is stopped
    #[arg(long)]
    keep: bool,
    /// Wait until it runs, and fail unless it does
    #[arg(long)]
    wait: bool,
}

/// What a service is to be like.
#[derive(Args)]
pub struct Wishes {
    /// Where its clients are, as LATITUDE,LONGITUDE in degrees
    #[arg(long, value_name = "LAT,LON", allow_hyphen_values = true)]
    location: Option<Location>,
    /// How much it matters where there is not room for all: 0 (least) to 9
    #[arg(long, default_value_t = Priority::default(), value_name = "0-9")]
    priority: Priority,
    /// Run a second chain on other workers, so that the loss of a worker freezes nothing
    #[arg(long)]
    standby: bool,
}

/// `gibbonctl service move`.
#[derive(Args)]
pub struct Move {
    /// The service: its id, or enough of its beginning
    service: String,
    /// The component: its place in the chain, from 1 on
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    number: u32,
    /// Where to [default: the coordinator selects the worker]
    #[arg(long, value_name = "WORKER")]
    to: Option<NodeId>,
    /// Of the second chain, where there are two
    #[arg(long)]
    standby: bool,
}

/// `gibbonctl explain`.
#[derive(Args)]
pub struct Explain {
    /// A service: its id, or enough of its beginning; with --stream a name of the catalogue or a list
    #[arg(value_name = "SERVICE|NAME|LIST")]
    service: String,
    /// Say what would be assigned for a service on this stream; nothing is started
    #[arg(long)]
    stream: Option<StreamName>,
    #[command(flatten)]
    wishes: Wishes,
}

impl Wishes {
    fn request(&self, stream: &StreamName, service: &str) -> anyhow::Result<ServiceRequest> {
        let request = ServiceRequest::new(stream.clone(), service)?;
        let Wishes { location, priority, standby } = *self;
        Ok(ServiceRequest { location, priority, standby, ..request })
    }
}

/// Lists services, or shows one.
pub fn services(json: bool, portal: &Portal, services: &Services) -> anyhow::Result<ExitCode> {
    let all = portal.services()?;
    let Some(prefix) = &services.service else {
        return show(json, &all, |services| view::services(services));
    };
    show(json, &portal.service(find(prefix, &all)?)?, view::service)
}

/// Starts, stops or moves.
pub fn service(json: bool, portal: &Portal, service: &Service) -> anyhow::Result<ExitCode> {
    match service {
        Service::Start(start) => begin(json, portal, start),
        Service::Stop { service } => {
            let id = find(service, &portal.services()?)?;
            portal.end_service(id)?;
            if !json {
                print(&format!("service {id} is ended"))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Service::Move(order) => {
            let id = find(&order.service, &portal.services()?)?;
            let info = portal.move_component(id, &order.request())?;
            show(json, &info, view::service)
        }
    }
}

impl Move {
    fn request(&self) -> MoveRequest {
        MoveRequest { number: self.number, replica: self.standby.into(), to: self.to.clone() }
    }
}

fn begin(json: bool, portal: &Portal, start: &Start) -> anyhow::Result<ExitCode> {
    let request = start.wishes.request(&start.stream, &start.service)?;
    let begun = portal.start_service(&ServiceRequest { keep: start.keep, ..request })?;
    if !start.wait {
        return show(json, &begun, view::begun);
    }
    if !json {
        print(&view::begun(&begun))?;
    }
    let info = wait(portal, begun)?;
    show(json, &info, view::service)?;
    let runs = info.state == ServiceState::Running;
    Ok(if runs { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Follows a service until it runs, or does not.
fn wait(portal: &Portal, begun: ServiceInfo) -> anyhow::Result<ServiceInfo> {
    let started = Instant::now();
    let (mut info, mut answered) = (begun, started);
    while info.state == ServiceState::Starting {
        let service = info.service;
        ensure!(
            started.elapsed() < WAIT_AT_MOST,
            "service {service} does not run after {} s; `gibbonctl services {service}` shows its components",
            WAIT_AT_MOST.as_secs()
        );
        sleep(POLL);
        match portal.service(service) {
            Ok(newer) => (info, answered) = (newer, Instant::now()),
            Err(_) if answered.elapsed() < AWAY_AT_MOST => {}
            Err(error) => return Err(error).with_context(|| format!("service {service} is lost")),
        }
    }
    Ok(info)
}

/// Says why components are where they are, or would be.
pub fn explain(json: bool, portal: &Portal, explain: &Explain) -> anyhow::Result<ExitCode> {
    let explanation = match &explain.stream {
        Some(stream) => portal.explain(&explain.wishes.request(stream, &explain.service)?)?,
        None => portal.explain_service(find(&explain.service, &portal.services()?)?)?,
    };
    show(json, &explanation, view::explanation)
}

/// Lists the kinds of components.
pub fn components(json: bool, portal: &Portal) -> anyhow::Result<ExitCode> {
    show(json, &portal.components()?, |components| view::components(components))
}

/// Lists the services that have a name.
pub fn catalogue(json: bool, portal: &Portal) -> anyhow::Result<ExitCode> {
    show(json, &portal.catalogue()?, |catalogue| view::catalogue(catalogue))
}

/// The service whose id begins with `prefix`.
fn find(prefix: &str, services: &[ServiceInfo]) -> anyhow::Result<ServiceId> {
    let prefix = prefix.to_ascii_lowercase();
    let ids = services.iter().map(|info| info.service);
    let fitting: Vec<_> = ids.filter(|id| id.to_string().starts_with(&prefix)).collect();
    match fitting[..] {
        [id] => Ok(id),
        [] => bail!(
            "no service begins with {prefix:?}; `gibbonctl services` lists them (to ask about a service that \
             does not run, name its stream with explain --stream)"
        ),
        [one, another, ..] => {
            bail!("{} services begin with {prefix:?}, {one} and {another} for two", fitting.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    enum Options {
        #[command(subcommand)]
        Service(Service),
        Explain(Explain),
    }

    fn parse(arguments: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from([&["gibbonctl"], arguments].concat())
    }

    #[test]
    fn a_service_is_asked_for_by_name_or_list_with_what_it_is_to_be_like() {
        let wished = ["--location", "-33.9,151.2", "--priority", "7", "--standby"];
        let start = ["service", "start", "live/bbb", "scale height=360 | grayscale"];
        let Ok(Options::Service(Service::Start(start))) = parse(&[&start[..], &wished].concat())
        else {
            panic!("not understood")
        };
        let request = start.wishes.request(&start.stream, &start.service).unwrap();
        assert_eq!((request.service, request.components.len()), (None, 2));
        assert_eq!(request.location.map(|at| at.latitude), Some(-33.9));
        assert_eq!((u8::from(request.priority), request.standby), (7, true));
        let Ok(Options::Explain(explain)) = parse(&["explain", "sd", "--stream", "live/bbb"])
        else {
            panic!("not understood")
        };
        let stream = explain.stream.unwrap();
        let request = explain.wishes.request(&stream, &explain.service).unwrap();
        assert_eq!((request.service.as_deref(), request.components.len()), (Some("sd"), 0));
    }

    #[test]
    fn a_component_is_moved_by_its_number() {
        let Ok(Options::Service(Service::Move(order))) =
            parse(&["service", "move", "7c", "2", "--to", "worker-b", "--standby"])
        else {
            panic!("not understood")
        };
        let MoveRequest { number, replica, to } = order.request();
        assert_eq!((number, replica, to), (2, 1, Some("worker-b".parse().unwrap())));
        assert!(parse(&["service", "move", "7c", "0"]).is_err());
    }
}
