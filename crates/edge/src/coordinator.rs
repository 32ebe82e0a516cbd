//! What this edge has to say to the coordinator.

use std::sync::OnceLock;

use gibbon_control::node::FromNode;
use tokio::sync::mpsc;

/// The way to the coordinator, once there is one.
#[derive(Default)]
pub struct Coordinator(OnceLock<mpsc::Sender<FromNode>>);

impl Coordinator {
    /// What is told goes this way from now on.
    pub fn reach(&self, to_coordinator: mpsc::Sender<FromNode>) {
        let _ = self.0.set(to_coordinator);
    }

    /// Tells the coordinator something, if it is there to be told.
    pub fn tell(&self, message: FromNode) {
        if let Some(coordinator) = self.0.get() {
            let _ = coordinator.try_send(message);
        }
    }
}
