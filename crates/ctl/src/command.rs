//! The commands: what each asks the portal, and what it prints.

use std::{
    fmt::Display,
    io::{Write, stdout},
    path::PathBuf,
    process::ExitCode,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand, ValueEnum};
use gibbon_control::{
    client::Portal,
    portal::{HandoffInfo, HandoffOutcome, HandoffRequest, SessionInfo},
};
use gibbon_handoff::{InfoSender, Source};
use gibbon_media::{Description, HandoffId, NodeId, SessionId};
use serde::Serialize;

use crate::{
    certificates::Make,
    drain::{self, Drain, RollingRestart, Undrain},
    maintenance::{self, Maintain},
    services::{self, Explain, Service, Services},
    view,
};

/// How often what is waited for is looked at.
pub const POLL: Duration = Duration::from_millis(200);
/// Every hand-off has ended by then; its steps are all bounded.
const WAIT_AT_MOST: Duration = Duration::from_secs(120);
/// How long the coordinator may be away while something is waited for: a new start takes it up again.
pub const AWAY_AT_MOST: Duration = Duration::from_secs(15);

/// See what a Gibbon network does, hand sessions off from edge to edge, run services, and empty edges and workers.
#[derive(Parser)]
#[command(
    name = "gibbonctl",
    version,
    after_help = "\
Examples:
  gibbonctl sessions                       who watches what, through which edges
  gibbonctl handoff 3f2a --wait            move a session; the coordinator selects the edge
  gibbonctl handoff 3f2a --to edge-b       move it to edge-b
  gibbonctl handoff 3f2a --description 1   move one description only
  gibbonctl service start live/bbb 'scale height=360 | grayscale' --wait
                                           have a service built; viewers watch the stream it makes
  gibbonctl explain 7c01                   why its components are where they are
  gibbonctl why 69a1                       why a session was handed off
  gibbonctl maintain edge-a --in 10m       edge-a goes away in ten minutes: all leave it before
  gibbonctl watch                          follow what happens
  gibbonctl drain edge-a                   empty edge-a: its viewers see nothing, then it exits
  gibbonctl drain edge-a --stay --no-wait  empty it and keep it, to be taken back with undrain
  gibbonctl rolling-restart                drain each edge in turn, for its supervisor to restart

Exit code: 0 done, 1 refused or failed (with --wait: also rolled back), 2 wrong usage,
3 the deadline of a drain cut legs or components."
)]
pub struct Options {
    /// Where the coordinator's portal is
    #[arg(
        long,
        global = true,
        help_heading = "Portal",
        env = "GIBBON_PORTAL",
        default_value = "http://127.0.0.1:4480",
        value_name = "URL"
    )]
    portal: String,
    /// The token that the portal asks for where something is changed
    #[arg(
        long,
        global = true,
        help_heading = "Portal",
        env = "GIBBON_TOKEN_FILE",
        default_value = "certs/portal.token",
        value_name = "FILE"
    )]
    token_file: PathBuf,
    /// Print JSON, as the portal gives it; one object a line for watch
    #[arg(long, global = true, help_heading = "Portal")]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List origins, edges and workers, and what they carry
    Nodes,
    /// List the streams that are published
    Streams,
    /// List sessions: origin, components, edge per description, client
    Sessions,
    /// List hand-offs, the newest last
    Handoffs,
    /// Say what a hand-off was decided from: what was known, foreseen and weighed
    Why(Why),
    /// Hand a session off to another edge, one description at a time
    Handoff(Handoff),
    /// Empty an edge or worker: hand all its sessions or components over to others, then let it exit
    ///
    /// No viewer sees anything of it. New ones go elsewhere from now on. With nowhere to go it is refused,
    /// and nothing changes. SIGTERM at the node does the same. Without --no-wait this waits until the node has
    /// left: exit code 0 if it was empty by then, 3 if the deadline cut something (the node's log says what).
    Drain(Drain),
    /// Take a drain back
    ///
    /// What has been moved stays where it is.
    Undrain(Undrain),
    /// Announce planned work at an edge or a worker: all that it carries leaves in time
    ///
    /// The coordinator moves sessions and components before the node goes away, and sends new ones elsewhere
    /// while there is another. It remembers this over restarts, until the node has started again after its time.
    /// The node itself is told nothing, and ends when whoever maintains it ends it.
    Maintain(Maintain),
    /// Drain each edge in turn, to be restarted by its supervisor
    ///
    /// For upgrades: replace the program first, then run this. A node exits when it is empty; systemd,
    /// Kubernetes or a container's restart policy starts it again, and then the next has its turn. Workers
    /// are restarted where --nodes names them. Stops with exit code 1 if a node is not back within 60 s or nothing can take what it carries, with 3 if a deadline
    /// cut something.
    RollingRestart(RollingRestart),
    /// List services, or show one with its components
    Services(Services),
    /// Start or stop a service, or move a component of it
    #[command(subcommand)]
    Service(Service),
    /// Say why the components of a service are where they are, with the scores of all workers, and why they have moved
    Explain(Explain),
    /// List the components that services are made of, with their parameters
    Components,
    /// List the services that have a name
    Catalogue,
    /// Follow what happens, a line for each event, until Ctrl-C
    Watch,
    /// Make certificates and keys of a network in a folder: no network is asked
    ///
    /// For deployments whose nodes are given theirs. What is there is kept; --certs/ca.key is for whoever runs
    /// this, and for no node.
    Certificates(Make),
}

