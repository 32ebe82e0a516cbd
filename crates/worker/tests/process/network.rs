//! A real worker between a scripted origin, a scripted coordinator and scripted edges.

use std::{
    net::SocketAddr,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use gibbon_components::Chain;
use gibbon_control::{
    link::coordinator_identity,
    node::{Directory, FromNode, NodeAddress, NodeReport, StreamOrigin, ToNode},
    process,
    work::{Input, InstanceReport, InstanceSpec, InstanceState, WorkAnswer, WorkOrder, WorkReport},
};
use gibbon_handoff::Term;
use gibbon_media::{
    Catalog, Cue, Description, Frame, FrameFlags, GroupHeader, GroupId, InstanceId, MediaTime,
    Medium, NodeId, ProducerId, Role, Scheme, StreamName, TextTrack,
};
use gibbon_net::{
    Certificates, Endpoint, Identity,
    cache::Tracks,
    endpoint, message,
    publish::{self, Pump},
    subscribe::{Event, IncomingGroup, Link, SubscribeError, Subscription},
    wire::{MediaSet, Rejected, Start, Subscribe},
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::{mpsc, watch},
    task::JoinHandle,
};

/// Nothing here takes longer, on a machine however busy.
const WAIT: Duration = Duration::from_secs(30);
/// Length of a group.
pub const GROUP: Duration = Duration::from_millis(300);

pub fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

/// Waits for something that must happen.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(WAIT, future).await.unwrap_or_else(|_| panic!("in vain: {what}"))
}

/// The stream that the origin publishes.
pub fn source() -> StreamName {
    "live/talk".parse().unwrap()
}

/// A published instance that works on the origin's stream.
pub fn instance(id: u64, components: &str) -> InstanceSpec {
    let chain: Chain = format!("{}: {components}", source()).parse().unwrap();
    InstanceSpec {
        instance: InstanceId(id),
        chain: chain.canonical().unwrap(),
        input: Input::Stream(source()),
        publish: true,
        services: Vec::new(),
        replica: 0,
    }
}

// === the network ===

pub struct Network {
    folder: tempfile::TempDir,
    certificates: Certificates,
}

impl Network {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::in_folder(folder.path());
        Self { folder, certificates }
    }

    /// Where everybody's certificates and keys are.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn node(&self, name: &str, role: Role) -> Endpoint {
        let identity = Identity { id: id(name), role };
        Endpoint::node(&self.certificates, &identity, ([127, 0, 0, 1], 0).into()).unwrap()
    }

    pub fn viewer(&self) -> Endpoint {
        Endpoint::viewer(self.certificates.authority().unwrap()).unwrap()
    }

    /// The worker `worker-1`, told of the coordinator if there is one.
    pub async fn worker(&self, coordinator: Option<&Coordinator>, options: &[&str]) -> Worker {
        let nobody = ([127, 0, 0, 1], 1).into();
        let coordinator = coordinator.map_or(nobody, |coordinator| coordinator.address);
        let mut command = Command::new(env!("CARGO_BIN_EXE_gibbon-worker"));
        command
            .current_dir(self.folder.path())
            .args(["run", "--id", "worker-1", "--listen", "127.0.0.1:0", "--certs", "."])
            .args(["--log-format", "json", "--coordinator", &coordinator.to_string()])
            .args(options)
            .env("GIBBON_FAILURE_DOMAIN", "rack-7")
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = watch::Sender::new(Vec::<Value>::new());
        let written = log.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let entry = serde_json::from_str(&line).unwrap_or(Value::String(line));
                written.send_modify(|log| log.push(entry));
            }
        });
        let mut worker = Worker { child, log, address: nobody };
        let up = worker.logged_times("worker is up", 1).await.remove(0);
        worker.address = up["listen"].as_str().unwrap().parse().unwrap();
        worker
    }

    /// An edge, as a worker sees one.
    pub async fn edge(&self, name: &str, worker: &Worker) -> Edge {
        let endpoint = self.node(name, Role::Edge);
        let link = Link::new(endpoint.connect(&worker.identity(), worker.address).await.unwrap());
        Edge { link, _endpoint: endpoint }
    }
}

// === the worker ===

fn said(log: &[Value], message: &str) -> Vec<Value> {
    log.iter().filter(|entry| entry["message"] == message).cloned().collect()
}

pub struct Worker {
    child: Child,
    log: watch::Sender<Vec<Value>>,
    pub address: SocketAddr,
}

impl Worker {
    pub fn identity(&self) -> Identity {
        Identity { id: id("worker-1"), role: Role::Worker }
    }

    /// Waits until it has logged a message so many times.
    pub async fn logged_times(&self, message: &str, times: usize) -> Vec<Value> {
        let mut log = self.log.subscribe();
        let enough = log.wait_for(|log| said(log, message).len() >= times);
        said(&soon(message, enough).await.unwrap(), message)
    }

