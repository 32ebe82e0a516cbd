//! The coordinator: the service manager of a Gibbon network.
//!
//! [`manager`] knows and decides, without sockets or clocks, out of [`registry`], [`sessions`],
//! [`handoffs`] and [`drain`]; [`choose`], [`upkeep`] (with [`care`]) and [`adoption`] say what is to be moved
//! where. [`service`] gives it a clock and passes on what it says; [`nodes`] and
//! [`portal`] are the doors: QUIC for nodes, HTTP for people and programs.

pub mod adoption;
pub mod care;
pub mod choose;
pub mod drain;
pub mod handoffs;
pub mod manager;
pub mod nodes;
pub mod portal;
pub mod registry;
pub mod service;
pub mod sessions;
pub mod term;
pub mod token;
pub mod upkeep;
