//! The accepting side: peers as they knock, and the streams that they open.

use std::{fmt::Display, sync::Arc};

use gibbon_media::Role;
use quinn::{Connection, Incoming, RecvStream, SendStream};
use tokio::sync::Semaphore;

use crate::{
    Endpoint, Identity, Peer, close, endpoint, message,
    message::{MessageError, Receiver, Sender},
    publish,
    wire::{StreamKind, Subscribe},
};

/// Connections of other nodes that one who publishes holds at once.
pub const MAX_NODE_CONNECTIONS: usize = 4096;

/// Takes peers in until the endpoint closes, `limit` at once, each on a task of its own. More are refused.
pub async fn knocking<F>(endpoint: &Endpoint, limit: usize, serve: impl Fn(Incoming) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(limit));
    while let Some(incoming) = endpoint.accept().await {
        let Ok(place) = places.clone().try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        // Boxed, here and below: a task keeps what is moved into it twice.
        let served = Box::pin(serve(incoming));
        tokio::spawn(async move {
            served.await;
            drop(place);
        });
    }
}

/// The same, with connections that have been made.
pub async fn connections<F>(
    endpoint: &Endpoint,
    limit: usize,
    serve: impl Fn(Connection) -> F + Clone + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let made = |incoming: Incoming| {
        let serve = serve.clone();
        async move {
            match incoming.await {
                Ok(connection) => serve(connection).await,
                Err(error) => tracing::debug!(%error, "handshake failed"),
            }
        }
    };
    knocking(endpoint, limit, made).await
}

/// Serves each bidirectional stream that `peer` opens, on a task of its own, until the connection closes. Nonsense
/// on one closes the connection; a stream that broke is the network's doing.
pub async fn streams<F>(
    connection: &Connection,
    peer: impl Display,
    serve: impl Fn(SendStream, RecvStream) -> F,
) where
    F: Future<Output = Result<(), MessageError>> + Send + 'static,
{
    let peer = peer.to_string();
    while let Ok((send, recv)) = connection.accept_bi().await {
        let served = Box::pin(serve(send, recv));
        let (connection, peer) = (connection.clone(), peer.clone());
        tokio::spawn(async move {
            if let Err(error) = served.await
                && error.is_malformed()
            {
                tracing::warn!(peer, %error, "closed: malformed");
                connection.close(close::MALFORMED, error.to_string().as_bytes());
            }
        });
    }
}

/// Who connects to `publisher` ("an origin", "a worker"), which serves edges and workers only: others are sent away.
pub fn subscriber(connection: &Connection, publisher: &str) -> Option<Identity> {
    match Peer::of(connection) {
        Peer::Node(peer) if matches!(peer.role, Role::Edge | Role::Worker) => {
            endpoint::welcome_node(connection);
            Some(peer)
        }
        _ => {
            tracing::warn!(peer = %connection.remote_address(), "refused: neither edge nor worker");
            let reason = format!("{publisher} serves edges and workers only");
            connection.close(close::WRONG_ROLE, reason.as_bytes());
            None
        }
    }
}

/// Which description a stream asks `publisher` for, which serves nothing else; `None` if it does not ask.
pub async fn request(
    connection: &Connection,
    publisher: &str,
    (send, recv): (SendStream, RecvStream),
) -> Result<Option<(Subscribe, Sender, Receiver)>, MessageError> {
    let (kind, sender, mut receiver) = message::accept(send, recv).await?;
    if kind != StreamKind::Description {
        let reason = format!("{publisher} serves description streams only");
        connection.close(close::WRONG_ROLE, reason.as_bytes());
        return Ok(None);
    }
    let request = publish::request(&mut receiver).await?;
    Ok(request.map(|request| (request, sender, receiver)))
}
