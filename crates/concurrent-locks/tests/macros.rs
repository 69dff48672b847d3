//! The attribute macros: what they lock, for how long, and how they refuse.

#![cfg(feature = "macros")]

use std::{
    fmt::Display,
    future::Future,
    pin::Pin,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use concurrent_locks::{
    Error, ErrorKind, LockManager, Mode, Owner, SPACE_VARIABLE, URL_VARIABLE, distributed_lock, read_lock, write_lock,
};

const PREFIX: &str = "prefix";

fn local(test: &str) -> LockManager {
    LockManager::connect(&format!("local:macros/{test}")).blocking().unwrap()
}

/// How `name` is held now.
fn held(locks: &LockManager, name: &str) -> Vec<Mode> {
    let status = locks.status(name).blocking().unwrap();
    status.map_or_else(Vec::new, |status| status.holders.iter().map(|holder| holder.mode).collect())
}

struct Memory {
    locks: LockManager,
    path: String,
    rows: Vec<u64>,
}

impl Memory {
    fn new(test: &str) -> Memory {
        Memory { locks: local(test), path: "main.db".to_owned(), rows: Vec::new() }
    }

    #[read_lock("episodic_db:{self.path}", locks = &self.locks)]
    async fn recall(&self, name: &str) -> Result<Vec<Mode>, Error> {
        tokio::task::yield_now().await;
        Ok(held(&self.locks, name))
    }

    #[write_lock("episodic_db:{self.path}", locks = &self.locks, timeout = "2m 30s")]
    fn store(&mut self, row: u64) -> Result<Vec<Mode>, Error> {
        self.rows.push(row);
        Ok(held(&self.locks, "episodic_db:main.db"))
    }

    #[write_lock("rows/{row:04}/{at.0}/{{{PREFIX}}}/{N}", locks = &self.locks, timeout = "never")]
    fn templated<const N: usize>(&self, row: u64, at: (u8, u8)) -> Result<Vec<String>, Error> {
        assert_eq!(at, (1, 2));
        Ok(self.locks.status_all().blocking()?.into_keys().collect())
    }

    #[read_lock("borrowed", locks = &self.locks)]
    async fn borrowed<'a>(&self, text: &'a str) -> Result<&'a str, Error> {
        Ok(text)
    }

    #[read_lock("shown/{shown}", locks = locks)]
    fn shown<'l, T: Display + ?Sized>(
        &self,
        locks: &'l LockManager,
        shown: &T,
    ) -> Result<impl Iterator<Item = Mode> + use<'l, T>, Error> {
        Ok(held(locks, &format!("shown/{shown}")).into_iter())
    }

    #[write_lock("boxed", locks = &self.locks)]
    fn boxed(&self) -> Result<Box<dyn Display>, Error> {
        Ok(Box::new(7))
    }
}

#[tokio::test]
async fn the_lock_is_held_while_the_body_runs_and_only_then() {
    let mut memory = Memory::new("held");
    assert_eq!(memory.recall("episodic_db:main.db").await.unwrap(), [Mode::Read]);
    assert_eq!(held(&memory.locks, "episodic_db:main.db"), []);
    assert_eq!(memory.store(3).unwrap(), [Mode::Write]);
    assert_eq!(held(&memory.locks, "episodic_db:main.db"), []);
    assert_eq!(memory.rows, [3]);
}

#[tokio::test]
async fn any_signature() {
    let memory = Memory::new("signatures");
    let names = memory.templated::<9>(5, (1, 2)).unwrap();
    assert!(names.contains(&"rows/0005/1/{prefix}/9".to_owned()), "{names:?}");
    assert_eq!(memory.borrowed("text").await.unwrap(), "text");
    assert_eq!(memory.shown(&memory.locks, "unsized").unwrap().collect::<Vec<_>>(), [Mode::Read]);
    assert_eq!(memory.boxed().unwrap().to_string(), "7");
}

trait Store {
    type Failure: From<Error>;

    async fn load(&mut self, id: u64) -> Result<u64, Self::Failure>;

    fn later(&self, id: u64) -> Pin<Box<dyn Future<Output = Result<u64, Self::Failure>> + Send + '_>>;

    #[read_lock("default/{id}", locks = self.locks())]
    fn provided(&self, id: u64) -> Result<Vec<Mode>, Self::Failure> {
        Ok(held(self.locks(), &format!("default/{id}")))
    }

    fn locks(&self) -> &LockManager;
}

