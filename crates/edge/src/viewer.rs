//! One viewer's connection: a session stream that shows the grant, and description streams.

use std::{sync::Arc, time::Duration};

use gibbon_control::{
    Grant,
    node::FromNode,
    process,
    session::{FromViewer, ToViewer},
};
use gibbon_media::StreamName;
use gibbon_net::{
    close, message,
    message::{MessageError, Receiver, Sender},
    publish::{self, Ended, Sent},
    wire::{Malformed, RejectCode, Rejected, StreamKind, Subscribe, kind},
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tracing::Instrument;

use crate::{
    edge::Edge,
    relay::{Demand, Ready},
};

/// A viewer that has not shown its grant by then is disconnected.
const GRANT_WITHIN: Duration = Duration::from_secs(5);

/// A peer that opens a stream must say what for by then.
const FIRST_MESSAGE_WITHIN: Duration = Duration::from_secs(5);

/// What the connection may do, once its session stream has shown a grant.
type Granted = watch::Sender<Option<Arc<Grant>>>;

/// Serves a viewer until its connection closes.
pub async fn serve(edge: Arc<Edge>, connection: quinn::Connection) {
    let granted: Arc<Granted> = Arc::new(watch::Sender::new(None));
    let watched = granted.subscribe();
    let deadline = silence(connection.clone(), watched);
    tokio::spawn(deadline);
    while let Ok((send, recv)) = connection.accept_bi().await {
        let (edge, connection, granted) = (edge.clone(), connection.clone(), granted.clone());
        tokio::spawn(async move {
            if let Err(error) = stream(&edge, &connection, &granted, send, recv).await {
                refuse_connection(&connection, &error);
            }
        });
    }
    if let Some(grant) = granted.borrow().as_ref() {
        tracing::info!(session = %grant.session, "client connection closed");
    }
}

/// Closes the connection if what came over it was malformed; a stream that broke is the network's doing.
fn refuse_connection(connection: &quinn::Connection, error: &MessageError) {
    if error.is_malformed() {
        tracing::warn!(peer = %connection.remote_address(), %error, "closed: malformed");
        connection.close(close::MALFORMED, error.to_string().as_bytes());
    }
}

async fn silence(connection: quinn::Connection, mut granted: watch::Receiver<Option<Arc<Grant>>>) {
    let shown = granted.wait_for(Option::is_some);
    if tokio::time::timeout(GRANT_WITHIN, shown).await.is_err() {
        connection.close(close::SILENT, b"no grant was shown");
    }
}

async fn stream(
    edge: &Arc<Edge>,
    connection: &quinn::Connection,
    granted: &Granted,
    send: quinn::SendStream,
    recv: quinn::RecvStream,
) -> Result<(), MessageError> {
    let (kind, sender, receiver) = message::accept(send, recv).await?;
    match kind {
        StreamKind::Session => session(edge, connection, granted, sender, receiver).await,
        StreamKind::Description => description(edge, connection, granted, sender, receiver).await,
        StreamKind::Control | StreamKind::Handoff => {
            let reason = b"control and hand-off streams are for nodes with a certificate";
            connection.close(close::WRONG_ROLE, reason);
            Ok(())
        }
    }
}

async fn session(
    edge: &Arc<Edge>,
    connection: &quinn::Connection,
    granted: &Granted,
    mut sender: Sender,
    mut receiver: Receiver,
) -> Result<(), MessageError> {
    let grant = match first_message(&mut receiver).await? {
        FromViewer::Hello { grant } => edge.verify(&grant, process::now()),
        _ => Err("say hello first".into()),
    };
    let grant = match grant {
        Ok(grant) => grant,
        Err(reason) => {
            tracing::warn!(peer = %connection.remote_address(), reason, "viewer refused");
            connection.close(close::UNAUTHORISED, reason.as_bytes());
            return Ok(());
        }
    };
    let (id, grant) = (grant.session, Arc::new(grant));
    let came = edge.sessions.client_came(grant.clone(), connection.stable_id());
    let Some((_guard, mut orders)) = came else {
        connection.close(close::UNAUTHORISED, b"this edge holds all the sessions it can");
        return Ok(());
    };
    tracing::info!(session = %id, stream = %grant.stream, "client connected");
    sender.send_json(&ToViewer::Welcome).await?;
    granted.send_replace(Some(grant));
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(order) => sender.send_json(&order).await?,
                // A newer connection of the same session has taken over.
                None => return Ok(()),
            },
            said = receiver.receive_json::<FromViewer>() => match said? {
                Some(FromViewer::Report(report)) => {
                    edge.coordinator.tell(FromNode::Client { session: id, report });
                }
                Some(FromViewer::Bye) => {
                    sender.send_json(&ToViewer::Bye).await?;
                    sender.finish();
                    sender.delivered().await;
                    return Ok(());
                }
                Some(FromViewer::Hello { .. }) => {}
                None => return Ok(()),
            },
        }
    }
}

async fn description(
    edge: &Arc<Edge>,
    connection: &quinn::Connection,
    granted: &Granted,
    mut sender: Sender,
    mut receiver: Receiver,
) -> Result<(), MessageError> {
    let Some(request) = publish::request(&mut receiver).await? else { return Ok(()) };
    let mut granted = granted.subscribe();
    let grant = granted.wait_for(Option::is_some).await.map(|g| g.clone());
    let Ok(Some(grant)) = grant else { return Ok(()) };
    match open(edge, &grant.stream, &request).await {
        Err(why) => {
            sender.send(kind::REJECTED, &why.encode()).await?;
            sender.finish();
            Ok(())
        }
        Ok((demand, ready)) => {
            let (session, description) = (grant.session, request.description);
            edge.sessions.leg_began(session, description);
            let tracks = demand.relay.tracks.clone();
            let sent = Arc::new(Sent::default());
            let span = tracing::info_span!("leg", %session, %description);
            let (connection, catalog) = (connection.clone(), &ready.catalog);
            let serving =
                publish::serve(connection, sender, receiver, request, catalog, tracks, sent);
            let ended = serving.instrument(span).await;
            let complete = ended.as_ref().is_ok_and(|e| *e == Ended::Complete);
            edge.sessions.leg_ended(session, description, complete, demand);
            ended.map(|_| ())
        }
    }
}

async fn open(
    edge: &Arc<Edge>,
    granted: &StreamName,
    request: &Subscribe,
) -> Result<(Demand, Arc<Ready>), Rejected> {
    if request.stream != *granted {
        let reason = format!("the grant is for {granted}, not for {}", request.stream);
        return Err(Rejected::new(RejectCode::Unauthorised, reason));
    }
    let demand = edge.relays.demand(&request.stream, request.description, None)?;
    let ready = demand.relay.ready().await?;
    Ok((demand, ready))
}

/// The message that says what a JSON stream is about, within a bounded time.
async fn first_message<T: DeserializeOwned>(receiver: &mut Receiver) -> Result<T, MessageError> {
    match tokio::time::timeout(FIRST_MESSAGE_WITHIN, receiver.receive_json()).await {
        Ok(Ok(Some(message))) => Ok(message),
        Ok(Ok(None)) => Err(Malformed::Truncated("first message").into()),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(MessageError::Broken(format!("silent for {FIRST_MESSAGE_WITHIN:?}"))),
    }
}
