//! Bytes in, frames out. What the scripts do is held by the conformance suite, on real servers.

use std::collections::VecDeque;

use proptest::{collection::vec, prelude::*};

use super::{KEYS, RedisDialect, resp, scripts::scripts};
use crate::{
    engine::cluster::{
        protocol::{Call, Verb},
        wire::{Dialect, Failure, Frame, HandshakeStream},
    },
    words::error::{Error, ErrorKind},
};

fn dialect() -> RedisDialect {
    RedisDialect::new("blue", None, None, 0)
}

/// All frames of `input`, as text that can be compared.
fn frames(input: &[u8]) -> Vec<String> {
    let mut rest = input;
    let mut frames = Vec::new();
    while let Some((length, frame)) = dialect().decode(rest).unwrap() {
        frames.push(format!("{frame:?}"));
        rest = &rest[length..];
    }
    assert!(rest.is_empty(), "{rest:?}");
    frames
}

/// The words of a command, read back.
fn words(command: &[u8]) -> Vec<String> {
    let (length, value) = resp::read(command).unwrap().unwrap();
    assert_eq!(length, command.len());
    let resp::Value::List(list) = value else { panic!("{value:?}") };
    let text = |value: &resp::Value<'_>| match value {
        resp::Value::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    list.iter().map(text).collect()
}

#[test]
fn every_verb_has_its_script_where_it_is_looked_for() {
    for (place, verb) in Verb::ALL.into_iter().enumerate() {
        assert_eq!(verb as usize, place);
        let script = &scripts()[place];
        assert!(script.text.starts_with("-- Part of every script: the keys"), "{}", verb.name());
        assert_eq!(script.sha.len(), 40);
    }
    let mut shas: Vec<&str> = scripts().iter().map(|script| &*script.sha).collect();
    shas.sort_unstable();
    shas.dedup();
    assert_eq!(shas.len(), Verb::ALL.len(), "two verbs have one script");
}

#[test]
fn a_call_is_a_command_with_all_keys_of_the_space() {
    let arguments = ["0123456789abcdef", "näme \"\r\n😀"];
    let mut output = Vec::new();
    dialect().encode(&Call { verb: Verb::Verify, arguments: &arguments }, &mut output);
    let words = words(&output);
    assert_eq!(words[0], "EVALSHA");
    assert_eq!(words[1], scripts()[Verb::Verify as usize].sha);
    assert_eq!(words[2], "8");
    assert_eq!(words[3], "locks:{blue}:requests");
    assert_eq!(words[3 + KEYS.len()..], arguments);
}

#[test]
fn answers_refusals_pushes_and_ends_are_distinguished() {
    let decoded = |bytes: &[u8]| dialect().decode(bytes).unwrap().unwrap().1;
    assert!(matches!(decoded(b"$2\r\n{}\r\n"), Frame::Answer(Ok(text)) if text == "{}"));
    assert!(matches!(decoded(b"-ERR user_script:1: damaged\r\n"), Frame::Answer(Err(Failure::Refused(_)))));
    assert!(matches!(decoded(b"!10\r\nERR a\r\nb..\r\n"), Frame::Answer(Err(Failure::Refused(_)))));
    assert!(matches!(decoded(b"-NOPERM no\r\n"), Frame::Answer(Err(Failure::Refused(_)))));
    assert!(matches!(decoded(b"$2\r\n\xff\xfe\r\n"), Frame::Answer(Err(Failure::Refused(_)))));
    assert!(matches!(decoded(b"_\r\n"), Frame::Answer(Err(Failure::Refused(_)))));
    for end in [
        "NOSCRIPT No",
        "MOVED 1 h:1",
        "READONLY x",
        "LOADING x",
        "MASTERDOWN x",
        "CLUSTERDOWN x",
        "BUSY x",
        "NOREPLICAS x",
        "MISCONF x",
    ] {
        assert!(matches!(decoded(format!("-{end}\r\n").as_bytes()), Frame::End(text) if text == end));
    }
    let in_a_script = "ERR Error running script (call to f_1f8f): @user_script:1: @user_script: 1: ";
    let of_redis_6 = |text: &str| decoded(format!("-{in_a_script}{text}\r\n").as_bytes());
    assert!(matches!(of_redis_6("-READONLY You can't write"), Frame::End(_)));
    assert!(matches!(of_redis_6("-OOM command not allowed"), Frame::Answer(Err(Failure::Refused(_)))));
    let push = b">3\r\n$7\r\nmessage\r\n$3\r\nlok\r\n$2\r\n{}\r\n";
    assert!(matches!(decoded(push), Frame::Push(text) if text == "{}"));
    assert!(matches!(decoded(b">3\r\n$9\r\nsubscribe\r\n$3\r\nlok\r\n:1\r\n"), Frame::Nothing));
}

