//! `locks status`: holders and waiters.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use concurrent_locks::{Holder, LockManager, ProcessState, Status, StatusMap, Waiter};
use owo_colors::Style;

use crate::{
    cli::StatusArgs,
    exit::{Code, Exit},
    output::Output,
    table::{Cell, Table, duration, plain},
};

/// Of a longer queue so many are listed.
const LISTED: usize = 5;
/// A queue that is no longer is listed whole.
const SHORT: usize = 8;

pub(crate) fn run(args: &StatusArgs, locks: &LockManager, output: &Output) -> anyhow::Result<Code> {
    let (status, unseen) = look(args, locks)?;
    // A request now would wait: locks that only dead processes hold are free.
    let is_held = |status: &Status| {
        let processes = status.holders.iter().map(|holder| holder.process);
        processes.chain(status.waiters.iter().map(|waiter| waiter.process)).any(|process| process != ProcessState::Dead)
    };
    if output.is_quiet() && !output.json() {
        let held = status.values().any(is_held);
        // Only locks that could be read are shown as free.
        if !held && !unseen.is_empty() {
            unseen.iter().for_each(|unseen| output.warning(unseen));
            return Ok(Exit::Unavailable.into());
        }
        return Ok(if held { Exit::Negative } else { Exit::Success }.into());
    }
    if output.json() {
        output.object(&status)?;
    } else {
        output.text(describe(args, &status, locks.absence()))?;
    }
    unseen.iter().for_each(|unseen| output.warning(unseen));
    Ok(Exit::Success.into())
}

/// The locks that were asked for, and what could not be seen of them.
fn look(args: &StatusArgs, locks: &LockManager) -> anyhow::Result<(StatusMap, Vec<String>)> {
    if let [name] = &args.names[..] {
        let status = locks.status(name).blocking()?.map(|status| (name.clone(), status));
        return Ok((status.into_iter().collect(), locks.unseen()));
    }
    // A bad name is one whether it is among others or not.
    if let Some(name) = args.names.iter().find(|name| name.is_empty() || name.len() > concurrent_locks::MAX_NAME_BYTES)
    {
        locks.status(name).blocking()?;
    }
    let mut all = locks.status_all().blocking()?;
    let wanted: HashSet<&String> = args.names.iter().collect();
    all.retain(|name, _| wanted.is_empty() || wanted.contains(name));
    Ok((all, locks.unseen()))
}

fn describe(args: &StatusArgs, status: &StatusMap, absence: Option<String>) -> String {
    let columns = ["LOCK", "STATE", "OWNER", "MODE", "FOR", "PRIORITY", "TOKEN", "HOST", "NOTE"];
    let mut table = Table::new(columns).shrinks(&["NOTE", "OWNER", "LOCK"]);
    let shown = Shown::of(args, status);
    let mut idle = 0;
    for status in status.values() {
        let is_idle = status.holders.is_empty() && status.waiters.is_empty();
        if is_idle && args.names.is_empty() && !args.all {
            idle += 1;
        } else if is_idle {
            table.row([Cell::text(&status.resource_name), free()]);
        } else {
            shown.busy(&mut table, status);
        }
    }
    if let [name] = &args.names[..]
        && table.is_empty()
    {
        return format!("{}: free, and not used yet", plain(name));
    }
    for name in args.names.iter().filter(|name| !status.contains_key(*name)) {
        table.row([Cell::text(name), free()]);
    }
    match (table.is_empty(), idle) {
        (true, 0) => absence.map_or_else(|| "no locks".to_owned(), |absence| format!("no locks: {}", plain(&absence))),
        (true, idle) => format!("nobody holds or waits for a lock; {idle} free (--all lists them)"),
        (false, 0) => table.to_string(),
        (false, idle) => format!("{table}\n{idle} more free (--all lists them)"),
    }
}

fn free() -> Cell {
    Cell::text("free").style(Style::new().dimmed())
}

/// What is shown besides the usual: nobody reads a column that says the same in every row.
struct Shown {
    priorities: bool,
    tokens: bool,
    hosts: bool,
    everybody: bool,
}

