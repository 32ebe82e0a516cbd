//! The coordinator as nodes, clients and operators see it.

#![allow(clippy::unwrap_used)]

mod diverse;
mod foresight;
mod handoffs;
mod metrics;
mod moving;
mod network;
mod nodes;
mod partition;
mod portal;
mod process;
mod registry;
mod running;
mod services;
mod turmoil;
mod upkeep;
