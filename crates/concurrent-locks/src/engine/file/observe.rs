//! Inspecting the locks of a directory from outside: its records, and the kernel's list of locks.
//!
//! - V1. Nothing is made, and no lock file is locked, not even for a moment: it would refuse others.
//! - V2. Whether a lock file is locked, and its waiters, are read from the kernel's list of locks
//!   (`/proc/locks`). It shows the processes of this machine and PID namespace only. So a recorded holder that it
//!   does not show may be elsewhere, or may have died and left its record: then that is reported.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{LAYOUT, file_system, files::Files, is_writable_by_others, permissions, record, token::MAKER};
use crate::{
    engine::{Capabilities, observing::Observer, unsupported},
    os::kernel_lock,
    words::{
        deadlock::DeadlockReport,
        error::Error,
        event::Event,
        mode::Mode,
        name::Name,
        stats::StatisticsMap,
        status::{Health, Holder, NoToken, ProcessState, Status, StatusMap, Usage, Waiter},
    },
};

#[derive(Debug)]
pub(crate) struct FileObserver {
    url: String,
    directory: PathBuf,
    unseen: Mutex<Vec<String>>,
}

impl FileObserver {
    pub(crate) fn new(directory: PathBuf) -> FileObserver {
        FileObserver { url: format!("file:{}", directory.display()), directory, unseen: Mutex::default() }
    }

    /// The recorded holders, with the names of their locks.
    fn recorded(&self, name: Option<Name<'_>>) -> Result<Vec<(String, PathBuf, Option<Holder>)>, Error> {
        if let Some(name) = name {
            let files = Files::of(&self.directory, name);
            return Ok(vec![(name.text().to_owned(), files.lock, record::read(&files.holder))]);
        }
        let failed = |error: std::io::Error| kernel_lock::failed("read the directory", &self.directory, error);
        let entries = match std::fs::read_dir(&self.directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut recorded = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let (holder, lock) = (path.with_extension("holder"), &path);
            if lock.extension().is_none_or(|extension| extension != "lock") || lock.ends_with(MAKER) {
                continue;
            }
            match record::read_with_name(&holder) {
                Some((name, holder)) => recorded.push((name, path, Some(holder))),
                None => recorded.push((String::new(), path, None)),
            }
        }
        Ok(recorded)
    }

    fn look(&self, name: Option<Name<'_>>) -> Result<(StatusMap, Vec<String>), Error> {
        let (kernel, mut unseen) = match kernel_locks() {
            Ok(kernel) => (kernel, Vec::new()),
            Err(why) => (HashMap::new(), vec![format!("waiters cannot be shown: {why}")]),
        };
        let mut map = StatusMap::new();
        for (name, lock, holder) in self.recorded(name)? {
            let seen = place_of(&lock).and_then(|place| kernel.get(&place));
            let (held, waiting) = seen.map_or((&[][..], &[][..]), |seen| (&seen.held, &seen.waiting));
            if holder.is_none() && held.is_empty() && (name.is_empty() || !lock.exists()) {
                continue;
            }
            if name.is_empty() {
                unseen.push(format!(
                    "{} is locked by process {}, and the name of its lock is not recorded",
                    lock.display(),
                    held.first().map_or(0, |held| held.1)
                ));
                continue;
            }
            let mut holders: Vec<Holder> = holder.into_iter().collect();
            for holder in &mut holders {
                if held.is_empty() {
                    unseen.push(format!(
                        "{name:?}: this machine's kernel shows nobody who holds it (in this PID namespace); it is free if \
                         process {} on {} does not run any more",
                        holder.pid, holder.host
                    ));
                } else {
                    holder.process = state_of(held, holder.pid);
                }
            }
            let known = holders.first().map(|holder| holder.pid);
            holders.extend(held.iter().filter(|held| known != Some(held.1)).map(|(mode, pid)| unrecorded(*mode, *pid)));
            let waiters = waiting.iter().map(|(mode, pid)| waiter(*mode, *pid)).collect();
            map.insert(name.clone(), Status::of(name, holders, waiters));
        }
        Ok((map, unseen))
    }