    /// The process of the segment that begins with an instance; waits for its start.
    pub async fn segment(&self, root: u64) -> u32 {
        let root = Value::String(InstanceId(root).to_string());
        let of = |log: &[Value]| {
            let started = said(log, "segment started").into_iter().rfind(|e| e["root"] == root)?;
            u32::try_from(started["pid"].as_u64()?).ok()
        };
        let mut log = self.log.subscribe();
        let log = soon("a segment", log.wait_for(|log| of(log).is_some())).await.unwrap();
        of(&log).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Sends it SIGTERM.
    pub async fn terminate(&self) {
        signal(self.pid(), "TERM").await;
    }

    /// Waits for its end.
    pub async fn ends(&mut self) -> Option<i32> {
        let status: ExitStatus = soon("the worker ends", self.child.wait()).await.unwrap();
        status.code()
    }
}

/// Sends a signal to a process.
pub async fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).status().await.unwrap();
    assert!(sent.success());
}

/// Waits for the end of a process that is not ours.
pub async fn ends(pid: u32) {
    let ended = async {
        while runs(pid) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon("a process ends", ended).await;
}

/// Whether a process runs: one that nobody has buried yet does not.
pub fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}

// === the origin ===

/// Publishes [`source`], not divided: one cue in each group, which says which.
pub struct Origin {
    pub address: NodeAddress,
}

fn catalog() -> Catalog {
    Catalog {
        stream: source(),
        scheme: Scheme::Plain,
        created: MediaTime(0),
        grids: Catalog::grids_of(Scheme::Plain, GROUP),
        video: None,
        audio: None,
        text: Some(TextTrack { language: "en".to_owned() }),
        host: "here".to_owned(),
    }
}

impl Origin {
    pub fn start(network: &Network) -> Self {
        let endpoint = network.node("origin-1", Role::Origin);
        let address = endpoint.local_address().unwrap();
        let tracks = Arc::new(Tracks::default());
        tokio::spawn(publish(tracks.clone()));
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let tracks = tracks.clone();
                tokio::spawn(async move {
                    let Ok(connection) = incoming.await else { return };
                    endpoint::welcome_node(&connection);
                    let pump = Pump::new(connection.clone(), Arc::default());
                    while let Ok((send, recv)) = connection.accept_bi().await {
                        tokio::spawn(subscription(pump.clone(), tracks.clone(), send, recv));
                    }
                });
            }
        });
        Self { address: NodeAddress { id: id("origin-1"), role: Role::Origin, address } }
    }

    /// The directory of a network in which it is the only node.
    pub fn directory(&self) -> ToNode {
        let streams = vec![StreamOrigin { stream: source(), origin: self.address.id.clone() }];
        ToNode::Directory(Directory { nodes: vec![self.address.clone()], streams })
    }
}

async fn subscription(
    pump: Pump,
    tracks: Arc<Tracks>,
    send: quinn::SendStream,
    recv: quinn::RecvStream,
) {
    let (_, sender, mut receiver) = message::accept(send, recv).await.unwrap();
    let Ok(Some(request)) = publish::request(&mut receiver).await else { return };
    let _ = publish::serve(&pump, sender, receiver, request, &catalog(), tracks).await;
}

/// Publishes groups as time passes.
async fn publish(tracks: Arc<Tracks>) {
    let grid = catalog().grids[0];
    let mut group = grid.group_at(process::now());
    loop {
        let base = grid.start_of(group);
        tokio::time::sleep(base.since(process::now())).await;
        let header = GroupHeader {
            medium: Medium::Text,
            group,
            producer: ProducerId(1),
            published_us: process::now().0,
        };
        let held = tracks.begin(grid, header).unwrap();
        let text = group.to_string();
        let cue = Cue { id: group.0, start: base, end: grid.end_of(group), text };
        let payload = Bytes::from(serde_json::to_vec(&cue).unwrap());
        tracks.push(&held, 0, Frame { time: base, flags: FrameFlags::KEY, payload });
        tracks.complete(&held, 1);
        group = group.next();
    }
}

// === edges ===

pub struct Edge {
    pub link: Arc<Link>,
    _endpoint: Endpoint,
}

/// A group received whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub group: GroupId,
    pub producer: ProducerId,
    pub texts: Vec<String>,
}

