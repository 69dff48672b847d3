//! Real servers for tests and benchmarks: [`Redis`], [`Postgres`] and [`PgBouncer`] on loopback, and a
//! [`Proxy`] that cuts, stalls and delays what goes through it, and a [`Pooler`] that shares connections out.
//!
//! A server starts on a port of its own, in a folder of its own, and is ready when `start` returns,
//! because it has answered. It ends with the value, and also when this process is killed: the kernel
//! then sends the server a signal (`setpriv` arranges it; on systems without it a killed test leaves
//! its servers behind), and a shell that waits for our end removes the folder.
//!
//! It can be killed, started again on the same port, stopped in its tracks and let go on. Whoever
//! needs no such thing takes the shared server ([`Redis::shared`], [`Postgres::shared`]): one per
//! process, or the one that `cargo xtask test` or `test-servers` has started for all of them.
//!
//! Methods that act on a server that runs panic when that fails, as assertions of a test do.

mod bouncer;
mod error;
mod folder;
mod pooler;
mod port;
mod postgres;
mod process;
mod program;
mod proxy;
mod redis;
mod resp;
mod shared;
#[cfg(feature = "tls")]
mod tls;

pub use bouncer::PgBouncer;
pub use error::Error;
pub use pooler::Pooler;
pub use postgres::{Postgres, PostgresOptions};
pub use process::run_until_we_end;
pub use program::{Missing, missing};
pub use proxy::Proxy;
pub use redis::{Redis, RedisOptions};
pub use resp::Reply;
pub use shared::{POSTGRES_VARIABLE, REDIS_VARIABLE, Shared};
#[cfg(feature = "tls")]
pub use tls::Certificates;
