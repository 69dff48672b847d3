//! One connection to a server, shared by all threads and futures of the process.
//!
//! Anybody writes; one at a time reads for all. A blocked thread that waits for its answer takes the
//! role of the reader itself, so it hears of its answer without a hop through another thread; who
//! waits meanwhile follows, and takes over when the reader has what it wanted. A thread of our own
//! reads only while futures wait.

mod dialect;

pub(crate) use dialect::{Dialect, Failure, Frame, Greeting};
