//! `cargo xtask differential`: the full run of the differential test of the grant rule. `cargo xtask test` replays
//! a thousand histories on each implementation.

use crate::{
    servers,
    step::{self, Outcome, cargo},
};

/// `arguments`: how many histories, and part of a test's name, or neither.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let (number, rest) = match arguments.split_first() {
        Some((first, rest)) if first.parse::<u32>().is_ok() => (first.as_str(), rest),
        _ => ("1000000", arguments),
    };
    let mut command =
        cargo(["test", "--package", "concurrent-locks", "--features", "full", "--lib", "--", "--nocapture"]);
    match rest {
        [] => command.arg("differential::"),
        tests => command.args(tests.iter().map(|test| format!("differential::{test}"))),
    };
    step::run("the grant rule everywhere", command.env("LOCKS_HISTORIES", number).envs(servers::environment()?))
}
