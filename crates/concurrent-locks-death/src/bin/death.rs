//! `death [--stride N | --points N] [SCENARIO ...]`: every scenario, by default at every instruction.

use std::io::Write;

use concurrent_locks_death::{
    Result,
    run::{Plan, run},
    scenario::{self, Scenario},
};

const USAGE: &str = "usage: death [--stride N | --points N] [SCENARIO ...]";

fn main() -> Result<()> {
    let mut plan = Plan::Stride(1);
    let mut chosen = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok()).filter(|number| *number > 0);
        match argument.as_str() {
            "--stride" => plan = Plan::Stride(number().ok_or(USAGE)?),
            "--points" => plan = Plan::Points(number().ok_or(USAGE)?),
            name => chosen.push(Scenario::named(name).ok_or_else(|| format!("no scenario {name:?}; {USAGE}"))?),
        }
    }
    if chosen.is_empty() {
        chosen.extend(scenario::ALL);
    }
    let victim = std::env::current_exe()?.with_file_name("victim");
    for scenario in chosen {
        writeln!(std::io::stdout(), "{}", run(scenario, plan, &victim)?)?;
    }
    Ok(())
}