/// Says why a hand-off was made.
#[derive(clap::Args)]
struct Why {
    /// The hand-off: its id, or enough of its beginning; `gibbonctl handoffs` lists them
    handoff: String,
}

/// Moves a session's legs to another edge. The viewer sees nothing of it.
#[derive(clap::Args)]
struct Handoff {
    /// The session: its id, or enough of its beginning
    session: String,
    /// Move only this description [default: both, 1 before 0]
    #[arg(long, value_name = "0|1")]
    description: Option<Description>,
    /// Move only what this edge delivers
    #[arg(long, value_name = "EDGE")]
    from: Option<NodeId>,
    /// Where to [default: the coordinator selects the edge, by load and then location]
    #[arg(long, value_name = "EDGE")]
    to: Option<NodeId>,
    /// Who tells the new edge what to prefetch
    #[arg(long, value_enum, default_value = "coordinator")]
    prefetch_info: Informant,
    /// Where the new edge prefetches from, for both descriptions
    #[arg(long, value_enum, default_value = "first-edge", value_name = "SOURCE")]
    fetch: Fetch,
    /// The same for description 0 alone
    #[arg(long, value_enum, value_name = "SOURCE")]
    fetch_0: Option<Fetch>,
    /// The same for description 1 alone
    #[arg(long, value_enum, value_name = "SOURCE")]
    fetch_1: Option<Fetch>,
    /// Wait for the end, print each step, and fail unless the hand-off is completed
    #[arg(long)]
    wait: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Informant {
    /// The coordinator itself
    Coordinator,
    /// The edge that delivers now
    FirstEdge,
}

#[derive(Clone, Copy, ValueEnum)]
enum Fetch {
    /// The edge that delivers now
    FirstEdge,
    /// The regular upstream
    Origin,
}

impl Handoff {
    fn request(&self) -> HandoffRequest {
        let source = |one: Option<Fetch>| match one.unwrap_or(self.fetch) {
            Fetch::FirstEdge => Source::FirstEdge,
            Fetch::Origin => Source::Origin,
        };
        HandoffRequest {
            description: self.description,
            from: self.from.clone(),
            to: self.to.clone(),
            prefetch_info: Some(match self.prefetch_info {
                Informant::Coordinator => InfoSender::Coordinator,
                Informant::FirstEdge => InfoSender::FirstEdge,
            }),
            fetch: [Some(source(self.fetch_0)), Some(source(self.fetch_1))],
        }
    }
}

/// Carries a command out.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let portal = Portal::new(&options.portal, &options.token_file)?;
    let json = options.json;
    match options.command {
        Command::Nodes => show(json, &portal.nodes()?, |nodes| view::nodes(nodes)),
        Command::Streams => show(json, &portal.streams()?, |streams| view::streams(streams)),
        Command::Sessions => show(json, &portal.sessions()?, |sessions| view::sessions(sessions)),
        Command::Handoffs => show(json, &portal.handoffs()?, |handoffs| view::handoffs(handoffs)),
        Command::Services(services) => services::services(json, &portal, &services),
        Command::Service(service) => services::service(json, &portal, &service),
        Command::Explain(explain) => services::explain(json, &portal, &explain),
        Command::Components => services::components(json, &portal),
        Command::Catalogue => services::catalogue(json, &portal),
        Command::Watch => watch(json, &portal),
        Command::Why(why) => {
            let handoff = find_handoff(&why.handoff, &portal.handoffs()?)?;
            show(json, &portal.why(handoff)?, view::why)
        }
        Command::Handoff(handoff) => start_handoff(json, &portal, &handoff),
        Command::Drain(drain) => drain::drain(json, &portal, &drain),
        Command::Maintain(maintain) => maintenance::maintain(json, &portal, &maintain),
        Command::Undrain(undrain) => drain::undrain(json, &portal, &undrain),
        Command::RollingRestart(restart) => drain::rolling_restart(json, &portal, &restart),
        Command::Certificates(make) => make.run(),
    }
}

