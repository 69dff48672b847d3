//! Valid names; each name is a separate lock.

use concurrent_locks::{ErrorKind, MAX_NAME_BYTES, Mode};

use crate::{bench::Bench, case::cases, polled::Polled};

cases! {
    any_text_of_one_to_255_bytes_is_a_name,
    names_that_look_alike_are_different_locks,
    long_names_that_differ_at_the_end_are_different_locks,
    bad_names_are_refused_everywhere,
    names_are_shown_as_they_were_given [Inspect],
}

fn good_names() -> Vec<String> {
    let odd = [
        "a",
        ".",
        "..",
        "/",
        "//",
        "../../etc/passwd",
        "/an/absolute/path",
        "a/b/c",
        "a b",
        " ",
        "\t",
        "\n",
        "a\nb",
        "'\"\\",
        "%2e%00",
        "*?[]",
        "-rf",
        "CON",
        "episodic_db:episodic_memory.db",
        "日本語",
        "ü",
        "🔒",
        "\u{1}",
        "\u{7f}",
    ];
    let longest = ["x".repeat(MAX_NAME_BYTES), "é".repeat(127), "/".repeat(MAX_NAME_BYTES)];
    odd.map(str::to_owned).into_iter().chain(longest).collect()
}

fn any_text_of_one_to_255_bytes_is_a_name(bench: &Bench) {
    assert_eq!(MAX_NAME_BYTES, 255);
    let names = good_names();
    let mut guards = Vec::new();
    for name in &names {
        let guard = bench.locks().write(name).try_now().unwrap_or_else(|error| panic!("{name:?}: {error}"));
        assert_eq!(guard.name().unwrap(), *name);
        guards.push(guard);
    }
    names.iter().for_each(|name| bench.assert_busy(name, Mode::Read));
    drop(guards);
    names.iter().for_each(|name| bench.assert_free(name));
}

fn names_that_look_alike_are_different_locks(bench: &Bench) {
    // Case, white space, composed and decomposed, path equality: none of it is looked at.
    let alike = ["a", "A", "a ", " a", "a/", "./a", "/a", "a\n", "é", "e\u{301}", "%61", "a.lock"];
    let guards: Vec<_> = alike.iter().map(|name| bench.locks().write(name).try_now().unwrap()).collect();
    assert_eq!(guards.len(), alike.len());
}

fn long_names_that_differ_at_the_end_are_different_locks(bench: &Bench) {
    let prefix = "x".repeat(MAX_NAME_BYTES - 1);
    let names = ["a", "b", ""].map(|last| format!("{prefix}{last}"));
    let guards = names.each_ref().map(|name| bench.locks().write(name).try_now().unwrap());
    for (name, guard) in names.iter().zip(&guards) {
        assert_eq!(guard.name().unwrap(), *name);
    }
}

fn bad_names_are_refused_everywhere(bench: &Bench) {
    let too_long = ["x".repeat(256), "é".repeat(128), "x".repeat(100_000)];
    let bad = ["", "\0", "a\0", "\0a", "a\0b"].into_iter().chain(too_long.iter().map(String::as_str));
    let locks = bench.locks();
    for name in bad {
        let refused = [
            locks.write(name).try_now().map(drop),
            locks.read(name).blocking().map(drop),
            Polled::new(locks.read(name)).ready().map(drop),
            locks.lock_all([(name, Mode::Read)]).blocking().map(drop),
            locks.resource(name).map(drop),
            locks.status(name).blocking().map(drop),
            locks.statistics(name).blocking().map(drop),
            locks.reset_statistics(Some(name)).blocking(),
            locks.break_lock(name, 1).blocking().map(drop),
        ];
        for result in refused {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidName, "{name:?}");
        }
    }
}

fn names_are_shown_as_they_were_given(bench: &Bench) {
    let names = good_names();
    let guards: Vec<_> = names.iter().map(|name| bench.locks().write(name).try_now().unwrap()).collect();
    let all = bench.locks().status_all().blocking().unwrap();
    for name in &names {
        assert_eq!(bench.status(name).resource_name, *name);
        assert_eq!(all[name].resource_name, *name);
    }
    drop(guards);
}
