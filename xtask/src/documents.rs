//! The Markdown documents, compiled: every Rust example in them is a doctest of this crate, so an
//! example that does not build, or fails, fails the tests. Their links, the test names they cite and
//! the README's shell example are checked in `tests/`.

#[cfg(doctest)]
mod examples {
    #[doc = include_str!("../../README.md")]
    mod readme {}
    #[doc = include_str!("../../docs/deadlocks.md")]
    mod deadlocks {}
    #[doc = include_str!("../../docs/errors.md")]
    mod errors {}
    #[doc = include_str!("../../docs/fairness.md")]
    mod fairness {}
    #[doc = include_str!("../../docs/fencing.md")]
    mod fencing {}
    #[doc = include_str!("../../docs/engines/local.md")]
    mod local {}
    #[doc = include_str!("../../docs/engines/host.md")]
    mod host {}
    #[doc = include_str!("../../docs/engines/file.md")]
    mod file {}
    #[doc = include_str!("../../docs/engines/redis.md")]
    mod redis {}
    #[doc = include_str!("../../docs/engines/postgres.md")]
    mod postgres {}
}
