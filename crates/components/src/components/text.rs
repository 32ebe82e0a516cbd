//! What the components for text have in common.
