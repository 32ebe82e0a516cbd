//! One connection to an edge, and the session stream on it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use gibbon_control::session::{ClientReport, FromViewer, ToViewer};
use gibbon_media::NodeId;
use gibbon_net::{
    close,
    message::{MessageError, Receiver, Sender},
    subscribe::Link,
};
use tokio::sync::mpsc;

use super::{Event, Shared};

/// Reports waiting for one edge.
const MAX_WAITING_REPORTS: usize = 64;
/// An edge has this long to say goodbye before the connection is closed anyway.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

/// A connection to an edge.
pub(super) struct Connection {
    /// Counts the connections of the session.
    pub serial: u64,
    pub link: Arc<Link>,
    reports: mpsc::Sender<FromViewer>,
}

impl Connection {
    /// A connection that has been welcomed on its session stream; what the edge says becomes events of
    /// `shared`.
    pub fn begin(
        shared: Arc<Shared>,
        edge: NodeId,
        connection: quinn::Connection,
        (sender, receiver): (Sender, Receiver),
    ) -> Arc<Self> {
        let link = Link::new(connection);
        let (reports, waiting) = mpsc::channel(MAX_WAITING_REPORTS);
        let serial = shared.serial.fetch_add(1, Ordering::Relaxed);
        let session = Session { shared, edge, serial, link: link.clone() };
        tokio::spawn(session.run(sender, receiver, waiting));
        Arc::new(Self { serial, link, reports })
    }

    /// Whether it is over.
    pub fn is_closed(&self) -> bool {
        self.link.connection().close_reason().is_some()
    }

    /// Whether its session stream goes on, which ends with it. Cheaper to ask than whether it is closed.
    pub fn has_session(&self) -> bool {
        !self.reports.is_closed()
    }

    /// Sends a report.
    pub fn report(&self, report: ClientReport) {
        // A connection that does not take reports is about to be found dead.
        let _ = self.reports.try_send(FromViewer::Report(report));
    }

    /// Says goodbye and closes it, when the edge has answered or after a while.
    pub async fn goodbye(self: Arc<Self>) {
        let _ = self.reports.send(FromViewer::Bye).await;
        let closed = self.link.connection().closed();
        let _ = tokio::time::timeout(GOODBYE_WITHIN, closed).await;
        self.link.connection().close(close::DONE, b"bye");
    }
}

/// The session stream of one connection.
struct Session {
    shared: Arc<Shared>,
    edge: NodeId,
    serial: u64,
    link: Arc<Link>,
}

impl Session {
    async fn run(self, sender: Sender, receiver: Receiver, reports: mpsc::Receiver<FromViewer>) {
        let talk = self.talk(sender, receiver, reports).await;
        let connection = self.link.connection();
        if talk.is_ok() {
            return connection.close(close::DONE, b"bye");
        }
        // A session stream that broke off takes the connection with it: legs without orders are blind.
        let why = match (connection.close_reason(), talk) {
            (Some(reason), _) => reason.to_string(),
            (None, Err(error)) => error.to_string(),
            (None, Ok(())) => String::new(),
        };
        connection.close(close::DONE, b"the session stream broke off");
        let (edge, connection) = (self.edge.clone(), self.serial);
        self.shared.tell(Event::Closed { edge, connection, why }).await;
    }

    async fn talk(
        &self,
        mut sender: Sender,
        mut receiver: Receiver,
        mut reports: mpsc::Receiver<FromViewer>,
    ) -> Result<(), MessageError> {
        loop {
            tokio::select! {
                report = reports.recv() => match report {
                    Some(report) => sender.send_json(&report).await?,
                    None => return Ok(()),
                },
                said = receiver.receive_json::<ToViewer>() => match said? {
                    Some(ToViewer::Bye) => return Ok(()),
                    Some(said) => {
                        let (edge, said) = (self.edge.clone(), Box::new(said));
                        self.shared.tell(Event::Said { edge, said }).await;
                    }
                    None => return Err(MessageError::Broken("the edge closed the session".into())),
                },
            }
        }
    }
}
