//! The lease of a session, as a pure state machine: no clock, no I/O.
//!
//! A session is one process's presence on a server. The server keeps a session's grants for one *length*
//! after its last contact; any answered call is such a contact. The process has to know, without a call,
//! until when it can be sure:
//!
//! - L1. `last_contact` is when the newest answered call was *sent*. The server received it then or later, so
//!   it keeps our grants at least until `last_contact + length`.
//! - L2. A grant by hand-off is made while its owner may be dead, so until the session's next contact with
//!   the server it counts for [`UNCONFIRMED`] only. It is confirmed when a call is answered that was sent
//!   after we had learned of the grant; until then we trust it until `last_contact + UNCONFIRMED`.
//! - L3. We stop trusting a grant a [`margin`](Lease::margin) before the server ends it, to allow for
//!   clocks of different rates and for notifying those who have to stop.
//! - L4. A loss is final: once reported it stays, even if the server answers after all.
//! - L5. Where the server treats the end of a connection as the death of its process (`guarded`), it waits
//!   for [`GRACE`] before it acts on that. So without a connection we trust our grants for [`BELIEF`] from
//!   when it was last *seen* open, by a check of the socket. The time at which its end was noticed proves
//!   nothing: the process may have been stopped meanwhile. While something is held, the socket is checked
//!   every [`LOOK`].

use std::time::Duration;

/// How long a grant to a session without contact since is kept, at most. Nanoseconds.
pub(super) const UNCONFIRMED: u64 = 3_000_000_000;

/// How often a session that waits shows that it lives. A third of [`UNCONFIRMED`].
pub(super) const HEARTBEAT: u64 = UNCONFIRMED / 3;

/// How long a server waits for a process to connect again before it takes it for dead (`grace()` of the
/// schema). Nanoseconds.
pub(super) const GRACE: u64 = 500_000_000;

/// How long we believe in our grants without a connection, where that matters (L5). The rest is for the way of
/// the news that it has ended.
pub(super) const BELIEF: u64 = GRACE * 7 / 10;

/// How often the connection is looked at, where that matters (L5).
pub(super) const LOOK: u64 = GRACE / 10;

/// The lease of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    /// Whether the end of the connection counts as our death (L5).
    guarded: bool,
    /// When the connection was last seen open.
    open: u64,
    connected: bool,
    /// Nanoseconds.
    length: u64,
    /// When the newest answered call was sent (L1); 0 before the first.
    last_contact: u64,
}

impl Lease {
    pub(super) fn new(length: Duration, guarded: bool) -> Lease {
        Lease { guarded, open: 0, connected: true, length: length.as_nanos() as u64, last_contact: 0 }
    }

    pub(super) fn is_guarded(&self) -> bool {
        self.guarded
    }

    /// Whether the end of the connection counts as our death from now on.
    pub(super) fn guard(&mut self, guarded: bool) {
        self.guarded = guarded;
    }

    /// The connection was looked at, from `at` on: it was open, or has ended (or was lost otherwise).
    pub(super) fn looked(&mut self, at: u64, open: bool) {
        if open && self.connected {
            self.open = self.open.max(at);
        } else {
            self.connected = false;
        }
    }

    pub(super) fn is_due_to_be_looked_at(&self, now: u64) -> bool {
        now >= self.open.saturating_add(LOOK)
    }

    /// There is a new connection.
    pub(super) fn connected(&mut self) {
        self.connected = true;
    }

    /// When the newest answered call was sent (L1).
    pub(super) fn last_contact(&self) -> u64 {
        self.last_contact
    }

    /// A call that was sent at `sent` is answered.
    pub(super) fn answered(&mut self, sent: u64) {
        self.last_contact = self.last_contact.max(sent);
    }

    /// Until when a grant is ours that we learned of at `learned` (0: by the answer to our own call).
    pub(super) fn deadline(&self, learned: u64) -> u64 {
        let granted = self.granted(learned);
        let deadline = self.last_contact.saturating_add(granted - self.margin(granted));
        if self.guarded && !self.connected { deadline.min(self.open.saturating_add(BELIEF)) } else { deadline }
    }

