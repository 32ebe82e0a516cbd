//! gibbon-play: plays a stream and reports what the viewer saw.

use std::{
    io::IsTerminal,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Parser;
use gibbon_client::{Engine, Journey, Played, Position, Seen, Settings, Tells, Track};
use gibbon_control::{
    client::Portal,
    node::Location,
    portal::{DEFAULT_PORTAL, SessionRequest, SessionTicket},
    process::{self, Common, DEFAULT_LOG},
    services::{ServiceInfo, ServiceRequest},
    telemetry::DeviceClass,
};
use gibbon_mdc::{Conceal, Config};
use gibbon_media::{Description, NodeId, Placement, Priority, ServiceId, StreamName};
use gibbon_net::{Endpoint, close, identity};
use gibbon_play::{
    metrics::Watched,
    service,
    theatre::{Outputs, PIPE, Performed, Theatre},
    timeline,
    view::View,
};

/// Plays a stream from the network's edges: merges both descriptions, follows hand-offs, and reports what
/// the viewer saw.
#[derive(Parser)]
#[command(name = "gibbon-play", version, after_help = EXAMPLES)]
struct Options {
    /// The stream, as in live/bbb; `gibbonctl streams` lists them
    stream: StreamName,
    /// Have a service built on the stream and watch what it makes: a name of the catalogue, or components in
    /// order, as in 'scale height=360 | grayscale'
    #[arg(long, value_name = "NAME|LIST")]
    service: Option<String>,
    /// Run a second chain of the service's components on other workers, so that the loss of a worker freezes
    /// nothing
    #[arg(long, requires = "service")]
    standby: bool,
    /// The coordinator's portal
    #[arg(long, env = "GIBBON_PORTAL", default_value_t = format!("http://{DEFAULT_PORTAL}"), value_name = "URL")]
    portal: String,
    /// File with the portal's bearer token
    #[arg(
        long,
        env = "GIBBON_TOKEN_FILE",
        default_value = "certs/portal.token",
        value_name = "FILE"
    )]
    token_file: PathBuf,
    /// Certificate of the network's authority
    #[arg(long, env = "GIBBON_CA", default_value = "certs/ca.pem", value_name = "FILE")]
    ca: PathBuf,
    /// Edge to begin at [default: the coordinator selects one]
    #[arg(long)]
    edge: Option<NodeId>,
    /// Both descriptions from one edge, or from two of different failure domains, so that the loss of one
    /// is not seen [default: diverse where there are two such edges and none is named with --edge]
    #[arg(long, env = "GIBBON_PLACEMENT", value_name = "together|diverse")]
    placement: Option<Placement>,
    /// How much this session matters at an edge that is full: 0 (least) to 9
    #[arg(long, default_value_t = Priority::default(), value_name = "0-9")]
    priority: Priority,
    /// Where this client is, as LATITUDE,LONGITUDE in degrees
    #[arg(long, value_name = "LAT,LON", allow_hyphen_values = true)]
    location: Option<Location>,
    /// Be where this GPS track was recorded, from its beginning on, in real time, and tell the coordinator where it
    /// leads; at its end, stay there
    #[arg(long, value_name = "FILE.gpx")]
    track: Option<PathBuf>,
    /// Follow the track so many times as fast as it was recorded
    #[arg(long, default_value_t = 1.0, value_name = "TIMES", requires = "track")]
    speed: f64,
    /// Say that this is where the track leads; repeated, the last is the destination and those before are on the way
    #[arg(long, value_name = "LAT,LON", allow_hyphen_values = true, requires = "track")]
    destination: Vec<Location>,
    /// Tell positions only, and leave it to the coordinator to estimate where they lead
    #[arg(long, requires = "track")]
    positions_only: bool,
    /// What kind of device this is: phone, tablet, computer, television or vehicle
    #[arg(long, value_name = "KIND")]
    device: Option<DeviceClass>,
    /// Stop after this many seconds of play [default: play until Ctrl-C]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    duration: Option<Duration>,
    /// How far behind the live edge to play, in ms: what losses and hand-offs must fit into
    #[arg(long, env = "GIBBON_PLAYOUT_DELAY", default_value_t = 1000, value_name = "MS", value_parser = clap::value_parser!(u64).range(50..=5000))]
    playout_delay: u64,
    /// Descriptions to receive: 0, 1 or both
    #[arg(long, default_value = "both", value_parser = descriptions, value_name = "0|1|both")]
    descriptions: Chosen,
    /// Keep no idle connection to another edge, which is there so that a lost edge is replaced at once
    /// (placement together)
    #[arg(long)]
    no_spare: bool,
    /// End when no edge could be reached for this long; until then the player goes on trying
    #[arg(long, default_value = "60", value_name = "SECONDS", value_parser = seconds)]
    give_up_after: Duration,
    /// How a missing picture is made up from its neighbours (scheme temporal)
    #[arg(long, default_value = "repeat", value_parser = conceal, value_name = "repeat|blend")]
    conceal: Conceal,
    /// Record what is played, undecoded, into a Matroska file
    #[arg(long, value_name = "FILE.mkv", conflicts_with = "pipe")]
    record: Option<PathBuf>,
    /// Write Matroska to standard output, as in: gibbon-play live/bbb --pipe | mpv -
    #[arg(long)]
    pipe: bool,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
    /// Write the hash of each displayed frame: media time in µs, verdict, hash
    #[arg(long, value_name = "FILE")]
    framehash: Option<PathBuf>,
    /// Draw the session: which edge delivered what, hand-offs, and what was seen
    #[arg(long, value_name = "FILE.png")]
    timeline: Option<PathBuf>,
    /// Count verdicts by what arrives, without decoding: for many players on one machine
    #[arg(long, conflicts_with = "framehash")]
    no_decode: bool,
    #[command(flatten)]
    common: Common,
}