impl Shown {
    fn of(args: &StatusArgs, status: &StatusMap) -> Shown {
        let holders = || status.values().flat_map(|status| &status.holders);
        let waiters = || status.values().flat_map(|status| &status.waiters);
        let hosts = holders().map(|holder| &holder.host).chain(waiters().map(|waiter| &waiter.host));
        let hosts: HashSet<&String> = hosts.filter(|host| !host.is_empty()).collect();
        let urgent = holders().any(|holder| holder.priority != 0) || waiters().any(|waiter| waiter.priority != 0);
        Shown {
            priorities: args.long || urgent,
            tokens: args.long,
            hosts: args.long || hosts.len() > 1,
            everybody: args.all_waiters,
        }
    }

    fn busy(&self, table: &mut Table, status: &Status) {
        let mut name = Some(status.resource_name.as_str());
        let listed = self.listed(status.holders.len());
        for holder in &status.holders[..listed] {
            table.row(self.holder(name.take().unwrap_or_default(), holder));
        }
        remark(table, "hold it", status.holders[listed..].iter().map(|holder| holder.held));
        let listed = self.listed(status.waiters.len());
        for (index, waiter) in status.waiters[..listed].iter().enumerate() {
            table.row(self.waiter(name.take().unwrap_or_default(), index + 1, waiter));
        }
        remark(table, "wait", status.waiters[listed..].iter().map(|waiter| waiter.waited));
    }

    /// How many of so many are listed.
    fn listed(&self, count: usize) -> usize {
        if self.everybody || count <= SHORT { count } else { LISTED }
    }

    fn holder(&self, name: &str, holder: &Holder) -> [Cell; 9] {
        let state = state("held", Style::new().green(), holder.process);
        let Holder { label, pid, host, mode, since, held, priority, note, .. } = holder;
        let token = Cell::number(holder.token);
        self.row(name, state, owner(label, *pid), mode.as_str(), time(*since, *held), *priority, token, host, note)
    }

    fn waiter(&self, name: &str, place: usize, waiter: &Waiter) -> [Cell; 9] {
        let state = state(&format!("wait {place}"), Style::new().yellow(), waiter.process);
        let Waiter { label, pid, host, mode, since, waited, priority, note, .. } = waiter;
        let token = Cell::number("-");
        self.row(name, state, owner(label, *pid), mode.as_str(), time(*since, *waited), *priority, token, host, note)
    }

    #[expect(clippy::too_many_arguments, reason = "one per column")]
    fn row(
        &self,
        name: &str,
        state: Cell,
        owner: String,
        mode: &str,
        time: Cell,
        priority: i8,
        token: Cell,
        host: &str,
        note: &str,
    ) -> [Cell; 9] {
        let only = |shown: bool, cell: Cell| if shown { cell } else { Cell::default() };
        let priority = only(self.priorities, Cell::number(priority));
        let (token, host) = (only(self.tokens, token), only(self.hosts, Cell::text(host)));
        let (owner, mode, note) = (Cell::text(owner), Cell::text(mode), Cell::text(note));
        [Cell::text(name), state, owner, mode, time, priority, token, host, note]
    }
}

/// The owner's label with the process, once.
pub(crate) fn owner(label: &str, pid: u32) -> String {
    let digits = pid.to_string();
    let tells_it = label.split(|letter: char| !letter.is_ascii_digit()).any(|number| number == digits);
    if tells_it { label.to_owned() } else { format!("{label}[{pid}]") }
}

fn state(word: &str, style: Style, process: ProcessState) -> Cell {
    match process {
        ProcessState::Dead => Cell::text(format!("{word}, dead")).style(Style::new().red()),
        ProcessState::Orphaned => Cell::text(format!("{word}, orphaned")).style(Style::new().red()),
        _ => Cell::text(word).style(style),
    }
}

/// For how long; since when is not known of everybody.
fn time(since: Option<SystemTime>, time: Duration) -> Cell {
    since.map_or_else(|| Cell::number("-"), |_| Cell::time(time))
}

/// How many more there are, and for how long the first of them.
fn remark(table: &mut Table, what: &str, times: impl ExactSizeIterator<Item = Duration>) {
    let count = times.len();
    if let Some(longest) = times.max() {
        table.remark(format!("+ {count} more {what}, the longest {} (--all-waiters lists them)", duration(longest)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_named_once() {
        assert_eq!(owner("git[4242]", 4242), "git[4242]");
        assert_eq!(owner("pid 4242", 4242), "pid 4242");
        assert_eq!(owner("agent-7", 4242), "agent-7[4242]");
        assert_eq!(owner("agent-42", 4), "agent-42[4]");
    }
}