    /// How often the session shows that it lives: in a third of what is left to it.
    pub(super) fn interval(&self, waits: bool) -> u64 {
        let every = self.length / 3;
        match (waits, self.guarded) {
            (false, _) => every,
            (true, false) => every.min(HEARTBEAT),
            // Waiters detect dead holders, and are to do so within a second, the grace included.
            (true, true) => every.min(HEARTBEAT * 4 / 10),
        }
    }

    /// How long the server keeps such a grant from our last contact (L2). Measured by the whole
    /// lease, a grant by hand-off would be in danger from the start.
    pub(super) fn length(&self, learned: u64) -> Duration {
        Duration::from_nanos(self.granted(learned))
    }

    fn granted(&self, learned: u64) -> u64 {
        if self.last_contact >= learned { self.length } else { self.length.min(UNCONFIRMED) }
    }

    /// One part in fifty, and never less than a scheduler's slice (L3).
    fn margin(&self, granted: u64) -> u64 {
        (granted / 50).max(20_000_000).min(granted / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn the_deadline_runs_from_when_the_answered_call_was_sent() {
        let mut lease = Lease::new(Duration::from_secs(10), false);
        lease.answered(100 * SECOND);
        assert_eq!(lease.deadline(0), 100 * SECOND + 9_800_000_000);
        // An older call that is answered late takes nothing away.
        lease.answered(90 * SECOND);
        assert_eq!(lease.deadline(0), 100 * SECOND + 9_800_000_000);
    }

    #[test]
    fn a_hand_off_counts_for_three_seconds_until_the_next_contact() {
        let mut lease = Lease::new(Duration::from_secs(10), false);
        lease.answered(100 * SECOND);
        let learned = 101 * SECOND;
        assert!(lease.deadline(learned) < 103 * SECOND);
        assert_eq!(lease.length(learned), Duration::from_nanos(UNCONFIRMED));
        // Sent before we knew of it: it may have come to the server before the grant.
        lease.answered(101 * SECOND - 1);
        assert!(lease.deadline(learned) < 104 * SECOND);
        lease.answered(101 * SECOND);
        assert_eq!(lease.deadline(learned), lease.deadline(0));
        assert_eq!(lease.length(learned), Duration::from_secs(10));
    }

    #[test]
    fn a_hand_off_is_not_in_danger_from_the_start() {
        let mut lease = Lease::new(Duration::from_secs(10), false);
        lease.answered(100 * SECOND);
        let learned = 100 * SECOND + lease.interval(true);
        let left = Duration::from_nanos(lease.deadline(learned) - learned);
        assert!(!crate::words::lease::Lease::new(lease.length(learned), left).in_danger);
    }

    #[test]
    fn without_a_connection_a_guarded_session_believes_for_a_moment_only() {
        let mut lease = Lease::new(Duration::from_secs(10), true);
        lease.answered(100 * SECOND);
        let connected = lease.deadline(0);
        lease.looked(101 * SECOND, true);
        assert_eq!(lease.deadline(0), connected);
        // From when it was last seen open, however late its end is noticed.
        lease.looked(103 * SECOND, false);
        assert_eq!(lease.deadline(0), 101 * SECOND + BELIEF);
        lease.looked(104 * SECOND, true);
        assert_eq!(lease.deadline(0), 101 * SECOND + BELIEF, "what has ended is not open again");
        lease.connected();
        assert_eq!(lease.deadline(0), connected);
        let mut other = Lease::new(Duration::from_secs(10), false);
        other.answered(100 * SECOND);
        other.looked(101 * SECOND, false);
        assert_eq!(other.deadline(0), connected);
    }

    #[test]
    fn two_renewals_come_before_the_deadline() {
        for seconds in [1, 2, 3, 10, 60, 3600] {
            let mut lease = Lease::new(Duration::from_secs(seconds), false);
            lease.answered(SECOND);
            for learned in [0, 2 * SECOND] {
                assert!(SECOND + 2 * lease.interval(learned > 0) < lease.deadline(learned), "{seconds} {learned}");
                assert!(lease.deadline(learned) < SECOND + seconds * SECOND);
            }
        }
    }
}
