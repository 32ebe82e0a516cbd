//! PLACEHOLDER for compiling only: the owner of this file replaces it.
#![allow(missing_docs)]
use crate::report::Report;
use gibbon_media::NodeId;
use std::time::Duration;
#[derive(Debug, Default)]
pub struct Snapshot {
    pub stream: String,
    pub session: String,
    pub elapsed: Duration,
    pub legs: [Option<NodeId>; 2],
    pub attaching: [Option<NodeId>; 2],
    pub buffer_ms: Option<u64>,
    pub latency_ms: Option<u64>,
    pub stats: gibbon_mdc::Stats,
    pub caption: Option<String>,
}
pub struct View;
impl View {
    pub fn new() -> Self {
        View
    }
    pub fn event(&mut self, e: Duration, t: &str) {
        eprintln!("{e:?} {t}");
    }
    pub fn update(&mut self, _s: &Snapshot) {}
    pub fn finish(self, r: &Report) {
        eprintln!("{r:#?}");
    }
}
