//! The client's end, by table: what it is told, and what it does.

#![allow(clippy::unwrap_used, reason = "a broken test is to stop")]

mod bench;
mod idle;
mod leaving;
mod orders;
mod recovery;
