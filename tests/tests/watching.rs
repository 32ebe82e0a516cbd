//! What processes show of themselves: metrics, readiness, and traces of hand-offs.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, ensure};
use gibbon_control::portal::{HandoffOutcome, HandoffRequest};
use gibbon_media::{HandoffId, NodeId};
use gibbon_monitor::testing::{Read, get};
use gibbon_testbed::{Network, Player, PlayerOptions, Process, Setup, WAIT, wait_for};
use serde_json::Value;

const DOCUMENT: &str = include_str!("../../docs/metrics.md");
const METRICS: [&str; 2] = ["--metrics", "127.0.0.1:0"];
/// Clocks of processes on one machine are one clock; what one process tells another takes a moment.
const ON_ITS_WAY_MS: u64 = 250;
const MAX_MOVES: usize = 3;

/// Where a process serves its metrics.
fn shown_at(process: &Process) -> anyhow::Result<SocketAddr> {
    let log = process.log();
    let line = log.with("metrics are served").last().context("no metrics are served")?;
    Ok(line.text("address").context("no address")?.parse()?)
}

fn page(address: SocketAddr) -> anyhow::Result<Read> {
    Read::page(&get(address, "/metrics")?.1).map_err(anyhow::Error::msg)
}

fn statuses(address: SocketAddr) -> anyhow::Result<(u16, u16)> {
    Ok((get(address, "/health")?.0, get(address, "/ready")?.0))
}

/// A collector of traces: takes OTLP over HTTP as JSON.
struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
}

/// A span as it came, and the process it is of.
#[derive(Debug, Clone)]
struct Span {
    service: String,
    pid: String,
    json: Value,
}

impl Collector {
    fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
        let taken = spans.clone();
        std::thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                let spans = taken.clone();
                // Who leaves in the middle of it is left.
                std::thread::spawn(move || take(caller, &spans).ok());
            }
        });
        Ok(Self { address, spans })
    }

    /// The spans of one trace.
    fn trace(&self, id: &str) -> Vec<Span> {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.iter().filter(|span| span.text("traceId") == id).cloned().collect()
    }
}

/// One request, answered and taken apart.
fn take(caller: TcpStream, spans: &Mutex<Vec<Span>>) -> anyhow::Result<()> {
    let mut reader = BufReader::new(caller);
    let (mut request, mut length) = (String::new(), 0);
    reader.read_line(&mut request)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    reader.get_mut().write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
    )?;
    ensure!(request.starts_with("POST /v1/traces "), "{request}");
    let body: Value = serde_json::from_slice(&body)?;
    for resource in body["resourceSpans"].as_array().into_iter().flatten() {
        let attributes = &resource["resource"];
        let (service, pid) =
            (attribute(attributes, "service.name"), attribute(attributes, "process.pid"));
        for json in resource["scopeSpans"][0]["spans"].as_array().into_iter().flatten() {
            let (service, pid, json) = (service.clone(), pid.clone(), json.clone());
            spans.lock().unwrap_or_else(PoisonError::into_inner).push(Span { service, pid, json });
        }
    }
    Ok(())
}

fn attribute(of: &Value, key: &str) -> String {
    let mut attributes = of["attributes"].as_array().into_iter().flatten();
    let found = attributes.find(|attribute| attribute["key"] == key);
    let value = found.map(|found| &found["value"]);
    let text = value.and_then(|value| value["stringValue"].as_str().or(value["intValue"].as_str()));
    text.unwrap_or_default().to_owned()
}

impl Span {
    fn text(&self, name: &str) -> &str {
        self.json[name].as_str().unwrap_or_default()
    }

    fn attribute(&self, key: &str) -> String {
        attribute(&self.json, key)
    }

    /// From when to when, in ms since the epoch.
    fn times(&self) -> (u64, u64) {
        let ms = |name| self.text(name).parse::<u64>().unwrap_or_default() / 1_000_000;
        (ms("startTimeUnixNano"), ms("endTimeUnixNano"))
    }
}

