//! What can be seen, and by whom (V).

pub(crate) mod health;
pub(crate) mod look;
pub(crate) mod observe;
pub(crate) mod statistics;
pub(crate) mod view;
