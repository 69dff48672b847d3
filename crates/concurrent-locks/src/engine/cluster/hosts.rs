//! Which of several hosts to use: the usable one with the latest history of our space.
//!
//! - H1. A single host is simply connected to. Several hosts are all probed, each over a connection of its
//!   own and all at once, so that one that hangs costs no more than [`ELSE`] once another has answered.
//! - H2. A server that is a replica, refuses writes, refuses the login or is not supported is skipped.
//! - H3. Of the usable ones, the one with the latest [`Past`] is chosen, and among equals the first in the
//!   URL: an old master that restarts after a failover knows less than its successor.
//! - H4. A connected process probes the other hosts when its server has been silent for [`SILENT`] during a
//!   call, and switches only if another is usable.

use std::{
    sync::{Arc, atomic::AtomicBool, mpsc},
    thread,
    time::{Duration, Instant},
};

#[cfg(feature = "postgres")]
use super::postgres;
#[cfg(feature = "redis")]
use super::redis;
use super::{
    address::{Address, Host, Kind},
    client::{Client, PATIENCE},
    state::State,
    wire::{Channel, Dialect, Link, Listener, Past},
};
use crate::words::error::{Error, ErrorKind};

/// How long the others are waited for when one has answered.
const ELSE: Duration = Duration::from_secs(1);

/// How long a server may be silent before another is looked for.
const SILENT: Duration = Duration::from_secs(2);

/// A connection to the host that serves us best.
pub(super) fn connect(
    address: &Address,
    multiplexed: &Arc<AtomicBool>,
    session: &str,
    listener: &Arc<dyn Listener>,
) -> Result<Arc<Link>, Error> {
    let open = |host: &Host| {
        let mut channels = vec![channel(address, host, false, multiplexed)?];
        if let Some(listen) = &address.listen {
            channels.push(channel(address, listen, true, multiplexed)?);
        }
        Link::open(channels, session, Arc::clone(listener), PATIENCE)
    };
    if let [host] = &address.hosts[..] {
        return open(host);
    }
    let (found, mut problems) = survey(address, multiplexed);
    for host in found {
        match open(&host) {
            Ok(link) => return Ok(link),
            Err(error) => problems.push(error),
        }
    }
    // What is not mere absence says more.
    let worst = problems.iter().map(Error::kind).find(|kind| *kind != ErrorKind::Unreachable);
    let all = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Err(Error::new(worst.unwrap_or(ErrorKind::Unreachable), all))
}

/// The hosts that would serve us, the best first (H3), and why the others would not.
fn survey(address: &Address, multiplexed: &Arc<AtomicBool>) -> (Vec<Host>, Vec<Error>) {
    let (sender, looks) = mpsc::channel();
    let mut problems = Vec::new();
    for (place, host) in address.hosts.iter().enumerate() {
        let looked = channel(address, host, false, multiplexed).and_then(|channel| {
            let sender = sender.clone();
            let look = move || {
                // Who waited for it may have enough.
                let _ = sender.send((place, Link::look(&channel, PATIENCE)));
            };
            let spawned = thread::Builder::new().name("locks-look".to_owned()).spawn(look);
            spawned.map(drop).map_err(|error| Error::io("start a thread that looks at a server", error))
        });
        problems.extend(looked.err());
    }
    drop(sender);
    let mut until = Instant::now() + PATIENCE + ELSE;
    let mut found: Vec<(Past, usize)> = Vec::new();
    while let Ok((place, past)) = looks.recv_timeout(until.saturating_duration_since(Instant::now())) {
        match past {
            Ok(past) => {
                found.push((past, place));
                until = until.min(Instant::now() + ELSE);
            }
            Err(error) => problems.push(error),
        }
    }
    (best_first(found).into_iter().map(|place| address.hosts[place].clone()).collect(), problems)
}

/// H3.
fn best_first(mut found: Vec<(Past, usize)>) -> Vec<usize> {
    found.sort_by(|(past, place), (other, later)| other.cmp(past).then(place.cmp(later)));
    found.into_iter().map(|(_, place)| place).collect()
}

impl Client {
    /// H4, on a thread of its own.
    pub(super) fn look_elsewhere(&'static self, state: &mut State) {
        let Some(link) = state.link.clone() else { return };
        if self.address.hosts.len() < 2 || state.looks_elsewhere || link.silent_for() < SILENT {
            return;
        }
        let look = move || {
            // Perhaps nobody reads what has come long ago.
            let attention = link.attend();
            thread::sleep(ELSE / 4);
            if link.silent_for() >= SILENT && !survey(&self.address, &self.multiplexed).0.is_empty() {
                // It may have gone on meanwhile.
                if link.silent_for() >= SILENT {
                    link.close();
                }
            }
            drop(attention);
            self.state().looks_elsewhere = false;
        };
        let spawned = thread::Builder::new().name("locks-elsewhere".to_owned()).spawn(look);
        // Without a thread now there may be one at the next look.
        state.looks_elsewhere = spawned.is_ok();
    }
}

fn channel(address: &Address, host: &Host, listens: bool, multiplexed: &Arc<AtomicBool>) -> Result<Channel, Error> {
    Ok(Channel { endpoint: address.endpoint(host), dialect: dialect(address, listens, multiplexed)? })
}

/// How the server of an address is spoken to. `multiplexed`: whether calls were found to be carried out elsewhere.
fn dialect(
    address: &Address,
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "of PostgreSQL's poolers"))] listens: bool,
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "of PostgreSQL's poolers"))]
    multiplexed: &Arc<AtomicBool>,
) -> Result<Box<dyn Dialect>, Error> {
    match address.kind {
        #[cfg(feature = "redis")]
        Kind::Redis => Ok(Box::new(redis::RedisDialect::new(
            &address.space,
            address.user.clone(),
            address.password.clone(),
            address.database.parse().unwrap_or(0),
        ))),
        #[cfg(feature = "postgres")]
        Kind::Postgres => {
            let role = match (&address.listen, listens) {
                (None, _) => postgres::Role::Both,
                (Some(_), false) => postgres::Role::Calls,
                (Some(_), true) => postgres::Role::Listen,
            };
            let (user, password) = (address.user.as_deref().unwrap_or_default(), address.password.clone());
            let mut dialect = postgres::PostgresDialect::new(&address.space, user, password, &address.database, role);
            dialect.makes_schema = !address.observed;
            Ok(Box::new(dialect.knowing(Arc::clone(multiplexed))))
        }
        #[allow(unreachable_patterns, reason = "with all features there is no other kind")]
        kind => Err(Error::new(ErrorKind::Unsupported, format!("this build has no {kind:?} (a Cargo feature)"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_past_comes_first_and_the_first_host_of_equals() {
        let past = |epoch, last_contact| Past { epoch, last_contact };
        let found = vec![(past(1, 900), 2), (past(2, 5), 1), (past(0, 0), 0), (past(2, 5), 3)];
        assert_eq!(best_first(found), [1, 3, 2, 0]);
        assert_eq!(best_first(vec![(past(0, 0), 1), (past(0, 0), 0)]), [0, 1]);
    }
}