    fn cannot<T>(&self, what: &str) -> Result<T, Error> {
        let instead = "each process knows only its own: query it there, or use host:";
        Err(unsupported(&self.url, what, instead))
    }
}

impl Observer for FileObserver {
    fn url(&self) -> &str {
        &self.url
    }

    fn capabilities(&self) -> Capabilities {
        super::CAPABILITIES
    }

    fn status(&self, name: Option<Name<'_>>) -> Result<StatusMap, Error> {
        let (map, unseen) = self.look(name)?;
        *self.unseen.lock().unwrap_or_else(PoisonError::into_inner) = unseen;
        Ok(map)
    }

    fn statistics(&self, _name: Option<Name<'_>>) -> Result<StatisticsMap, Error> {
        self.cannot("show the statistics of other processes")
    }

    fn deadlocks(&self, _suspect_after: Duration) -> Result<DeadlockReport, Error> {
        self.cannot("see deadlocks of other processes")
    }

    fn events(&self, _cursor: Option<u64>, _wait: Duration) -> Result<(Vec<Event>, u64), Error> {
        self.cannot("show the events of other processes")
    }

    fn health(&self) -> Result<Health, Error> {
        if !self.directory.exists() {
            return Ok(Health {
                url: self.url.clone(),
                path: Some(self.directory.display().to_string()),
                ..Health::default()
            });
        }
        let status = self.status(None)?;
        let pids = |status: &Status| {
            let holders = status.holders.iter().map(|holder| holder.pid);
            holders.chain(status.waiters.iter().map(|waiter| waiter.pid)).collect::<Vec<_>>()
        };
        let pids: Vec<u32> = status.values().flat_map(pids).collect();
        let usage = |used: usize| Usage { used: used as u64, capacity: u64::MAX };
        let processes = pids.iter().collect::<std::collections::HashSet<_>>().len();
        Ok(Health {
            requests: usage(pids.len()),
            processes: usage(processes),
            ..of_directory(&self.url, &self.directory)?
        })
    }

    fn unseen(&self) -> Vec<String> {
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn absence(&self) -> Option<String> {
        let path = self.directory.display();
        (!self.directory.exists()).then(|| format!("there is no folder {path}: nobody has used these locks yet"))
    }
}

/// Facts about the directory itself.
pub(super) fn of_directory(url: &str, directory: &Path) -> Result<Health, Error> {
    let failed = |error: std::io::Error| kernel_lock::failed("read the directory", directory, error);
    let metadata = std::fs::metadata(directory).map_err(failed)?;
    let lock_files = std::fs::read_dir(directory)
        .map_err(failed)?
        .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|it| it == "lock")))
        .count() as u64;
    let permissions = permissions(&metadata);
    let shared = permissions.as_ref().filter(|_| is_writable_by_others(&metadata));
    let problem = |bits| format!("{} can be changed by others (mode {bits}): chmod 700", directory.display());
    Ok(Health {
        url: url.to_owned(),
        path: Some(directory.display().to_string()),
        layout: LAYOUT,
        // The file of `token::MAKER` is no resource's.
        resources: Usage { used: lock_files.saturating_sub(1), capacity: u64::MAX },
        problems: shared.map(problem).into_iter().chain(file_system::doubt(directory)).collect(),
        permissions,
        ..Health::default()
    })
}

/// What the kernel says of a recorded holder whose lock file it shows as locked.
fn state_of(held: &[(Mode, u32)], pid: u32) -> ProcessState {
    // Who locked it may be gone, and what it started keeps the file open, and with it the lock.
    let is_gone = |pid: u32| Path::new("/proc/self").exists() && !Path::new(&format!("/proc/{pid}")).exists();
    if held.iter().any(|held| held.1 == pid) && is_gone(pid) { ProcessState::Orphaned } else { ProcessState::Alive }
}

