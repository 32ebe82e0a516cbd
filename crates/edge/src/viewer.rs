//! One viewer's connection: a session stream that shows the grant, and description streams.

use std::{sync::Arc, time::Duration};

use gibbon_control::Grant;
use gibbon_net::{close, message, message::MessageError, serving, wire::StreamKind};
use tokio::sync::watch;

use crate::{edge::Edge, leg, session_stream, shard::Visit};

/// A viewer that has not shown its grant by then is disconnected.
const GRANT_WITHIN: Duration = Duration::from_secs(5);

/// What the connection may do, once its session stream has shown a grant.
pub type Granted = watch::Sender<Option<Arc<Grant>>>;

/// Serves a viewer until its connection closes.
pub async fn serve(edge: Arc<Edge>, shard: usize, connection: quinn::Connection) {
    let granted: Arc<Granted> = Arc::new(watch::Sender::new(None));
    let watched = granted.subscribe();
    let deadline = silence(connection.clone(), watched);
    tokio::spawn(deadline);
    let visit = Visit::new(edge, shard, connection.clone());
    let serve = |send, recv| {
        let (visit, granted) = (visit.clone(), granted.clone());
        async move { stream(&visit, &granted, send, recv).await }
    };
    serving::streams(&connection, connection.remote_address(), serve).await;
    if let Some(grant) = granted.borrow().as_ref() {
        tracing::info!(session = %grant.session, "client connection closed");
    }
}

async fn silence(connection: quinn::Connection, mut granted: watch::Receiver<Option<Arc<Grant>>>) {
    let shown = granted.wait_for(Option::is_some);
    if tokio::time::timeout(GRANT_WITHIN, shown).await.is_err() {
        connection.close(close::SILENT, b"no grant was shown");
    }
}

async fn stream(
    visit: &Visit,
    granted: &Granted,
    send: quinn::SendStream,
    recv: quinn::RecvStream,
) -> Result<(), MessageError> {
    let (kind, sender, receiver) = message::accept(send, recv).await?;
    // Boxed: each is kept in no more room than it needs.
    match kind {
        StreamKind::Session => {
            let connection = visit.pump.connection();
            let served = session_stream::serve(&visit.edge, connection, granted, sender, receiver);
            Box::pin(served).await
        }
        StreamKind::Description => Box::pin(leg::serve(visit, granted, sender, receiver)).await,
        StreamKind::Control | StreamKind::Handoff => {
            let reason = b"control and hand-off streams are for nodes with a certificate";
            visit.pump.connection().close(close::WRONG_ROLE, reason);
            Ok(())
        }
    }
}