const EXAMPLES: &str = "Examples:
  gibbon-play live/bbb
  gibbon-play live/bbb --pipe | mpv -
  gibbon-play live/bbb --placement together --priority 9
  gibbon-play live/bbb --service 'scale height=360 | grayscale' --location 52.5,13.4
  gibbon-play live/bbb --duration 20 --report report.json --timeline timeline.png
  gibbon-play live/bbb --track media/tracks/around-visnjan-with-car.gpx --speed 4

Exit code: 0 played, 1 nothing could be played, the service could not be built, all edges were lost or a file could not be written,
2 wrong usage.";

/// Which descriptions to receive; `None` is both.
#[derive(Debug, Clone, Copy)]
struct Chosen(Option<Description>);

fn descriptions(text: &str) -> Result<Chosen, String> {
    match text {
        "both" => Ok(Chosen(None)),
        one => one.parse().map(|d| Chosen(Some(d))).map_err(|_| "use 0, 1 or both".into()),
    }
}

fn conceal(text: &str) -> Result<Conceal, String> {
    match text {
        "repeat" => Ok(Conceal::Repeat),
        "blend" => Ok(Conceal::Blend),
        _ => Err("use repeat or blend".into()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

fn main() -> ExitCode {
    process::conclude("gibbon-play", start())
}

fn start() -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let mut options: Options = process::parse()?;
    let journey = journey(&options)?;
    if let Some(journey) = &journey {
        let start = journey.track.start();
        let (latitude, longitude) = (start.latitude(), start.longitude());
        options.location.get_or_insert(Location { latitude, longitude });
    }
    if std::io::stderr().is_terminal() && options.common.log == DEFAULT_LOG {
        // The view says what happens; lines of log would cut through it.
        options.common.log = "warn".into();
    }
    options.common.start_logging()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(options, journey, begun))
}

async fn run(
    mut options: Options,
    journey: Option<Journey>,
    begun: Instant,
) -> anyhow::Result<ExitCode> {
    let monitor = options.common.monitor().await?;
    let endpoint = Endpoint::viewer(identity::read_authority(&options.ca).with_context(|| {
        "cannot read the network's certificate; name it with --ca, or run beside the coordinator's certs"
    })?)?;
    let portal = Portal::new(&options.portal, &options.token_file)?;
    let service = match &options.service {
        Some(service) => Some(build(&options, service, &portal).await?),
        None => None,
    };
    if let Some(service) = &service {
        options.stream = service.stream.clone();
    }
    let ticket = ask(&options, &portal).await?;
    tracing::info!(session = %ticket.session, edge = %ticket.edges[0].id, "session granted");
    let watched = Watched::default();
    watched.show(&monitor);
    let theatre = Theatre::new(outputs(&options), View::new(), watched);
    let stream = options.stream.clone();
    let settings = Settings { journey, ..settings(&options) };
    let engine = Engine::new(endpoint.clone(), stream, ticket, settings, theatre);
    let mut played = engine.play(process::stop_signal()).await?;
    endpoint.close(close::DONE, "the session is over").await;
    if let Some(seen) = &mut played.seen {
        learn(&portal, seen).await;
    }
    conclude(&options, service.map(|service| service.service), played, begun)
}

/// Has the service built, unless the viewer stops waiting.
async fn build(options: &Options, service: &str, portal: &Portal) -> anyhow::Result<ServiceInfo> {
    let request = ServiceRequest {
        location: options.location,
        priority: options.priority,
        standby: options.standby,
        ..ServiceRequest::new(options.stream.clone(), service)?
    };
    tokio::select! {
        built = service::build(portal, request) => built,
        () = process::stop_signal() => anyhow::bail!("it was stopped before the service ran"),
    }
}

async fn ask(options: &Options, portal: &Portal) -> anyhow::Result<SessionTicket> {
    let portal = portal.clone();
    let request = SessionRequest {
        stream: options.stream.clone(),
        edge: options.edge.clone(),
        location: options.location,
        placement: options.placement,
        priority: options.priority,
    };
    tokio::task::spawn_blocking(move || portal.create_session(&request)).await?
}

fn settings(options: &Options) -> Settings {
    Settings {
        merger: Config {
            playout_delay: Duration::from_millis(options.playout_delay),
            conceal: options.conceal,
        },
        only: options.descriptions.0,
        spare: !options.no_spare,
        give_up_after: options.give_up_after,
        duration: options.duration,
        device: options.device,
        journey: None,
    }
}

/// Where the viewer is and goes, if that was said.
fn journey(options: &Options) -> anyhow::Result<Option<Journey>> {
    let Some(file) = &options.track else { return Ok(options.location.map(Journey::still)) };
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the track {}", file.display()))?;
    let track = Track::from_gpx(&text).and_then(|track| track.faster(options.speed));
    let route = options.destination.iter().map(|at| Position::new(at.latitude, at.longitude));
    Ok(Some(Journey {
        track: track.with_context(|| format!("cannot follow the track {}", file.display()))?,
        route: route.collect(),
        tells: if options.positions_only { Tells::Positions } else { Tells::Estimate },
    }))
}

fn outputs(options: &Options) -> Outputs {
    Outputs {
        decode: !options.no_decode,
        framehash: options.framehash.clone(),
        record: match (&options.record, options.pipe) {
            (_, true) => Some(PIPE.into()),
            (file, false) => file.as_ref().map(|file| file.display().to_string()),
        },
    }
}

/// Asks the coordinator for its side of the hand-offs. Where it is gone, the report has the client's.
async fn learn(portal: &Portal, seen: &mut Seen) {
    let portal = portal.clone();
    let told = tokio::task::spawn_blocking(move || portal.handoffs()).await;
    match told {
        Ok(Ok(handoffs)) => seen.learn(&handoffs),
        Ok(Err(error)) => tracing::warn!(%error, "the portal does not tell of the hand-offs"),
        Err(error) => tracing::warn!(%error, "the portal was not asked"),
    }
}

/// Writes what was asked for and says what the viewer saw. The process began at `begun`.
fn conclude(
    options: &Options,
    service: Option<ServiceId>,
    played: Played<Theatre>,
    begun: Instant,
) -> anyhow::Result<ExitCode> {
    let Played { seen, stage, failure } = played;
    let Performed { display, recorded, mut view } = stage.finish()?;
    let Some(seen) = seen else {
        let why = failure.unwrap_or_else(|| "it was stopped before anything came".into());
        anyhow::bail!("nothing was played of {}: {why}", options.stream);
    };
    let before = seen.started().duration_since(begun).as_millis() as u64;
    let (mut report, spans) = seen.report();
    report.startup_ms.iter_mut().for_each(|startup| *startup += before);
    (report.service, report.display) = (service, display);
    if let Some(file) = &options.report {
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(file, json + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if let Some(file) = &options.timeline {
        timeline::draw(&report, &spans, file)
            .with_context(|| format!("cannot draw {}", file.display()))?;
    }
    let files = [
        ("report", &options.report),
        ("timeline", &options.timeline),
        ("recording", &options.record),
        ("frame hashes", &options.framehash),
    ];
    for (what, file) in files {
        file.iter().for_each(|file| view.wrote(what, file));
    }
    view.finish(&report);
    match recorded {
        // Who closes the program at the other end of the pipe has seen enough.
        Err(error) if !options.pipe => return Err(error),
        _ => {}
    }
    match failure {
        Some(why) => anyhow::bail!("{why}"),
        None => Ok(ExitCode::SUCCESS),
    }
}
