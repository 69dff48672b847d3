//! Episodes: the work that agents do, one JSON object a line.

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A few hundred episodes of web and coding agents, as JSON lines.
pub const EPISODES: &str = include_str!("../data/episodes.jsonl");

/// How an episode ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The task was done.
    Success,
    /// A part of it was done.
    Partial,
    /// It was not done.
    Failure,
}

/// One thing an agent did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Episode {
    /// Who did it.
    pub agent: String,
    /// What was asked for.
    pub task: String,
    /// What kind of work it was (`navigation`, `debugging`, ...).
    pub kind: String,
    /// The site or repository it was done on.
    pub site: String,
    /// The skill that was used.
    pub skill: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How much it matters, 1 to 10.
    pub importance: u8,
    /// What happened, in the agent's words.
    pub text: String,
}

impl Episode {
    /// Reads episodes, one JSON object a line; empty lines are skipped.
    ///
    /// # Errors
    /// [`Error::Episode`] with line and column of the first mistake, also if there is no episode at all.
    pub fn parse_all(text: &str) -> Result<Vec<Episode>, Error> {
        let mut episodes = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let wrong = |column, reason| Error::Episode { line: index + 1, column, reason };
            let episode: Episode = serde_json::from_str(line).map_err(|error| {
                // The parser says where in its one line; the line in the file is ours to add.
                let reason = error.to_string();
                let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
                wrong(error.column().max(1), reason)
            })?;
            if episode.site.is_empty() || episode.skill.is_empty() {
                return Err(wrong(1, "`site` and `skill` must not be empty".to_owned()));
            }
            episodes.push(episode);
        }
        if episodes.is_empty() {
            return Err(Error::Episode { line: 1, column: 1, reason: "there is no episode".to_owned() });
        }
        Ok(episodes)
    }
}
