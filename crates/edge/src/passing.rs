//! Prefetch information that goes from this edge to another: the first edge tells the second, and passes
//! its answers back to the coordinator.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use gibbon_control::node::{FromNode, NodeAddress};
use gibbon_handoff::{FromEdge, ToEdge};
use gibbon_media::{NodeId, SessionId};
use gibbon_net::{
    message,
    message::{MessageError, Receiver, Sender},
    wire::StreamKind,
};
use gibbon_relay::Peers;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::{coordinator::Coordinator, sessions::Sessions};

/// Orders waiting for the other edge.
const MAX_WAITING: usize = 16;
/// After the last order the stream stays open this long for answers.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// What goes to the second edge on a hand-off stream; [`FromEdge`] comes back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PassedOn {
    /// The session handed off.
    session: SessionId,
    /// The coordinator's order.
    order: ToEdge,
}

/// Hand-off streams that this edge has open to others.
pub struct Passing {
    peers: Arc<Peers>,
    coordinator: Arc<Coordinator>,
    streams: Mutex<HashMap<(SessionId, NodeId), mpsc::Sender<ToEdge>>>,
}

impl Passing {
    pub fn new(peers: Arc<Peers>, coordinator: Arc<Coordinator>) -> Self {
        Self { peers, coordinator, streams: Mutex::default() }
    }

    /// Passes `order` on to the edge `to`.
    pub fn pass(&self, to: NodeAddress, session: SessionId, order: ToEdge) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.retain(|_, stream| !stream.is_closed());
        let key = (session, to.id.clone());
        let order = match streams.get(&key).map(|stream| stream.try_send(order.clone())) {
            Some(Ok(())) => return,
            _ => order,
        };
        let (stream, orders) = mpsc::channel(MAX_WAITING);
        let _ = stream.try_send(order);
        streams.insert(key, stream);
        let (peers, coordinator) = (self.peers.clone(), self.coordinator.clone());
        tokio::spawn(async move {
            if let Err(error) = run(&peers, &coordinator, &to, session, orders).await {
                tracing::warn!(%session, to = %to.id, %error, "prefetch information not passed on");
            }
        });
    }
}

async fn run(
    peers: &Peers,
    coordinator: &Coordinator,
    to: &NodeAddress,
    session: SessionId,
    mut orders: mpsc::Receiver<ToEdge>,
) -> Result<(), MessageError> {
    let link = peers.link(to).await.map_err(|e| MessageError::Broken(e.to_string()))?;
    let (mut sender, mut receiver) = message::open(link.connection(), StreamKind::Handoff).await?;
    let mut released = false;
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some(order) = order else { return Ok(()) };
                tracing::info!(%session, to = %to.id, ?order, "passing on");
                released |= matches!(order, ToEdge::Release { .. });
                sender.send_json(&PassedOn { session, order }).await?;
                if released {
                    sender.finish();
                    orders.close();
                    sender.delivered().await;
                    return Ok(());
                }
            }
            answer = receiver.receive_json::<FromEdge>() => match answer? {
                Some(answer) => coordinator.tell(FromNode::Edge { session, answer }),
                None => return Ok(()),
            },
            () = tokio::time::sleep(ANSWERS_WITHIN) => return Ok(()),
        }
    }
}

/// The second edge's side: takes orders off a hand-off stream that another edge opened.
pub async fn take(
    sessions: &Arc<Sessions>,
    mut sender: Sender,
    mut receiver: Receiver,
) -> Result<(), MessageError> {
    let (reply, mut answers) = mpsc::channel(MAX_WAITING);
    loop {
        tokio::select! {
            passed = receiver.receive_json::<PassedOn>() => match passed? {
                Some(PassedOn { session, order }) => {
                    sessions.order_edge(session, order, reply.clone());
                }
                None => return Ok(()),
            },
            Some((_, answer)) = answers.recv() => sender.send_json::<FromEdge>(&answer).await?,
        }
    }
}
