//! A segment with real media: what comes out is what was asked for, in the groups that came in.

#![allow(clippy::unwrap_used)] // Only in tests.

mod media;
mod process;
mod support;
mod trees;
mod troubles;
