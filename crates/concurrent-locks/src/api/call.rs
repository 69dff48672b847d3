//! [`Call`]: what is asked of an engine besides locks, to be awaited or blocked on.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
};

use crate::{
    api::waiting,
    words::error::{Error, ErrorKind},
};

/// What is asked of an engine besides locks: a connection, a look, an order. Made by the methods of
/// [`LockManager`](crate::LockManager); nothing happens until it is awaited or `.blocking()`. It borrows
/// nothing.
///
/// # What waits
/// `.await` suspends the task and needs no particular runtime: the call is made on a thread of its own, so that
/// a slow server or disk delays nobody else. `.blocking()` makes it on this thread.
///
/// # Cancel safety
/// Dropping the future gives up the answer. A call that has begun is made all the same: an order may have been
/// carried out.
///
/// ```
/// # use concurrent_locks::LockManager;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), concurrent_locks::Error> {
/// let locks = LockManager::connect("local:doc-call").await?;
/// let guard = locks.write("skills").await?;
/// assert!(locks.status("skills").await?.unwrap().writer_active);
/// assert_eq!(locks.status_all().blocking()?.len(), 1);
/// # drop(guard);
/// # Ok(()) }
/// ```
#[must_use = "nothing is asked until it is awaited or `.blocking()`"]
pub struct Call<T> {
    make: Make<T>,
}

type Make<T> = Box<dyn FnOnce() -> Result<T, Error> + Send + Sync>;

impl<T> Call<T> {
    pub(crate) fn new(make: impl FnOnce() -> Result<T, Error> + Send + Sync + 'static) -> Call<T> {
        Call { make: Box::new(make) }
    }

    /// Makes the call and waits for its answer on this thread.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// let locks = LockManager::connect("local:doc-call").blocking()?;
    /// assert!(locks.health().blocking()?.problems.is_empty());
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of the method that made it.
    pub fn blocking(self) -> Result<T, Error> {
        (self.make)()
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}

impl<T: Send + 'static> IntoFuture for Call<T> {
    type Output = Result<T, Error>;
    type IntoFuture = Calling<T>;

    fn into_future(self) -> Calling<T> {
        Calling { state: State::New(self) }
    }
}

/// The future of a [`Call`].
#[must_use = "futures do nothing unless awaited"]
pub struct Calling<T> {
    state: State<T>,
}

enum State<T> {
    New(Call<T>),
    Made(Arc<Answer<T>>),
    Over,
}

impl<T: Send + 'static> Future for Calling<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match std::mem::replace(&mut self.state, State::Over) {
            State::New(call) => make_elsewhere(call)?,
            State::Made(answer) => answer,
            State::Over => return Poll::Ready(Err(waiting::spent())),
        };
        let result = answer.poll(context);
        if result.is_pending() {
            self.state = State::Made(answer);
        }
        result
    }
}

impl<T> fmt::Debug for Calling<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calling").finish_non_exhaustive()
    }
}

/// Makes the call on a thread of its own. Not on one that is shared: a server that does not answer would hold
/// up the calls to all others, and a forked child does not have the thread.
fn make_elsewhere<T: Send + 'static>(call: Call<T>) -> Result<Arc<Answer<T>>, Error> {
    let answer = Arc::new(Answer::default());
    let promise = Promise(Arc::clone(&answer));
    let thread = thread::Builder::new().name("locks-call".to_owned());
    thread
        .spawn(move || promise.keep(call.blocking()))
        .map_err(|error| Error::io("cannot start a thread for a call that is awaited", error))?;
    Ok(answer)
}

/// What the thread has to say, once it has.
struct Answer<T>(Mutex<Answered<T>>);

struct Answered<T> {
    result: Option<Result<T, Error>>,
    waker: Option<Waker>,
}

impl<T> Default for Answer<T> {
    fn default() -> Answer<T> {
        Answer(Mutex::new(Answered { result: None, waker: None }))
    }
}

impl<T> Answer<T> {
    fn poll(&self, context: &mut Context<'_>) -> Poll<Result<T, Error>> {
        let mut answered = self.answered();
        match answered.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                answered.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn give(&self, result: Result<T, Error>) {
        let mut answered = self.answered();
        answered.result.get_or_insert(result);
        let waker = answered.waker.take();
        drop(answered);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn answered(&self) -> MutexGuard<'_, Answered<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that is to come. A call that panics leaves nobody waiting.
struct Promise<T>(Arc<Answer<T>>);

impl<T> Promise<T> {
    fn keep(self, result: Result<T, Error>) {
        self.0.give(result);
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.give(Err(Error::new(ErrorKind::Corrupt, "the call of an engine panicked")));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::mpsc};

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn the_executor_goes_on_while_the_call_waits() {
        let (sender, receiver) = mpsc::channel();
        let receiver = Mutex::new(receiver);
        let call = Call::new(move || Ok(receiver.into_inner().unwrap().recv().unwrap()));
        // One thread: were it blocked by the call, nobody would send.
        let answer = tokio::spawn(call.into_future());
        tokio::task::yield_now().await;
        sender.send(7).unwrap();
        assert_eq!(answer.await.unwrap().unwrap(), 7);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn nothing_is_asked_of_a_call_that_is_not_awaited() {
        let (sender, receiver) = mpsc::channel();
        let call = Call::new(move || Ok(sender.send(7).is_ok()));
        drop(call.into_future());
        receiver.recv().expect_err("the sender is gone, and has sent nothing");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_call_that_panics_is_an_error() {
        let call = Call::<()>::new(|| panic!("an engine that panics, for the test"));
        assert_eq!(call.await.unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_future_that_is_polled_again_says_so() {
        let mut calling = Call::new(|| Ok(())).into_future();
        poll_fn(|context| Pin::new(&mut calling).poll(context)).await.unwrap();
        assert_eq!(calling.await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
