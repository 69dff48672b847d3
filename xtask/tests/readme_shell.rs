//! The README's shell example, run as it stands with the real command.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

/// The built `locks` command. The tests of the whole workspace have built it; Cargo builds no binary
/// of another package for a test on its own, so where it is missing this does.
fn locks() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let locks = here.ancestors().nth(2).unwrap().join("locks");
    if !locks.exists() {
        let built = Command::new(env!("CARGO")).args(["build", "--quiet", "--package", "locks"]).status().unwrap();
        assert!(built.success());
    }
    locks
}

fn run(folder: &Path, script: &str) -> std::process::Output {
    let path = format!("{}:{}", locks().parent().unwrap().display(), std::env::var("PATH").unwrap());
    Command::new("sh")
        .args(["-euc", script])
        .current_dir(folder)
        .env("PATH", path)
        .env("HOME", folder)
        .env("CONCURRENT_LOCKS_URL", format!("host:{}", folder.join("readme.table").display()))
        .envs(["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"].map(|name| (name, "Reader")))
        .envs(["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"].map(|name| (name, "reader@example.org")))
        .output()
        .unwrap()
}

#[test]
fn the_readmes_shell_example_runs() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let example = readme.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();

    let folder = tempfile::tempdir().unwrap();
    // What the example assumes to be there: a repository with a change, a file, a command.
    let transfer = folder.path().join("transfer");
    fs::write(&transfer, "#!/bin/sh\necho done > transferred\n").unwrap();
    fs::set_permissions(&transfer, fs::Permissions::from_mode(0o700)).unwrap();
    let prepared = run(
        folder.path(),
        "git init --quiet && echo '{}' > memory.json && git add memory.json && git commit --quiet -m first &&
         echo '{\"skills\": 1}' > memory.json",
    );
    assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));

    let output = run(folder.path(), example);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
    assert!(stdout.contains("{\"skills\": 1}"), "{stdout}");
    assert!(folder.path().join("transferred").exists());
    let log = run(folder.path(), "git log --format=%s");
    assert_eq!(String::from_utf8_lossy(&log.stdout), "agent 7\nfirst\n");
}
