//! A real edge between a scripted origin, a scripted coordinator and scripted viewers.

use std::{
    net::SocketAddr,
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use gibbon_control::{
    Grant, GrantSigner,
    link::coordinator_identity,
    node::{FromNode, NodeReport, ToNode},
    process,
    session::{ClientReport, FromViewer, ToViewer},
};
use gibbon_handoff::{Report, Term};
use gibbon_media::{
    Catalog, Codec, Description, Frame, FrameFlags, FrameRate, GroupHeader, MediaTime, Medium,
    NodeId, Placement, Priority, ProducerId, Role, Scheme, SessionId, VideoTrack,
};
use gibbon_net::{
    Certificates, Endpoint, Identity,
    cache::Tracks,
    endpoint, message,
    message::Sender,
    publish::{self, Pump},
    subscribe::{Event, Link, SubscribeError, Subscription},
    wire::{MediaSet, Rejected, Start, StreamKind, Subscribe},
};
use serde_json::{Map, Value};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::{mpsc, watch},
    task::JoinHandle,
};

/// Nothing here takes longer, on a machine however busy.
const WAIT: Duration = Duration::from_secs(20);
/// Length of a group.
pub const GROUP: Duration = Duration::from_millis(500);
const FRAMES_PER_SECOND: u32 = 50;
const FRAMES_PER_GROUP: u32 = FRAMES_PER_SECOND / 2;
/// With 50 of them per second 400 kbit/s.
const FRAME_BYTES: usize = 1000;

pub fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

/// Waits for something that must happen.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(WAIT, future).await.unwrap_or_else(|_| panic!("in vain: {what}"))
}

pub struct Network {
    folder: tempfile::TempDir,
    pub certificates: Certificates,
    signer: GrantSigner,
}

impl Network {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::in_folder(folder.path());
        let signer = GrantSigner::load_or_make(&certificates).unwrap();
        Self { folder, certificates, signer }
    }

    fn node(&self, name: &str, role: Role) -> Endpoint {
        let identity = Identity { id: id(name), role };
        Endpoint::node(&self.certificates, &identity, ([127, 0, 0, 1], 0).into()).unwrap()
    }

    /// An edge that listens on `address`.
    pub fn command(&self, address: SocketAddr) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gibbon-edge"));
        command
            .current_dir(self.folder.path())
            .args(["--id", "edge-a", "--listen", &address.to_string(), "--certs", "."])
            .args(["--log-format", "json"])
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// The edge `edge-a`, which is told of `origins` and, if there is one, of the coordinator.
    pub async fn edge(
        &self,
        origins: &[&Origin],
        coordinator: Option<&Coordinator>,
        options: &[&str],
    ) -> Edge {
        let nobody = ([127, 0, 0, 1], 1).into();
        let coordinator = coordinator.map_or(nobody, |coordinator| coordinator.address);
        let mut command = self.command("127.0.0.1:0".parse().unwrap());
        command
            .args(["--coordinator", &coordinator.to_string()])
            .args(origins.iter().map(|o| format!("--upstream={}@{}", o.id, o.address)))
            .args(options);
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
        let mut edge = Edge { child, log, address: nobody };
        edge.address = edge.logged("edge is up").await["listen"].as_str().unwrap().parse().unwrap();
        edge
    }

    /// A viewer of session `session`, whose grant names the edge itself and `edge-b` as standbys.
    pub async fn viewer(&self, edge: &Edge, session: u64, priority: u8) -> Viewer {
        let grant = Grant {
            session: SessionId(session),
            stream: "live/test".parse().unwrap(),
            standbys: vec![id("edge-a"), id("edge-b")],
            placement: Placement::Together,
            priority: Priority::new(priority).unwrap(),
            expires: process::now() + Duration::from_secs(60),
        };
        let endpoint = Endpoint::viewer(self.certificates.authority().unwrap()).unwrap();
        let to = Identity { id: id("edge-a"), role: Role::Edge };
        let link = Link::new(endpoint.connect(&to, edge.address).await.unwrap());
        let (mut session, mut receiver) =
            message::open(link.connection(), StreamKind::Session).await.unwrap();
        session.send_json(&FromViewer::Hello { grant: self.signer.sign(&grant) }).await.unwrap();
        let welcome = receiver.receive_json().await.unwrap();
        assert!(matches!(welcome, Some(ToViewer::Welcome)), "{welcome:?}");
        let (heard, news) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(message)) = receiver.receive_json().await {
                let _ = heard.send(message);
            }
        });
        Viewer { link, session, news, revision: 0, endpoint }
    }
}

fn said(log: &[Value], message: &str) -> Vec<Value> {
    log.iter().filter(|entry| entry["message"] == message).cloned().collect()
}

pub struct Edge {
    child: Child,
    log: watch::Sender<Vec<Value>>,
    pub address: SocketAddr,
}

impl Edge {
    /// Waits for a message in its log.
    pub async fn logged(&self, message: &str) -> Value {
        self.logged_times(message, 1).await.remove(0)
    }

