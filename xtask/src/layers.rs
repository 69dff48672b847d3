//! `cargo xtask layers`: the library's modules use each other in one direction only.
//!
//! The order below is the architecture (`ARCHITECTURE.md` draws it). A module may use modules of the
//! layers above its own in this list; those of one layer may use each other only where the layer is
//! a knot: things that cannot be separated, such as a guard that can be upgraded and the request
//! that does it.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use crate::{
    arrows,
    step::{self, Outcome},
};

/// One floor of the house.
struct Floor {
    what: &'static str,
    /// A module belongs to the floor that names the longest part of its path.
    modules: &'static [&'static str],
    room: bool,
}

/// Deepest first.
const FLOORS: &[Floor] = &[
    Floor { what: "the vocabulary", modules: &["words"], room: true },
    Floor { what: "the operating system", modules: &["os"], room: true },
    Floor { what: "fences of what locks protect", modules: &["fencing"], room: true },
    Floor { what: "the rule", modules: &["rule"], room: true },
    Floor { what: "the seam", modules: &["engine", "engine::observing"], room: true },
    Floor { what: "the table's bytes", modules: &["engine::table::machine", "engine::table::map"], room: true },
    Floor { what: "the table's protocols", modules: &["engine::table::protocol"], room: true },
    Floor { what: "the table's file", modules: &["engine::table::place"], room: true },
    Floor { what: "the table's past", modules: &["engine::table::past"], room: true },
    Floor { what: "a process in the table", modules: &["engine::table::process"], room: true },
    Floor { what: "a bucket of the table", modules: &["engine::table::bucket"], room: true },
    Floor { what: "the table's verbs", modules: &["engine::table::verbs"], room: true },
    Floor { what: "seeing the table", modules: &["engine::table::inspect"], room: true },
    Floor { what: "waiting in the table", modules: &["engine::table::wait"], room: true },
    Floor { what: "the table", modules: &["engine::table"], room: true },
    Floor { what: "the other engines", modules: &["engine::file", "engine::cluster"], room: false },
    Floor { what: "from a URL to an engine", modules: &["open"], room: true },
    Floor { what: "the API", modules: &["api"], room: true },
];

/// The folder whose layout nobody else knows, and who may open it.
const SEALED: &str = "engine::table";
const OPENERS: &[&str] = &["open", "engine::file"];
/// What everything in the sealed folder is about: its methods are spread over the folder's files.
const SUBJECT: &str = "engine::table::Table";

/// The crate root names every module to declare and re-export it.
const ROOT: &str = "lib";

/// One file of the library.
struct Source {
    path: PathBuf,
    module: Vec<String>,
    text: String,
}

struct Violation {
    file: PathBuf,
    line: usize,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

pub(crate) fn run() -> Outcome {
    let folder = step::root().join("crates/concurrent-locks/src");
    let sources = read(&folder)?;
    let violations = check(&sources)?;
    if violations.is_empty() {
        eprintln!("\n== layers: {} files, all arrows go one way", sources.len());
        return Ok(());
    }
    let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
    Err(format!("layers: {} arrows go the wrong way\n{}", list.len(), list.join("\n")))
}

fn check(sources: &[Source]) -> Result<Vec<Violation>, String> {
    let mut violations = Vec::new();
    let for_tests = test_only(sources)?;
    let is_for_tests = |module: &[String]| for_tests.iter().any(|tests| module.starts_with(tests));
    for source in sources.iter().filter(|source| !is_for_tests(&source.module)) {
        let module = source.module.join("::");
        if module == ROOT {
            continue;
        }
        let Some(own) = floor_of(&module) else {
            violations.push(Violation {
                file: source.path.clone(),
                line: 1,
                what: format!("`{module}` has no floor: give it one in xtask/src/layers.rs"),
            });
            continue;
        };
        for found in arrows::uses(&source.text, &source.module)? {
            let path = found.path.join("::");
            let Some(floor) = floor_of(&path) else { continue }; // an item of the root, not a module
            let mut refuse = |what: String| {
                violations.push(Violation { file: source.path.clone(), line: found.line, what });
            };
            if is_in(&path, SEALED) && !is_in(&module, SEALED) && !OPENERS.iter().any(|opener| is_in(&module, opener)) {
                refuse(format!("`{module}` looks into `{SEALED}` ({path}); only {} may", OPENERS.join(", ")));
            }
            let about = is_in(&module, SEALED) && is_in(&path, SUBJECT);
            let same = floor == own && (FLOORS[own].room || branch(&module, own) == branch(&path, own));
            if !(floor < own || same || about) {
                refuse(format!("`{module}` ({}) must not use `{path}` ({})", FLOORS[own].what, FLOORS[floor].what));
            }
        }
    }
    Ok(violations)
}

/// Whether a path is that of a module or of something in it.
fn is_in(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The floor that names the longest part of a path.
fn floor_of(path: &str) -> Option<usize> {
    let length = |floor: &Floor| floor.modules.iter().filter(|module| is_in(path, module)).map(|it| it.len()).max();
    (0..FLOORS.len()).filter(|index| length(&FLOORS[*index]).is_some()).max_by_key(|index| length(&FLOORS[*index]))
}

/// Which module of its floor a path belongs to.
fn branch(path: &str, floor: usize) -> Option<&'static str> {
    FLOORS[floor].modules.iter().copied().find(|module| is_in(path, module))
}

/// Modules that only tests compile, with all below them.
fn test_only(sources: &[Source]) -> Result<Vec<Vec<String>>, String> {
    let mut modules = Vec::new();
    for source in sources {
        let parent: &[String] = if source.module[0] == ROOT { &[] } else { &source.module };
        for name in arrows::test_modules(&source.text)? {
            modules.push([parent, &[name]].concat());
        }
    }
    Ok(modules)
}

fn read(folder: &Path) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        let failed = |error: std::io::Error| format!("cannot read {}: {error}", at.display());
        for entry in fs::read_dir(&at).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).map_err(failed)?;
                let module = module_of(path.strip_prefix(folder).unwrap_or(&path));
                sources.push(Source { path, module, text });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

