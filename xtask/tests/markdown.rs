//! The documents hold what they say: links lead somewhere, cited tests exist, commands are the real ones.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Files of the workspace with this extension, without what is built or fetched.
fn files(extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !["target", ".git", "node_modules"].contains(&name.as_str()) {
                folders.push(path);
            } else if path.extension().is_some_and(|own| own == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The lines of a document outside its code blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut code = false;
    text.lines().enumerate().filter_map(move |(number, line)| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        (!code && !fence).then_some((number + 1, line))
    })
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for document in files("md") {
        let text = fs::read_to_string(&document).unwrap();
        for (number, line) in prose(&text) {
            for link in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let path = link.split('#').next().unwrap_or_default();
                let outside = link.contains("://") || path.is_empty();
                if !outside && !document.parent().unwrap().join(path).exists() {
                    broken.push(format!("{}:{number}: {link}", document.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

/// Tables with the column "Shown by" cite tests by function name: each must exist.
#[test]
fn tests_that_documents_cite_exist() {
    let functions: BTreeSet<String> = files("rs").iter().flat_map(|path| functions(path)).collect();
    let (mut cited, mut missing) = (0, Vec::new());
    for document in files("md") {
        let text = fs::read_to_string(&document).unwrap();
        let mut column = None;
        for (number, line) in prose(&text) {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            if !line.starts_with('|') {
                column = None;
            } else if let Some(place) = cells.iter().position(|cell| *cell == "Shown by") {
                column = Some(place);
            } else if let Some(cell) = column.and_then(|place| cells.get(place)) {
                for test in cell.split('`').skip(1).step_by(2) {
                    cited += 1;
                    if !functions.contains(test) {
                        missing.push(format!("{}:{number}: {test}", document.display()));
                    }
                }
            }
        }
    }
    assert!(missing.is_empty(), "cited tests that do not exist:\n{}", missing.join("\n"));
    assert!(cited > 0, "no document cites a test: has the column \"Shown by\" been renamed?");
}

/// Names of all functions in a source file.
fn functions(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let name = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    text.split("fn ").skip(1).map(name).collect()
}

#[test]
fn continuous_integration_runs_the_readmes_test_command() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let console = readme.split("```console\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let commands: Vec<&str> =
        console.lines().map(|line| line.trim_start_matches("$ ").split('#').next().unwrap().trim()).collect();
    assert_eq!(commands.len(), 2, "the README promises two commands: {commands:?}");
    let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
    assert!(ci.contains(commands[1]), ".ci/run does not run `{}`", commands[1]);
}