/// One trace, whose spans nest: the ids of parents are there, and their times hold those of their children.
fn check_trace(spans: &[Span], handoff: HandoffId) -> anyhow::Result<()> {
    let named = |name: &str| spans.iter().filter(|span| span.text("name") == name).count();
    let found = ["handoff", "step", "prefetch", "settle", "attach", "probation", "reserved"];
    let counts = found.map(named);
    ensure!(counts == [1, 2, 2, 2, 2, 2, 2], "{counts:?} of {found:?} for {handoff}: {spans:#?}");
    for span in spans {
        let parent = span.text("parentSpanId");
        if span.text("name") == "handoff" {
            ensure!(
                parent.is_empty() && span.attribute("gibbon.outcome") == "completed",
                "{span:?}"
            );
            continue;
        }
        let parents: Vec<_> = spans.iter().filter(|other| other.text("spanId") == parent).collect();
        let [parent] = parents[..] else { anyhow::bail!("{span:?} has parents {parents:?}") };
        let ((from, to), (begins, ends)) = (parent.times(), span.times());
        let within = from <= begins + ON_ITS_WAY_MS && ends <= to + ON_ITS_WAY_MS && begins <= ends;
        ensure!(within, "{span:?} is not within {parent:?}");
        if parent.text("name") == "step" {
            let of = |span: &Span| span.attribute("gibbon.description");
            ensure!(of(parent) == of(span), "{span:?} is under {parent:?}");
        }
    }
    let processes: BTreeSet<_> = spans.iter().map(|span| (&span.service, &span.pid)).collect();
    let services: Vec<_> = processes.iter().map(|(service, _)| service.as_str()).collect();
    let expected = ["gibbon-coordinator", "gibbon-edge", "gibbon-edge", "gibbon-play"];
    ensure!(services == expected, "{services:?}");
    Ok(())
}

/// Moves the player to the other edge, and says by which hand-off. On a machine that is starved for a moment one may
/// fail: then once more.
fn moved(network: &Network, player: &Player) -> anyhow::Result<(HandoffId, NodeId)> {
    for _ in 0..MAX_MOVES {
        let at_b = network.session(player.session()?)?.edges.contains(&Some("edge-b".parse()?));
        let to: NodeId = if at_b { "edge-a" } else { "edge-b" }.parse()?;
        let request = HandoffRequest { to: Some(to.clone()), ..HandoffRequest::default() };
        let handoff = network.portal.handoff(player.session()?, &request)?.handoff;
        if network.handoff_over(handoff)?.outcome == HandoffOutcome::Completed {
            return Ok((handoff, to));
        }
    }
    anyhow::bail!("{MAX_MOVES} hand-offs were rolled back: {:?}", network.portal.handoffs()?)
}