/// `engine/table/mod.rs` is `engine::table`, `engine/file.rs` is `engine::file`.
fn module_of(path: &Path) -> Vec<String> {
    let mut module: Vec<String> =
        path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.len() > 1 && module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    module
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), module: module_of(Path::new(path)), text: text.to_owned() }
    }

    /// What the checker says of one file.
    fn complaints(path: &str, text: &str) -> Vec<String> {
        let violations = check(&[source(path, text)]).unwrap();
        violations.iter().map(|violation| violation.what.clone()).collect()
    }

    #[test]
    fn the_library_keeps_its_layers() {
        if let Err(problem) = run() {
            panic!("{problem}");
        }
    }

    #[test]
    fn an_arrow_against_the_order_is_refused_and_named() {
        let said = complaints("rule/grant.rs", "use crate::{words::mode::Mode, engine::Ask};");
        assert_eq!(said.len(), 1);
        assert!(said[0].contains("`rule::grant`") && said[0].contains("engine::Ask"), "{said:?}");
        assert_eq!(complaints("words/mode.rs", "fn f() { crate::rule::grant::walk(); }").len(), 1);
        assert_eq!(complaints("engine/file/mod.rs", "use super::super::api::guard::Guard;").len(), 1);
    }

    #[test]
    fn sub_folders_have_floors_too() {
        assert_eq!(complaints("engine/table/map/word.rs", "use crate::engine::table::wait::park::SLICE;").len(), 1);
        assert!(complaints("engine/table/wait/park.rs", "use crate::engine::table::map::word::Word;").is_empty());
        assert_eq!(complaints("engine/file/mod.rs", "use crate::engine::cluster::Cluster;").len(), 1);
        assert!(complaints("engine/file/mod.rs", "use crate::engine::file::token::Token;").is_empty());
    }

    #[test]
    fn methods_of_the_table_are_spread_over_its_folders_and_nothing_else_of_it_is() {
        assert!(complaints("engine/table/map/word.rs", "use crate::engine::table::Table;").is_empty());
        assert_eq!(complaints("engine/table/map/word.rs", "use crate::engine::table::Other;").len(), 1);
    }

    #[test]
    fn arrows_along_the_order_and_inside_a_room_are_fine() {
        let text = "use crate::{engine::Engine, api::request::Upgrade, words::mode::Mode};";
        assert!(complaints("api/guard.rs", text).is_empty());
        assert!(complaints("engine/mod.rs", "use crate::rule::grant::Rank;").is_empty());
    }

    #[test]
    fn only_openers_look_into_the_table() {
        assert_eq!(complaints("api/request.rs", "use crate::engine::table::Table;").len(), 1);
        assert!(complaints("open/mod.rs", "use crate::engine::table::Table;").is_empty());
        assert!(complaints("engine/file/kernel.rs", "use crate::engine::table::machine::Clock;").is_empty());
    }

    #[test]
    fn a_module_without_a_floor_is_refused() {
        assert!(complaints("helpers.rs", "")[0].contains("has no floor"));
    }

    #[test]
    fn files_that_only_tests_compile_may_look_anywhere() {
        let sources =
            [source("lib.rs", "#[cfg(test)] mod model;"), source("model/rule.rs", "use crate::api::guard::Guard;")];
        assert!(check(&sources).unwrap().is_empty());
    }
}
