//! Every case that is written is run: each function of a case file is in the registry.

use std::{collections::BTreeSet, fs, path::Path};

use concurrent_locks_conformance::all_cases;

#[test]
fn every_case_is_registered() {
    let mut written = BTreeSet::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cases")).expect("the case files") {
        let path = entry.expect("a case file").path();
        let group = path.file_stem().expect("a file name").to_string_lossy().into_owned();
        for line in fs::read_to_string(&path).expect("a readable case file").lines() {
            let name = line.strip_prefix("fn ").or_else(|| line.strip_prefix("pub(crate) fn "));
            if let Some((name, "bench: &Bench) {" | "_: &Bench) {")) = name.and_then(|line| line.split_once('(')) {
                written.insert(format!("{group}::{name}"));
            }
        }
    }
    let registered: BTreeSet<_> = all_cases().map(|(group, case)| format!("{group}::{}", case.name)).collect();
    assert_eq!(registered.len(), all_cases().count(), "a case is registered twice");
    let astray: Vec<_> = written.symmetric_difference(&registered).collect();
    assert!(astray.is_empty(), "written or registered, not both: {astray:?}");
    assert!(written.len() > 100, "the search for cases has found too few of them");
}