    /// Waits until it has logged a message so many times.
    pub async fn logged_times(&self, message: &str, times: usize) -> Vec<Value> {
        let mut log = self.log.subscribe();
        let enough = log.wait_for(|log| said(log, message).len() >= times);
        said(&soon(message, enough).await.unwrap(), message)
    }

    /// What it has logged of `message` so far.
    pub fn log(&self, message: &str) -> Vec<Value> {
        said(&self.log.borrow(), message)
    }

    /// Sends SIGTERM.
    pub async fn terminate(&self) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").arg(pid).status().await.unwrap().success());
    }

    /// Waits for its end.
    pub async fn ends(&mut self) -> Option<i32> {
        let status: ExitStatus = soon("the edge ends", self.child.wait()).await.unwrap();
        status.code()
    }
}

/// Publishes `live/test`: pictures of which each is an eighth of 400 kbit/s.
pub struct Origin {
    pub id: NodeId,
    pub address: SocketAddr,
    playing: watch::Sender<bool>,
    subscriptions: Arc<AtomicUsize>,
}

fn catalog() -> Catalog {
    Catalog {
        stream: "live/test".parse().unwrap(),
        scheme: Scheme::Duplicate,
        created: MediaTime(0),
        grids: Catalog::grids_of(Scheme::Duplicate, GROUP),
        video: Some(VideoTrack {
            codec: Codec::H264,
            rate: FrameRate::new(FRAMES_PER_SECOND, 1).unwrap(),
            width: 64,
            height: 64,
        }),
        audio: None,
        text: None,
        host: String::new(),
    }
}

impl Origin {
    pub fn start(network: &Network, name: &str) -> Self {
        let endpoint = network.node(name, Role::Origin);
        let address = endpoint.local_address().unwrap();
        let tracks = [Arc::new(Tracks::default()), Arc::new(Tracks::default())];
        let (playing, plays) = watch::channel(true);
        let subscriptions = Arc::<AtomicUsize>::default();
        let subscribed = subscriptions.clone();
        tokio::spawn(publish(tracks.clone(), plays));
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let (tracks, subscribed) = (tracks.clone(), subscribed.clone());
                tokio::spawn(async move {
                    let Ok(connection) = incoming.await else { return };
                    endpoint::welcome_node(&connection);
                    let pump = Pump::new(connection.clone(), Arc::default());
                    while let Ok((send, recv)) = connection.accept_bi().await {
                        subscribed.fetch_add(1, Ordering::Relaxed);
                        tokio::spawn(subscription(pump.clone(), tracks.clone(), send, recv));
                    }
                });
            }
        });
        Self { id: id(name), address, playing, subscriptions }
    }

    /// How many descriptions have been asked for so far.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions.load(Ordering::Relaxed)
    }

    /// Publishes nothing more, or goes on.
    pub fn play(&self, playing: bool) {
        self.playing.send_replace(playing);
    }
}

async fn subscription(
    pump: Pump,
    tracks: [Arc<Tracks>; 2],
    send: quinn::SendStream,
    recv: quinn::RecvStream,
) {
    let (_, sender, mut receiver) = message::accept(send, recv).await.unwrap();
    let Ok(Some(request)) = publish::request(&mut receiver).await else { return };
    let tracks = tracks[request.description.index()].clone();
    let _ = publish::serve(&pump, sender, receiver, request, &catalog(), tracks).await;
}

