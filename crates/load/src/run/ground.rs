//! Where a scenario is played: a network started here, or one that is there already.

use std::path::{Path, PathBuf};

use anyhow::Context;
use gibbon_control::{client::Portal, node::NodeAddress};
use gibbon_media::{NodeId, Role, StreamName};
use gibbon_net::identity::read_authority;
use gibbon_testbed::{Around, Network, Process, Setup};
use rustls::pki_types::CertificateDer;

use crate::{
    scenario::{Existing, NetworkPlan, Sample, Scenario},
    sessions::Source,
};

/// A network to play on.
#[derive(Debug)]
pub struct Ground {
    /// The network, if it was started here.
    pub network: Option<Network>,
    /// Its portal.
    pub portal: Portal,
    /// Ids of its edges.
    pub edges: Vec<NodeId>,
    existing: Existing,
    folder: PathBuf,
}

impl Ground {
    /// Starts the scenario's network in `folder`, or finds the one it names.
    pub fn prepare(scenario: &Scenario, folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.to_owned();
        if let Some(plan) = &scenario.network {
            let network = Network::start(&folder, setup(plan))?;
            let edges = plan.edge_ids().iter().map(|id| id.parse()).collect::<Result<_, _>>()?;
            let existing = Existing {
                url: network.portal_url().to_owned(),
                token_file: network.certs().join("portal.token"),
                ca: network.certs().join("ca.pem"),
            };
            let (portal, network) = (network.portal.clone(), Some(network));
            return Ok(Self { network, portal, edges, existing, folder });
        }
        let existing = scenario.portal.clone();
        let existing = existing.context("a scenario has a [network] or a [portal]")?;
        let portal = Portal::new(&existing.url, &existing.token_file)?;
        let nodes = portal.nodes()?.into_iter();
        let edges = nodes.filter(|node| node.role == Role::Edge && node.up).map(|node| node.id);
        Ok(Self { network: None, edges: edges.collect(), portal, existing, folder })
    }

    /// The network, for what needs its processes.
    pub fn processes(&self) -> anyhow::Result<&Network> {
        self.network.as_ref().context("the network's processes are not ours to hurt")
    }

    /// What sessions trust.
    pub fn authority(&self) -> anyhow::Result<CertificateDer<'static>> {
        let ca = &self.existing.ca;
        read_authority(ca).with_context(|| format!("cannot read {}", ca.display()))
    }

    /// Where `stream` is published, if it is synthetic and published here: what edges add to its delay can
    /// be measured.
    pub fn source(&self, scenario: &Scenario, stream: &StreamName) -> Option<Source> {
        let (plan, network) = (scenario.network.as_ref()?, self.network.as_ref()?);
        let n = plan.source.iter().position(|source| source.streams.contains(stream))?;
        let id = source_ids(plan).nth(n)?;
        let address = network.address(&id).ok()?;
        let node = NodeAddress { id: id.parse().ok()?, role: Role::Origin, address };
        Some(Source { node, stream: stream.clone(), certs: network.certs() })
    }

    /// Starts a player that decodes, and plays until it is told to end.
    pub fn play(&self, name: &str, sample: &Sample) -> anyhow::Result<Process> {
        let file = |path: &Path| path.display().to_string();
        let mut arguments = vec![
            sample.stream.to_string(),
            format!("--portal={}", self.existing.url),
            format!("--ca={}", file(&self.existing.ca)),
            format!("--token-file={}", file(&self.existing.token_file)),
            format!("--report={}", file(&self.report(name))),
        ];
        arguments.extend(sample.placement.map(|placement| format!("--placement={placement}")));
        let around = Around { folder: &self.folder, environment: &[], apart: true };
        Process::start_in("gibbon-play", name, &around, &arguments)
    }

    /// Where the report of a player goes.
    pub fn report(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }
}

/// Sources come after the origin that has media, if there is one.
fn source_ids(plan: &NetworkPlan) -> impl Iterator<Item = String> {
    plan.origin_ids().into_iter().skip(usize::from(!plan.media.is_empty()))
}

fn setup(plan: &NetworkPlan) -> Setup {
    let (edges, workers) = (plan.edge_ids(), plan.worker_ids());
    let mut setup = Setup { apart: true, seed: plan.seed, ..Setup::default() };
    if let (false, Some(origin)) = (plan.media.is_empty(), plan.origin_ids().first()) {
        let media: Vec<&str> = plan.media.iter().map(StreamName::as_str).collect();
        setup = setup.origin(origin, &media);
    }
    for (id, source) in source_ids(plan).zip(&plan.source) {
        setup.sources.push(gibbon_testbed::Source {
            id,
            streams: source.streams.iter().map(ToString::to_string).collect(),
            arguments: source.arguments(),
        });
    }
    setup.coordinator_arguments = plan.coordinator_arguments.clone();
    for edge in &edges {
        setup.node_arguments.insert(edge.clone(), plan.edge_arguments.clone());
    }
    let nodes: Vec<&str> = edges.iter().chain(&workers).map(String::as_str).collect();
    setup = setup.domains(&nodes);
    (setup.edges, setup.workers) = (edges, workers);
    if plan.paths { setup.paths() } else { setup }
}
