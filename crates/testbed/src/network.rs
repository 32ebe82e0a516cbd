//! The network: a coordinator, origins, edges, players.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use gibbon_control::{
    client::Portal,
    portal::{HandoffInfo, HandoffOutcome, SessionInfo},
};
use gibbon_media::{HandoffId, SessionId};

use crate::{Player, PlayerOptions, Process, WAIT, binary, player::read_frames, wait_for};

/// What to start.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Id, streams as `NAME=MEDIA[,CAPTIONS]`, and further arguments of each origin.
    pub origins: Vec<(String, Vec<String>, Vec<String>)>,
    /// Ids of the edges.
    pub edges: Vec<String>,
    /// Further arguments of single edges, by id.
    pub edge_arguments: BTreeMap<String, Vec<String>>,
    /// Edges whose connection to the coordinator goes over a [`Path`] that tests can cut.
    pub control_paths: Vec<String>,
    /// Edges that viewers and other edges reach over a [`Path`].
    pub access_paths: Vec<String>,
}

impl Setup {
    /// One origin `origin-1` that publishes `live/bbb` from the clip in `media/`, and these edges.
    pub fn bbb(edges: &[&str]) -> Self {
        Self::default().origin("origin-1", &["live/bbb"]).edges(edges)
    }

    /// With an origin that publishes the clip in `media/` under these names.
    pub fn origin(mut self, id: &str, streams: &[&str]) -> Self {
        let media = media_folder();
        let (clip, captions) = (media.join("bbb.mp4"), media.join("bbb.vtt"));
        let source = format!("{},{}", clip.display(), captions.display());
        let streams = streams.iter().map(|stream| format!("{stream}={source}")).collect();
        self.origins.push((id.to_owned(), streams, Vec::new()));
        self
    }

    /// With these edges.
    pub fn edges(mut self, ids: &[&str]) -> Self {
        self.edges.extend(ids.iter().map(|id| (*id).to_owned()));
        self
    }

    /// With further arguments for every origin.
    pub fn origin_arguments(mut self, arguments: &[&str]) -> Self {
        for origin in &mut self.origins {
            origin.2.extend(arguments.iter().map(|a| (*a).to_owned()));
        }
        self
    }
}

/// The clips of the repository.
pub fn media_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../media")
}

/// A running network.
#[derive(Debug)]
pub struct Network {
    folder: PathBuf,
    setup: Setup,
    /// The portal.
    pub portal: Portal,
    portal_url: String,
    coordinator: Process,
    control: String,
    nodes: BTreeMap<String, Process>,
    control_paths: BTreeMap<String, crate::Path>,
    access_paths: BTreeMap<String, crate::Path>,
}

impl Network {
    /// Starts the network in `folder` and waits until every node has registered and every stream is
    /// published.
    pub fn start(folder: &Path, setup: Setup) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let coordinator = start_coordinator(folder, "127.0.0.1:0", "127.0.0.1:0")?;
        let (control, portal) = wait_for("the coordinator to be ready", WAIT, || {
            let log = coordinator.log();
            let ready = log.with("the coordinator is ready").last();
            Ok(ready
                .and_then(|l| Some((l.text("nodes")?.to_owned(), l.text("portal")?.to_owned()))))
        })?;
        let portal_url = format!("http://{portal}");
        let portal = Portal::new(&portal_url, &folder.join("certs/portal.token"))?;
        let mut network = Self {
            folder: folder.to_owned(),
            setup,
            portal,
            portal_url,
            coordinator,
            control,
            nodes: BTreeMap::new(),
            control_paths: BTreeMap::new(),
            access_paths: BTreeMap::new(),
        };
        for (id, streams, arguments) in network.setup.origins.clone() {
            network.start_origin(&id, &streams, &arguments)?;
        }
        for id in network.setup.edges.clone() {
            network.start_edge(&id)?;
        }
        network.await_ready()?;
        Ok(network)
    }

    fn start_origin(
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
        arguments.extend(self.node_arguments(id));
        arguments.extend_from_slice(more);
        let process = Process::start("gibbon-origin", id, &self.folder, &arguments)?;
        self.nodes.insert(id.to_owned(), process);
        Ok(())
    }

    /// Starts an edge, for the first time or again.
    pub fn start_edge(&mut self, id: &str) -> anyhow::Result<()> {
        let mut arguments = self.node_arguments(id);
        arguments.extend(self.setup.edge_arguments.get(id).cloned().unwrap_or_default());
        if self.setup.control_paths.iter().any(|edge| edge == id) {
            let path = crate::Path::to(self.control.parse()?)?;
            arguments.extend(["--coordinator".to_owned(), path.address().to_string()]);
            self.control_paths.insert(id.to_owned(), path);
        }
        let access = self.setup.access_paths.iter().any(|edge| edge == id);
        let access = access.then(|| crate::Path::open(1)).transpose()?;
        if let Some(path) = &access {
            arguments.extend(["--advertise".to_owned(), path.address().to_string()]);
        }
        let process = Process::start("gibbon-edge", id, &self.folder, &arguments)?;
        if let Some(path) = access {
            let listen = wait_for(format!("{id} to listen"), WAIT, || {
                let log = process.log();
                let up = log.with("edge is up").last();
                Ok(up.and_then(|line| line.text("listen")?.parse().ok()))
            })?;
            path.aim(listen);
            self.access_paths.insert(id.to_owned(), path);
        }
        self.nodes.insert(id.to_owned(), process);
        Ok(())
    }

    /// The path between an edge and the coordinator, if the setup has one.
    pub fn control_path(&self, id: &str) -> anyhow::Result<&crate::Path> {
        self.control_paths.get(id).with_context(|| format!("{id} has no control path"))
    }

    /// The path by which an edge is reached, if the setup has one.
    pub fn access_path(&self, id: &str) -> anyhow::Result<&crate::Path> {
        self.access_paths.get(id).with_context(|| format!("{id} has no access path"))
    }

    fn node_arguments(&self, id: &str) -> Vec<String> {
        let certs = self.certs().display().to_string();
        ["--id", id, "--listen", "127.0.0.1:0", "--coordinator", &self.control, "--certs", &certs]
            .map(str::to_owned)
            .into()
    }

    fn await_ready(&self) -> anyhow::Result<()> {
        let nodes = self.setup.origins.len() + self.setup.edges.len();
        let streams: usize = self.setup.origins.iter().map(|(_, streams, _)| streams.len()).sum();
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

    /// A node's process.
    pub fn node(&mut self, id: &str) -> anyhow::Result<&mut Process> {
        self.nodes.get_mut(id).with_context(|| format!("there is no node {id}"))
    }

    /// The coordinator's process.
    pub fn coordinator(&mut self) -> &mut Process {
        &mut self.coordinator
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
        for (id, mut node) in std::mem::take(&mut self.nodes) {
            let status = node.stop()?;
            if !status.success() {
                bail!("{id} ended with {status}");
            }
        }
        let status = self.coordinator.stop()?;
        if !status.success() {
            bail!("the coordinator ended with {status}");
        }
        Ok(())
    }
}

fn start_coordinator(folder: &Path, listen: &str, portal: &str) -> anyhow::Result<Process> {
    let path = |name: &str| folder.join(name).display().to_string();
    let (certs, state) = (path("certs"), path("state"));
    std::fs::create_dir_all(&state)?;
    let arguments = ["--listen", listen, "--portal", portal, "--certs", &certs, "--state", &state];
    Process::start("gibbon-coordinator", "coordinator", folder, &arguments.map(str::to_owned))
}