/// Publishes frames as time passes.
async fn publish(tracks: [Arc<Tracks>; 2], mut plays: watch::Receiver<bool>) {
    let (rate, grid) = (catalog().video.unwrap().rate, catalog().grids[0]);
    let mut next = rate.frame_at(grid.start_of(grid.group_at(process::now())));
    let first = |group| rate.first_at_or_after(grid.start_of(group));
    loop {
        let _ = plays.wait_for(|plays| *plays).await;
        let now = process::now();
        while rate.time_of(next) <= now {
            let time = rate.time_of(next);
            let group = grid.group_at(time);
            let (index, frames) = (next.0 - first(group).0, first(group.next()).0 - first(group).0);
            let header = GroupHeader {
                medium: Medium::Video,
                group,
                producer: ProducerId(1),
                published_us: now.0,
            };
            for tracks in &tracks {
                let held = tracks.begin(grid, header).unwrap();
                let payload = Bytes::from(vec![0; FRAME_BYTES]);
                tracks.push(
                    &held,
                    index as u32,
                    Frame { time, flags: FrameFlags::PRIMARY, payload },
                );
                if index + 1 == frames {
                    tracks.complete(&held, frames as u32);
                }
            }
            next.0 += 1;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub struct Viewer {
    link: Arc<Link>,
    session: Sender,
    news: mpsc::UnboundedReceiver<ToViewer>,
    revision: u64,
    endpoint: Endpoint,
}

/// A leg that is read; dropped, it is cancelled.
#[derive(Debug)]
pub struct Leg {
    task: JoinHandle<()>,
    frames: watch::Receiver<u32>,
}

impl Drop for Leg {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Leg {
    /// Waits for its next frame.
    pub async fn brings_more(&mut self) {
        self.frames.mark_unchanged();
        soon("a frame", self.frames.changed()).await.expect("the leg has ended");
    }

    /// Waits for its end.
    pub async fn ends(&mut self) {
        soon("the leg's end", &mut self.task).await.unwrap();
    }
}

impl Viewer {
    /// Asks for a leg.
    pub async fn leg(&self, description: Description) -> Result<Leg, Rejected> {
        let subscription = self.subscribe(description).await?;
        let (counter, frames) = watch::channel(0);
        let task = tokio::spawn(read(subscription, counter));
        Ok(Leg { task, frames })
    }

    async fn subscribe(&self, description: Description) -> Result<Subscription, Rejected> {
        let request = Subscribe {
            stream: "live/test".parse().unwrap(),
            description,
            media: MediaSet::ALL,
            start: Start::Next,
            end: None,
            priority: 1,
            patience: None,
        };
        match Subscription::open(&self.link, &request).await {
            Ok(subscription) => Ok(subscription),
            Err(SubscribeError::Rejected(why)) => Err(why),
            Err(other) => panic!("{other}"),
        }
    }

    /// Asks for a description and takes `groups` groups of it: one after the other, with all their frames.
    pub async fn takes_whole(&self, description: Description, groups: u64) {
        let mut subscription = self.subscribe(description).await.unwrap();
        let first = subscription.accepted.first;
        for group in first.0..first.0 + groups {
            let Event::Group(mut taken) = soon("a group", subscription.next()).await else {
                panic!("group {group} of description {description} does not come");
            };
            assert_eq!(taken.start.header.group.0, group);
            while soon("a frame", taken.next_frame()).await.unwrap().is_some() {}
            assert_eq!(taken.frames(), FRAMES_PER_GROUP, "group {group}");
        }
    }

    /// Goes on from another port.
    pub fn moves(&self) {
        self.endpoint.change_port().unwrap();
    }

    /// Asks for a leg until it gets it.
    pub async fn gets(&self, description: Description) -> Leg {
        let asking = async {
            loop {
                match self.leg(description).await {
                    Ok(leg) => return leg,
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        soon("a leg", asking).await
    }

    /// Waits for news of a kind; what comes before it is passed over.
    pub async fn hears<T>(&mut self, what: &str, pick: impl Fn(ToViewer) -> Option<T>) -> T {
        let heard = async {
            loop {
                let news = self.news.recv().await.expect("the session stream has ended");
                if let Some(picked) = pick(news) {
                    return picked;
                }
            }
        };
        soon(what, heard).await
    }

    /// What it has heard and not been asked for yet.
    pub fn heard(&mut self) -> Vec<ToViewer> {
        std::iter::from_fn(|| self.news.try_recv().ok()).collect()
    }

    /// Reports where its legs are.
    pub async fn reports(&mut self, zero: Option<&str>, one: Option<&str>) {
        self.tells(zero, one, Map::new()).await;
    }

    /// The same, with more that an edge does not know.
    pub async fn tells(&mut self, zero: Option<&str>, one: Option<&str>, more: Map<String, Value>) {
        self.revision += 1;
        let hands = Report {
            revision: self.revision,
            legs: [zero.map(id), one.map(id)],
            order: None,
            answer: None,
        };
        let report = FromViewer::Report(ClientReport { more, ..ClientReport::new(hands) });
        self.session.send_json(&report).await.unwrap();
    }

    /// Waits until its connection is closed, and says why.
    pub async fn closed(&self) -> quinn::ConnectionError {
        soon("the connection closes", self.link.connection().closed()).await
    }

    pub fn is_closed(&self) -> bool {
        self.link.connection().close_reason().is_some()
    }
}

async fn read(mut subscription: Subscription, counter: watch::Sender<u32>) {
    let mut groups = tokio::task::JoinSet::new();
    while let Event::Group(mut group) = subscription.next().await {
        let counter = counter.clone();
        groups.spawn(async move {
            while let Ok(Some(_)) = group.next_frame().await {
                counter.send_modify(|n| *n += 1);
            }
        });
    }
}

/// Takes the edge's registration and says what the test wants.
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

    /// Waits for something that the edge says.
    pub async fn hears<T>(&mut self, what: &str, pick: impl Fn(FromNode) -> Option<T>) -> T {
        let heard = async {
            loop {
                if let Some(picked) = pick(self.heard.recv().await.expect("the edge is gone")) {
                    return picked;
                }
            }
        };
        soon(what, heard).await
    }

    /// Waits for a report that has been made since.
    pub async fn next_report(&mut self) -> NodeReport {
        while self.heard.try_recv().is_ok() {}
        // One may have been on its way.
        self.sees("a report", |_| true).await;
        self.sees("a report", |_| true).await
    }

    /// Waits for a report that is so.
    pub async fn sees(&mut self, what: &str, so: impl Fn(&NodeReport) -> bool) -> NodeReport {
        self.hears(what, |message| match message {
            FromNode::Report(report) if so(&report) => Some(report),
            _ => None,
        })
        .await
    }
}
