//! The corpus of the fuzz target, and random inputs of the same kinds, each in a process that must
//! not crash or hang.
#![cfg(target_os = "linux")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

const LIMIT: Duration = Duration::from_secs(60);

/// What went wrong, if anything did.
fn harm(input: &Path) -> Option<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let mut child = Command::new(env!("CARGO_BIN_EXE_victim"))
        .arg("hostile")
        .args([directory.path(), input])
        .spawn()
        .expect("the victim starts");
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
        if begin.elapsed() > LIMIT {
            child.kill().expect("it is our child");
            return Some(format!("{}: hangs", input.display()));
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    (!status.success()).then(|| format!("{}: {status}", input.display()))
}

#[test]
fn the_corpus_does_no_harm() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/open_table");
    let mut inputs: Vec<PathBuf> =
        fs::read_dir(&corpus).expect("the corpus").map(|entry| entry.expect("an entry").path()).collect();
    inputs.sort();
    assert!(inputs.len() >= 20, "the corpus is gone");
    let harm: Vec<String> = inputs.iter().filter_map(|input| harm(input)).collect();
    assert!(harm.is_empty(), "{harm:#?}");
}

#[test]
fn random_damage_does_no_harm() {
    let mut random = fastrand::Rng::with_seed(7);
    let directory = tempfile::tempdir().expect("a directory");
    for number in 0..60 {
        let mut input = vec![random.u8(1..3)];
        for _ in 0..random.usize(1..40) {
            let place = random.u32(..1 << 31) & !3;
            let value = [0, 1, random.u64(..64), random.u64(..), u64::MAX][random.usize(..5)];
            let len = [1, 4, 8][random.usize(..3)];
            input.extend(place.to_le_bytes());
            input.push(len);
            input.extend(&value.to_le_bytes()[..len.into()]);
        }
        let path = directory.path().join(format!("random-{number}"));
        fs::write(&path, input).expect("the input");
        if let Some(harm) = harm(&path) {
            let kept = std::env::temp_dir().join(format!("open_table-random-{number}"));
            fs::copy(&path, &kept).expect("a copy");
            panic!("{harm}; the input is kept in {}, for the corpus", kept.display());
        }
    }
}
