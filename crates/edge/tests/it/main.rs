//! An edge as clients, other nodes and the coordinator see it.

#![allow(clippy::unwrap_used)]

mod drain;
mod full;
mod metrics;
mod network;
mod sessions;
mod shards;
mod telemetry;
