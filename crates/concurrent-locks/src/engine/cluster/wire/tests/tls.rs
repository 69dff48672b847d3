//! Encrypted channels.
