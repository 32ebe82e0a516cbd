//! What sends to the other end of one connection: one task, however many descriptions and groups, so that
//! all that is due at once is handed to QUIC at once and leaves in one piece.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use gibbon_media::GroupId;
use tokio::{sync::oneshot, task::AbortHandle};

use super::service::Service;
use crate::{cache::Bell, lock};

/// What has been sent, by all connections that count here: those of one shard.
#[derive(Debug, Default)]
pub struct Sent {
    /// Frames of all media.
    pub frames: AtomicU64,
    /// Their bytes, heads included.
    pub bytes: AtomicU64,
    /// Times that a connection was given something: all that was due to it.
    pub bursts: AtomicU64,
    /// Groups given up because the subscriber had no more patience for them.
    pub outlived: AtomicU64,
    /// Groups given up because the cache had let them go.
    pub evicted: AtomicU64,
    /// Groups broken off because the subscriber cancelled them.
    pub cancelled: AtomicU64,
}

impl Sent {
    pub(super) fn add(counter: &AtomicU64, n: usize) {
        counter.fetch_add(n as u64, Ordering::Relaxed);
    }
}

/// Sends what is subscribed to over one connection. Clones are handles of the same; the last one dropped ends
/// it.
#[derive(Clone)]
pub struct Pump(Arc<Running>);

struct Running {
    pumping: Arc<Pumping>,
    task: AbortHandle,
}

struct Pumping {
    connection: quinn::Connection,
    sent: Arc<Sent>,
    /// Rings when there is one more to serve.
    bell: Bell,
    served: Mutex<Vec<Service>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pump {
    /// Sends over `connection` and counts in `sent`.
    pub fn new(connection: quinn::Connection, sent: Arc<Sent>) -> Self {
        let (bell, served) = (Bell::default(), Mutex::default());
        let pumping = Arc::new(Pumping { connection, sent, bell, served });
        let pumped = pumping.clone();
        let task = tokio::spawn(poll_fn(move |cx| pumped.step(cx))).abort_handle();
        Self(Arc::new(Running { pumping, task }))
    }

    /// The connection.
    pub fn connection(&self) -> &quinn::Connection {
        &self.0.pumping.connection
    }

    /// Begins to serve a subscription.
    pub(super) fn begin(&self, mut service: Service) -> Served<'_> {
        let pumping = &self.0.pumping;
        let (id, completed) = (service.id, service.start());
        pumping.lock().push(service);
        pumping.bell.ring();
        Served { pumping, id, completed }
    }
}

impl Pumping {
    fn lock(&self) -> MutexGuard<'_, Vec<Service>> {
        lock(&self.served)
    }

    /// Sends what can be sent now; ready when the connection is gone.
    fn step(&self, cx: &mut Context) -> Poll<()> {
        self.bell.answer(cx);
        let mut took = false;
        for service in &mut *self.lock() {
            match service.step(cx, &self.connection, &self.sent) {
                Ok(some) => took |= some,
                Err(_) => return Poll::Ready(()),
            }
        }
        Sent::add(&self.sent.bursts, usize::from(took));
        Poll::Pending
    }
}

/// A subscription being served; dropped, it is cancelled.
pub(super) struct Served<'a> {
    pumping: &'a Pumping,
    id: u64,
    completed: oneshot::Receiver<()>,
}

impl Served<'_> {
    /// Waits until all that was wanted has been delivered.
    pub(super) async fn completed(&mut self) {
        if (&mut self.completed).await.is_err() {
            // The connection is gone; who serves the subscription sees it by itself.
            std::future::pending().await
        }
    }

    /// Nothing after `end` is wanted any more.
    pub(super) fn end_at(&self, end: GroupId) {
        let mut served = self.pumping.lock();
        if let Some(service) = served.iter_mut().find(|service| service.id == self.id) {
            service.end_at(end, &self.pumping.sent);
        }
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        let mut served = self.pumping.lock();
        if let Some(at) = served.iter().position(|service| service.id == self.id) {
            let mut cancelled = served.swap_remove(at);
            drop(served);
            cancelled.cancel(&self.pumping.sent);
        }
    }
}