/// A server that has its answers ready, in pieces of one byte.
struct Canned {
    answers: VecDeque<u8>,
    heard: Vec<u8>,
}

impl HandshakeStream for Canned {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.heard.extend_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, input: &mut Vec<u8>) -> Result<(), Error> {
        match self.answers.pop_front() {
            Some(byte) => input.push(byte),
            None => return Err(Error::new(ErrorKind::Unreachable, "the server said no more")),
        }
        Ok(())
    }
}

const MASTER: &str = "%3\r\n$7\r\nversion\r\n$5\r\n7.2.4\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n";

/// The answers to TIME, and to EVALSHA of no script.
const COMMANDS: &str = "*2\r\n$1\r\n1\r\n$1\r\n2\r\n-NOSCRIPT No matching script.\r\n";

fn after_handshake(answers: &str) -> (Result<(), Error>, String) {
    let mut server = Canned { answers: answers.bytes().collect(), heard: Vec::new() };
    let mut input = Vec::new();
    let dialect = RedisDialect::new("blue", Some("ann".to_owned()), Some("secret".to_owned()), 3);
    let result = dialect.handshake(&mut server, &mut input, "0123456789abcdef");
    (result, String::from_utf8(server.heard).unwrap())
}

#[test]
fn a_handshake_loads_what_is_missing_and_subscribes_last() {
    let known: String = Verb::ALL.iter().map(|verb| if *verb == Verb::Renew { ":0\r\n" } else { ":1\r\n" }).collect();
    let sha = &scripts()[Verb::Renew as usize].sha;
    let answers = format!(
        "{MASTER}+OK\r\n:0\r\n{COMMANDS}*{}\r\n{known}$40\r\n{sha}\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n",
        Verb::ALL.len()
    );
    let (result, heard) = after_handshake(&answers);
    result.unwrap();
    let at = |word: &str| heard.find(word).unwrap_or_else(|| panic!("{word} was not said"));
    assert!(at("AUTH") < at("SELECT"));
    assert_eq!(heard.matches("LOAD").count(), 1, "only the missing script is sent");
    assert!(at("LOAD") < at("SUBSCRIBE"));
    assert!(heard.ends_with("locks:{blue}:to:0123456789abcdef\r\n"));
}

