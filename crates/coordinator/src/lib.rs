//! The coordinator: the service manager of a Gibbon network.
//!
//! [`manager`] knows and decides, without sockets or clocks, out of [`registry`], [`sessions`],
//! [`handoffs`] and [`drain`]; [`choose`], [`upkeep`] (with [`care`]) and [`adoption`] say what is to be moved
//! where. Services are built by [`builder`] out of components and the [`catalogue`], kept in [`services`], and
//! made so by [`orders`] to workers. [`service`] gives it a clock and passes on what it says; [`nodes`] and
//! [`portal`] are the doors: QUIC for nodes, HTTP for people and programs.
//!
//! What nodes and clients tell besides is judged and kept in [`telemetry`]; [`foresee`] makes of it, and of what was
//! announced ([`maintenance`]), what will be, and decides ahead of need.
//!
//! One hand-off from its cause to its end:
//! 1. somebody asks for it (`Manager::request_handoff`); or `Manager::foresee` finds that it will be needed; or
//!    [`upkeep::Scene::need`] finds in a turn of `Manager::keep_up`, when something has happened that was not foreseen,
//!    that legs should move. Why is kept with it ([`why::Grounds`]);
//! 2. [`choose::Question::answer`] says where to, unless foresight has said so already (`Manager::carry_out`), and
//!    `Manager::start` hands the plan to [`handoffs::Handoffs::start`];
//! 3. the executor of `gibbon_handoff` leads it. What edges and clients answer (`Manager::node_says`), and timers
//!    that are due (`Manager::handle_time`), are told to it by [`handoffs::Handoffs::handle`]; what it wants done
//!    becomes a [`handoffs::Effect`], and by `Manager::output` what is sent;
//! 4. [`handoffs::Effect::Ended`]: it is counted, and [`care`] says what is to be heeded before the session is
//!    moved again. What it has cost comes later, with the reports of the client ([`handoffs::Handoffs::costs`]).

pub mod adoption;
pub mod builder;
pub mod care;
pub mod catalogue;
pub mod choose;
pub mod drain;
pub mod foresee;
pub mod handoffs;
pub mod maintenance;
pub mod manager;
pub mod metrics;
pub mod nodes;
pub mod orders;
pub mod portal;
pub mod registry;
pub mod service;
pub mod services;
pub mod sessions;
pub mod store;
pub mod telemetry;
pub mod token;
pub mod upkeep;
pub mod why;
