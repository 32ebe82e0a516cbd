//! A node's side of its control stream: registers, reports, takes orders, and comes back by itself when
//! the coordinator was away. Nothing in the path of a frame waits for it.

use std::{net::SocketAddr, time::Duration};

use gibbon_media::{NodeId, Role};
use gibbon_net::{
    Endpoint, Identity,
    message::{self, Receiver, Sender},
    wire::StreamKind,
};
use quinn::Connection;
use tokio::sync::{mpsc, watch};

use crate::{
    address::{HostAddress, reached_at},
    node::{FromNode, NodeReport, REPORT_EVERY_MS, ToNode},
};

/// Port of a coordinator that is named without one.
const DEFAULT_PORT: u16 = 4481;

/// Orders and answers waiting on a node; more are a sign of a stuck peer.
const MAX_WAITING: usize = 1024;
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// A coordinator that does not answer a registration by then is tried again.
const REGISTERED_WITHIN: Duration = Duration::from_secs(5);
/// Reports in a row that are not answered: the link is dead then, at least in one direction. QUIC itself would
/// notice only after its idle time-out, and later still where what the coordinator sends goes on to arrive.
/// Counted in reports and not in time, so that a node that was frozen does not take its own silence for the
/// coordinator's.
const MAX_UNHEARD: u32 = 4;
/// The id that the coordinator's certificate carries.
pub const COORDINATOR_ID: &str = "coordinator";

/// Where the coordinator is and what to tell it first.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The coordinator's address; looked up at each connection.
    pub coordinator: HostAddress,
    /// Where others reach this node, at the port it has bound unless this says another. Without it, where it is
    /// bound, on the interface that leads to the coordinator if that is every one.
    pub advertise: Option<HostAddress>,
    /// A [`FromNode::Register`] whose address is the one bound.
    pub register: FromNode,
}

impl Registration {
    /// Registers at `coordinator`, nothing else being advertised than the address in `register`.
    pub fn new(coordinator: impl Into<HostAddress>, register: FromNode) -> Self {
        Self { coordinator: coordinator.into(), advertise: None, register }
    }

    /// With what others are told, if it differs from what is bound.
    pub fn advertising(mut self, advertise: Option<HostAddress>) -> Self {
        self.advertise = advertise;
        self
    }

    /// The address bound.
    fn bound(&self) -> SocketAddr {
        match &self.register {
            FromNode::Register { node, .. } => node.address,
            other => unreachable!("{other:?} registers nobody"),
        }
    }

    /// What to register as, with where it is reached as seen from `coordinator`.
    async fn seen_from(&self, coordinator: SocketAddr) -> std::io::Result<(FromNode, SocketAddr)> {
        let bound = self.bound();
        let address = match &self.advertise {
            // A name has at least one address.
            Some(host) => host.look_up(bound.port()).await?[0],
            None => reached_at(bound, coordinator)?,
        };
        let mut register = self.register.clone();
        if let FromNode::Register { node, .. } = &mut register {
            node.address = address;
        }
        Ok((register, address))
    }

    /// Whether it is reached elsewhere than at `address` by now: its interface was given another address.
    fn has_moved(&self, address: SocketAddr, coordinator: SocketAddr) -> bool {
        self.advertise.is_none()
            && reached_at(self.bound(), coordinator).is_ok_and(|now| now != address)
    }
}

/// The node's ends of the link.
#[derive(Debug)]
pub struct NodeLink {
    /// Answers and client reports for the coordinator. Dropped while it is away: reports say the rest.
    pub to_coordinator: mpsc::Sender<FromNode>,
    /// What the coordinator says.
    pub from_coordinator: mpsc::Receiver<ToNode>,
    /// Whether the coordinator is there now.
    pub connected: watch::Receiver<bool>,
}

/// Starts the link; `report` is asked every reporting interval. It runs as long as the process.
pub fn start(
    endpoint: Endpoint,
    registration: Registration,
    report: impl Fn() -> NodeReport + Send + Sync + 'static,
) -> NodeLink {
    let (to_coordinator, outgoing) = mpsc::channel(MAX_WAITING);
    let (incoming, from_coordinator) = mpsc::channel(MAX_WAITING);
    let (is_connected, connected) = watch::channel(false);
    let report = Box::new(report);
    let run = Run { endpoint, registration, report, outgoing, incoming, is_connected };
    tokio::spawn(run.forever());
    NodeLink { to_coordinator, from_coordinator, connected }
}

/// The coordinator's identity: one per network.
pub fn coordinator_identity() -> Identity {
    // A literal that is a valid node id, as the test below holds.
    let id: Result<NodeId, _> = COORDINATOR_ID.parse();
    match id {
        Ok(id) => Identity { id, role: Role::Coordinator },
        Err(error) => unreachable!("{error}"),
    }
}

