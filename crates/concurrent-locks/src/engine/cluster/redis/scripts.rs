//! The verbs as scripts: their shared parts, and one file each.

use once_cell::race::OnceBox;

use crate::engine::cluster::protocol::Verb;

/// One verb's script.
pub(super) struct Script {
    pub(super) text: String,
    /// What the server calls it.
    pub(super) sha: String,
}

/// The script of each verb, in the order of [`Verb::ALL`].
pub(super) fn scripts() -> &'static [Script] {
    // First come wins: a lock that is held at a fork is held in the child for ever.
    static SCRIPTS: OnceBox<Vec<Script>> = OnceBox::new();
    let script = |verb: &Verb| {
        let text = parts(*verb).concat();
        let sha = sha1_smol::Sha1::from(&text).digest().to_string();
        Script { text, sha }
    };
    SCRIPTS.get_or_init(|| Box::new(Verb::ALL.iter().map(script).collect()))
}

/// What a verb's script consists of. A part knows what stands before it.
fn parts(verb: Verb) -> [&'static str; 9] {
    let is_of_a_session =
        matches!(verb, Verb::Acquire | Verb::Release | Verb::Cancel | Verb::Downgrade | Verb::Renew | Verb::Verify);
    // Functions are created again in each call: an immediate grant or release does without most of them.
    let (without_history, with_history) = match verb {
        Verb::Acquire => (include_str!("scripts/quick/acquire.lua"), ""),
        Verb::Release => ("", include_str!("scripts/quick/release.lua")),
        _ => ("", ""),
    };
    [
        include_str!("scripts/space.lua"),
        if is_of_a_session { include_str!("scripts/enter.lua") } else { "" },
        without_history,
        include_str!("scripts/history.lua"),
        with_history,
        include_str!("scripts/rows.lua"),
        include_str!("scripts/rule.lua"),
        include_str!("scripts/view.lua"),
        own_part(verb),
    ]
}

fn own_part(verb: Verb) -> &'static str {
    match verb {
        Verb::Hello => include_str!("scripts/hello.lua"),
        Verb::Acquire => include_str!("scripts/acquire.lua"),
        Verb::Release => include_str!("scripts/release.lua"),
        Verb::Cancel => include_str!("scripts/cancel.lua"),
        Verb::Downgrade => include_str!("scripts/downgrade.lua"),
        Verb::Renew => include_str!("scripts/renew.lua"),
        Verb::Verify => include_str!("scripts/verify.lua"),
        Verb::Status => include_str!("scripts/status.lua"),
        Verb::Reorder => include_str!("scripts/reorder.lua"),
        Verb::Nudge => include_str!("scripts/nudge.lua"),
        Verb::Revoke => include_str!("scripts/revoke.lua"),
        Verb::Statistics => include_str!("scripts/statistics.lua"),
        Verb::ResetStatistics => include_str!("scripts/reset_statistics.lua"),
        Verb::RecordOrders => include_str!("scripts/record_orders.lua"),
        Verb::Orders => include_str!("scripts/orders.lua"),
        Verb::Events => include_str!("scripts/events.lua"),
        Verb::Health => include_str!("scripts/health.lua"),
        Verb::Bye => include_str!("scripts/bye.lua"),
    }
}
