//! The nodes' door: QUIC with mutual TLS, one control stream per node.

use std::{sync::Arc, time::Duration};

use gibbon_control::node::{FromNode, ToNode};
use gibbon_media::NodeId;
use gibbon_net::{
    Endpoint, Identity, Peer, close, endpoint,
    message::{self, MessageError, Receiver, Sender},
    serving,
    wire::StreamKind,
};
use quinn::{Connection, ConnectionError, Incoming, VarInt};
use tokio::sync::mpsc;

use crate::{
    registry::{LinkId, MAX_NODES, NodeRefusal},
    service::Service,
};

/// Connections at once; some nodes may have two for a moment.
const MAX_CONNECTIONS: usize = 2 * MAX_NODES;
/// A peer that has not shown who it is and registered by then is turned away.
const REGISTER_WITHIN: Duration = Duration::from_secs(5);
/// How long a peer that is refused may take to read why.
const HEAR_WITHIN: Duration = Duration::from_secs(1);

/// Why a connection ends.
struct Closing {
    code: VarInt,
    reason: String,
}

impl Closing {
    fn new(code: VarInt, reason: impl std::fmt::Display) -> Self {
        Self { code, reason: reason.to_string() }
    }

    fn wrong_role(refusal: NodeRefusal) -> Self {
        Self::new(close::WRONG_ROLE, refusal)
    }
}

impl From<MessageError> for Closing {
    fn from(error: MessageError) -> Self {
        let code = if error.is_malformed() { close::MALFORMED } else { close::DONE };
        Self::new(code, error)
    }
}

/// Takes nodes in for as long as the endpoint is open.
pub async fn serve(endpoint: Endpoint, service: Arc<Service>) {
    let take_in = move |incoming: Incoming| {
        let service = service.clone();
        async move {
            let from = incoming.remote_address();
            if let Err(closing) = connection(incoming, &service).await {
                tracing::debug!(%from, reason = closing.reason, "a connection has ended");
            }
        }
    };
    serving::knocking(&endpoint, MAX_CONNECTIONS, take_in).await;
}

async fn connection(incoming: Incoming, service: &Service) -> Result<(), Closing> {
    let handshake = tokio::time::timeout(REGISTER_WITHIN, incoming.into_future()).await;
    let connection = handshake
        .map_err(|_| Closing::new(close::SILENT, "no handshake in time"))?
        .map_err(|error| Closing::new(close::DONE, error))?;
    let result = attend(&connection, service).await;
    if let Err(closing) = &result {
        connection.close(closing.code, closing.reason.as_bytes());
        if closing.code != close::DONE {
            let (from, reason) = (connection.remote_address(), &closing.reason);
            tracing::warn!(%from, reason, "a connection is closed");
        }
    }
    result
}

async fn attend(connection: &Connection, service: &Service) -> Result<(), Closing> {
    let Peer::Node(identity) = Peer::of(connection) else {
        return Err(Closing::new(
            close::UNAUTHORISED,
            "only nodes with a certificate of this network may come here; viewers ask the portal",
        ));
    };
    endpoint::welcome_node(connection);
    let opened = tokio::time::timeout(REGISTER_WITHIN, open(connection)).await;
    let (mut sender, receiver, register) =
        opened.map_err(|_| Closing::new(close::SILENT, "it did not register in time"))??;
    let registered =
        admit(&identity, &register).and_then(|()| service.connected(register, connection.clone()));
    let (link, waiting) = match registered {
        Ok(registered) => registered,
        Err(refusal) => {
            refuse(&mut sender, &refusal).await;
            return Err(Closing::wrong_role(refusal));
        }
    };
    let node = identity.id;
    tracing::info!(%node, role = %identity.role, from = %connection.remote_address(), "registered");
    let result = Conversation { node: &node, link, service }.run(sender, receiver, waiting).await;
    service.disconnected(&node, link, is_leaving(connection));
    let reason = result.as_ref().err().map_or("it left", |closing| closing.reason.as_str());
    tracing::info!(%node, reason, "disconnected");
    result
}

/// Whether the node has closed the connection because it exits.
fn is_leaving(connection: &Connection) -> bool {
    matches!(
        connection.close_reason(),
        Some(ConnectionError::ApplicationClosed(close)) if close.error_code == gibbon_net::close::LEAVING
    )
}

/// The control stream and the first message on it.
async fn open(connection: &Connection) -> Result<(Sender, Receiver, FromNode), Closing> {
    let (send, recv) =
        connection.accept_bi().await.map_err(|error| Closing::new(close::DONE, error))?;
    let (kind, sender, mut receiver) = message::accept(send, recv).await?;
    if kind != StreamKind::Control {
        return Err(Closing::new(close::MALFORMED, "a node opens a control stream first"));
    }
    let register = receiver.receive_json().await?;
    let register = register.ok_or(Closing::new(close::MALFORMED, "it ended before it began"))?;
    Ok((sender, receiver, register))
}

/// Whether the certificate is that of the node that registers.
fn admit(identity: &Identity, register: &FromNode) -> Result<(), NodeRefusal> {
    let FromNode::Register { node, .. } = register else {
        return Err(NodeRefusal::NotRegistered);
    };
    if (&node.id, node.role) == (&identity.id, identity.role) {
        return Ok(());
    }
    Err(NodeRefusal::Impostor {
        certificate: format!("{} {}", identity.role, identity.id),
        registered: format!("{} {}", node.role, node.id),
    })
}

async fn refuse(sender: &mut Sender, refusal: &NodeRefusal) {
    let say = async {
        let refused = ToNode::Refused { reason: refusal.to_string() };
        if sender.send_json(&refused).await.is_ok() {
            sender.finish();
            sender.delivered().await;
        }
    };
    // Whether it hears or not, it is turned away.
    let _ = tokio::time::timeout(HEAR_WITHIN, say).await;
}

struct Conversation<'a> {
    node: &'a NodeId,
    link: LinkId,
    service: &'a Service,
}

impl Conversation<'_> {
    /// Until either side closes.
    async fn run(
        self,
        sender: Sender,
        receiver: Receiver,
        waiting: mpsc::Receiver<ToNode>,
    ) -> Result<(), Closing> {
        // Side by side: a node that does not read is still listened to until its queue is full.
        tokio::select! {
            ended = speak(sender, waiting) => ended,
            ended = self.listen(receiver) => ended,
        }
    }

    async fn listen(self, mut receiver: Receiver) -> Result<(), Closing> {
        while let Some(said) = receiver.receive_json::<FromNode>().await? {
            self.service
                .tell(|manager, now| Ok(((), manager.node_says(now, self.node, self.link, said)?)))
                .map_err(Closing::wrong_role)?;
        }
        Ok(())
    }
}

async fn speak(mut sender: Sender, mut waiting: mpsc::Receiver<ToNode>) -> Result<(), Closing> {
    while let Some(message) = waiting.recv().await {
        sender.send_json(&message).await?;
    }
    Err(Closing::new(close::DONE, "replaced by a newer connection"))
}
