//! The outcome of a run, as JSON: on stderr (`--json`), or in a file of its own (`--report`).

use std::{collections::BTreeMap, fs::File, io::Write, path::Path};

use anyhow::Context;
use concurrent_locks::Mode;
use serde::Serialize;

use crate::output::{Failure, Output};

/// How it went.
#[derive(Serialize)]
pub(crate) struct Report<'a> {
    pub(crate) mode: Mode,
    pub(crate) owner: String,
    pub(crate) label: &'a str,
    pub(crate) tokens: BTreeMap<String, u64>,
    pub(crate) waited_ms: f64,
    pub(crate) held_ms: f64,
    pub(crate) lost: bool,
    /// Whether the command was ended because its locks were lost.
    pub(crate) ended: bool,
    pub(crate) exit_code: u8,
}

/// Where it is reported.
pub(crate) struct Reporter<'a> {
    output: &'a Output,
    file: Option<File>,
}

impl Reporter<'_> {
    /// Opens the file, so that a problem with it is reported before anything happens.
    pub(crate) fn open<'a>(path: Option<&Path>, output: &'a Output) -> anyhow::Result<Reporter<'a>> {
        let open = |path: &Path| File::create(path).with_context(|| format!("cannot write {}", path.display()));
        Ok(Reporter { output, file: path.map(open).transpose()? })
    }

    pub(crate) fn report(&self, report: &Report<'_>) -> anyhow::Result<()> {
        match &self.file {
            Some(file) => write(file, report),
            None if self.output.json() => {
                self.output.say_object(report);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Of a run that did not start. It is reported on stderr as well.
    pub(crate) fn failure(&self, error: &anyhow::Error) -> anyhow::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| write(file, &Failure::of(error)))
    }
}

fn write(mut file: &File, object: &impl Serialize) -> anyhow::Result<()> {
    let line = serde_json::to_string(object)?;
    writeln!(file, "{line}").context("cannot write the report")
}
