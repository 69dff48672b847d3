//! The vocabulary: values that every floor above speaks of. They use nothing but each other.

pub(crate) mod deadlock;
pub(crate) mod error;
pub(crate) mod event;
pub(crate) mod histogram;
#[cfg(feature = "serde")]
pub(crate) mod json;
pub(crate) mod lease;
pub(crate) mod limits;
pub(crate) mod mode;
pub(crate) mod name;
pub(crate) mod owner_id;
pub(crate) mod settings;
pub(crate) mod stats;
pub(crate) mod status;
pub(crate) mod time;
pub(crate) mod variables;
