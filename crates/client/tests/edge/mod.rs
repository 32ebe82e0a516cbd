//! A scripted edge that serves one synthetic stream, in real time, to whoever asks.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{BufMut, BytesMut};
use gibbon_control::{
    node::NodeAddress,
    portal::SessionTicket,
    process,
    session::{ClientReport, FromViewer, ToViewer},
};
use gibbon_media::{
    Catalog, Codec, Description, FrameFlags, FrameNumber, FrameRate, GroupHeader, GroupId,
    MediaTime, Medium, NodeId, Placement, ProducerId, Role, Scheme, SessionId, VideoTrack,
};
use gibbon_net::{
    Certificates, Endpoint, Identity, close, message,
    message::{Receiver, Sender},
    wire::{
        Accepted, GroupStart, Start, StreamKind, Subscribe, Update, encode_message, kind,
        put_varint,
    },
};

const GROUP: Duration = Duration::from_millis(500);
const FRAMES_PER_SECOND: u32 = 25;
/// What every frame consists of.
pub const PAYLOAD: &[u8] = &[7; 300];

pub fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

/// The stream: each description has it whole, and time 0 is the epoch.
fn catalog() -> Catalog {
    let rate = FrameRate::new(FRAMES_PER_SECOND, 1).unwrap();
    Catalog {
        stream: "live/test".parse().unwrap(),
        scheme: Scheme::Duplicate,
        created: MediaTime(0),
        grids: Catalog::grids_of(Scheme::Duplicate, GROUP),
        video: Some(VideoTrack { codec: Codec::H264, rate, width: 64, height: 64 }),
        audio: None,
        text: None,
        host: String::new(),
    }
}

pub struct Edge {
    id: NodeId,
    address: SocketAddr,
    endpoint: Endpoint,
    /// All that clients reported.
    pub reports: Reports,
}

pub type Reports = Arc<Mutex<Vec<ClientReport>>>;

impl Edge {
    pub fn start(certificates: &Certificates, name: &str) -> Self {
        let identity = Identity { id: id(name), role: Role::Edge };
        let endpoint = Endpoint::node(certificates, &identity, ([127, 0, 0, 1], 0).into()).unwrap();
        let (address, accepting) = (endpoint.local_address().unwrap(), endpoint.clone());
        let reports = Reports::default();
        let noted = reports.clone();
        tokio::spawn(async move {
            while let Some(incoming) = accepting.accept().await {
                let noted = noted.clone();
                tokio::spawn(async move { serve(incoming.await.unwrap(), noted).await });
            }
        });
        Self { id: id(name), address, endpoint, reports }
    }

    /// Is gone.
    pub async fn stop(&self) {
        self.endpoint.close(close::LEAVING, "gone").await;
    }

    fn node(&self) -> NodeAddress {
        NodeAddress { id: self.id.clone(), role: Role::Edge, address: self.address }
    }
}

/// A session whose legs are both at `edge`.
pub fn ticket(edge: &Edge, standbys: &[&Edge]) -> SessionTicket {
    SessionTicket {
        session: SessionId(1),
        grant: "granted".into(),
        edges: [edge.node(), edge.node()],
        standbys: standbys.iter().map(|edge| edge.node()).collect(),
        placement: Placement::Together,
    }
}

async fn serve(connection: quinn::Connection, reports: Reports) {
    while let Ok((send, recv)) = connection.accept_bi().await {
        let (kind, sender, receiver) = message::accept(send, recv).await.unwrap();
        match kind {
            StreamKind::Session => {
                drop(tokio::spawn(session(sender, receiver, reports.clone())));
            }
            _ => drop(tokio::spawn(leg(connection.clone(), sender, receiver))),
        }
    }
}

async fn session(mut sender: Sender, mut receiver: Receiver, reports: Reports) {
    while let Ok(Some(said)) = receiver.receive_json().await {
        let answer = match said {
            FromViewer::Hello { .. } => ToViewer::Welcome,
            FromViewer::Bye => ToViewer::Bye,
            FromViewer::Report(report) => {
                reports.lock().unwrap().push(report);
                continue;
            }
        };
        sender.send_json(&answer).await.unwrap();
    }
}

/// A leg, until it is cancelled, or after the group that it is told to end with.
async fn leg(connection: quinn::Connection, mut sender: Sender, mut receiver: Receiver) {
    let asked = receiver.receive().await.unwrap().unwrap();
    let request = Subscribe::decode(asked.body).unwrap();
    let (catalog, live) = (catalog(), process::now());
    let grid = catalog.grid(request.description);
    let (mut group, mut resumed) = match request.start {
        Start::Live(delay) => (grid.group_at(live.back(delay)), 0),
        Start::Group { group, resume } => (group, resume.map_or(0, |resume| resume.frames[0])),
        Start::Next => (grid.first_not_begun(live), 0),
    };
    let accepted = Accepted { catalog, live, first: group };
    sender.send(kind::ACCEPTED, &accepted.encode()).await.unwrap();
    let mut last = GroupId(u64::MAX);
    while group <= last {
        let sent = send_group(&connection, sender.id(), request.description, group, resumed);
        tokio::pin!(sent);
        loop {
            tokio::select! {
                sent = &mut sent => match sent {
                    Some(()) => break,
                    None => return,
                },
                told = receiver.receive() => match told {
                    Ok(Some(message)) => last = Update::decode(message.body).unwrap().end,
                    _ => return,
                },
            }
        }
        (group, resumed) = (group.next(), 0);
    }
    sender.finish();
    sender.delivered().await;
}

/// Sends a group as its frames are due; none if nobody takes it.
async fn send_group(
    connection: &quinn::Connection,
    subscription: u64,
    description: Description,
    group: GroupId,
    first: u32,
) -> Option<()> {
    let (catalog, mut stream) = (catalog(), connection.open_uni().await.ok()?);
    let (grid, rate) = (catalog.grid(description), catalog.video?.rate);
    let base = grid.start_of(group);
    let (medium, producer) = (Medium::Video, ProducerId(1));
    let header = GroupHeader { medium, group, producer, published_us: base.as_micros() };
    let start = GroupStart { subscription, header, base, first };
    stream.write_all(&encode_message(kind::GROUP, &start.encode())).await.ok()?;
    let mut number = FrameNumber(rate.first_at_or_after(base).0 + u64::from(first));
    while rate.time_of(number) < grid.end_of(group) {
        let time = rate.time_of(number);
        tokio::time::sleep(time.since(process::now())).await;
        let key =
            if number == rate.first_at_or_after(base) { FrameFlags::KEY } else { FrameFlags::NONE };
        let mut frame = BytesMut::new();
        put_varint(&mut frame, time.since(base).as_micros() as u64);
        frame.put_u8((key | FrameFlags::PRIMARY).bits());
        put_varint(&mut frame, PAYLOAD.len() as u64);
        frame.put(PAYLOAD);
        stream.write_all(&frame).await.ok()?;
        number = FrameNumber(number.0 + 1);
    }
    stream.finish().ok()
}
