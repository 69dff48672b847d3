//! `locks watch`: live events.

use std::time::{Duration, Instant, SystemTime};

use concurrent_locks::{Event, EventKind, LockManager};
use owo_colors::{OwoColorize, Style};

use crate::{
    cli::WatchArgs,
    exit::{Code, Exit},
    output::Output,
    status::owner,
    table::{duration, plain},
};

/// How long one look at the events may take, so that a limit in time is kept.
const LOOK: Duration = Duration::from_millis(500);

pub(crate) fn run(args: &WatchArgs, locks: &LockManager, output: &Output) -> anyhow::Result<Code> {
    if let Some(absence) = locks.absence() {
        output.notice(format_args!("{absence}; waiting for the first"));
    }
    let mut told = Vec::new();
    let deadline = args.seconds.0.and_then(|time| Instant::now().checked_add(time));
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut cursor = None;
    let mut expected = None;
    while left > 0 {
        let time = deadline.map_or(LOOK, |deadline| deadline.saturating_duration_since(Instant::now()));
        if time.is_zero() {
            break;
        }
        let (events, next) = locks.events(cursor, time.min(LOOK)).blocking()?;
        cursor = Some(next);
        let unseen = locks.unseen();
        if unseen != told {
            unseen.iter().for_each(|unseen| output.warning(unseen));
            told = unseen;
        }
        for event in events {
            if expected.is_some_and(|expected| event.sequence > expected) {
                output.warning("events came faster than they could be shown; some are missing here");
            }
            expected = Some(event.sequence + 1);
            if left > 0 && (args.names.is_empty() || args.names.contains(&event.resource)) {
                left -= 1;
                if output.json() { output.object(&event)? } else { output.text(describe(&event))? }
            }
        }
    }
    Ok(Exit::Success.into())
}

fn describe(event: &Event) -> String {
    let mut line = format!(
        "{}  {:<9}  {:<5}  {}  {}",
        time_of_day(event.at).dimmed(),
        event.kind.as_str().style(style(event.kind)),
        event.mode.as_str(),
        plain(&event.resource).bold(),
        plain(&owner(&event.label, event.pid)),
    );
    // No wait, or a wait that has just begun.
    if event.kind != EventKind::Wait && !event.elapsed.is_zero() {
        let held = matches!(event.kind, EventKind::Release | EventKind::Recovered | EventKind::Broken);
        let what = if held { "held" } else { "waited" };
        line.push_str(&format!("  {what} {}", duration(event.elapsed)));
    }
    line
}

/// The time of day where the reader is.
fn time_of_day(at: SystemTime) -> String {
    let at = jiff::Timestamp::try_from(at).unwrap_or_default();
    at.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%H:%M:%S%.3f").to_string()
}

fn style(kind: EventKind) -> Style {
    match kind {
        EventKind::Grant => Style::new().green(),
        EventKind::Wait => Style::new().yellow(),
        EventKind::Release => Style::new().dimmed(),
        _ => Style::new().red(),
    }
}
