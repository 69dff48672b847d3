//! The protocol of parent and agents: orders on an agent's stdin, messages on its stdout, a
//! line each. An agent whose stdin ends has lost its parent and stops.

use std::{
    fmt,
    io::{self, Write},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// The parent's orders to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Begin to work.
    Go,
    /// Stay in the middle of a write.
    Park,
    /// Finish what is begun and leave.
    Stop,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Order::Go => "go",
            Order::Park => "park",
            Order::Stop => "stop",
        })
    }
}

impl FromStr for Order {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Order> {
        Ok(match line {
            "go" => Order::Go,
            "park" => Order::Park,
            "stop" => Order::Stop,
            other => anyhow::bail!("unknown order {other:?}"),
        })
    }
}

/// An agent's messages to its parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub(super) enum Message {
    /// Everything is open.
    Ready,
    /// So many operations are done.
    Progress { operations: u64 },
    /// One half of a write is done, the other is not, and these locks are held.
    Parked { resources: Vec<String> },
    /// It could not get into the middle of a write.
    Failed { error: String },
}

impl Message {
    /// Says it. A parent that does not listen any more is noticed where its orders end.
    pub(super) fn say(&self) {
        if let Ok(line) = serde_json::to_string(self) {
            let mut stdout = io::stdout().lock();
            let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
        }
    }
}
