//! Fences against real stores: a holder that is stopped after its last check and before its write comes
//! too late. Without the token its write lands, with it it is refused: the same test twice, so that the
//! one shows that the other could fail. And a writer of files that dies between any two system calls.
#![cfg(target_os = "linux")]

mod check;
mod child;
mod crash;
mod late;
mod race;
mod store;
mod writer;
