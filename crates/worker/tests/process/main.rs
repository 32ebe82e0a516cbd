//! Tests of the real worker process between scripted nodes: one file for each thing that it does.
#![allow(clippy::unwrap_used)]

mod drain;
mod metrics;
mod network;
mod orders;
mod peers;
mod segments;
