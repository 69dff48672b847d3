//! What `docs/engines/` states and no other test shows.

use concurrent_locks::{ErrorKind, LockManager};

#[test]
fn a_leaked_guard_stays_held_and_is_seen() {
    let locks = LockManager::connect("local:leaked").blocking().unwrap();
    std::mem::forget(locks.owner("leaker").unwrap().write("a").try_now().unwrap());
    let status = locks.status("a").blocking().unwrap().unwrap();
    assert_eq!(status.current_writer.as_deref(), Some("leaker"));
    assert_eq!(locks.write("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
}
