//! The Gibbon player: receives both descriptions of a stream, merges and decodes them, and reports what
//! the viewer saw. A library so that the test bed and the harness read its report with its own types.

pub mod report;
pub mod timeline;
