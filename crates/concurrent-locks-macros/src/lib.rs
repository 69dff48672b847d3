//! Attribute macros that run a function while it holds a lock. Re-exported by `concurrent_locks`.
//!
//! ```
//! use concurrent_locks::{Error, LockManager, read_lock, write_lock};
//!
//! struct EpisodicMemory {
//!     locks: LockManager,
//!     database: String,
//! }
//!
//! impl EpisodicMemory {
//!     #[read_lock("episodic_db:{self.database}", locks = &self.locks, timeout = "10s")]
//!     async fn recall(&self, id: u64) -> Result<String, Error> {
//!         Ok(format!("episode {id}"))
//!     }
//!
//!     #[write_lock("episodic_db:{self.database}/{id}", locks = &self.locks, priority = 5, note = "forget")]
//!     fn forget(&mut self, id: u64) -> Result<(), Error> {
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Error> {
//! let mut memory = EpisodicMemory { locks: LockManager::local(), database: "main.db".into() };
//! assert_eq!(memory.recall(7).await?, "episode 7");
//! memory.forget(7)?;
//! # Ok(()) }
//! ```
//!
//! # The function
//! Any function or method with a body: generic, with lifetimes, with `impl Trait`, in trait impls. An
//! `async fn` waits with `.await` and stays `Send` if its body is; any other function parks its thread.
//! It must return `Result<T, E>` with `E: From<concurrent_locks::Error>`, under any name that ends in
//! `Result` (`io::Result<T>` is one), so that a lock that cannot be taken is the function's own error.
//! With `on_error = "panic"` it may return anything and panics instead.
//!
//! # The name
//! A template like a format string: `{argument}`, `{self.field}`, `{argument.field.0}`, `{id:04}`, with
//! `{{` and `}}` for braces. Every placeholder must be `Display` (or what its format asks for). It names
//! arguments of the function as its body sees them, constants (`{PREFIX}`) and const parameters.
//!
//! # Options
//! | option | meaning | default |
//! |---|---|---|
//! | `timeout = "10s"` | how long to wait; `"never"` gives up never | what the manager says (10 s to read, 30 s to write); `distributed_lock` 60 s |
//! | `priority = 5` | counts like having come so many seconds earlier | 0 |
//! | `note = "..."` | shown in status and errors | none |
//! | `locks = EXPR` | a `&LockManager` | `LockManager::global()` |
//! | `owner = EXPR` | an `&Owner` | an owner of its own |
//! | `on_error = "panic"` | panic where the lock cannot be taken | `"return"` |
//!
//! # Order of evaluation
//! On the call: the arguments. When the function runs (an `async fn`: when its future is first polled):
//! `locks`, then the name, `priority`, `owner`; then it waits; then the body runs. The guard lives until
//! the body has ended, by its value, `return`, `?`, a panic, or because the future was dropped; the
//! body's locals and temporaries are gone before the lock is released. Arguments that the body does
//! not move are dropped after that.
//!
//! # Other attributes
//! Attributes are applied from the top: put the lock above those that change the function (`#[test]`,
//! `#[tokio::main]`). Methods that `#[async_trait]` rewrote are understood: the future takes the lock.

mod expand;
mod options;
mod template;

use expand::Kind;
use proc_macro::TokenStream;

/// Runs the function while it holds the named resource together with other readers.
///
/// See the [crate's documentation](crate) for the name, the options and what the function must return.
#[proc_macro_attribute]
pub fn read_lock(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Kind::Read, options.into(), item.into()).into()
}

/// Runs the function while it alone holds the named resource.
///
/// See the [crate's documentation](crate) for the name, the options and what the function must return.
#[proc_macro_attribute]
pub fn write_lock(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Kind::Write, options.into(), item.into()).into()
}

/// Runs the function while it alone, among all processes, holds the named resource.
///
/// Without `locks = EXPR` it uses [`LockManager::global()`] if that reaches other processes, else
/// `LockManager::host()`; a manager given with `locks` is used as it is. Waits 60 s unless told otherwise.
/// See the [crate's documentation](crate) for the name, the options and what the function must return.
///
/// [`LockManager::global()`]: https://docs.rs/concurrent-locks
#[proc_macro_attribute]
pub fn distributed_lock(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Kind::Distributed, options.into(), item.into()).into()
}
