//! The network: a coordinator, origins, workers, edges, players.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use anyhow::{Context, bail};
use gibbon_control::{
    client::Portal,
    portal::{HandoffInfo, HandoffOutcome, SessionInfo},
};
use gibbon_media::{HandoffId, Placement, SessionId};
use rustix::process::Signal;

use crate::{
    Around, Player, PlayerOptions, Process, Setup, Source, Usage, WAIT, binary,
    player::read_frames,
    supervisor::{Shared, Supervisor, lock},
    wait_for,
};

/// The coordinator's name, among those of nodes.
pub const COORDINATOR: &str = "coordinator";

/// A running network. The coordinator's and the nodes' ports stay what they were when they are started
/// again.
#[derive(Debug)]
pub struct Network {
    folder: PathBuf,
    setup: Setup,
    /// The portal.
    pub portal: Portal,
    portal_url: String,
    control: SocketAddr,
    /// The coordinator among them.
    processes: BTreeMap<String, Shared>,
    addresses: BTreeMap<String, SocketAddr>,
    control_paths: BTreeMap<String, crate::Path>,
    access_paths: BTreeMap<String, crate::Path>,
    supervisor: Supervisor,
}

impl Network {
    /// Starts the network in `folder` and waits until every node has registered and every stream is
    /// published.
    pub fn start(folder: &Path, setup: Setup) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut coordinator = start_coordinator(folder, &setup)?;
        let (control, portal) = wait_for("the coordinator to be ready", WAIT, || {
            let log = coordinator.log();
            let ready = log.with(READY).last();
            Ok(ready
                .and_then(|l| Some((l.text("nodes")?.to_owned(), l.text("portal")?.to_owned()))))
        })?;
        coordinator.keep("--listen", &control);
        coordinator.keep("--portal", &portal);
        let portal_url = format!("http://{portal}");
        let portal = Portal::new(&portal_url, &folder.join("certs/portal.token"))?;
        let mut network = Self {
            folder: folder.to_owned(),
            setup,
            portal,
            portal_url,
            control: control.parse()?,
            processes: BTreeMap::from([(
                COORDINATOR.to_owned(),
                Arc::new(Mutex::new(coordinator)),
            )]),
            addresses: BTreeMap::new(),
            control_paths: BTreeMap::new(),
            access_paths: BTreeMap::new(),
            supervisor: Supervisor::new(),
        };
        for (id, streams, arguments) in network.setup.origins.clone() {
            network.begin_origin(&id, &streams, &arguments)?;
        }
        for source in network.setup.sources.clone() {
            network.begin_source(&source)?;
        }
        for id in network.setup.edges.clone() {
            network.begin_provider("gibbon-edge", &[], &id)?;
        }
        for id in network.setup.workers.clone() {
            network.begin_provider("gibbon-worker", &["run"], &id)?;
        }
        network.learn_addresses()?;
        network.await_ready()?;
        Ok(network)
    }

    fn begin_origin(
        &mut self,
        id: &str,
        streams: &[String],
        more: &[String],
    ) -> anyhow::Result<()> {
        let mut arguments = vec!["serve".to_owned()];
        for stream in streams {
            arguments.extend(["--stream".to_owned(), stream.clone()]);
        }
        let state = self.folder.join("state").display().to_string();
        arguments.extend(["--state".to_owned(), state]);
        if streams.len() == 1 {
            arguments
                .extend(["--framehash".to_owned(), self.origin_frames(id).display().to_string()]);
        }
        arguments.extend(self.node_arguments(id)?);
        arguments.extend_from_slice(more);
        self.begin("gibbon-origin", id, &arguments)
    }

    fn begin_source(&mut self, source: &Source) -> anyhow::Result<()> {
        let mut arguments = vec!["source".to_owned()];
        for stream in &source.streams {
            arguments.extend(["--stream".to_owned(), stream.clone()]);
        }
        arguments.extend(self.node_arguments(&source.id)?);
        arguments.extend_from_slice(&source.arguments);
        self.begin("gibbon-load", &source.id, &arguments)
    }

    /// An edge or a worker.
    fn begin_provider(&mut self, program: &str, command: &[&str], id: &str) -> anyhow::Result<()> {
        let mut arguments: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        arguments.extend(self.node_arguments(id)?);
        if let Some(domain) = self.setup.failure_domains.get(id) {
            arguments.extend(["--failure-domain".to_owned(), domain.clone()]);
        }
        arguments.extend(self.setup.node_arguments.get(id).cloned().unwrap_or_default());
        self.begin(program, id, &arguments)
    }

    fn begin(&mut self, program: &str, id: &str, arguments: &[String]) -> anyhow::Result<()> {
        let around = Around { folder: &self.folder, environment: &[], apart: self.setup.apart };
        let process = Process::start_in(program, id, &around, arguments)?;
        self.processes.insert(id.to_owned(), Arc::new(Mutex::new(process)));
        Ok(())
    }

    /// Arguments that all nodes have in common. The paths of the node are opened.
    fn node_arguments(&mut self, id: &str) -> anyhow::Result<Vec<String>> {
        let certs = self.certs().display().to_string();
        let mut arguments =
            ["--id", id, "--listen", "127.0.0.1:0", "--certs", &certs].map(str::to_owned).to_vec();
        // Every path draws for itself.
        let seed =
            self.setup.seed + 2 * (self.control_paths.len() + self.access_paths.len()) as u64;
        let mut coordinator = self.control;
        if self.setup.control_paths.iter().any(|node| node == id) {
            let path = crate::Path::open(seed)?;
            path.aim(self.control);
            coordinator = path.address();
            self.control_paths.insert(id.to_owned(), path);
        }
        arguments.extend(["--coordinator".to_owned(), coordinator.to_string()]);
        if self.setup.access_paths.iter().any(|node| node == id) {
            let path = crate::Path::open(seed + 1)?;
            arguments.extend(["--advertise".to_owned(), path.address().to_string()]);
            self.access_paths.insert(id.to_owned(), path);
        }
        Ok(arguments)
    }

    /// Each node has found a free port. It keeps that, and its path leads there.
    fn learn_addresses(&mut self) -> anyhow::Result<()> {
        for (id, process) in self.processes.iter().filter(|(id, _)| *id != COORDINATOR) {
            let mut process = lock(process);
            let address: SocketAddr = wait_for(format!("{id} to listen"), WAIT, || {
                let log = process.log();
                let up = IS_UP.iter().find_map(|message| log.with(message).last());
                Ok(up.and_then(|line| line.text("listen")?.parse().ok()))
            })?;
            process.keep("--listen", &address.to_string());
            if let Some(path) = self.access_paths.get(id) {
                path.aim(address);
            }
            self.addresses.insert(id.clone(), address);
        }
        Ok(())
    }

    /// The path between a node and the coordinator, if the setup has one.
    pub fn control_path(&self, id: &str) -> anyhow::Result<&crate::Path> {
        self.control_paths.get(id).with_context(|| format!("{id} has no control path"))
    }

    /// The path by which a node is reached, if the setup has one.
    pub fn access_path(&self, id: &str) -> anyhow::Result<&crate::Path> {
        self.access_paths.get(id).with_context(|| format!("{id} has no access path"))
    }

    /// The paths of all nodes, to them and to the coordinator.
    pub fn all_paths(&self) -> impl Iterator<Item = &crate::Path> {
        self.access_paths.values().chain(self.control_paths.values())
    }

    /// What it was made of.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The address a node listens on, behind its path.
    pub fn address(&self, id: &str) -> anyhow::Result<SocketAddr> {
        self.addresses.get(id).copied().with_context(|| format!("there is no node {id}"))
    }

    /// The addresses all nodes listen on, and connect from.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.values().copied().collect()
    }

    fn await_ready(&self) -> anyhow::Result<()> {
        let Setup { origins, sources, edges, workers, .. } = &self.setup;
        let nodes = origins.len() + sources.len() + edges.len() + workers.len();
        let streams = origins.iter().map(|(_, streams, _)| streams.len());
        let streams: usize = streams.chain(sources.iter().map(|s| s.streams.len())).sum();
        wait_for(format!("{nodes} nodes and {streams} streams"), WAIT, || {
            let (up, published) = (self.portal.nodes()?, self.portal.streams()?);
            Ok((up.len() >= nodes && published.len() >= streams).then_some(()))
        })
    }

    /// Waits until an origin with one stream has published that much of it.
    pub fn await_history(&self, origin: &str, length: Duration) -> anyhow::Result<()> {
        wait_for(format!("{length:?} of the stream of {origin}"), WAIT, || {
            let frames = read_frames(&self.origin_frames(origin))?;
            let times = || frames.iter().map(|(time, ..)| *time);
            let published =
                times().max().zip(times().min()).map_or(0, |(last, first)| last - first);
            Ok((u128::from(published) >= length.as_micros()).then_some(()))
        })
    }

    /// Where everything is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The network's certificates and keys.
    pub fn certs(&self) -> PathBuf {
        self.folder.join("certs")
    }

    /// The portal's address.
    pub fn portal_url(&self) -> &str {
        &self.portal_url
    }

    /// The frame hashes of an origin with one stream.
    pub fn origin_frames(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.framehash"))
    }

    /// A node's process, or the coordinator's. So long as it is held, others wait for it.
    pub fn node(&self, id: &str) -> anyhow::Result<MutexGuard<'_, Process>> {
        self.processes.get(id).map(|p| lock(p)).with_context(|| format!("there is no node {id}"))
    }

    /// What each process uses, the coordinator's among them; those that are down, or being started, are left
    /// out.
    pub fn usage(&self) -> BTreeMap<String, Usage> {
        self.each(Process::usage)
    }

    /// The process id of each that is not being started just now.
    pub fn process_ids(&self) -> Vec<u32> {
        self.each(|process| Some(process.id())).into_values().collect()
    }

    fn each<T>(&self, ask: impl Fn(&Process) -> Option<T>) -> BTreeMap<String, T> {
        let of = |(id, process): (&String, &Shared)| {
            Some((id.clone(), ask(&*process.try_lock().ok()?)?))
        };
        self.processes.iter().filter_map(of).collect()
    }

    /// The coordinator's process.
    pub fn coordinator(&self) -> MutexGuard<'_, Process> {
        lock(&self.processes[COORDINATOR])
    }

    /// Starts a node or the coordinator again, on its former port, and waits until it is up.
    pub fn restart(&self, id: &str) -> anyhow::Result<()> {
        let mut process = self.node(id)?;
        let starts = |process: &Process| {
            let log = process.log();
            [READY].iter().chain(&IS_UP).map(|message| log.with(message).count()).sum::<usize>()
        };
        let before = starts(&process);
        process.restart()?;
        self.supervisor.hold(id, false);
        wait_for(format!("{id} to be up again"), WAIT, || {
            if let Some(status) = process.ended()? {
                bail!("it ended with {status}; see its log");
            }
            Ok((starts(&process) > before).then_some(()))
        })
    }

    /// Kills a node or the coordinator (SIGKILL). It stays dead until it is started again, even under the
    /// supervisor.
    pub fn kill(&self, id: &str) -> anyhow::Result<()> {
        self.supervisor.hold(id, true);
        self.node(id)?.kill()
    }

    /// Asks a node or the coordinator to end (SIGTERM) and waits until it has. It stays so until it is
    /// started again.
    pub fn end(&self, id: &str) -> anyhow::Result<ExitStatus> {
        self.supervisor.hold(id, true);
        self.node(id)?.stop()
    }

    /// Stops a process where it stands (SIGSTOP).
    pub fn freeze(&self, id: &str) -> anyhow::Result<()> {
        self.node(id)?.signal(Signal::STOP)
    }

    /// Lets a frozen process go on (SIGCONT).
    pub fn wake(&self, id: &str) -> anyhow::Result<()> {
        self.node(id)?.signal(Signal::CONT)
    }

    /// Deletes what the coordinator has on disk beside certificates and keys.
    pub fn delete_store(&self) -> anyhow::Result<()> {
        let store = coordinator_store(&self.folder);
        for entry in std::fs::read_dir(&store)? {
            let path = entry?.path();
            if path.is_dir() { std::fs::remove_dir_all(path)? } else { std::fs::remove_file(path)? }
        }
        Ok(())
    }

    /// From now on these are started again whenever they have ended by themselves or were killed from
    /// outside, `after` their end: as systemd or Kubernetes would.
    pub fn supervise(&self, ids: &[&str], after: Duration) -> anyhow::Result<()> {
        for id in ids {
            let process = self.processes.get(*id);
            let process = process.with_context(|| format!("there is no node {id}"))?;
            self.supervisor.watch(id, process.clone(), after);
        }
        Ok(())
    }

    /// How a supervised node has ended, each time so far.
    pub fn exits(&self, id: &str) -> Vec<ExitStatus> {
        self.supervisor.exits(id)
    }

    /// Starts a player `name`, with all its files in a folder of that name.
    pub fn play(&self, name: &str, options: &PlayerOptions) -> anyhow::Result<Player> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let arguments = self.player_arguments(&folder, options);
        let process = Process::start("gibbon-play", name, &self.folder, &arguments)?;
        Ok(Player { process, folder, duration: options.duration })
    }

    /// Starts a player that draws on this terminal.
    pub fn play_here(&self, name: &str, options: &PlayerOptions) -> anyhow::Result<Player> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let mut command = Command::new(binary("gibbon-play")?);
        command.args(self.player_arguments(&folder, options)).stdin(Stdio::null());
        let process = Process::from_command(name, command, folder.join("none.log"))?;
        Ok(Player { process, folder, duration: options.duration })
    }

    fn player_arguments(&self, folder: &Path, options: &PlayerOptions) -> Vec<String> {
        let file = |name: &str| folder.join(name).display().to_string();
        let certs = |name: &str| self.certs().join(name).display().to_string();
        let mut arguments: Vec<String> = vec![options.stream.clone()];
        let mut option = |name: &str, value: String| arguments.extend([format!("--{name}"), value]);
        option("portal", self.portal_url.clone());
        option("ca", certs("ca.pem"));
        option("token-file", certs("portal.token"));
        option("duration", options.duration.as_secs_f64().to_string());
        option("report", file("report.json"));
        if !options.arguments.iter().any(|a| a == "--no-decode") {
            option("framehash", file("framehash"));
            option("timeline", file("timeline.png"));
            option("record", file("recording.mkv"));
        }
        if let Some(edge) = &options.edge {
            option("edge", edge.clone());
        }
        let together = options.edge.as_ref().map(|_| Placement::Together);
        if let Some(placement) = options.placement.or(together) {
            option("placement", placement.to_string());
        }
        arguments.extend_from_slice(&options.arguments);
        arguments
    }

    /// A session as the portal shows it.
    pub fn session(&self, id: SessionId) -> anyhow::Result<SessionInfo> {
        let sessions = self.portal.sessions()?;
        let found = sessions.into_iter().find(|session| session.session == id);
        found.with_context(|| format!("the portal knows no session {id}"))
    }

    /// Waits until a hand-off is over.
    pub fn handoff_over(&self, id: HandoffId) -> anyhow::Result<HandoffInfo> {
        wait_for(format!("hand-off {id} to end"), WAIT, || {
            let info = self.portal.handoffs()?.into_iter().find(|h| h.handoff == id);
            Ok(info.filter(|info| info.outcome != HandoffOutcome::Running))
        })
    }

    /// Stops everything in order and fails if a process does not end well.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.supervisor = Supervisor::new();
        let coordinator = self.processes.remove(COORDINATOR);
        for (id, process) in std::mem::take(&mut self.processes)
            .into_iter()
            .chain(coordinator.map(|process| (COORDINATOR.to_owned(), process)))
        {
            let status = lock(&process).stop()?;
            if !status.success() {
                bail!("{id} ended with {status}");
            }
        }
        Ok(())
    }
}

/// What the coordinator logs when it is ready, and nodes when they are up.
const READY: &str = "the coordinator is ready";
const IS_UP: [&str; 3] = ["edge is up", "origin is up", "worker is up"];

fn coordinator_store(folder: &Path) -> PathBuf {
    folder.join("coordinator")
}

fn start_coordinator(folder: &Path, setup: &Setup) -> anyhow::Result<Process> {
    let (certs, store) = (folder.join("certs"), coordinator_store(folder));
    std::fs::create_dir_all(&store)?;
    let (certs, store) = (certs.display().to_string(), store.display().to_string());
    let free = "127.0.0.1:0";
    let arguments = ["--listen", free, "--portal", free, "--certs", &certs, "--state", &store];
    let mut arguments = arguments.map(str::to_owned).to_vec();
    arguments.extend_from_slice(&setup.coordinator_arguments);
    let environment = &setup.coordinator_environment;
    let around = Around { folder, environment, apart: setup.apart };
    Process::start_in("gibbon-coordinator", COORDINATOR, &around, &arguments)
}
