//! The command: started, told every signal, waited for.

use std::{
    io,
    process::{Child, Command, ExitStatus},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGCHLD, SIGTSTP};

use super::{
    acquire::stop,
    family::Family,
    happenings::{Happening, Happenings},
    watch::Watch,
};

/// What bounds one wait.
const LONG: Duration = Duration::from_secs(3600);

/// Runs the command to its end, which comes early if a lock is lost.
pub(crate) fn run(mut command: Command, happenings: &Happenings, watch: &mut Watch<'_>) -> io::Result<ExitStatus> {
    let mut child = command.spawn()?;
    let mut family = Family::of(&child);
    loop {
        let wait = watch.look(&mut family);
        match happenings.next(wait.min(LONG)) {
            None | Some(Happening::Woken) => {}
            Some(Happening::Signal { number: SIGCHLD, .. }) => {
                if let Some(status) = child.try_wait()? {
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

/// Sends the command a signal. Its pid cannot mean another process: it is reaped above, in this thread.
fn send(child: &Child, number: i32) {
    if let Some(signal) = Signal::from_named_raw(number) {
        // It fails only for a command that has ended, or that became another user's (sudo); then
        // there is nobody to tell.
        let _ = kill_process(Pid::from_child(child), signal);
    }
}
