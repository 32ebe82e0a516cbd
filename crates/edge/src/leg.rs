//! A client's description stream: one leg.

use std::{sync::Arc, time::Duration};

use gibbon_control::{Grant, session::ToViewer};
use gibbon_net::{
    message::{MessageError, Receiver, Sender},
    publish::{self, Ended},
    wire::{RejectCode, Rejected, Subscribe},
};
use gibbon_relay::{Demand, Ready, Relay};
use tracing::Instrument;

use crate::{edge::Edge, sessions::Leg, shard::Visit, viewer::Granted};

/// While the upstream is silent the client is told so this often.
const STALLED_EVERY: Duration = Duration::from_millis(60);

/// Serves the stream until the leg ends.
pub async fn serve(
    Visit { edge, shard, pump }: &Visit,
    granted: &Granted,
    mut sender: Sender,
    mut receiver: Receiver,
) -> Result<(), MessageError> {
    let Some(request) = publish::request(&mut receiver).await? else { return Ok(()) };
    let mut granted = granted.subscribe();
    let grant = granted.wait_for(Option::is_some).await.map(|g| g.clone());
    let Ok(Some(grant)) = grant else { return Ok(()) };
    let (session, description) = (grant.session, request.description);
    let (leg, demand, ready) = match open(edge, &grant, &request).await {
        Ok(opened) => opened,
        Err(why) => {
            let elsewhere = why.elsewhere.as_ref().map(|node| node.as_str());
            tracing::info!(%session, %description, reason = why.reason, elsewhere, "leg refused");
            edge.refusals.count(why.code);
            return publish::refuse(&mut sender, &why).await;
        }
    };
    let tracks = demand.relay.tracks_on(*shard);
    let span = tracing::info_span!("leg", %session, %description);
    let serving = publish::serve(pump, sender, receiver, request, &ready.catalog, tracks);
    let ended = tokio::select! {
        ended = serving.instrument(span) => ended,
        never = tell_stalled(edge, &leg, &demand.relay) => match never {},
    };
    let complete = ended.as_ref().is_ok_and(|e| *e == Ended::Complete);
    edge.sessions.leg_ended(leg, complete, demand);
    ended.map(|_| ())
}

async fn open(
    edge: &Arc<Edge>,
    grant: &Grant,
    request: &Subscribe,
) -> Result<(Leg, Demand, Arc<Ready>), Rejected> {
    if request.stream != grant.stream {
        let reason = format!("the grant is for {}, not for {}", grant.stream, request.stream);
        return Err(Rejected::new(RejectCode::Unauthorised, reason));
    }
    edge.sessions.may_attach(grant.session)?;
    let demand = edge.relays.demand(&request.stream, request.description, None)?;
    let ready = demand.relay.ready().await?;
    let leg = edge.sessions.attach(grant.session, &demand.relay)?;
    Ok((leg, demand, ready))
}

/// Tells the client while `relay`'s upstream is silent, for as long as the leg lasts.
async fn tell_stalled(edge: &Edge, leg: &Leg, relay: &Relay) -> std::convert::Infallible {
    let mut silent = relay.silence.subscribe();
    loop {
        if silent.wait_for(|silent| *silent).await.is_err() {
            return std::future::pending().await;
        }
        edge.sessions.tell(leg.session, ToViewer::Stalled { descriptions: vec![leg.description] });
        tokio::time::sleep(STALLED_EVERY).await;
    }
}