#[test]
fn a_hand_off_is_one_trace_and_what_it_cost_the_viewer_is_counted() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let collector = Collector::start()?;
    let url = format!("http://{}", collector.address);
    let watched = ["--metrics", "127.0.0.1:0", "--otlp", &url];
    let mut setup = Setup::bbb(&["edge-a", "edge-b"])
        .origin_arguments(&METRICS)
        .node_with("edge-a", &watched)
        .node_with("edge-b", &watched);
    setup.coordinator_arguments = watched.map(str::to_owned).into();
    let network = Network::start(folder.path(), setup)?;
    let options = PlayerOptions::new("live/bbb", 60.0).at("edge-a").no_decode().with(&watched);
    let mut player = network.play("player", &options)?;
    player.playing()?;
    let (handoff, to) = moved(&network, &player)?;

    let coordinator = shown_at(&network.coordinator())?;
    let ended = [("cause", "operator"), ("outcome", "completed")];
    let shown = wait_for("the cost of the hand-off", WAIT, || {
        let page = page(coordinator)?;
        let told = page.value("gibbon_handoff_viewer_gap_seconds_count", &[("cause", "operator")]);
        let all = told == page.value("gibbon_handoffs_total", &ended[..1]).map(|n| 2.0 * n);
        Ok(all.then_some(page))
    })?;
    ensure!(shown.value("gibbon_handoffs_total", &ended) == Some(1.0), "{shown:?}");
    let all = network.portal.handoffs()?;
    let gaps: Option<Vec<_>> = all.iter().map(|info| info.viewer_gap).collect();
    let gaps = gaps.context("the portal does not tell what they cost")?;
    let seconds = |verdict| {
        let labels = [ended[0], ("verdict", verdict)];
        shown.value("gibbon_handoff_viewer_gap_seconds_sum", &labels).unwrap_or(-1.0)
    };
    let same = |told: f64, ms: u64| (told - ms as f64 / 1000.0).abs() < 1e-6;
    let (side, frozen) =
        (gaps.iter().map(|g| g.side_ms).sum(), gaps.iter().map(|g| g.frozen_ms).sum());
    ensure!(same(seconds("side"), side) && same(seconds("frozen"), frozen), "{gaps:?} {shown:?}");
    let central = shown.value("gibbon_viewer_frames_total", &[("verdict", "central")]);
    ensure!(central.is_some_and(|frames| frames > 24.0), "{central:?}");

    let origin = shown_at(&*network.node("origin-1")?)?;
    let published = page(origin)?;
    published.check_documented(DOCUMENT, &["Every process", "Every node", "Origin"]);
    let lag = published.value("gibbon_origin_lag_seconds", &[("description", "0")]);
    ensure!(lag.is_some_and(|lag| lag < 5.0), "{lag:?}");
    let played = page(shown_at(&player.process)?)?;
    let leg = played.value("gibbon_player_leg", &[("edge", to.as_str())]);
    ensure!(leg == Some(2.0), "{played:?}");

    player.process.stop()?;
    let trace = format!("676962626f6e0000{handoff}");
    let all = |spans: &Vec<Span>| spans.len() >= 13;
    let spans = wait_for("all spans of the hand-off", Duration::from_secs(10), || {
        Ok(Some(collector.trace(&trace)).filter(all))
    });
    check_trace(&spans.unwrap_or_else(|_| collector.trace(&trace)), handoff)?;
    network.stop()
}

#[test]
fn health_and_readiness_do_not_depend_on_another_process() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut setup =
        Setup::bbb(&["edge-a"]).origin_arguments(&METRICS).node_with("edge-a", &METRICS);
    setup.coordinator_arguments = METRICS.map(str::to_owned).into();
    let network = Network::start(folder.path(), setup)?;
    let edge = shown_at(&*network.node("edge-a")?)?;
    let origin = shown_at(&*network.node("origin-1")?)?;
    let coordinator = shown_at(&network.coordinator())?;
    for address in [edge, origin, coordinator] {
        ensure!(statuses(address)? == (200, 200), "{address}");
    }
    let connected = |expected: f64| {
        wait_for(format!("connected {expected}"), WAIT, || {
            let connected = page(edge)?.value("gibbon_coordinator_connected", &[]);
            Ok((connected == Some(expected)).then_some(()))
        })
    };
    connected(1.0)?;
    network.kill("coordinator")?;
    connected(0.0)?;
    for address in [edge, origin] {
        ensure!(statuses(address)? == (200, 200), "{address} without its coordinator");
    }
    network.restart("coordinator")?;
    let coordinator = shown_at(&network.coordinator())?;
    let origins = |state: &str| {
        wait_for(format!("the origin to be {state}"), WAIT, || {
            let labels = [("role", "origin"), ("state", state)];
            Ok((page(coordinator)?.value("gibbon_nodes", &labels) == Some(1.0)).then_some(()))
        })
    };
    origins("up")?;
    network.kill("origin-1")?;
    origins("lost")?;
    for address in [edge, coordinator] {
        ensure!(statuses(address)? == (200, 200), "{address} without the origin");
    }
    Ok(())
}
