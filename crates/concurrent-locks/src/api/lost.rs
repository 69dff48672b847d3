//! Notification of a lost lock: from the engine to all waiting futures and callbacks.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use crate::words::error::Error;

type Tell = Box<dyn FnOnce(Error) + Send>;

/// Who is to be notified of the loss of one guard's lock. An engine notifies once; later notifications
/// change nothing.
#[derive(Default)]
pub(crate) struct Watch(Mutex<Watched>);

#[derive(Default)]
struct Watched {
    loss: Option<Error>,
    tells: Vec<Tell>,
    /// The waiting futures, each by a number.
    wakers: BTreeMap<u64, Waker>,
    numbers: u64,
}

impl Watch {
    /// The lock is lost: notifies all, in this thread.
    pub(crate) fn tell(&self, loss: &Error) {
        let mut watched = self.watched();
        if watched.loss.is_some() {
            return;
        }
        watched.loss = Some(loss.clone());
        let (tells, wakers) = (std::mem::take(&mut watched.tells), std::mem::take(&mut watched.wakers));
        // The callback may use the guard, which comes back here.
        drop(watched);
        wakers.into_values().for_each(Waker::wake);
        for tell in tells {
            call(tell, loss);
        }
    }

    /// Has `tell` called at the loss; at once if it is lost already.
    pub(crate) fn on_lost(&self, tell: Tell) {
        let mut watched = self.watched();
        let Some(loss) = watched.loss.clone() else {
            watched.tells.push(tell);
            return;
        };
        drop(watched);
        call(tell, &loss);
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Other code needs this thread, so a panic ends here; the panic hook has reported it.
fn call(tell: Tell, loss: &Error) {
    let _ = catch_unwind(AssertUnwindSafe(|| tell(loss.clone())));
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("loss", &self.watched().loss).finish_non_exhaustive()
    }
}

/// A future that is ready with the error ([`ErrorKind::Lost`](crate::ErrorKind::Lost)) when a lock
/// is lost, and never otherwise. Made by [`Guard::lost`](crate::Guard::lost) and
/// [`GuardAll::lost`](crate::GuardAll::lost).
///
/// It borrows nothing, and is pending for ever once the guard was released.
///
/// # Cancel safety
/// Dropping it loses nothing: the next one is ready at once if the lock was lost in between.
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct Lost {
    parts: Vec<Part>,
}

/// One guard's part of it.
#[derive(Debug)]
struct Part {
    watch: Arc<Watch>,
    /// Where its waker is.
    number: Option<u64>,
}

impl Lost {
    /// The loss of any of them.
    pub(crate) fn of(watches: impl IntoIterator<Item = Arc<Watch>>) -> Lost {
        Lost { parts: watches.into_iter().map(|watch| Part { watch, number: None }).collect() }
    }
}

impl Part {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Error> {
        let mut watched = self.watch.watched();
        if let Some(loss) = &watched.loss {
            return Poll::Ready(loss.clone());
        }
        let number = *self.number.get_or_insert_with(|| {
            watched.numbers += 1;
            watched.numbers
        });
        watched.wakers.insert(number, context.waker().clone());
        Poll::Pending
    }
}

impl Future for Lost {
    type Output = Error;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Error> {
        for part in &mut self.parts {
            if let Poll::Ready(loss) = part.poll(context) {
                return Poll::Ready(loss);
            }
        }
        Poll::Pending
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.watch.watched().wakers.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use super::*;
    use crate::words::error::ErrorKind;

    struct Wakes(AtomicUsize);

    impl std::task::Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn loss() -> Error {
        Error::new(ErrorKind::Lost, "the lease has expired")
    }

    #[test]
    fn a_waiting_future_is_woken_and_later_ones_are_ready_at_once() {
        let watch = Arc::new(Watch::default());
        let wakes = Arc::new(Wakes(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        let mut lost = Lost::of([Arc::clone(&watch)]);
        assert!(Pin::new(&mut lost).poll(&mut context).is_pending());
        watch.tell(&loss());
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        for mut lost in [lost, Lost::of([Arc::clone(&watch)])] {
            let Poll::Ready(error) = Pin::new(&mut lost).poll(&mut context) else { panic!("it is lost") };
            assert_eq!(error.kind(), ErrorKind::Lost);
        }
    }

    #[test]
    fn the_loss_of_one_of_several_is_enough() {
        let watches = [(); 3].map(|()| Arc::new(Watch::default()));
        let mut lost = Lost::of(watches.clone());
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut lost).poll(&mut context).is_pending());
        watches[2].tell(&loss());
        assert!(Pin::new(&mut lost).poll(&mut context).is_ready());
    }

    #[test]
    fn a_dropped_future_leaves_nothing_behind() {
        let watch = Arc::new(Watch::default());
        for _ in 0..100 {
            let mut lost = Lost::of([Arc::clone(&watch)]);
            assert!(Pin::new(&mut lost).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert!(watch.watched().wakers.is_empty());
        assert_eq!(Arc::strong_count(&watch), 1);
    }

    #[test]
    fn each_is_notified_once_also_behind_one_that_panics() {
        let watch = Watch::default();
        let (sender, told) = mpsc::channel();
        let tell = || -> Tell {
            let sender = sender.clone();
            Box::new(move |error| sender.send(error.to_string()).unwrap())
        };
        watch.on_lost(Box::new(|_| panic!("a callback that panics, for the test")));
        watch.on_lost(tell());
        watch.tell(&loss());
        watch.tell(&Error::new(ErrorKind::Lost, "a second loss"));
        watch.on_lost(tell());
        assert_eq!(told.try_iter().collect::<Vec<_>>(), ["the lease has expired"; 2]);
    }
}
