//! The holder file: the owner and process that hold the lock file, for the errors of other processes.
//!
//! Written by the first holder of a process, so of several processes that read together it names
//! one. It is only a message: nothing is decided by it, and what cannot be read is nobody.

use std::{io::Write, path::Path, time::SystemTime};

use crate::{
    os::kernel_lock::{failed, keep_from_cleaners, open},
    words::{
        error::Error,
        mode::Mode,
        status::{Holder, ProcessState},
        time::rfc3339,
    },
};

/// Records the holder of the lock `name`, replacing the previous one.
pub(super) fn write(path: &Path, name: &str, holder: &Holder) -> Result<(), Error> {
    let Holder { owner, label, pid, host, mode, since, token, note, .. } = holder;
    let lines = [
        ("name", escaped(name)),
        ("owner", owner.map(|owner| owner.to_string()).unwrap_or_default()),
        ("label", one_line(label)),
        ("pid", pid.to_string()),
        ("host", one_line(host)),
        ("mode", mode.to_string()),
        ("since", since.map(|since| rfc3339(since).to_string()).unwrap_or_default()),
        ("token", token.to_string()),
        ("note", one_line(note)),
    ];
    let text: String = lines.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
    let write = || {
        let mut file = open(path)?;
        file.set_len(0)?;
        file.write_all(text.as_bytes())?;
        keep_from_cleaners(&file);
        Ok(())
    };
    write().map_err(|error| failed("write", path, error))
}

/// Records that nobody holds the lock file, if the record is the one with this pid and token.
pub(super) fn clear(path: &Path, pid: u32, token: u64) -> Result<(), Error> {
    if read(path).is_some_and(|holder| holder.pid == pid && holder.token == token) {
        open(path).and_then(|file| file.set_len(0)).map_err(|error| failed("write", path, error))?;
    }
    Ok(())
}

/// The recorded holder, if the record is whole.
pub(super) fn read(path: &Path) -> Option<Holder> {
    holder_in(&std::fs::read_to_string(path).ok()?)
}

/// The same with the name of the lock, which the name of the file does not show.
pub(super) fn read_with_name(path: &Path) -> Option<(String, Holder)> {
    let text = std::fs::read_to_string(path).ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("name "))?;
    Some((unescaped(name), holder_in(&text)?))
}

fn holder_in(text: &str) -> Option<Holder> {
    let value = |key| text.lines().find_map(|line| line.split_once(' ').filter(|(own, _)| *own == key)).map(|(_, v)| v);
    let since = humantime::parse_rfc3339(value("since")?).ok()?;
    Some(Holder {
        owner: value("owner")?.parse().ok(),
        label: value("label")?.to_owned(),
        pid: value("pid")?.parse().ok()?,
        host: value("host")?.to_owned(),
        mode: Mode::ALL.into_iter().find(|mode| Some(mode.as_str()) == value("mode"))?,
        since: Some(since),
        held: SystemTime::now().duration_since(since).unwrap_or_default(),
        priority: 0,
        token: value("token")?.parse().ok()?,
        note: value("note")?.to_owned(),
        process: ProcessState::Unknown,
        silence: None,
    })
}

/// A name on one line, so that it can be read back.
fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

fn unescaped(line: &str) -> String {
    let mut name = String::with_capacity(line.len());
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (letter == '\\').then(|| letters.next()).flatten() {
            None => name.push(letter),
            Some('n') => name.push('\n'),
            Some('r') => name.push('\r'),
            Some(other) => name.push(other),
        }
    }
    name
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::words::owner_id::OwnerId;

    #[test]
    fn what_is_written_is_read_and_what_is_torn_is_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.holder");
        let holder = Holder {
            owner: Some(OwnerId(0xab)),
            label: "agent 7\nnot a line".into(),
            pid: 7,
            host: "box".into(),
            mode: Mode::Write,
            since: humantime::parse_rfc3339("2026-01-02T03:04:05.678Z").ok(),
            held: Duration::ZERO,
            priority: 0,
            token: 12,
            note: String::new(),
            process: ProcessState::Unknown,
            silence: None,
        };
        assert_eq!(read(&path), None);
        write(&path, "a\\n\nb", &holder).unwrap();
        let found = read(&path).unwrap();
        assert_eq!((found.label.as_str(), found.token), ("agent 7 not a line", 12));
        assert_eq!((found.owner, found.since), (holder.owner, holder.since));
        assert!(found.held > Duration::ZERO);
        assert_eq!(read_with_name(&path).unwrap().0, "a\\n\nb");
        clear(&path, 7, 11).unwrap();
        assert!(read(&path).is_some());
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert_eq!(read(&path), None);
        write(&path, "a\\n\nb", &holder).unwrap();
        clear(&path, 7, 12).unwrap();
        assert_eq!(read(&path), None);
    }
}
