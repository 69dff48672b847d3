//! `cargo xtask mutations`: would a fault in the grant rule be noticed?
//!
//! Each mutation is one fault, written as a replacement of text in the table's Rust, in the Lua or in the SQL. All of
//! them are built into one copy of the library under `target/`, where the environment variable `MUTANT` chooses one,
//! so there is one build for all. With each of them the differential test must fail.

mod lua;
mod sql;
mod table;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    servers,
    step::{self, Outcome, root},
};

/// One fault.
struct Mutation {
    /// What it does wrong.
    what: &'static str,
    /// Under `crates/concurrent-locks/src`.
    file: &'static str,
    /// A text that is there once.
    old: &'static str,
    /// What stands in its place. In Rust, `MUTANT` says whether this one is chosen.
    new: &'static str,
}

/// Where a group's faults lie, and the test that must notice them.
struct Group {
    test: &'static str,
    mutations: &'static [Mutation],
}

const GROUPS: &[Group] = &[
    Group { test: "the_local_table_keeps_the_rule", mutations: table::MUTATIONS },
    Group { test: "the_scripts_of_redis_keep_the_rule", mutations: lua::MUTATIONS },
    Group { test: "the_functions_of_postgresql_keep_the_rule", mutations: sql::MUTATIONS },
];

/// Where the library takes in the texts of the servers' halves: the expression, and the file it is in.
const TEXTS: &[(&str, &str, &str)] = &[
    ("engine/cluster/redis/scripts.rs", "parts(*verb).concat()", "crate::mutant::of(&parts(*verb).concat())"),
    ("engine/cluster/postgres/handshake.rs", "self.ask(SCHEMA)", "self.ask(&crate::mutant::of(SCHEMA))"),
];

const SURVIVES: &str = "SURVIVES";
const HANGS: &str = "caught: hangs";

/// How many histories every test run replays; and how many a fault that those have missed must survive, too.
const OFTEN: &str = "1000";
const RARELY: &str = "10000";

/// A test that takes longer hangs: a fault, and noticed.
const PATIENCE: Duration = Duration::from_secs(600);

const LIBRARY: &str = "crates/concurrent-locks/src";

/// `arguments`: parts of tests' names or of what mutations do; none for all.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let environment = servers::environment()?;
    let folder = root().join("target/mutations");
    copy(&folder)?;
    let test = build(&folder)?;
    let mut survivors = 0;
    eprintln!("| mutation | in | outcome |\n|---|---|---|");
    for (number, test_name, mutation) in numbered() {
        if !arguments.is_empty()
            && !arguments.iter().any(|part| test_name.contains(part) || mutation.what.contains(part))
        {
            continue;
        }
        let log = folder.join(format!("{number}.log"));
        let run = |histories: &str| {
            let mut command = Command::new(&test);
            command
                .arg(format!("differential::{test_name}"))
                .envs(environment.iter().map(|(name, value)| (*name, value)))
                .env("MUTANT", number.to_string())
                .env("LOCKS_HISTORIES", histories)
                // That it fails is all that is asked.
                .env("PROPTEST_MAX_SHRINK_ITERS", "0")
                .current_dir(root().join(LIBRARY).join(".."));
            outcome(&mut command, &log)
        };
        let mut outcome = run(OFTEN)?;
        if outcome == SURVIVES {
            outcome = match run(RARELY)? {
                // So many take their time.
                SURVIVES | HANGS => SURVIVES,
                _ => "caught, but rarely",
            };
        }
        if outcome == SURVIVES {
            survivors += 1;
        }
        eprintln!("| {} | `{}` | {outcome} |", mutation.what, mutation.file);
    }
    if survivors == 0 { Ok(()) } else { Err(format!("{survivors} mutations survive the differential test")) }
}

fn numbered() -> impl Iterator<Item = (usize, &'static str, &'static Mutation)> {
    let all = GROUPS.iter().flat_map(|group| group.mutations.iter().map(|mutation| (group.test, mutation)));
    all.enumerate().map(|(number, (test, mutation))| (number, test, mutation))
}

