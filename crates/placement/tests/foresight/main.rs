//! Foresight as its callers use it.

#![allow(clippy::unwrap_used)]

mod bounds;
mod garbage;
mod rows;
mod scale;
mod scene;
