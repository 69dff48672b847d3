//! Histories under a nemesis: processes take locks of a server on a few names while something goes wrong,
//! write down what they saw and believed, and a judge reads all of it afterwards.
//!
//! - `worker.rs`: what a process does, at random. It is this test program again.
//! - `journal.rs`: what it writes down, event by event, so that also a killed process has a history; and
//!   what that says it believed.
//! - `crew.rs`: the processes, as the test sees them, and the judgement.
//! - the other files: a nemesis each. It acts on facts that it sees in the journals, and goes on until
//!   it has done harm as often as it should; how long that takes says nothing.
#![cfg(target_os = "linux")]

mod crew;
mod harm;
mod journal;
mod pause;
mod server;
mod worker;
