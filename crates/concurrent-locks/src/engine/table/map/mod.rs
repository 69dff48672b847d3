//! The bytes: what lies where, in which size, and which of it is authoritative (T).

pub(crate) mod attributes;
pub(crate) mod geometry;
pub(crate) mod header;
pub(crate) mod layout;
pub(crate) mod memory;
#[cfg_attr(any(not(target_os = "linux"), concurrent_locks_portable), path = "../portable/pages.rs")]
pub(crate) mod pages;
pub(crate) mod text;
pub(crate) mod word;