/// As JSON, or as `view` shows it.
pub fn show<T: Serialize>(
    json: bool,
    what: &T,
    view: impl Fn(&T) -> String,
) -> anyhow::Result<ExitCode> {
    print(&if json { serde_json::to_string_pretty(what)? } else { view(what) })?;
    Ok(ExitCode::SUCCESS)
}

/// A line, or some, for people.
pub fn print(text: &str) -> std::io::Result<()> {
    writeln!(stdout(), "{}", text.trim_end())
}

fn watch(json: bool, portal: &Portal) -> anyhow::Result<ExitCode> {
    let mut events = portal.events()?;
    while let Some(event) = events.next_event().context("the stream of events broke off")? {
        print(&if json { serde_json::to_string(&event)? } else { view::event(&event) })?;
    }
    bail!("the portal has ended the stream of events; is the coordinator stopping?")
}

fn start_handoff(json: bool, portal: &Portal, handoff: &Handoff) -> anyhow::Result<ExitCode> {
    let session = find_session(&handoff.session, &portal.sessions()?)?;
    let begun = portal.handoff(session, &handoff.request())?;
    if !handoff.wait {
        return show(json, &begun, view::handoff);
    }
    if !json {
        print(&view::handoff(&begun))?;
    }
    let ended = wait(json, portal, begun)?;
    if json {
        print(&serde_json::to_string_pretty(&ended)?)?;
    } else {
        print(&view::outcome(&ended))?;
    }
    let completed = ended.outcome == HandoffOutcome::Completed;
    Ok(if completed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Follows a hand-off to its end.
fn wait(json: bool, portal: &Portal, begun: HandoffInfo) -> anyhow::Result<HandoffInfo> {
    let started = Instant::now();
    let (mut answered, mut info, mut shown) = (started, begun, 0);
    loop {
        if !json {
            for step in info.progress.iter().skip(shown) {
                print(&view::step(step))?;
            }
        }
        shown = info.progress.len();
        if info.outcome != HandoffOutcome::Running {
            return Ok(info);
        }
        if started.elapsed() > WAIT_AT_MOST {
            bail!("hand-off {} has not ended within {WAIT_AT_MOST:?}", info.handoff);
        }
        sleep(POLL);
        match portal.handoff_info(info.handoff) {
            Ok(newer) => {
                (answered, info) = (Instant::now(), newer);
                if info.progress.len() < shown {
                    // A new start of the coordinator has taken it up and counts from the beginning.
                    shown = 0;
                }
            }
            Err(_) if answered.elapsed() < AWAY_AT_MOST => {}
            Err(error) => {
                return Err(error).with_context(|| format!("hand-off {} is lost", info.handoff));
            }
        }
    }
}

/// The session whose id begins with `prefix`.
fn find_session(prefix: &str, sessions: &[SessionInfo]) -> anyhow::Result<SessionId> {
    find(prefix, "session", sessions.iter().map(|info| info.session))
}

/// The hand-off whose id begins with `prefix`.
fn find_handoff(prefix: &str, handoffs: &[HandoffInfo]) -> anyhow::Result<HandoffId> {
    find(prefix, "handoff", handoffs.iter().map(|info| info.handoff))
}

/// The one of `ids` that begins with `prefix`; `what` they are of.
fn find<Id: Display + Copy>(
    prefix: &str,
    what: &str,
    ids: impl Iterator<Item = Id>,
) -> anyhow::Result<Id> {
    let prefix = prefix.to_ascii_lowercase();
    let fitting: Vec<_> = ids.filter(|id| id.to_string().starts_with(&prefix)).collect();
    match fitting[..] {
        [id] => Ok(id),
        [] => bail!("no {what} begins with {prefix:?}; `gibbonctl {what}s` lists them"),
        [one, another, ..] => {
            bail!("{} {what}s begin with {prefix:?}, {one} and {another} for two", fitting.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use gibbon_control::portal::ClientInfo;

    use super::*;

    fn handoff(arguments: &[&str]) -> HandoffRequest {
        let arguments = ["gibbonctl", "handoff", "3f"].iter().chain(arguments);
        match Options::try_parse_from(arguments).unwrap().command {
            Command::Handoff(handoff) => handoff.request(),
            _ => panic!("another command"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn the_source_of_one_description_overrides_that_of_both() {
        let request = handoff(&[]);
        assert_eq!(request.fetch, [Some(Source::FirstEdge); 2]);
        assert_eq!(request.prefetch_info, Some(InfoSender::Coordinator));
        assert_eq!((request.description, request.to), (None, None));
        let request = handoff(&[
            "--fetch",
            "origin",
            "--fetch-1",
            "first-edge",
            "--description=1",
            "--prefetch-info=first-edge",
        ]);
        assert_eq!(request.fetch, [Some(Source::Origin), Some(Source::FirstEdge)]);
        assert_eq!(request.prefetch_info, Some(InfoSender::FirstEdge));
        assert_eq!(request.description, Some(Description::One));
    }

    #[test]
    fn wrong_usage_exits_with_2() {
        for wrong in [
            &["handoff"][..],
            &["handoff", "x", "--description", "2"],
            &["fly"],
            &["maintain", "edge-a"],
            &["maintain", "edge-a", "--in", "10m", "--cancel"],
        ] {
            let error = Options::try_parse_from([&["gibbonctl"], wrong].concat()).err().unwrap();
            assert_eq!(error.exit_code(), 2, "{wrong:?}");
        }
    }

    #[test]
    fn a_session_is_named_by_an_unambiguous_beginning() {
        let session = |id| SessionInfo {
            session: SessionId(id),
            stream: "live/bbb".parse().unwrap(),
            origin: None,
            service: None,
            modules: Vec::new(),
            edges: [None, None],
            placement: Default::default(),
            priority: Default::default(),
            client: ClientInfo { connected: true, location: None },
            handoff: None,
        };
        let sessions = [session(0xab00 << 48), session(0xabcd << 48), session(0xf000 << 48)];
        assert_eq!(find_session("F0", &sessions).unwrap(), sessions[2].session);
        assert_eq!(find_session("abc", &sessions).unwrap(), sessions[1].session);
        for (prefix, why) in [("ab", "2 sessions begin"), ("x", "no session begins")] {
            let error = find_session(prefix, &sessions).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
