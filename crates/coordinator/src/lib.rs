//! The coordinator: the service manager of a Gibbon network.
//!
//! [`manager`] knows and decides, without sockets or clocks, out of [`registry`], [`sessions`],
//! [`handoffs`] and [`drain`]; [`choose`], [`upkeep`] (with [`care`]) and [`adoption`] say what is to be moved
//! where. Services are built by [`builder`] out of components and the [`catalogue`], kept in [`services`], and
//! made so by [`orders`] to workers. [`service`] gives it a clock and passes on what it says; [`nodes`] and
//! [`portal`] are the doors: QUIC for nodes, HTTP for people and programs.

pub mod adoption;
pub mod builder;
pub mod care;
pub mod catalogue;
pub mod choose;
pub mod drain;
pub mod handoffs;
pub mod manager;
pub mod metrics;
pub mod nodes;
pub mod orders;
pub mod portal;
pub mod registry;
pub mod service;
pub mod services;
pub mod sessions;
pub mod term;
pub mod token;
pub mod upkeep;
