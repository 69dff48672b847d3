//! The child that dies: `victim SCENARIO URL NAME`, `victim chaos ...`, or `victim hostile DIRECTORY INPUT`;
//! and one that looks after its death: `victim visit URL`.

use concurrent_locks_death::{
    Result, hostile,
    scenario::{self, Scenario},
    stepper, worker,
};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Nobody must be waited for for ever.
    nix::unistd::alarm::set(600);
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["chaos", ..] => worker::work(&arguments[1..]),
        ["hostile", directory, input] => hostile::open_and_use(directory.as_ref(), &std::fs::read(input)?),
        ["visit", url] => scenario::visit(url),
        [scenario, url, name] => die(scenario, url, name),
        _ => Err("usage: victim SCENARIO URL NAME".into()),
    }
}

/// Stands before the operation, runs it when stepped, and stands behind it.
fn die(scenario: &str, url: &str, name: &str) -> Result<()> {
    let scenario = Scenario::named(scenario).ok_or("there is no such scenario")?;
    let operation = (scenario.prepare)(url, Box::leak(name.to_owned().into_boxed_str()))?;
    stepper::mark(true)?;
    let kept = operation()?;
    stepper::mark(false)?;
    drop(kept);
    Ok(())
}