/// Runs one test; how it ended.
fn outcome(command: &mut Command, log: &Path) -> Result<&'static str, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", log.display());
    let file = File::create(log).map_err(failed)?;
    let mut child = command.stdout(file.try_clone().map_err(failed)?).stderr(file).spawn().map_err(failed)?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if start.elapsed() > PATIENCE {
            child.kill().and_then(|()| child.wait()).map_err(failed)?;
            return Ok(HANGS);
        }
        thread::sleep(Duration::from_millis(20));
    };
    let text = fs::read_to_string(log).map_err(failed)?;
    match status.success() {
        true if text.contains("1 passed") => Ok(SURVIVES),
        false if text.contains("after these steps") => Ok("caught"),
        false if text.contains("1 failed") => Ok("caught: the engine fails"),
        _ => Err(format!("{}: no test has run", log.display())),
    }
}

/// The workspace as it is.
fn workspace() -> Result<BTreeMap<PathBuf, String>, String> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let listed = listed.map_err(|error| format!("git ls-files: {error}"))?;
    let mut files = BTreeMap::new();
    for path in String::from_utf8_lossy(&listed.stdout).split('\0').filter(|path| !path.is_empty()) {
        // Only texts can be mutated, and of pictures the build takes none.
        if let Ok(text) = fs::read_to_string(root().join(path)) {
            files.insert(PathBuf::from(path), text);
        }
    }
    Ok(files)
}

/// Writes the workspace with all mutations in it.
fn copy(folder: &Path) -> Outcome {
    let mut files = workspace()?;
    mutate(&mut files)?;
    for (path, text) in files {
        let path = folder.join(path);
        // What has not changed is not built again.
        if fs::read_to_string(&path).is_ok_and(|before| before == text) {
            continue;
        }
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn mutate(files: &mut BTreeMap<PathBuf, String>) -> Outcome {
    let mut texts = String::new();
    for (number, _, mutation) in numbered() {
        if mutation.file.ends_with(".rs") {
            let new = mutation.new.replace("MUTANT", &format!("crate::mutant::is({number})"));
            replace(files, mutation.file, mutation.old, &new)?;
        } else {
            find(files, mutation.file, mutation.old)?;
            texts += &format!("({number}, {:?}, {:?}),\n", mutation.old, mutation.new);
        }
    }
    for (file, old, new) in TEXTS {
        replace(files, file, old, new)?;
    }
    let library = files.get_mut(&Path::new(LIBRARY).join("lib.rs")).ok_or("no lib.rs")?;
    *library += "\nmod mutant;\n";
    let mutant = include_str!("mutant.rs").replace("/* TEXTS */", &texts);
    files.insert(Path::new(LIBRARY).join("mutant.rs"), mutant);
    Ok(())
}

fn find<'f>(files: &'f mut BTreeMap<PathBuf, String>, file: &str, old: &str) -> Result<&'f mut String, String> {
    let text = files.get_mut(&Path::new(LIBRARY).join(file)).ok_or_else(|| format!("{file} is no more"))?;
    match text.matches(old).count() {
        1 => Ok(text),
        count => Err(format!("{file} has {count} times what a mutation replaces:\n{old}")),
    }
}

fn replace(files: &mut BTreeMap<PathBuf, String>, file: &str, old: &str, new: &str) -> Outcome {
    let text = find(files, file, old)?;
    *text = text.replacen(old, new, 1);
    Ok(())
}

/// Builds the library's tests; answers their program.
fn build(folder: &Path) -> Result<PathBuf, String> {
    let mut command = step::cargo(["test", "--package", "concurrent-locks", "--features", "full", "--lib", "--no-run"]);
    // The dependencies are those of ordinary tests.
    command.current_dir(folder).env("CARGO_TARGET_DIR", root().join("target"));
    let output = command.output().map_err(|error| format!("cargo: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let program = text.split_once("unittests src/lib.rs (").and_then(|(_, rest)| rest.split_once(')'));
    match program {
        Some((program, _)) if output.status.success() => Ok(folder.join(program)),
        _ => Err(format!("the mutated library cannot be built:\n{text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_that_a_mutation_replaces_is_there_once() {
        let mut files = workspace().unwrap();
        if let Err(problem) = mutate(&mut files) {
            panic!("{problem}");
        }
    }
}
