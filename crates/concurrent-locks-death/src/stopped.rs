//! Stops reapers at one instruction after the other, and checks each time that the others continue.

use std::path::Path;

use concurrent_locks::{ErrorKind, LockManager};

use crate::{
    Result,
    scenario::{DEADLINE, REAP_MANY, RELEASE_MANY, Scenario, many},
    stepper::{Reached, Victim},
};

/// At how many instructions a reaper was stopped, and how often that was inside a short lock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stops {
    /// All of them.
    pub stops: usize,
    /// Those at which one name was out of reach.
    pub inside: usize,
}

/// Stops reapers at about `points` instructions, evenly spread. `victim` is the program of `src/bin/victim.rs`.
///
/// # Errors
/// Says at which instruction the reaper stood and what the others could not do then.
pub fn stop_reapers(points: u64, victim: &Path) -> Result<Stops> {
    let directory = tempfile::tempdir()?;
    let url = format!("host:{}?resources=64&requests=256&processes=16", directory.path().join("table").display());
    let locks = LockManager::connect(&url).blocking()?;
    let start = |scenario: &Scenario| Victim::start(&mut scenario.command(victim, &url, "many"));
    let mut stops = Stops::default();
    let mut stride = None;
    let mut at = u64::MAX;
    loop {
        start(&RELEASE_MANY)?.kill()?;
        let mut reaper = start(&REAP_MANY)?;
        let reached = reaper.step(at)?;
        match (reached, stride) {
            // The first one shows how many instructions there are.
            (Reached::End(instructions), None) => stride = Some((instructions / points).max(1)),
            (Reached::End(_), Some(_)) => return Ok(stops),
            (Reached::Steps(_), _) => {
                stops.stops += 1;
                stops.inside += usize::from(
                    others_go_on(&locks)
                        .map_err(|error| format!("a reaper stopped after {at} instructions: {error}"))?,
                );
            }
        }
        reaper.kill()?;
        for name in many("many") {
            locks.write(&name).timeout(DEADLINE).blocking()?.release()?;
        }
        at = if at == u64::MAX { 1 } else { at + stride.unwrap_or(1) };
    }
}

/// What the dead held comes free although a reaper stands, but for what is in the one bucket that it may
/// keep: `true` if it does.
fn others_go_on(locks: &LockManager) -> Result<bool> {
    let mut out_of_reach = 0;
    // The first one is what the reaper itself waits for.
    for name in &many("many")[1..] {
        match locks.write(name).timeout(DEADLINE).blocking() {
            Ok(guard) => guard.release()?,
            Err(error) if error.kind() == ErrorKind::Unreachable => out_of_reach += 1,
            Err(error) => return Err(error.into()),
        }
    }
    // Their buckets differ.
    if out_of_reach <= 1 { Ok(out_of_reach == 1) } else { Err(format!("{out_of_reach} names out of reach").into()) }
}
