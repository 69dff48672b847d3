//! The command: started, sent every signal, waited for.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus},
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, kill_process, wait},
};
use signal_hook::consts::{SIGCHLD, SIGTSTP};

use super::{
    acquire::stop,
    family::Family,
    happenings::{Happening, Happenings},
    tree::Tree,
    watch::Watch,
};

/// What bounds one wait.
const LONG: Duration = Duration::from_secs(3600);

/// Runs the command to its end, which comes early if a lock is lost.
pub(crate) fn run(
    mut command: Command,
    tree: &Tree,
    happenings: &Happenings,
    watch: &mut Watch<'_>,
) -> io::Result<ExitStatus> {
    let inherited = tree.descriptors()?;
    let child = command.spawn()?;
    drop(inherited);
    let mut family = Family::of(&child);
    loop {
        let wait = watch.look(&mut family);
        match happenings.next(wait.min(LONG)) {
            None | Some(Happening::Woken) => {}
            Some(Happening::Signal { number: SIGCHLD, .. }) => {
                if let Some(status) = reap(Pid::from_child(&child))? {
                    watch.see_off(&mut family, happenings);
                    return Ok(status);
                }
            }
            Some(Happening::Signal { number, typed }) => {
                // What is typed at the terminal reached the command already: it is in the same group.
                if !typed {
                    send(&child, number);
                }
                if number == SIGTSTP {
                    stop();
                }
            }
        }
    }
}

/// Takes note of every child that has ended; how the command did, if it has. The first process of a
/// container has children that it did not start: orphans that the kernel hands to it.
fn reap(command: Pid) -> io::Result<Option<ExitStatus>> {
    let mut ended = None;
    while let Some((child, status)) = match wait(WaitOptions::NOHANG) {
        // The command has ended, and there was nobody else.
        Err(Errno::CHILD) if ended.is_some() => None,
        other => other?,
    } {
        if child == command {
            ended = Some(ExitStatus::from_raw(status.as_raw()));
        }
    }
    Ok(ended)
}

/// Sends the command a signal. Its pid cannot mean another process: it is reaped above, in this thread.
fn send(child: &Child, number: i32) {
    if let Some(signal) = Signal::from_named_raw(number) {
        // It fails only for a command that has ended, or that became another user's (sudo); then
        // there is nobody to inform.
        let _ = kill_process(Pid::from_child(child), signal);
    }
}