impl Store for Memory {
    type Failure = Box<dyn std::error::Error + Send + Sync>;

    #[write_lock("{self.path}/{id}", locks = &self.locks)]
    async fn load(&mut self, id: u64) -> Result<u64, Self::Failure> {
        self.rows.push(id);
        assert_eq!(held(&self.locks, &format!("main.db/{id}")), [Mode::Write]);
        let id: u64 = id.to_string().parse()?;
        Ok(id)
    }

    // The shape that `#[async_trait]` gives an `async fn`.
    #[write_lock("{self.path}/later/{id}", locks = &self.locks)]
    fn later(&self, id: u64) -> Pin<Box<dyn Future<Output = Result<u64, Self::Failure>> + Send + '_>> {
        Box::pin(async move {
            let this = self;
            let result: Result<u64, Self::Failure> = {
                tokio::task::yield_now().await;
                assert_eq!(held(&this.locks, &format!("main.db/later/{id}")), [Mode::Write]);
                Ok(id)
            };
            result
        })
    }

    fn locks(&self) -> &LockManager {
        &self.locks
    }
}

#[tokio::test]
async fn methods_of_traits() {
    let mut memory = Memory::new("traits");
    assert_eq!(memory.load(4).await.unwrap(), 4);
    assert_eq!(memory.later(5).await.unwrap(), 5);
    assert_eq!(held(&memory.locks, "main.db/later/5"), []);
    assert_eq!(memory.provided(6).unwrap(), [Mode::Read]);
}

#[test]
fn a_locked_future_can_be_sent() {
    fn send(_: impl Send) {}
    let memory = Memory::new("send");
    send(memory.recall("x"));
    send(global_async(1));
}

#[read_lock("global/{id}")]
async fn global_async(id: u64) -> Result<Vec<Mode>, Error> {
    Ok(held(LockManager::global()?, &format!("global/{id}")))
}

#[write_lock("global/{id}")]
fn global_sync(id: u64) -> std::io::Result<Vec<Mode>> {
    Ok(held(LockManager::global()?, &format!("global/{id}")))
}

#[tokio::test]
async fn the_global_manager_is_the_default() {
    assert_eq!(global_async(1).await.unwrap(), [Mode::Read]);
    assert_eq!(global_sync(2).unwrap(), [Mode::Write]);
}

#[write_lock("owned", locks = locks, owner = owner, note = "compaction", priority = 3)]
fn owned(locks: &LockManager, owner: &Owner) -> Result<(String, String, i8), Error> {
    // A second request of the same owner re-enters.
    owner.write("owned").try_now()?.release()?;
    let holder = locks.status("owned").blocking()?.unwrap().holders.remove(0);
    Ok((holder.label, holder.note, holder.priority))
}

#[test]
fn owner_note_and_priority_are_the_requests() {
    let locks = local("owned");
    let owner = locks.owner("agent-7").unwrap();
    assert_eq!(owned(&locks, &owner).unwrap(), ("agent-7".to_owned(), "compaction".to_owned(), 3));
}

#[derive(Clone, Copy)]
enum End {
    Value,
    Return,
    Question,
    Panic,
}

#[write_lock("ends", locks = locks)]
fn ends(locks: &LockManager, end: End) -> Result<u32, Error> {
    assert_eq!(held(locks, "ends"), [Mode::Write]);
    match end {
        End::Value => {}
        End::Return => return Ok(2),
        End::Question => drop(locks.read("ends").try_now()?),
        End::Panic => panic!("on purpose"),
    }
    Ok(1)
}

#[test]
fn the_lock_is_released_however_the_body_ends() {
    let locks = local("ends");
    assert_eq!(ends(&locks, End::Value).unwrap(), 1);
    assert_eq!(held(&locks, "ends"), []);
    assert_eq!(ends(&locks, End::Return).unwrap(), 2);
    assert_eq!(held(&locks, "ends"), []);
    assert_eq!(ends(&locks, End::Question).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(held(&locks, "ends"), []);
    let other = locks.clone();
    assert!(std::thread::spawn(move || ends(&other, End::Panic)).join().is_err());
    assert_eq!(held(&locks, "ends"), []);
}

#[tokio::test]
async fn dropping_the_future_releases_the_lock() {
    #[write_lock("dropped", locks = locks)]
    async fn forever(locks: &LockManager) -> Result<(), Error> {
        std::future::pending().await
    }
    let locks = local("dropped");
    let mut future = Box::pin(forever(&locks));
    assert!(std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context))).await.is_pending());
    assert_eq!(held(&locks, "dropped"), [Mode::Write]);
    drop(future);
    assert_eq!(held(&locks, "dropped"), []);
}

