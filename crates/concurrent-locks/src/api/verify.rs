//! [`Verify`]: a check whether a lock is still held.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use crate::{api::guard::Guard, words::lease::Standing};

/// A check whether locks are still held. Made by [`Guard::verify`] and
/// [`GuardAll::verify`](crate::GuardAll::verify); no call is made until it is awaited or `.blocking()`.
///
/// # Waiting
/// For engines with a lease (`redis:`, `postgres:`) it takes one round trip to the server, which also
/// renews the lease. Without an answer it is [`Standing::Unknown`], and [`Standing::Lost`] once the lease
/// expires. Other engines check at once and wait for nothing.
///
/// # Cancel safety
/// Dropping the future changes nothing about the lock; the lease may have been renewed.
///
/// ```
/// # use concurrent_locks::{LockManager, Standing};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), concurrent_locks::Error> {
/// # let locks = LockManager::connect("local:doc-verify-struct").await?;
/// let guard = locks.write("skills").await?;
/// assert_eq!(guard.verify().await, Standing::Held);
/// # Ok(()) }
/// ```
#[must_use = "nothing is asked until it is awaited or `.blocking()`"]
#[derive(Debug)]
pub struct Verify<'g> {
    guards: &'g [Guard],
}

impl<'g> Verify<'g> {
    pub(crate) fn new(guards: &'g [Guard]) -> Verify<'g> {
        Verify { guards }
    }

    /// Waits for the answer by parking this thread. Of several locks, the worst standing.
    ///
    /// ```
    /// # use concurrent_locks::{LockManager, Standing};
    /// # let locks = LockManager::connect("local:doc-verify-blocking").blocking()?;
    /// let guard = locks.write("skills").blocking()?;
    /// locks.break_lock("skills", guard.token()).blocking()?;
    /// assert_eq!(guard.verify().blocking(), Standing::Lost);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[must_use = "the lock may be lost"]
    pub fn blocking(self) -> Standing {
        worst(self.guards.iter().map(Guard::standing))
    }
}

impl Verify<'_> {
    /// Asks, and has `tell` called with the answer: in this thread before this returns, where nobody has
    /// to be asked, else in a thread of the library, where it must not block. Waits for nothing.
    ///
    /// ```
    /// # use concurrent_locks::{LockManager, Standing};
    /// # let locks = LockManager::connect("local:doc-verify-tell").blocking()?;
    /// # use std::sync::mpsc;
    /// let guard = locks.write("skills").blocking()?;
    /// let (sender, receiver) = mpsc::channel();
    /// guard.verify().tell(move |standing| sender.send(standing).unwrap());
    /// assert_eq!(receiver.recv(), Ok(Standing::Held));
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    pub fn tell(self, tell: impl FnOnce(Standing) + Send + 'static) {
        Answers::ask(self.guards).tell(Box::new(tell));
    }
}

/// An empty set cannot be lost.
fn worst(standings: impl IntoIterator<Item = Standing>) -> Standing {
    standings.into_iter().max().unwrap_or(Standing::Held)
}

impl<'g> IntoFuture for Verify<'g> {
    type Output = Standing;
    type IntoFuture = Verifying<'g>;

    fn into_future(self) -> Verifying<'g> {
        Verifying { verify: self, answers: None }
    }
}

/// The future of a [`Verify`].
///
/// ```
/// # use concurrent_locks::{LockManager, Standing};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), concurrent_locks::Error> {
/// # let locks = LockManager::connect("local:doc-verifying").await?;
/// # use std::future::IntoFuture;
/// let guard = locks.write("skills").await?;
/// let verifying = guard.verify().into_future();
/// assert_eq!(verifying.await, Standing::Held);
/// # Ok(()) }
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct Verifying<'g> {
    verify: Verify<'g>,
    /// Once they are sent.
    answers: Option<Arc<Answers>>,
}

impl Future for Verifying<'_> {
    type Output = Standing;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Standing> {
        let guards = self.verify.guards;
        self.answers.get_or_insert_with(|| Answers::ask(guards)).poll(context)
    }
}

impl fmt::Debug for Verifying<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifying").field("verify", &self.verify).finish_non_exhaustive()
    }
}

type Tell = Box<dyn FnOnce(Standing) + Send>;

/// The answers of several guards.
#[derive(Default)]
struct Answers(Mutex<Answered>);

#[derive(Default)]
struct Answered {
    missing: usize,
    worst: Option<Standing>,
    waker: Option<Waker>,
    tell: Option<Tell>,
}

impl Answers {
    /// Sends all checks before waiting for the first answer.
    fn ask(guards: &[Guard]) -> Arc<Answers> {
        let answers = Arc::new(Answers::default());
        answers.answered().missing = guards.len();
        for guard in guards {
            let promise = Promise { answers: Arc::clone(&answers), standing: Standing::Unknown };
            guard.standing_later(Box::new(|standing| promise.keep(standing)));
        }
        answers
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Standing> {
        let mut answered = self.answered();
        if answered.missing == 0 {
            return Poll::Ready(worst(answered.worst));
        }
        answered.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn tell(&self, tell: Tell) {
        let mut answered = self.answered();
        if answered.missing > 0 {
            answered.tell = Some(tell);
            return;
        }
        let standing = worst(answered.worst);
        drop(answered);
        tell(standing);
    }

    fn answered(&self) -> MutexGuard<'_, Answered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pending answer. If it is dropped instead, the answer is `Unknown`.
struct Promise {
    answers: Arc<Answers>,
    standing: Standing,
}

impl Promise {
    fn keep(mut self, standing: Standing) {
        self.standing = standing;
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let mut answered = self.answers.answered();
        answered.missing -= 1;
        answered.worst = answered.worst.max(Some(self.standing));
        if answered.missing > 0 {
            return;
        }
        let (waker, tell, standing) = (answered.waker.take(), answered.tell.take(), worst(answered.worst));
        drop(answered);
        if let Some(waker) = waker {
            waker.wake();
        }
        if let Some(tell) = tell {
            tell(standing);
        }
    }
}
