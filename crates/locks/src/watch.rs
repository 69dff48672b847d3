//! `locks watch`: what happens, live.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use concurrent_locks::{Event, EventKind, LockManager};
use owo_colors::{OwoColorize, Style};

use crate::{
    cli::WatchArgs,
    exit::Exit,
    output::Output,
    table::{milliseconds, plain},
};

/// How long one look at the events may take, so that a limit in time is kept.
const LOOK: Duration = Duration::from_millis(500);

pub(crate) fn run(args: &WatchArgs, locks: &LockManager, output: &Output) -> anyhow::Result<ExitCode> {
    let deadline = args.seconds.0.and_then(|time| Instant::now().checked_add(time));
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut cursor = None;
    let mut expected = None;
    while left > 0 {
        let time = deadline.map_or(LOOK, |deadline| deadline.saturating_duration_since(Instant::now()));
        if time.is_zero() {
            break;
        }
        let (events, next) = locks.events(cursor, time.min(LOOK))?;
        cursor = Some(next);
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
        "{}  {:<9}  {:<5}  {}  {} (pid {})",
        event.at.dimmed(),
        event.kind.as_str().style(style(event.kind)),
        event.mode.as_str(),
        plain(&event.resource).bold(),
        plain(&event.label),
        event.pid
    );
    if event.token > 0 {
        line.push_str(&format!("  token {}", event.token));
    }
    match event.kind {
        EventKind::Wait => {}
        EventKind::Release | EventKind::Recovered | EventKind::Broken => {
            line.push_str(&format!("  held {}", milliseconds(event.elapsed_ms)));
        }
        _ => line.push_str(&format!("  waited {}", milliseconds(event.elapsed_ms))),
    }
    line
}

fn style(kind: EventKind) -> Style {
    match kind {
        EventKind::Grant => Style::new().green(),
        EventKind::Wait => Style::new().yellow(),
        EventKind::Release => Style::new().dimmed(),
        _ => Style::new().red(),
    }
}
