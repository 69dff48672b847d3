//! The events of `locks run` while it waits for its locks or for its command, as one stream.
//!
//! Signal handlers and wakers write to one end of a socket, and the caller that waits for the next happening sleeps at
//! the other. So there is no thread for it, which a command that takes no time would have to wait for.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fs::File,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::{
    consts::{SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2},
    iterator::{backend::SignalDelivery, exfiltrator::WithOrigin},
    low_level::siginfo::{Cause, Origin},
};

/// The signals that are caught. `SIGCHLD` means that the command changed its state.
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

impl Happening {
    fn of(origin: &Origin) -> Happening {
        let typed = origin.cause == Cause::Kernel && matches!(origin.signal, SIGINT | SIGQUIT | SIGTSTP);
        Happening::Signal { number: origin.signal, typed }
    }
}

/// The stream of happenings.
pub(crate) struct Happenings {
    signals: RefCell<SignalDelivery<UnixStream, WithOrigin>>,
    bell: Arc<Bell>,
    next: RefCell<VecDeque<Happening>>,
}

impl Happenings {
    /// Begins to listen. From here on signals do not end this process.
    pub(crate) fn listen() -> io::Result<Happenings> {
        let ignored = ignored_signals();
        let heard = HEARD.iter().filter(|number| **number == SIGCHLD || ignored & 1 << (**number - 1) == 0);
        let (read, write) = UnixStream::pair()?;
        write.set_nonblocking(true)?;
        let bell = Arc::new(Bell { rung: AtomicBool::new(false), stream: write.try_clone()? });
        let signals = SignalDelivery::with_pipe(read, write, WithOrigin::default(), heard)?;
        Ok(Happenings { signals: RefCell::new(signals), bell, next: RefCell::default() })
    }

    /// A waker that makes [`Happening::Woken`].
    pub(crate) fn waker(&self) -> Waker {
        Arc::clone(&self.bell).into()
    }

    /// The next happening, or `None` when there is none for so long.
    pub(crate) fn next(&self, wait: Duration) -> Option<Happening> {
        let began = Instant::now();
        loop {
            let mut next = self.next.borrow_mut();
            if let Some(happening) = next.pop_front() {
                return Some(happening);
            }
            let mut signals = self.signals.borrow_mut();
            // This empties the socket. Who rings later is seen here, or ends the next sleep.
            next.extend(signals.pending().map(|origin| Happening::of(&origin)));
            if self.bell.rung.swap(false, Ordering::AcqRel) {
                next.push_back(Happening::Woken);
            }
            if next.is_empty() {
                let left = wait.saturating_sub(began.elapsed());
                if left.is_zero() {
                    return None;
                }
                let mut sleeper = [PollFd::new(signals.get_read(), PollFlags::IN)];
                // It ends early by a signal, which the next check reports.
                let _ = poll(&mut sleeper, Timespec::try_from(left).ok().as_ref());
            }
        }
    }
}

#[derive(Debug)]
struct Bell {
    rung: AtomicBool,
    stream: UnixStream,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        // If the socket is full, the sleeper is awake.
        let _ = (&self.stream).write(&[0]);
    }
}

/// The signals that whoever started us wants ignored (`nohup`), one bit each. They stay ignored,
/// also for the command.
fn ignored_signals() -> u64 {
    let mut text = [0; 1024];
    let length = File::open("/proc/self/stat").and_then(|mut file| file.read(&mut text)).unwrap_or(0);
    let text = String::from_utf8_lossy(&text[..length]);
    // `PID (NAME) STATE ...`, where the name may contain anything; field 33 has the first 31 signals.
    let mask = text.rsplit_once(')').and_then(|(_, fields)| fields.split_whitespace().nth(30));
    mask.and_then(|mask| mask.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waker_ends_the_sleep_whenever_it_comes() {
        let happenings = Happenings::listen().unwrap();
        assert!(happenings.next(Duration::ZERO).is_none());
        let waker = happenings.waker();
        waker.wake_by_ref();
        assert!(matches!(happenings.next(Duration::from_secs(60)), Some(Happening::Woken)));
        std::thread::scope(|scope| {
            scope.spawn(|| waker.wake_by_ref());
            assert!(matches!(happenings.next(Duration::from_secs(60)), Some(Happening::Woken)));
        });
        assert!(happenings.next(Duration::from_millis(1)).is_none());
    }
}
