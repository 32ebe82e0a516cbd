//! A client's session stream: shows the grant, brings reports, takes orders and news away.

use std::{sync::Arc, time::Duration};

use gibbon_control::{
    Grant,
    node::FromNode,
    process,
    session::{FromViewer, ToViewer},
};
use gibbon_media::SessionId;
use gibbon_net::{
    close,
    message::{MessageError, Receiver, Sender},
    wire::Malformed,
};
use tokio::time::{Instant, MissedTickBehavior};

use crate::{edge::Edge, reports::Reports, viewer::Granted};

/// A peer that opens the stream must say what for by then.
const FIRST_MESSAGE_WITHIN: Duration = Duration::from_secs(5);
/// How often it is looked whether packets to the client are being lost.
const LOOK_AT_PATH_EVERY: Duration = Duration::from_millis(200);
/// It is looked in so many turns, at many paths at once: one by one they would wake a thread a thousand times
/// per second.
const TURNS: u64 = 8;

/// Serves the stream until either side is done.
pub async fn serve(
    edge: &Arc<Edge>,
    connection: &quinn::Connection,
    granted: &Granted,
    mut sender: Sender,
    mut receiver: Receiver,
) -> Result<(), MessageError> {
    let grant = match shown(edge, &mut receiver).await? {
        Ok(grant) => Arc::new(grant),
        Err(reason) => {
            tracing::warn!(peer = %connection.remote_address(), reason, "viewer refused");
            connection.close(close::UNAUTHORISED, reason.as_bytes());
            return Ok(());
        }
    };
    let session = grant.session;
    let Some((_guard, mut news)) = edge.sessions.client_came(grant.clone(), connection) else {
        connection.close(close::FULL, b"this edge holds all the sessions it can");
        return Ok(());
    };
    tracing::info!(%session, stream = %grant.stream, "client connected");
    sender.send_json(&ToViewer::Welcome).await?;
    granted.send_replace(Some(grant));
    let mut reports = Reports::default();
    let mut path = Path { connection, lost: 0 };
    let mut look = tokio::time::interval_at(first_look(session), LOOK_AT_PATH_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let due = reports.due(Instant::now());
        tokio::select! {
            message = news.recv() => match message {
                Some(message) => sender.send_json(&*message).await?,
                // A newer connection of the same session has taken over.
                None => return Ok(()),
            },
            said = receiver.receive_json::<FromViewer>() => match said? {
                Some(FromViewer::Report(report)) => {
                    edge.sessions.client_reported(session, &report);
                    reports.came(report);
                }
                Some(FromViewer::Bye) => {
                    pass_on(edge, session, &mut reports);
                    sender.send_json(&ToViewer::Bye).await?;
                    sender.finish();
                    sender.delivered().await;
                    return Ok(());
                }
                Some(FromViewer::Hello { .. }) => {}
                None => return Ok(()),
            },
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                pass_on(edge, session, &mut reports);
            }
            _ = look.tick() => if let Some(news) = path.news() {
                sender.send_json(&news).await?;
            },
        }
    }
}

/// When the turn of a session comes.
fn first_look(session: SessionId) -> Instant {
    let every = LOOK_AT_PATH_EVERY.as_micros() as u64;
    let since = process::now().as_micros() % every;
    let turn = session.0 % TURNS * (every / TURNS);
    Instant::now() + Duration::from_micros(every - since + turn)
}

/// The grant that the client shows first, or what is wrong with it.
async fn shown(
    edge: &Edge,
    receiver: &mut Receiver,
) -> Result<Result<Grant, String>, MessageError> {
    match tokio::time::timeout(FIRST_MESSAGE_WITHIN, receiver.receive_json()).await {
        Ok(Ok(Some(FromViewer::Hello { grant }))) => Ok(edge.verify(&grant, process::now())),
        Ok(Ok(Some(_))) => Ok(Err("say hello first".into())),
        Ok(Ok(None)) => Err(Malformed::Truncated("first message").into()),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(MessageError::Broken(format!("silent for {FIRST_MESSAGE_WITHIN:?}"))),
    }
}

fn pass_on(edge: &Edge, session: SessionId, reports: &mut Reports) {
    if let Some(report) = reports.pass(Instant::now()) {
        edge.coordinator.tell(FromNode::Client { session, report });
    }
}

/// The path to the client, as this edge sees it.
struct Path<'a> {
    connection: &'a quinn::Connection,
    lost: u64,
}

impl Path<'_> {
    /// What there is to tell, if packets have been lost since it was last looked.
    fn news(&mut self) -> Option<ToViewer> {
        let path = self.connection.stats().path;
        let news = path.lost_packets > self.lost;
        self.lost = path.lost_packets;
        let rtt_us = path.rtt.as_micros() as u64;
        news.then_some(ToViewer::Path { sent: path.sent_packets, lost: self.lost, rtt_us })
    }
}
