//! Bad input: told clearly, with exit code 64; and a broken engine is never taken for a busy lock.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::{snapshot, space::Space};

#[test]
fn bad_input_is_reported() {
    let space = Space::new();
    snapshot!(space.finish(["run", "repo"]), @r#"
    exit code 64
    --- stderr
    error: the following required arguments were not provided:
      <CMD>...

    Usage: locks run <NAME>... -- <CMD>...

    For more information, try '--help'.

    Put `--` before the command: locks run NAME... -- CMD
    "#);
    snapshot!(space.finish(["run", "repo", "git", "commit"]), @r#"
    exit code 64
    --- stderr
    error: the following required arguments were not provided:
      <CMD>...

    Usage: locks run <NAME>... -- <CMD>...

    For more information, try '--help'.

    Put `--` before the command: locks run NAME... -- CMD
    "#);
    snapshot!(space.finish(["run", "--", "true"]), @r#"
    exit code 64
    --- stderr
    error: the following required arguments were not provided:
      <NAME>...

    Usage: locks run <NAME>... -- <CMD>...

    For more information, try '--help'.
    "#);
    snapshot!(space.finish(["run", "--timeout", "soon", "repo", "--", "true"]), @r#"
    exit code 64
    --- stderr
    error: invalid value 'soon' for '--timeout <TIME>': expected number at 0; write a time like 10s, 1m30s or 0.5 (seconds)

    For more information, try '--help'.
    "#);
    snapshot!(space.finish(["run", "", "--", "true"]), @r#"
    exit code 64
    --- stderr
    locks: the lock name "" is empty; a name has 1 to 255 bytes
    "#);
    snapshot!(space.finish(["run", "--owner", "", "repo", "--", "true"]), @r#"
    exit code 64
    --- stderr
    locks: the owner label "" must have 1 to 40 bytes and no NUL
    "#);
    snapshot!(space.finish(["--url", "ftp:x", "status"]), @r#"
    exit code 64
    --- stderr
    locks: the lock URL "ftp:x" has the unknown scheme "ftp"; use local:, host:, host:/path/to/table, file:DIR, redis:// or postgres://
    "#);
    snapshot!(space.finish(["--url", "local:", "run", "repo", "--", "true"]), @r#"
    exit code 64
    --- stderr
    locks: local: reaches only one process: its locks would exclude nobody
    "#);
    snapshot!(space.finish(["--url", "host:", "run", "--lease", "10s", "repo", "--", "true"]), @r#"
    exit code 64
    --- stderr
    locks: --lease is for redis:// and postgres://: the locks of host: have none, they are held until they are released
    "#);
    snapshot!(space.finish(["break", "repo"]), @r#"
    exit code 64
    --- stderr
    locks: nobody holds "repo": there is nothing to break
    "#);
    let space_variable = space.locks(["status"]).env("CONCURRENT_LOCKS_URL", "").env("LOCKS_SPACE", "a/b").output();
    for (output, words) in [
        (space.finish(["staus"]), "`locks status`"),
        (space.finish(["rnu", "repo", "--", "true"]), "`locks run`"),
        (space.finish(["watch", "--seconds", "1e20"]), "too long"),
        (space_variable.unwrap(), "the environment variable LOCKS_SPACE names the space \"a/b\""),
    ] {
        assert_eq!(output.status.code(), Some(64), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(words), "{words}: {output:?}");
    }
    for bad in [
        &["run", "--read", "--write", "x", "--", "true"][..],
        &["run", "-w", "-1", "x", "--", "true"],
        &["run", "-p", "128", "x", "--", "true"],
        &["run", "-E", "256", "x", "--", "true"],
        &["run", "--lease", "0", "x", "--", "true"],
        &["run", "--lease", "long", "x", "--", "true"],
        &["run", "--if-killed", "pray", "x", "--", "true"],
        &["run", &"x".repeat(256), "--", "true"],
        &["run", "--owner", &"x".repeat(41), "x", "--", "true"],
        &["--space", "../x", "status"],
        &["watch", "--count", "many"],
        &["nonsense"],
        &[],
    ] {
        assert_eq!(space.code(bad), Some(64), "{bad:?}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    let space = Space::new();
    for good in [&["--help"][..], &["run", "--help"], &["--version"], &["help", "break"]] {
        let output = space.finish(good);
        assert!(output.status.success() && output.stderr.is_empty() && !output.stdout.is_empty(), "{good:?}");
    }
}

#[test]
fn the_environment_names_the_locks_and_the_command_line_overrides_it() {
    let space = Space::new();
    let other = Space::new();
    assert_eq!(space.code(["run", "here", "--", "true"]), Some(0));
    assert!(space.status("here").is_object());
    assert!(space.json(["--url", &other.url(), "status"]).as_object().unwrap().is_empty());
    // The space of `host:` comes from the environment too; a bad one shows that it was looked at.
    let with_space = |url: &str| {
        let mut command = space.locks(["status"]);
        command.env("CONCURRENT_LOCKS_URL", url).env("LOCKS_SPACE", "../nowhere");
        command.output().unwrap().status.code()
    };
    assert_eq!(with_space("host:"), Some(64));
    assert_eq!(with_space(""), Some(64));
    assert_eq!(with_space(&space.url()), Some(0));
    // What the command line says overrides all of it.
    let mut command = space.locks(["--space", "../x", "--url", &space.url(), "status"]);
    assert_eq!(command.env("LOCKS_SPACE", "../nowhere").output().unwrap().status.code(), Some(0));
}

#[test]
fn a_broken_engine_is_69_and_never_busy() {
    let space = Space::new();
    fs::write(space.path("t.table"), "this is no lock table").unwrap();
    fs::set_permissions(space.path("t.table"), fs::Permissions::from_mode(0o600)).unwrap();
    let output = space.finish(["run", "-E", "9", "repo", "--", "true"]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("t.table"), "{output:?}");
    assert_eq!(space.code(["--url", "host:/proc/no/such/folder/t.table", "run", "x", "--", "true"]), Some(69));
}

#[test]
fn a_bad_command_line_is_json_where_json_is_wanted() {
    let space = Space::new();
    for (bad, words) in [
        (&["run", "--json", "-w", "nonsense", "a", "--", "true"][..], "--timeout"),
        (&["--json", "nonsense"], "unrecognized subcommand"),
        (&["--json", "rnu", "a"], "locks run"),
        (&["status", "--json", "--no-such"], "--no-such"),
        (&["--json"], "requires a subcommand"),
        (&["--json", "--url", "local:", "status"], "only one process"),
        (&["--json", "break", "a"], "nothing to break"),
    ] {
        let output = space.finish(bad);
        assert_eq!(output.status.code(), Some(64), "{bad:?}");
        let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap_or_else(|_| panic!("{output:?}"));
        assert_eq!(error["error"]["kind"], "usage", "{error}");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains(words) && !message.contains('\n'), "{message}");
        assert!(output.stdout.is_empty());
    }
    // What belongs to the command is the command's.
    let output = space.finish(["run", "--nonsense", "a", "--", "echo", "--json"]);
    assert!(output.status.code() == Some(64) && output.stderr.starts_with(b"error:"), "{output:?}");
}
