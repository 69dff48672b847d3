//! [`Events`]: what happens to locks, one event after the other.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, IntoFuture, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use crate::{
    api::call::{Call, Calling},
    engine::Engine,
    words::{error::Error, event::Event},
};

/// How long one question waits for an event: so long a thread stays after the stream was dropped.
const PATIENCE: Duration = Duration::from_secs(1);

/// What happens to locks from now on. Made by [`LockManager::watch`](crate::LockManager::watch). With the feature
/// `stream` it is a `Stream`.
///
/// # Cancel safety
/// Dropping the future of [`Events::next`] loses no event: the next one has it.
///
/// ```
/// # use concurrent_locks::{EventKind, LockManager};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), concurrent_locks::Error> {
/// # let locks = LockManager::connect("local:doc-watch").await?;
/// let mut events = locks.watch().await?;
/// let guard = locks.write("skills").await?;
/// let event = events.next().await?;
/// assert_eq!((event.kind, event.token), (EventKind::Grant, guard.token()));
/// # Ok(()) }
/// ```
#[must_use = "nothing is seen until it is asked for the next event"]
pub struct Events {
    engine: &'static dyn Engine,
    /// Where the engine goes on.
    cursor: u64,
    /// Read, and not yielded yet.
    seen: VecDeque<Event>,
    asking: Option<Calling<(Vec<Event>, u64)>>,
}

impl Events {
    pub(crate) fn of(engine: &'static dyn Engine) -> Result<Events, Error> {
        let (seen, cursor) = engine.events(None, Duration::ZERO)?;
        Ok(Events { engine, cursor, seen: seen.into(), asking: None })
    }

    /// The next event, whenever it happens. See [`Events`].
    ///
    /// # Errors
    /// `Corrupt` or `Unreachable` if the engine is broken, `Unsupported` if it has no events. It may be asked
    /// again.
    pub async fn next(&mut self) -> Result<Event, Error> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The next event if there is one; else the waker is woken when there is.
    ///
    /// ```
    /// # use std::task::{Context, Waker};
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-poll-next").blocking()?;
    /// let mut events = locks.watch().blocking()?;
    /// assert!(events.poll_next(&mut Context::from_waker(Waker::noop())).is_pending());
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Events::next`].
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        loop {
            if let Some(event) = self.seen.pop_front() {
                return Poll::Ready(Ok(event));
            }
            let (engine, cursor) = (self.engine, self.cursor);
            let ask = || Call::new(move || engine.events(Some(cursor), PATIENCE)).into_future();
            let answer = ready!(Pin::new(self.asking.get_or_insert_with(ask)).poll(context));
            self.asking = None;
            let (events, next) = answer?;
            self.cursor = next;
            self.seen.extend(events);
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("url", &self.engine.url()).field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

/// It never ends; an error may be followed by events.
#[cfg(feature = "stream")]
impl futures_core::Stream for Events {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Events::poll_next(&mut self, context).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventKind, LockManager};

    #[tokio::test(flavor = "current_thread")]
    async fn events_come_in_order_and_none_is_lost_with_a_dropped_future() {
        let locks = LockManager::connect("local:events-in-order").await.unwrap();
        drop(locks.write("before").await.unwrap());
        let mut events = locks.watch().await.unwrap();
        for _ in 0..3 {
            drop(locks.write("a").await.unwrap());
            // Polled once and dropped.
            drop(events.poll_next(&mut Context::from_waker(std::task::Waker::noop())));
        }
        drop(locks.write("last").await.unwrap());
        let mut last: Option<u64> = None;
        loop {
            let event = events.next().await.unwrap();
            assert_ne!(event.resource, "before");
            assert!(last.is_none_or(|last| event.sequence == last + 1), "{event:?} after {last:?}");
            last = Some(event.sequence);
            if event.resource == "last" && event.kind == EventKind::Release {
                break;
            }
        }
    }
}
