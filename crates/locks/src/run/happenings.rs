//! What can happen to `locks run` while it waits for its locks or for its command, as one stream.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    task::{Wake, Waker},
    thread,
    time::Duration,
};

use signal_hook::{
    consts::{SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2},
    iterator::{SignalsInfo, exfiltrator::WithOrigin},
    low_level::siginfo::Cause,
};

/// The signals that are heard. `SIGCHLD` says that the command changed its state.
const HEARD: [i32; 9] = [SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM, SIGTSTP, SIGCONT, SIGCHLD];

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Happening {
    /// A signal came; `typed` if it was typed at the terminal (the kernel sent it, to the whole
    /// foreground process group).
    Signal { number: i32, typed: bool },
    /// The lock request, or what became of its locks, wants to be looked at.
    Woken,
}

/// The stream of happenings.
pub(crate) struct Happenings {
    sender: Sender<Happening>,
    receiver: Receiver<Happening>,
}

impl Happenings {
    /// Begins to listen. From here on signals do not end this process.
    pub(crate) fn listen() -> io::Result<Happenings> {
        let ignored = ignored_signals();
        let heard = HEARD.iter().filter(|number| **number == SIGCHLD || ignored & 1 << (**number - 1) == 0);
        let mut signals = SignalsInfo::<WithOrigin>::new(heard)?;
        let (sender, receiver) = mpsc::channel();
        let signalled = sender.clone();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for origin in signals.forever() {
                let typed = origin.cause == Cause::Kernel && matches!(origin.signal, SIGINT | SIGQUIT | SIGTSTP);
                if signalled.send(Happening::Signal { number: origin.signal, typed }).is_err() {
                    break;
                }
            }
        })?;
        Ok(Happenings { sender, receiver })
    }

    /// A waker that makes [`Happening::Woken`].
    pub(crate) fn waker(&self) -> Waker {
        Arc::new(Bell(self.sender.clone())).into()
    }

    /// The next happening, or `None` when there is none for so long.
    pub(crate) fn next(&self, wait: Duration) -> Option<Happening> {
        self.receiver.recv_timeout(wait).ok()
    }
}

struct Bell(Sender<Happening>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The stream may be gone before the last waker is.
        let _ = self.0.send(Happening::Woken);
    }
}

/// The signals that whoever started us wants ignored (`nohup`), one bit each. They stay ignored,
/// also for the command.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
