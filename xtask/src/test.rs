//! `cargo xtask test`: everything a newcomer needs to see the tests pass.

use crate::{
    python, servers,
    step::{self, Outcome, cargo},
    tools,
};

/// Installs what the tests need, then runs all of them; `arguments` go to nextest.
///
/// All of them run even if a test failed: one run should tell everything.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    tools::program("git", "--version", "git")?;
    tools::nextest()?;
    let mut tests = cargo(["nextest", "run", "--workspace"]);
    if tools::in_ci() {
        // nextest would take a profile from NEXTEST_PROFILE too; the flag is what the log shows.
        tests.args(["--profile", "ci"]);
    }
    // Without them the other tests still tell what they can.
    let (environment, no_servers) = match servers::environment() {
        Ok(environment) => (environment, Ok(())),
        Err(problem) => (Vec::new(), Err(problem)),
    };
    let tests = step::run("tests", tests.args(arguments).envs(environment));
    if !arguments.is_empty() {
        // Somebody picked tests: do not follow with all doctests.
        return no_servers.and(tests);
    }
    // nextest does not run doctests; these include the Rust examples of README.md and docs/.
    let doctests = step::run("doctests", &mut cargo(["test", "--doc", "--workspace"]));
    let problems: Vec<_> = [no_servers, tests, doctests, python::test()].into_iter().filter_map(Result::err).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}