/// A holder of whom the kernel shows only the process.
fn unrecorded(mode: Mode, pid: u32) -> Holder {
    Holder {
        owner: None,
        label: format!("pid {pid}"),
        pid,
        host: String::new(),
        mode,
        since: None,
        held: Duration::ZERO,
        priority: 0,
        token: 0,
        note: String::new(),
        process: ProcessState::Alive,
        silence: None,
    }
}

fn waiter(mode: Mode, pid: u32) -> Waiter {
    let Holder { owner, label, pid, host, mode, since, priority, note, process, .. } = unrecorded(mode, pid);
    Waiter { owner, label, pid, host, mode, since, waited: Duration::ZERO, priority, no_token: NoToken, note, process }
}

/// The processes that have locked one file, and those that wait for it, as the kernel shows them.
#[derive(Debug, Default)]
struct Locked {
    held: Vec<(Mode, u32)>,
    waiting: Vec<(Mode, u32)>,
}

/// A file as the kernel's list of locks names it: device and inode.
type Place = (u32, u32, u64);

#[cfg(target_os = "linux")]
fn place_of(path: &Path) -> Option<Place> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(path).ok()?;
    Some((libc::major(found.dev()), libc::minor(found.dev()), found.ino()))
}

#[cfg(target_os = "linux")]
fn kernel_locks() -> Result<HashMap<Place, Locked>, String> {
    let list = std::fs::read_to_string("/proc/locks").map_err(|error| format!("/proc/locks: {error}"))?;
    Ok(parse(&list))
}

#[cfg(not(target_os = "linux"))]
fn place_of(_path: &Path) -> Option<Place> {
    None
}

#[cfg(not(target_os = "linux"))]
fn kernel_locks() -> Result<HashMap<Place, Locked>, String> {
    Err("this system does not show which processes lock files".to_owned())
}

/// Lines like `7: FLOCK  ADVISORY  WRITE 4711 08:01:4242 0 EOF`; with `->` before the kind for a waiter.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only there the kernel shows its locks"))]
fn parse(list: &str) -> HashMap<Place, Locked> {
    let mut locks: HashMap<Place, Locked> = HashMap::new();
    for line in list.lines() {
        let mut words = line.split_whitespace().skip(1).peekable();
        let waits = words.next_if_eq(&"->").is_some();
        let [Some(_kind), Some(_advisory), Some(mode), Some(pid), Some(file)] = std::array::from_fn(|_| words.next())
        else {
            continue;
        };
        let place = || {
            let (major, rest) = file.split_once(':')?;
            let (minor, inode) = rest.split_once(':')?;
            let hex = |text| u32::from_str_radix(text, 16).ok();
            Some((hex(major)?, hex(minor)?, inode.parse().ok()?))
        };
        let (Some(place), Ok(pid)) = (place(), pid.parse()) else { continue };
        let mode = if mode == "READ" { Mode::Read } else { Mode::Write };
        let locked = locks.entry(place).or_default();
        if waits { &mut locked.waiting } else { &mut locked.held }.push((mode, pid));
    }
    locks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_list_is_read() {
        let list = "1: FLOCK  ADVISORY  WRITE 708 00:13:22497 0 EOF\n\
                    1: -> FLOCK  ADVISORY  READ  709 00:13:22497 0 EOF\n\
                    2: OFDLCK ADVISORY  READ -1 fd:01:5 1099511627776 1099511627776\n\
                    3: FLOCK  ADVISORY  READ 710 fd:01:6 0 EOF\n nonsense\n";
        let locks = parse(list);
        let of = |place: Place| (&locks[&place].held[..], &locks[&place].waiting[..]);
        assert_eq!(of((0, 0x13, 22497)), (&[(Mode::Write, 708)][..], &[(Mode::Read, 709)][..]));
        assert_eq!(of((0xfd, 1, 6)), (&[(Mode::Read, 710)][..], &[][..]));
        assert_eq!(locks.len(), 2, "a pid that is none is nobody");
    }
}