#[test]
fn a_server_that_will_not_do_is_refused_with_the_reason() {
    let refused = |answers: &str| after_handshake(answers).0.unwrap_err();
    let replica = refused(&MASTER.replace("$6\r\nmaster", "$7\r\nreplica"));
    assert_eq!(replica.kind(), ErrorKind::Unreachable);
    assert!(replica.to_string().starts_with("this server is a replica"), "{replica}");
    let old = refused("-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n");
    assert_eq!(old.kind(), ErrorKind::Unsupported);
    assert!(old.to_string().contains("6.2"), "{old}");
    assert_eq!(refused(&MASTER.replace("7.2.4", "6.0.9")).kind(), ErrorKind::Unsupported);
    assert_eq!(refused("-WRONGPASS invalid username-password pair\r\n").kind(), ErrorKind::Permission);
    assert_eq!(refused("-LOADING Redis is loading the dataset in memory\r\n").kind(), ErrorKind::Unreachable);
    assert_eq!(refused("HTTP/1.1 400 Bad Request\r\n").kind(), ErrorKind::Unreachable);
    assert_eq!(refused(&format!("{MASTER}-ERR DB index is out of range\r\n")).kind(), ErrorKind::InvalidInput);
    let moved = refused(&format!("{MASTER}+OK\r\n-MOVED 3999 127.0.0.1:6381\r\n"));
    assert!(moved.to_string().contains("127.0.0.1:6381"), "{moved}");
    let unfriendly = refused(&format!("{MASTER}+OK\r\n:0\r\n-NOPERM this user has no permissions\r\n"));
    assert_eq!(unfriendly.kind(), ErrorKind::Permission);
    let guarded = refused(&format!("{MASTER}+OK\r\n-NOREPLICAS Not enough good replicas to write.\r\n"));
    assert_eq!(guarded.kind(), ErrorKind::Unreachable);
    let time = "*2\r\n$1\r\n1\r\n$1\r\n2\r\n";
    for (answers, command) in [
        ("-ERR unknown command 'TIME', with args beginning with: \r\n-NOSCRIPT No\r\n".to_owned(), "TIME"),
        (format!("{time}-ERR unknown command 'EVALSHA', with args beginning with: \r\n"), "EVALSHA"),
    ] {
        let renamed = refused(&format!("{MASTER}+OK\r\n:0\r\n{answers}"));
        assert_eq!(renamed.kind(), ErrorKind::Unsupported, "{renamed}");
        assert!(renamed.to_string().contains(&format!("'{command}'")), "{renamed}");
    }
}

/// One whole frame, as a server could send it.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let text = |kind: char| {
        vec(any::<u8>(), 0..40)
            .prop_map(move |text| [format!("{kind}{}\r\n", text.len()).as_bytes(), &text, b"\r\n"].concat())
    };
    let line = |kind: char| "[ -~]{0,20}".prop_map(move |text| format!("{kind}{text}\r\n").into_bytes());
    let leaf = prop_oneof![text('$'), text('!'), line('+'), line('-'), line(':'), Just(b"_\r\n".to_vec())];
    leaf.prop_recursive(3, 24, 4, |inner| {
        (prop_oneof![Just('*'), Just('>'), Just('~')], vec(inner, 0..4))
            .prop_map(|(kind, parts)| [format!("{kind}{}\r\n", parts.len()).into_bytes(), parts.concat()].concat())
    })
}

proptest! {
    #[test]
    fn however_the_stream_is_cut_the_frames_are_the_same(parts in vec(frame(), 0..8), cuts in vec(any::<prop::sample::Index>(), 0..12)) {
        let stream = parts.concat();
        let whole = frames(&stream);
        prop_assert_eq!(whole.len(), parts.len());
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).chain([stream.len()]).collect();
        ends.sort_unstable();
        let (mut input, mut sent, mut seen) = (Vec::new(), 0, Vec::new());
        for end in ends {
            input.extend_from_slice(&stream[sent..end]);
            sent = end;
            while let Some((length, frame)) = dialect().decode(&input).unwrap() {
                seen.push(format!("{frame:?}"));
                input.drain(..length);
            }
        }
        prop_assert_eq!(seen, whole);
    }

    #[test]
    fn hostile_bytes_neither_panic_nor_go_on_for_ever(bytes in vec(prop_oneof![Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), Just(b'1'), Just(b'9'), Just(b'>'), any::<u8>()], 0..200)) {
        let dialect = dialect();
        let mut rest = &bytes[..];
        while let Ok(Some((length, _))) = dialect.decode(rest) {
            prop_assert!(length > 0);
            rest = &rest[length..];
        }
    }

    #[test]
    fn a_command_is_read_back_as_it_was_said(said in vec(".{0,30}", 1..12)) {
        let mut output = Vec::new();
        resp::command(&said.iter().map(String::as_str).collect::<Vec<_>>(), &mut output);
        prop_assert_eq!(words(&output), said);
    }
}

#[test]
fn lists_that_nest_and_lengths_beyond_all_bounds_are_refused() {
    for hostile in ["*1\r\n".repeat(100_000), "$99999999999999999999\r\n".to_owned(), "*4000000\r\n".to_owned()] {
        assert!(dialect().decode(hostile.as_bytes()).is_err());
    }
    assert!(dialect().decode(&[b'+'; 100_000]).is_err());
}
