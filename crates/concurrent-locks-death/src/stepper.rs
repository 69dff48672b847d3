//! A child process that is run one instruction at a time.

use std::{
    io,
    process::{Child, Command},
};

use nix::{
    errno::Errno,
    sys::{
        ptrace,
        signal::{Signal, kill, raise},
        wait::{WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// In the child: here the operation begins, or ends. The first mark makes the parent its tracer.
///
/// # Errors
/// Those of `ptrace(2)` and `raise(3)`.
pub fn mark(first: bool) -> io::Result<()> {
    if first {
        ptrace::traceme()?;
    }
    Ok(raise(Signal::SIGSTOP)?)
}

/// Where a victim came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// So many instructions of the operation were run.
    Steps(u64),
    /// The operation ended after so many instructions.
    End(u64),
}

/// A child that stands at its first mark. It dies with this value.
///
/// Only the thread that made it can step it: that is the kernel's idea of a tracer.
#[derive(Debug)]
pub struct Victim {
    pid: Pid,
    dead: bool,
}

impl Victim {
    /// Starts the child and waits for its first mark.
    ///
    /// # Errors
    /// If it cannot be started, or ends before its mark.
    pub fn start(command: &mut Command) -> io::Result<Victim> {
        let child: Child = command.spawn()?;
        let mut victim = Victim { pid: Pid::from_raw(child.id().cast_signed()), dead: false };
        match victim.wait()? {
            WaitStatus::Stopped(_, Signal::SIGSTOP) => Ok(victim),
            other => Err(victim.unexpected("before its first mark", other)),
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().cast_unsigned()
    }

    /// Runs at most `steps` instructions of the operation.
    ///
    /// # Errors
    /// If the child ends by itself or gets a signal of its own.
    pub fn step(&mut self, steps: u64) -> io::Result<Reached> {
        for step in 0..steps {
            ptrace::step(self.pid, None)?;
            match self.wait()? {
                WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
                WaitStatus::Stopped(_, Signal::SIGSTOP) => return Ok(Reached::End(step)),
                other => return Err(self.unexpected(&format!("after {step} steps"), other)),
            }
        }
        Ok(Reached::Steps(steps))
    }

    /// SIGKILL, and waits until the kernel says that the process is gone.
    ///
    /// # Errors
    /// Those of `kill(2)` and `waitpid(2)`.
    pub fn kill(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        while !self.dead {
            kill(self.pid, Signal::SIGKILL)?;
            self.wait()?;
        }
        Ok(())
    }

    fn wait(&mut self) -> io::Result<WaitStatus> {
        loop {
            match waitpid(self.pid, None) {
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
                Ok(status) => {
                    self.dead = matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..));
                    return Ok(status);
                }
            }
        }
    }

    fn unexpected(&self, when: &str, status: WaitStatus) -> io::Error {
        io::Error::other(format!("the victim (pid {}) came to {status:?} {when}", self.pid))
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Nothing can be done about a child that cannot be killed.
        let _ = self.end();
    }
}
