//! Places of a child's own: mounts and namespaces, where this machine allows them.

use std::{
    io::{Write, stderr},
    process::{Command, Stdio},
};

/// Says that a test cannot run here; past the harness, which swallows the output of what passes.
pub(crate) fn skip(why: &str) {
    writeln!(stderr().lock(), "\nSKIPPED: {why}").unwrap();
}

/// A program and arguments under which a command can be run.
pub(crate) type Wrapper = Vec<String>;

pub(crate) fn words(wrapper: &[String]) -> Vec<&str> {
    wrapper.iter().map(String::as_str).collect()
}

fn works(wrapper: &[String]) -> bool {
    let [program, arguments @ ..] = wrapper else { return false };
    let status = Command::new(program).args(arguments).arg("true").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

pub(crate) fn first_that_works(candidates: impl IntoIterator<Item = Wrapper>, what: &str) -> Option<Wrapper> {
    let found = candidates.into_iter().find(|wrapper| works(wrapper));
    if found.is_none() {
        skip(&format!("this machine allows no {what}"));
    }
    found
}

/// Runs a command with a shared-memory file system of its own, of this size, after the shell
/// commands `prepare`. The command keeps the pid of the child that was started.
pub(crate) fn own_shared_memory(size: &str, prepare: &str) -> Option<Wrapper> {
    in_own_mounts(&format!("mount -t tmpfs -o size={size} tmpfs /dev/shm && {prepare}"))
}

/// Runs a command in a mount namespace of its own, after the shell commands `prepare` in it.
pub(crate) fn in_own_mounts(prepare: &str) -> Option<Wrapper> {
    let script = format!("{prepare} && exec \"$@\"");
    let shell = ["sh", "-c", script.as_str(), "sh"];
    let with = |options: &[&str]| {
        let start = ["unshare"].iter().chain(options).chain(&shell);
        start.map(|word| (*word).to_owned()).collect()
    };
    let candidates = [with(&["--mount"]), with(&["--mount", "--user", "--map-root-user"])];
    first_that_works(candidates, "mounts in a namespace of their own")
}

/// Runs a command as process 1 of a PID namespace; it dies with the child that was started.
pub(crate) fn own_processes() -> Option<Wrapper> {
    let options = ["--pid", "--fork", "--kill-child", "--mount-proc"];
    let with = |more: &[&str]| {
        let start = ["unshare"].iter().chain(more).chain(&options);
        start.map(|word| (*word).to_owned()).collect()
    };
    let candidates = [with(&["--user", "--map-root-user"]), with(&[])];
    first_that_works(candidates, "PID namespaces")
}
