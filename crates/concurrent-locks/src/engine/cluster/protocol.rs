//! Calls and answers: one set of verbs, the same for every server.
//!
//! A verb is one round trip. Its arguments are texts, in the order written here; its answer is one
//! text of JSON. `docs/design/cluster-protocol.md` says what each verb does.

/// What a server can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    /// session, lease (microseconds), pid, host, program, guarded (0 or 1)
    Hello,
    /// session, request, name, mode, owner, ancestors, label, note, priority, wait (0 or 1), max_hold (microseconds)
    Acquire,
    /// session, request, name, ending (normal or panicked)
    Release,
    /// session, request, name, why (timeout, cancel or deadlock), keep (0 or 1), still (request ids, joined by commas)
    Cancel,
    /// session, request, name
    Downgrade,
    /// session, lease, ids held, ids waiting (joined by commas), names of what waits (joined by U+001F)
    Renew,
    /// session, request: whether this request is held, confirmed like a renewal
    Verify,
    /// name or nothing
    Status,
    /// moved request, before request, name
    Reorder,
    /// request: its session is asked to search for a deadlock
    Nudge,
    /// name, token
    Revoke,
    /// name or nothing, cursor or nothing: of all names, an answer is a part of them
    Statistics,
    /// name or nothing
    ResetStatistics,
    /// pairs of names with the owner's label: JSON, [[earlier, later, label]..]
    RecordOrders,
    /// nothing
    Orders,
    /// cursor or nothing, limit
    Events,
    /// nothing
    Health,
    /// session
    Bye,
}

impl Verb {
    pub(crate) const ALL: [Verb; 18] = [
        Verb::Hello,
        Verb::Acquire,
        Verb::Release,
        Verb::Cancel,
        Verb::Downgrade,
        Verb::Renew,
        Verb::Verify,
        Verb::Status,
        Verb::Reorder,
        Verb::Nudge,
        Verb::Revoke,
        Verb::Statistics,
        Verb::ResetStatistics,
        Verb::RecordOrders,
        Verb::Orders,
        Verb::Events,
        Verb::Health,
        Verb::Bye,
    ];

    /// The name of its script or function.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Verb::Hello => "hello",
            Verb::Acquire => "acquire",
            Verb::Release => "release",
            Verb::Cancel => "cancel",
            Verb::Downgrade => "downgrade",
            Verb::Renew => "renew",
            Verb::Verify => "verify",
            Verb::Status => "status",
            Verb::Reorder => "reorder",
            Verb::Nudge => "nudge",
            Verb::Revoke => "revoke",
            Verb::Statistics => "statistics",
            Verb::ResetStatistics => "reset_statistics",
            Verb::RecordOrders => "record_orders",
            Verb::Orders => "orders",
            Verb::Events => "events",
            Verb::Health => "health",
            Verb::Bye => "bye",
        }
    }

    /// How many arguments it takes.
    pub(crate) const fn arity(self) -> usize {
        match self {
            Verb::Orders | Verb::Health => 0,
            Verb::Status | Verb::Nudge | Verb::ResetStatistics | Verb::RecordOrders | Verb::Bye => 1,
            Verb::Verify | Verb::Revoke | Verb::Statistics | Verb::Events => 2,
            Verb::Downgrade | Verb::Reorder => 3,
            Verb::Release => 4,
            Verb::Renew => 5,
            Verb::Hello | Verb::Cancel => 6,
            Verb::Acquire => 11,
        }
    }
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) verb: Verb,
    /// In the verb's order; [`Verb::arity`] of them.
    pub(crate) arguments: &'a [&'a str],
}
