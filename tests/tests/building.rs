//! Building services: what decides where components go, and what cannot be built.

use anyhow::{Context, bail, ensure};
use gibbon_control::{
    services::{CandidateExplanation, Explanation, ServiceRequest},
    work::InstanceState,
};
use gibbon_testbed::{Network, Setup, WAIT, wait_for};
use gibbon_tests::{ask_for, request, running, stop, worker_of};

const MUNICH: &str = "48.14,11.58";
const NEW_YORK: &str = "40.71,-74.01";

/// The worker that each component would get.
fn workers(explanation: &Explanation) -> Vec<&str> {
    let assigned = explanation.components.iter().filter_map(|component| component.worker.as_ref());
    assigned.map(|worker| worker.as_str()).collect()
}

fn candidate<'a>(
    explanation: &'a Explanation,
    component: usize,
    worker: &str,
) -> anyhow::Result<&'a CandidateExplanation> {
    let candidates =
        &explanation.components.get(component).context("no such component")?.candidates;
    let found = candidates.iter().find(|candidate| candidate.worker.as_str() == worker);
    found.with_context(|| format!("no {worker} among {candidates:?}"))
}

#[test]
fn clients_location_loads_links_shared_prefixes_neighbours_and_priority_decide()
-> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut setup = Setup::bbb(&["edge-a"])
        .workers(&["far", "munich", "new-york", "small", "thin"])
        .node_with("munich", &["--location", MUNICH, "--cores", "4"])
        .node_with("new-york", &["--location", NEW_YORK, "--cores", "4"])
        // Only these have them, so that where they go is decided by other things than place and load.
        .node_with("small", &["--cores", "0.2", "--components", "transcode,mdc"])
        .node_with("thin", &["--cores", "4", "--uplink-kbps", "40", "--components", "denoise,mdc"])
        .node_with("far", &["--cores", "4", "--components", "denoise,mdc"]);
    setup.access_paths.push("far".into());
    let network = Network::start(folder.path(), setup)?;
    network.access_path("far")?.delay(std::time::Duration::from_millis(150));

    // The client's location, and that neighbours stay together.
    for (place, worker) in [(MUNICH, "munich"), (NEW_YORK, "new-york")] {
        let mut asked = request("scale height=180 | grayscale | mdc")?;
        asked.location = Some(place.parse().map_err(anyhow::Error::msg)?);
        let explanation = network.portal.explain(&asked)?;
        ensure!(workers(&explanation) == [worker; 3], "{place}: {explanation:?}");
    }

    // Bandwidth: the uplink of one is too narrow for what comes out.
    let explanation = network.portal.explain(&request("denoise | mdc")?)?;
    let thin = candidate(&explanation, 1, "thin")?;
    ensure!(thin.unfit.is_some(), "{thin:?}");

    // Network load and distance on the network: a hop to one that is far costs more than one to its like.
    let near_and_far = wait_for("the paths between workers to be known", WAIT, || {
        let explanation = network.portal.explain(&request("scale height=180 | denoise | mdc")?)?;
        let near = candidate(&explanation, 1, "munich")?.total;
        let far = candidate(&explanation, 1, "far")?.total;
        let apart = candidate(&explanation, 1, "far")?.terms.iter().any(|t| t.criterion == "link");
        Ok((apart && far > near).then_some(explanation))
    })?;
    ensure!(workers(&near_and_far).iter().all(|worker| *worker != "far"), "{near_and_far:?}");

    // The load of each node: the small one is left as soon as it would be busy.
    let explanation = network.portal.explain(&request("transcode kbps=900 | mdc")?)?;
    let small = candidate(&explanation, 1, "small")?;
    let load = |c: &CandidateExplanation| {
        c.terms.iter().find(|t| t.criterion == "load").map_or(f64::INFINITY, |t| t.cost)
    };
    ensure!(load(small) > load(candidate(&explanation, 1, "munich")?), "{explanation:?}");
    ensure!(workers(&explanation).iter().all(|worker| *worker != "small"), "{explanation:?}");

    // The priority: what is left of the small one is for those that matter.
    let fits = |height: u32, priority: u8| -> anyhow::Result<bool> {
        let mut asked = request(&format!("scale height={height} | transcode kbps=500 | mdc"))?;
        asked.priority = priority.try_into().map_err(anyhow::Error::msg)?;
        let explanation = network.portal.explain(&asked)?;
        Ok(candidate(&explanation, 2, "small")?.unfit.is_none())
    };
    let mut reserved = None;
    for height in (90..=360).step_by(6) {
        let (least, most) = (fits(height, 0)?, fits(height, 9)?);
        ensure!(most || !least, "a height of {height} fits the least important only");
        if most && !least {
            reserved = Some(height);
        }
    }
    ensure!(reserved.is_some(), "nothing is kept for what matters");

    // What runs already is shared, wherever the client is.
    let munich = |r: &mut ServiceRequest| r.location = MUNICH.parse().ok();
    let service = ask_for(&network, "scale height=180 | grayscale", munich)?;
    let info = running(&network, service.service)?;
    ensure!(worker_of(&info, 3)? == "munich", "{info:?}");
    let mut asked = request("scale height=180 | grayscale | mdc")?;
    asked.location = Some(NEW_YORK.parse().map_err(anyhow::Error::msg)?);
    let explanation = network.portal.explain(&asked)?;
    ensure!(explanation.components.iter().all(|component| component.shared), "{explanation:?}");
    let explained = network.portal.explain_service(service.service)?;
    ensure!(workers(&explained) == ["munich"; 3], "{explained:?}");
    stop(network)
}

