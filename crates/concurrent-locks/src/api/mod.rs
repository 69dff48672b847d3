//! The public API: managers, owners, requests, guards. One room: a guard that can be upgraded and the request that
//! upgrades it need each other.

pub(crate) mod bare;
mod bounds;
pub(crate) mod call;
pub(crate) mod events;
pub(crate) mod guard;
pub(crate) mod holdings;
pub(crate) mod identity;
#[cfg(test)]
mod leased_engine;
pub mod local;
mod looks;
pub(crate) mod lost;
pub(crate) mod manager;
pub(crate) mod owner;
pub(crate) mod queued;
pub(crate) mod request;
pub(crate) mod request_all;
pub(crate) mod resource;
#[cfg(unix)]
pub(crate) mod tree;
pub(crate) mod upgrade;
pub(crate) mod verify;
pub(crate) mod waiting;