/// A description that is being received.
pub struct Reading {
    pub catalog: Catalog,
    groups: mpsc::UnboundedReceiver<Received>,
    task: JoinHandle<()>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reading {
    /// Waits for its next group; `None` once it has ended.
    pub async fn next(&mut self) -> Option<Received> {
        soon("a group", self.groups.recv()).await
    }
}

impl Edge {
    pub async fn reads(
        &self,
        stream: &StreamName,
        description: Description,
    ) -> Result<Reading, Rejected> {
        let request = Subscribe {
            stream: stream.clone(),
            description,
            media: MediaSet::ALL,
            start: Start::Live(Duration::ZERO),
            end: None,
            priority: 0,
            patience: None,
        };
        let subscription = match Subscription::open(&self.link, &request).await {
            Ok(subscription) => subscription,
            Err(SubscribeError::Rejected(why)) => return Err(why),
            Err(other) => panic!("{other}"),
        };
        let catalog = subscription.accepted.catalog.clone();
        let (came, groups) = mpsc::unbounded_channel();
        let task = tokio::spawn(read(subscription, came));
        Ok(Reading { catalog, groups, task })
    }
}

async fn read(mut subscription: Subscription, came: mpsc::UnboundedSender<Received>) {
    while let Event::Group(group) = subscription.next().await {
        // One after the other: they are small, and come whole or not at all.
        if let Some(received) = receive(group).await {
            let _ = came.send(received);
        }
    }
}

async fn receive(mut group: IncomingGroup) -> Option<Received> {
    let GroupHeader { group: id, producer, .. } = group.start.header;
    let mut texts = Vec::new();
    loop {
        match group.next_frame().await {
            Ok(Some((_, frame))) => {
                texts.push(serde_json::from_slice::<Cue>(&frame.payload).unwrap().text);
            }
            Ok(None) => return Some(Received { group: id, producer, texts }),
            Err(_) => return None,
        }
    }
}

// === the coordinator ===

/// Takes the worker's registration and says what the test wants.
pub struct Coordinator {
    pub address: SocketAddr,
    heard: mpsc::UnboundedReceiver<FromNode>,
    say: mpsc::UnboundedSender<ToNode>,
}

impl Coordinator {
    pub fn start(network: &Network) -> Self {
        let to = coordinator_identity();
        let endpoint = network.node(to.id.as_str(), to.role);
        let address = endpoint.local_address().unwrap();
        let (hears, heard) = mpsc::unbounded_channel();
        let (say, mut said) = mpsc::unbounded_channel::<ToNode>();
        tokio::spawn(async move {
            let connection = endpoint.accept().await.unwrap().await.unwrap();
            let (send, recv) = connection.accept_bi().await.unwrap();
            let (_, mut sender, mut receiver) = message::accept(send, recv).await.unwrap();
            let registered = ToNode::Registered { term: Term(1), report_every_ms: 200 };
            let register = receiver.receive_json::<FromNode>().await.unwrap().unwrap();
            let _ = hears.send(register);
            sender.send_json(&registered).await.unwrap();
            loop {
                tokio::select! {
                    message = said.recv() => match message {
                        Some(message) => sender.send_json(&message).await.unwrap(),
                        None => return,
                    },
                    message = receiver.receive_json() => match message {
                        Ok(Some(message)) => {
                            if matches!(message, FromNode::Report(_)) {
                                sender.send_json(&registered).await.unwrap();
                            }
                            let _ = hears.send(message);
                        }
                        _ => return,
                    },
                }
            }
        });
        Self { address, heard, say }
    }

    pub fn says(&self, message: ToNode) {
        self.say.send(message).unwrap();
    }

    pub fn orders(&self, version: u64, instances: &[InstanceSpec]) {
        let instances = instances.to_vec();
        self.says(ToNode::Work(WorkOrder { term: Term(1), version, instances }));
    }

    /// Waits for something that the worker says.
    pub async fn hears<T>(&mut self, what: &str, pick: impl Fn(FromNode) -> Option<T>) -> T {
        let heard = async {
            loop {
                if let Some(picked) = pick(self.heard.recv().await.expect("the worker is gone")) {
                    return picked;
                }
            }
        };
        soon(what, heard).await
    }

    /// Waits for the answer to an order.
    pub async fn answer(&mut self, version: u64) -> WorkAnswer {
        let answer = |message| match message {
            FromNode::Work(answer) if answer.version == version => Some(answer),
            _ => None,
        };
        self.hears("an answer", answer).await
    }

    /// Waits for a report that is so.
    pub async fn sees(&mut self, what: &str, so: impl Fn(&NodeReport) -> bool) -> NodeReport {
        self.hears(what, |message| match message {
            FromNode::Report(report) if so(&report) => Some(report),
            _ => None,
        })
        .await
    }

    /// Waits until an instance is so, and tells how it is.
    pub async fn sees_instance(
        &mut self,
        what: &str,
        instance: u64,
        so: impl Fn(&InstanceReport) -> bool,
    ) -> InstanceReport {
        let report = self.sees(what, |r| reported(r, instance).is_some_and(&so)).await;
        reported(&report, instance).unwrap().clone()
    }

    /// Waits until an instance runs.
    pub async fn sees_running(&mut self, instance: u64) -> InstanceReport {
        let running = |report: &InstanceReport| report.state == InstanceState::Running;
        self.sees_instance("it runs", instance, running).await
    }
}

/// What a worker reports of its work.
pub fn work(report: &NodeReport) -> &WorkReport {
    report.work.as_ref().expect("workers report their work")
}

fn reported(report: &NodeReport, instance: u64) -> Option<&InstanceReport> {
    work(report).instances.iter().find(|r| r.spec.instance == InstanceId(instance))
}
