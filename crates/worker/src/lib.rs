//! gibbon-worker: runs media service components.
//!
//! The parent process does all networking and knows nothing of codecs; each segment — instances that pass raw
//! media to each other — is a child process that does nothing but media. They speak over the child's standard
//! input and output.

pub mod ipc;
pub mod segment;
