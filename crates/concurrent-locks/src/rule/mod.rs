//! The rule, pure: who is granted what and in which order, and who waits for whom. It knows no engine.

pub(crate) mod grant;
pub(crate) mod wait_for;