/// Says whether the lock was still held when it was dropped.
struct Witness<'a>(&'a LockManager, &'a AtomicBool);

impl Witness<'_> {
    fn value(&self) -> u32 {
        9
    }
}

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        self.1.store(held(self.0, "witness") == [Mode::Write], Ordering::SeqCst);
    }
}

#[write_lock("witness", locks = locks)]
fn local_witness(locks: &LockManager, seen: &AtomicBool) -> Result<u32, Error> {
    let witness = Witness(locks, seen);
    Ok(witness.value())
}

#[write_lock("witness", locks = locks)]
fn temporary_witness(locks: &LockManager, seen: &AtomicBool) -> Result<u32, Error> {
    Ok(Witness(locks, seen).value())
}

#[test]
fn locals_and_temporaries_are_dropped_before_the_lock() {
    let locks = local("witness");
    for function in [local_witness, temporary_witness] {
        let seen = AtomicBool::new(false);
        assert_eq!(function(&locks, &seen).unwrap(), 9);
        assert!(seen.load(Ordering::SeqCst));
    }
}

#[write_lock("busy", locks = locks, timeout = "10ms")]
fn impatient(locks: &LockManager) -> Result<(), Error> {
    unreachable!("the lock is taken: {locks:?}")
}

#[write_lock("busy", locks = locks, timeout = "10ms")]
async fn impatient_async(locks: &LockManager) -> Result<(), Error> {
    unreachable!("the lock is taken: {locks:?}")
}

#[write_lock("busy", locks = locks, timeout = "10ms", on_error = "panic")]
fn panics(locks: &LockManager) -> usize {
    held(locks, "busy").len()
}

#[write_lock("free", locks = locks, on_error = "panic")]
fn returns_nothing(locks: &LockManager) {
    assert_eq!(held(locks, "free"), [Mode::Write]);
}

#[tokio::test]
async fn a_timed_out_lock_is_the_functions_error() {
    let locks = local("busy");
    assert_eq!(panics(&locks), 1);
    returns_nothing(&locks);
    let guard = locks.write("busy").try_now().unwrap();
    assert_eq!(impatient(&locks).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(impatient_async(&locks).await.unwrap_err().kind(), ErrorKind::TimedOut);
    let other = locks.clone();
    let panic = std::thread::spawn(move || panics(&other)).join().unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().contains("timed out"));
    drop(guard);
}

#[distributed_lock("leader/{id}")]
fn distributed(id: u64, locks: &LockManager) -> Result<Vec<Mode>, Error> {
    Ok(held(locks, &format!("leader/{id}")))
}

#[distributed_lock("leader", locks = locks)]
async fn distributed_given(locks: &LockManager) -> Result<Vec<Mode>, Error> {
    Ok(held(locks, "leader"))
}

#[tokio::test]
async fn a_given_manager_is_used_as_it_is() {
    assert_eq!(distributed_given(&local("given")).await.unwrap(), [Mode::Write]);
}

/// Runs this test binary again with only the named (ignored) test and other environment variables.
fn child(test: &str, variables: &[(&str, &str)]) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env_remove(URL_VARIABLE)
        .envs(variables.iter().copied())
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn distributed_reaches_other_processes() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("host:{}", directory.path().join("t.table").display());
    child("child_with_a_global_that_reaches", &[(URL_VARIABLE, &url)]);
    child("child_with_a_local_global", &[(SPACE_VARIABLE, &format!("macros-{}", std::process::id()))]);
}

#[test]
#[ignore = "run by distributed_reaches_other_processes"]
fn child_with_a_global_that_reaches() {
    let global = LockManager::global().unwrap();
    assert!(global.capabilities().across_processes);
    assert_eq!(distributed(1, global).unwrap(), [Mode::Write]);
}

#[test]
#[ignore = "run by distributed_reaches_other_processes"]
fn child_with_a_local_global() {
    assert!(!LockManager::global().unwrap().capabilities().across_processes);
    let host = LockManager::host().unwrap();
    assert_eq!(distributed(2, &host).unwrap(), [Mode::Write]);
    // The space is this test's own.
    std::fs::remove_file(host.health().blocking().unwrap().path.unwrap()).unwrap();
}