#[test]
fn a_worker_that_dies_before_it_acknowledges_is_replaced() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    // The first is preferred by far.
    let setup = Setup::bbb(&["edge-a"])
        .workers(&["worker-1", "worker-2"])
        .node_with("worker-1", &["--location", MUNICH, "--cores", "8"])
        .node_with("worker-2", &["--location", NEW_YORK, "--cores", "1"]);
    let network = Network::start(folder.path(), setup)?;
    let at_munich = |r: &mut ServiceRequest| r.location = MUNICH.parse().ok();
    network.kill("worker-1")?;
    let service = ask_for(&network, "scale height=180", at_munich)?;
    ensure!(service.modules.iter().all(|m| m.worker.as_str() == "worker-1"), "{service:?}");
    let info = running(&network, service.service)?;
    ensure!(info.modules.iter().all(|m| m.worker.as_str() == "worker-2"), "{info:?}");
    Ok(())
}

#[test]
fn what_cannot_be_built_says_why_and_leaves_nothing_behind() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let setup =
        Setup::bbb(&["edge-a"]).workers(&["worker-1"]).node_with("worker-1", &["--cores", "0.3"]);
    let network = Network::start(folder.path(), setup)?;
    for (list, words) in [
        ("teleport to=mars", &["teleport", "no such component"][..]),
        ("mdc | scale height=180", &["component 2", "scale", "mdc comes last"]),
        ("scale height=3", &["component 1", "scale"]),
        ("scale height=100000", &["scale", "16 to 4096"]),
        ("crop width=4000 height=4000", &["crop"]),
        ("scale height=180 colour=red", &["scale", "colour"]),
        ("filter video=movie=/etc/passwd", &["filter", "movie"]),
        ("filter video=\"hflip;vflip\"", &["filter"]),
        ("only media=[audio] | scale height=180", &["component 2", "scale", "pictures"]),
        ("overlay image=../../etc/passwd", &["overlay"]),
        ("scale height=1080 | denoise | mdc", &["worker-1", "cores"]),
        ("overlay image=nowhere.png", &["worker-1", "nowhere.png"]),
    ] {
        let why = refused(&network, list, |_| {}).with_context(|| list.to_owned())?;
        let missing = words.iter().find(|word| !why.contains(**word));
        ensure!(missing.is_none(), "{list:?}: {why:?} does not say {missing:?}");
    }
    let no_source =
        |r: &mut ServiceRequest| r.stream = "live/none".parse().unwrap_or(r.stream.clone());
    let why = refused(&network, "grayscale", no_source)?;
    ensure!(why.contains("live/none"), "{why}");
    let unknown = |r: &mut ServiceRequest| {
        r.components.clear();
        r.service = Some("no-such-service".into());
    };
    let why = refused(&network, "grayscale", unknown)?;
    ensure!(why.contains("no-such-service"), "{why}");
    let services = network.portal.services()?;
    let left: Vec<_> = services.iter().flat_map(|service| &service.modules).collect();
    ensure!(left.is_empty(), "{left:?}");
    ensure!(network.portal.streams()?.len() == 1, "{:?}", network.portal.streams()?);
    let children = network.node("worker-1")?.log().with("segment started").count();
    ensure!(children == 0, "{children} segments were started");
    stop(network)
}

/// Why a request is refused, at once or when its workers have answered.
fn refused(
    network: &Network,
    list: &str,
    change: impl FnOnce(&mut ServiceRequest),
) -> anyhow::Result<String> {
    let service = match ask_for(network, list, change) {
        Err(why) => return Ok(format!("{why:#}")),
        Ok(info) => info.service,
    };
    wait_for("the service to fail", WAIT, || {
        let Ok(info) = network.portal.service(service) else { bail!("it is forgotten") };
        let failed = info.state == gibbon_control::services::ServiceState::Failed;
        let runs = info.modules.iter().any(|module| module.state == InstanceState::Running);
        ensure!(!runs, "{list} runs: {info:?}");
        Ok(failed.then_some(info.why.unwrap_or_default()))
    })
}
