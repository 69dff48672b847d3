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

struct Layer {
    what: &'static str,
    modules: &'static [&'static str],
    knot: bool,
}

/// Deepest first.
const LAYERS: &[Layer] = &[
    Layer { what: "which process this is, and its end", modules: &["fork_generation", "process_end"], knot: false },
    Layer { what: "words", modules: &["mode", "histogram", "lease"], knot: false },
    Layer { what: "what is shown", modules: &["status", "stats", "event"], knot: false },
    Layer { what: "reports of deadlocks", modules: &["deadlock"], knot: false },
    Layer { what: "errors", modules: &["error"], knot: false },
    Layer { what: "the news of a loss", modules: &["lost"], knot: false },
    Layer { what: "open files", modules: &["own_file"], knot: false },
    Layer { what: "files", modules: &["kernel_lock", "number_file"], knot: false },
    Layer { what: "fences of what locks protect", modules: &["fencing"], knot: false },
    Layer { what: "names and the grant rule", modules: &["name", "grant"], knot: false },
    Layer { what: "the wait-for graph", modules: &["wait_for"], knot: false },
    Layer { what: "where lock state lives", modules: &["engine"], knot: false },
    Layer {
        what: "the API",
        modules: &[
            "manager",
            "owner",
            "request",
            "request_all",
            "queued",
            "holdings",
            "waiting",
            "guard",
            "upgrade",
            "verify",
            "tree",
            "resource",
            "url",
        ],
        knot: true,
    },
    Layer { what: "what the compiler checks of the API", modules: &["bounds"], knot: false },
];

/// Arrows against the order, each with its reason. One that no longer exists is an error too.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("engine", "manager", "Fairness is a setting of the manager that requests carry into the engine"),
    ("engine", "request", "the longest note is a promise of the API and a field of the table's records"),
    ("engine", "owner", "engines draw the ids of owners without a name, from a new start in a forked child"),
];

/// The folder whose layout nobody else knows, and who may open it.
const SEALED: &str = "engine::table";
const OPENERS: &[&str] = &["manager", "url", "engine::file"];

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
    let mut used_exceptions = vec![false; EXCEPTIONS.len()];
    let for_tests = test_only(sources)?;
    let is_for_tests = |module: &[String]| for_tests.iter().any(|tests| module.starts_with(tests));
    for source in sources.iter().filter(|source| !is_for_tests(&source.module)) {
        let module = source.module.join("::");
        let top = source.module[0].as_str();
        if top == ROOT {
            continue;
        }
        let Some(own) = layer_of(top) else {
            violations.push(Violation {
                file: source.path.clone(),
                line: 1,
                what: format!("`{top}` has no layer: give it one in xtask/src/layers.rs"),
            });
            continue;
        };
        for found in arrows::uses(&source.text, &source.module)? {
            let target = found.path[0].as_str();
            let Some(layer) = layer_of(target) else { continue }; // an item of the root, not a module
            let mut refuse = |what: String| {
                violations.push(Violation { file: source.path.clone(), line: found.line, what });
            };
            let path = found.path.join("::");
            let sealed = path == SEALED || path.starts_with(&format!("{SEALED}::"));
            let inside = module == SEALED || module.starts_with(&format!("{SEALED}::"));
            if sealed
                && !inside
                && !OPENERS.iter().any(|opener| module == *opener || module.starts_with(&format!("{opener}::")))
            {
                refuse(format!("`{module}` looks into `{SEALED}` ({path}); only {} may", OPENERS.join(", ")));
            }
            if target == top || layer < own || (layer == own && LAYERS[own].knot) {
                continue;
            }
            match EXCEPTIONS.iter().position(|(from, to, _)| *from == top && *to == target) {
                Some(index) => used_exceptions[index] = true,
                None => refuse(format!(
                    "`{top}` ({}) must not use `{target}` ({}): {path}",
                    LAYERS[own].what, LAYERS[layer].what
                )),
            }
        }
    }
    for ((from, to, reason), used) in EXCEPTIONS.iter().zip(used_exceptions) {
        if !used {
            let what = format!("`{from}` no longer uses `{to}`: delete the exception ({reason})");
            violations.push(Violation { file: "xtask/src/layers.rs".into(), line: 1, what });
        }
    }
    Ok(violations)
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.modules.contains(&module))
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

    /// What the checker says of one file, stale exceptions apart.
    fn complaints(path: &str, text: &str) -> Vec<String> {
        let violations = check(&[source(path, text)]).unwrap();
        violations.iter().map(|violation| violation.what.clone()).filter(|what| !what.contains("no longer")).collect()
    }

    #[test]
    fn the_library_keeps_its_layers() {
        if let Err(problem) = run() {
            panic!("{problem}");
        }
    }

    #[test]
    fn an_arrow_against_the_order_is_refused_and_named() {
        let said = complaints("grant.rs", "use crate::{mode::Mode, engine::Ask};");
        assert_eq!(said.len(), 1);
        assert!(said[0].contains("`grant`") && said[0].contains("engine::Ask"), "{said:?}");
        assert_eq!(complaints("mode.rs", "fn f() { crate::histogram::bucket_of(1); }").len(), 1);
        assert_eq!(complaints("engine/file/mod.rs", "use super::super::guard::Guard;").len(), 1);
    }

    #[test]
    fn arrows_along_the_order_and_inside_a_knot_are_fine() {
        assert!(complaints("guard.rs", "use crate::{engine::Engine, request::Upgrade, mode::Mode};").is_empty());
        assert!(complaints("engine/mod.rs", "use crate::grant::Rank;").is_empty());
        assert!(
            complaints("engine/table/verbs.rs", "use super::records::Record; use crate::engine::Grant;").is_empty()
        );
    }

    #[test]
    fn only_openers_look_into_the_table() {
        assert_eq!(complaints("request.rs", "use crate::engine::table::Table;").len(), 1);
        assert!(complaints("manager.rs", "use crate::engine::table::Table;").is_empty());
        assert!(complaints("engine/file/kernel.rs", "use crate::engine::table::Table;").is_empty());
    }

    #[test]
    fn a_module_without_a_layer_is_refused() {
        assert!(complaints("helpers.rs", "")[0].contains("has no layer"));
    }

    #[test]
    fn a_stale_exception_is_refused() {
        let violations = check(&[source("grant.rs", "")]).unwrap();
        assert!(violations.iter().any(|violation| violation.what.contains("delete the exception")));
    }

    #[test]
    fn files_that_only_tests_compile_may_look_anywhere() {
        let sources =
            [source("lib.rs", "#[cfg(test)] mod model;"), source("model/rule.rs", "use crate::guard::Guard;")];
        let violations = check(&sources).unwrap();
        assert!(violations.iter().all(|violation| violation.what.contains("delete the exception")));
    }
}
