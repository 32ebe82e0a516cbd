//! The hand-off protocol as a pure state machine, both ends.
