//! Waiting for another process, and giving up.

use super::*;

#[test]
fn a_parked_thread_is_woken_when_the_other_process_releases() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    for mode in Mode::ALL {
        let held = take(&one, "a", Mode::Write);
        let waiter = thread::spawn({
            let two = two.clone();
            move || take(&two, "a", mode)
        });
        until("the thread waits", || waiters(&two, "a") == 1);
        held.release().unwrap();
        let guard = waiter.join().unwrap();
        assert_eq!(guard.mode(), mode);
        assert!(guard.waited() > Duration::ZERO);
    }
}

#[tokio::test]
async fn a_future_is_woken_when_the_other_process_releases() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    let held = one.write("a").await.unwrap();
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            let two = two.clone();
            tokio::spawn(async move { two.read("a").timeout(None).await.map(|guard| guard.token()) })
        })
        .collect();
    while waiters(&two, "a") < 3 {
        tokio::task::yield_now().await;
    }
    held.release().unwrap();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}

#[test]
fn a_request_that_gave_up_leaves_a_free_lock() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    for mode in Mode::ALL {
        let held = take(&one, "a", Mode::Write);
        let error = two.request("a", mode).timeout(Duration::from_millis(10)).blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let error = two.request("a", mode).timeout(Duration::ZERO).blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(waiters(&two, "a"), 0);
        held.release().unwrap();
        take(&one, "a", Mode::Write).release().unwrap();
    }
}

#[tokio::test]
async fn a_future_gives_up_in_time_and_one_that_is_dropped_leaves_the_queue() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    let held = one.write("a").await.unwrap();
    let error = two.read("a").timeout(Duration::from_millis(10)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    {
        let mut dropped = pin!(two.write("a").into_future());
        let polled = std::future::poll_fn(|context| Poll::Ready(dropped.as_mut().poll(context))).await;
        assert!(polled.is_pending());
        assert_eq!(waiters(&two, "a"), 1);
    }
    assert_eq!(waiters(&two, "a"), 0);
    held.release().unwrap();
    // Also the one whose request was dropped after the kernel had granted it.
    for _ in 0..20 {
        let held = take(&one, "a", Mode::Write);
        let mut dropped = Box::pin(two.write("a").into_future());
        let polled = std::future::poll_fn(|context| Poll::Ready(dropped.as_mut().poll(context))).await;
        assert!(polled.is_pending());
        held.release().unwrap();
        drop(dropped);
    }
    take(&one, "a", Mode::Write).release().unwrap();
    take(&two, "a", Mode::Write).release().unwrap();
}

/// A thread keeps waiting for a mode that nobody needs any more, while another mode is needed.
#[test]
fn an_abandoned_wait_does_not_stand_in_the_way() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    let reads = take(&one, "a", Mode::Read);
    two.write("a").timeout(Duration::from_millis(10)).blocking().unwrap_err();
    // The process can read beside the other, though its own thread still waits to write.
    two.read("a").try_now().unwrap().release().unwrap();
    take(&two, "a", Mode::Read).release().unwrap();
    reads.release().unwrap();
    take(&two, "a", Mode::Write).release().unwrap();
    take(&one, "a", Mode::Write).release().unwrap();
}