struct Run {
    endpoint: Endpoint,
    registration: Registration,
    report: Box<dyn Fn() -> NodeReport + Send + Sync>,
    outgoing: mpsc::Receiver<FromNode>,
    incoming: mpsc::Sender<ToNode>,
    is_connected: watch::Sender<bool>,
}

impl Run {
    async fn forever(mut self) {
        let mut retry = FIRST_RETRY;
        loop {
            let ended = self.once().await;
            self.is_connected.send_replace(false);
            match ended {
                Ok(()) => return,
                Err(Gone { error, registered }) => {
                    tracing::warn!(%error, "the coordinator is away; what streams goes on streaming");
                    retry = if registered { FIRST_RETRY } else { (retry * 2).min(LAST_RETRY) };
                }
            }
            self.wait_and_forget(retry).await;
        }
    }

    /// Waits out the retry interval; what was meant for the absent coordinator is dropped.
    async fn wait_and_forget(&mut self, interval: Duration) {
        let wake = tokio::time::sleep(interval);
        tokio::pin!(wake);
        loop {
            tokio::select! {
                () = &mut wake => return,
                dropped = self.outgoing.recv() => if dropped.is_none() { return wake.await },
            }
        }
    }

    /// One connection; `Ok` once the node itself has let go of the link.
    async fn once(&mut self) -> Result<(), Gone> {
        let connection = self.connect().await?;
        let coordinator = connection.remote_address();
        let registered = tokio::time::timeout(REGISTERED_WITHIN, self.register(&connection)).await;
        let Registered { mut sender, mut receiver, every, address } =
            registered.map_err(Gone::before)??;
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut unheard = 0;
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    if unheard == MAX_UNHEARD {
                        return Err(Gone::after("it does not answer"));
                    }
                    if self.registration.has_moved(address, coordinator) {
                        return Err(Gone::after("this node's address has changed"));
                    }
                    unheard += 1;
                    let report = FromNode::Report((self.report)());
                    say(&mut sender, &report, every).await?;
                }
                outgoing = self.outgoing.recv() => match outgoing {
                    Some(message) => say(&mut sender, &message, every).await?,
                    None => return Ok(()),
                },
                incoming = receiver.receive_json::<ToNode>() => {
                    let message = incoming.map_err(Gone::after)?;
                    let message = message.ok_or_else(|| Gone::after("it closed the stream"))?;
                    if matches!(message, ToNode::Registered { .. }) {
                        unheard = 0;
                    } else if self.incoming.send(message).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Tries each address that the coordinator has now.
    async fn connect(&self) -> Result<Connection, Gone> {
        let to = coordinator_identity();
        let mut failed = Gone::before("it has no address");
        let found = self.registration.coordinator.look_up(DEFAULT_PORT).await;
        for address in found.map_err(Gone::before)? {
            match self.endpoint.connect(&to, address).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failed = Gone::before(error),
            }
        }
        Err(failed)
    }

    /// Says who it is and where.
    async fn register(&self, connection: &Connection) -> Result<Registered, Gone> {
        let seen = self.registration.seen_from(connection.remote_address()).await;
        let (register, address) = seen.map_err(Gone::before)?;
        let (mut sender, mut receiver) =
            message::open(connection, StreamKind::Control).await.map_err(Gone::before)?;
        sender.send_json(&register).await.map_err(Gone::before)?;
        let mut every = Duration::from_millis(REPORT_EVERY_MS);
        match receiver.receive_json::<ToNode>().await.map_err(Gone::before)? {
            Some(ToNode::Refused { reason }) => return Err(Gone::before(reason)),
            Some(ToNode::Registered { term, report_every_ms }) => {
                every = Duration::from_millis(report_every_ms.clamp(50, 60_000));
                self.is_connected.send_replace(true);
                tracing::info!(term = term.0, advertise = %address, "registered with the coordinator");
            }
            _ => {}
        }
        Ok(Registered { sender, receiver, every, address })
    }
}

/// Sends a message; a coordinator that takes none in is as good as away.
async fn say(sender: &mut Sender, message: &FromNode, every: Duration) -> Result<(), Gone> {
    let within = every * MAX_UNHEARD;
    let sent = tokio::time::timeout(within, sender.send_json(message)).await;
    sent.map_err(Gone::after)?.map_err(Gone::after)
}

/// The control stream, how often to report on it, and where others are told that this node is.
struct Registered {
    sender: Sender,
    receiver: Receiver,
    every: Duration,
    address: SocketAddr,
}

struct Gone {
    error: String,
    registered: bool,
}

impl Gone {
    fn before(error: impl std::fmt::Display) -> Self {
        Self { error: error.to_string(), registered: false }
    }

    fn after(error: impl std::fmt::Display) -> Self {
        Self { error: error.to_string(), registered: true }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_coordinator_has_a_valid_name() {
        assert_eq!(
            super::coordinator_identity().dns_name(),
            "coordinator.coordinator.gibbon.internal"
        );
    }
}
