//! Bytes in, frames out. What the functions do is held by the conformance suite, on real servers.

use std::{collections::VecDeque, sync::atomic::Ordering::Relaxed};

use proptest::{collection::vec, prelude::*};

use super::{PostgresDialect, Role, schema::SCHEMA, statement, whole};
use crate::{
    engine::cluster::{
        protocol::{Call, Verb},
        wire::{Dialect, Failure, Frame, HandshakeStream},
    },
    words::error::{Error, ErrorKind},
};

fn dialect(role: Role) -> PostgresDialect {
    PostgresDialect::new("blue", "ann", Some("secret".to_owned()), "", role)
}

/// One whose connection was found to be its own.
fn alone(role: Role) -> PostgresDialect {
    let dialect = dialect(role);
    dialect.process.store(7, Relaxed);
    dialect
}

/// A message of the server.
fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

fn row(text: &str) -> Vec<u8> {
    message(b'D', &[&[0, 1], &u32::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat())
}

fn pushed(text: &str) -> Vec<u8> {
    message(b'A', &[&[0, 0, 0, 7], &b"concurrent_locks_x\0"[..], text.as_bytes(), b"\0"].concat())
}

fn refused(severity: &str, code: &str, text: &str) -> Vec<u8> {
    message(b'E', format!("SFEHLER\0V{severity}\0C{code}\0M{text}\0HAsk.\0\0").as_bytes())
}

/// All a call brings when all is well.
fn answered(text: &str) -> Vec<u8> {
    [message(b'2', b""), row(text), message(b'C', b"SELECT 1\0"), ready()].concat()
}

/// All frames of `input` that say something, as text that can be compared; then the first failure.
fn frames(dialect: &PostgresDialect, input: &mut Vec<u8>) -> Vec<String> {
    let mut frames = Vec::new();
    loop {
        match dialect.decode(input) {
            Ok(Some((_, Frame::Nothing))) => {}
            Ok(Some((_, ref frame))) => frames.push(format!("{frame:?}")),
            Ok(None) => return frames,
            Err(failure) => {
                frames.push(format!("{failure:?}"));
                return frames;
            }
        }
        let (_, length) = whole(input).unwrap().unwrap();
        input.drain(..length);
    }
}

/// The messages of a client: kind and body.
fn said(mut bytes: &[u8]) -> Vec<(char, Vec<u8>)> {
    let mut messages = Vec::new();
    while let [tag, a, b, c, d, rest @ ..] = bytes {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
        messages.push((char::from(*tag), rest[..length].to_vec()));
        bytes = &rest[length..];
    }
    assert!(bytes.is_empty());
    messages
}

fn said_for(role: Role) -> Vec<(char, Vec<u8>)> {
    let mut output = Vec::new();
    let arguments = ["0123456789abcdef", "näme \"'\\😀"];
    alone(role).encode(&Call { verb: Verb::Verify, arguments: &arguments }, &mut output);
    said(&output)
}

fn kinds(messages: &[(char, Vec<u8>)]) -> String {
    messages.iter().map(|(kind, _)| *kind).collect()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn every_verb_has_its_function_with_as_many_arguments() {
    for verb in Verb::ALL {
        let head = format!("FUNCTION concurrent_locks.{}(", verb.name());
        let at = SCHEMA.find(&head).unwrap_or_else(|| panic!("{head} is not in the schema"));
        let list = SCHEMA[at + head.len()..].split_once(") RETURNS text").unwrap().0;
        assert_eq!(list.matches(',').count(), verb.arity(), "{}", verb.name());
        assert!(list.trim_start().starts_with("_space text"), "{}", verb.name());
    }
    assert_eq!(statement(Verb::Revoke), "SELECT concurrent_locks.revoke($1, $2, $3)");
}

#[test]
fn a_call_binds_a_statement_of_its_connection() {
    let messages = said_for(Role::Both);
    assert_eq!(kinds(&messages), "BES");
    assert!(messages[0].1.starts_with(b"\0verify\0"));
    for argument in ["blue", "0123456789abcdef", "näme \"'\\😀"] {
        assert!(contains(&messages[0].1, argument));
    }
}

#[test]
fn by_a_pool_a_call_brings_its_statement_along() {
    let messages = said_for(Role::Calls);
    assert_eq!(kinds(&messages), "PBES");
    assert!(messages[0].1.starts_with(b"\0SELECT concurrent_locks.verify($1, $2, $3)\0"));
    assert!(messages[1].1.starts_with(b"\0\0"));
}

#[test]
fn an_answer_counts_when_the_server_is_ready_for_the_next() {
    let dialect = dialect(Role::Both);
    let mut input = [answered("{\"a\":1}"), pushed("{}"), message(b'N', b"\0"), answered("{}")].concat();
    let told = frames(&dialect, &mut input);
    assert_eq!(told, ["Answer(Ok(\"{\\\"a\\\":1}\"))", "Push(\"{}\")", "Answer(Ok(\"{}\"))"]);
    // A push between a row and the end of its answer is reported at once.
    let mut input = [row("{}"), pushed("now"), ready()].concat();
    assert_eq!(frames(&dialect, &mut input), ["Push(\"now\")", "Answer(Ok(\"{}\"))"]);
    let mut input = [answered("1"), ready()].concat();
    let told = frames(&dialect, &mut input);
    assert!(told[1].contains("without a row"), "an answer is not reported twice: {told:?}");
}

#[test]
fn refusals_answer_a_call_and_ends_end_the_connection() {
    let told = |bytes: Vec<u8>| frames(&dialect(Role::Both), &mut [bytes, ready()].concat());
    assert_eq!(told(refused("ERROR", "P0001", "damaged")), ["Answer(Err(Refused(\"P0001 damaged (Ask.)\")))"]);
    assert!(told(refused("ERROR", "42501", "no")).concat().contains("Refused"));
    for code in ["25006", "26000", "42883", "57P01"] {
        assert!(told(refused("ERROR", code, "x"))[0].starts_with("End("), "{code}");
    }
    assert!(told(refused("FATAL", "08P01", "x"))[0].starts_with("End("));
    assert!(told(row("\u{fffd}")).concat().contains("Ok("));
    assert!(told(message(b'D', &[0, 1, 0, 0, 0, 1, 0xff])).concat().contains("Refused"));
    assert!(told(message(b'D', &[0, 1, 0xff, 0xff, 0xff, 0xff])).concat().contains("Refused"));
    assert!(told(message(b'D', &[0, 0])).concat().contains("Refused"));
}

#[test]
fn what_is_not_the_protocol_ends_it() {
    let decoded = |bytes: &[u8]| dialect(Role::Both).decode(bytes);
    assert!(matches!(decoded(b"HTTP/1.1 400 Bad Request\r\n"), Err(Failure::Broken(_))));
    assert!(matches!(decoded(b"D\x00\x00\x00\x00"), Err(Failure::Broken(_))));
    assert!(matches!(decoded(b"D\x7f\xff\xff\xff"), Err(Failure::Broken(_))));
    assert!(matches!(decoded(&message(b'G', b"")), Err(Failure::Broken(_))));
    assert!(matches!(decoded(b"D\x00"), Ok(None)));
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

fn after_handshake(role: Role, answers: &[Vec<u8>]) -> (Result<(), Error>, String) {
    let mut server = Canned { answers: answers.concat().into(), heard: Vec::new() };
    let result = dialect(role).handshake(&mut server, &mut Vec::new(), "0123456789abcdef");
    (result, String::from_utf8_lossy(&server.heard).into_owned())
}

fn let_in() -> Vec<u8> {
    [
        message(b'R', &[0, 0, 0, 0]),
        message(b'S', b"server_version\x0015.1\0"),
        message(b'K', &[0, 0, 0, 7, 0, 0, 0, 9]),
        ready(),
    ]
    .concat()
}

fn seen(recovering: &str, read_only: &str, version: &str, isolation: &str) -> Vec<u8> {
    [row(recovering), row(read_only), row(version), row(isolation), row("7"), ready()].concat()
}

fn good() -> Vec<u8> {
    seen("f", "off", "150018", "read committed")
}

#[test]
fn a_handshake_finds_the_schema_proves_its_life_and_listens_last() {
    let answers = [
        let_in(),
        good(),
        ready(),
        [row("t"), ready()].concat(),
        [row("2"), ready()].concat(),
        ready(),
        ready(),
        ready(),
        ready(),
    ];
    let (result, heard) = after_handshake(Role::Both, &answers);
    result.unwrap();
    let at = |word: &str| heard.find(word).unwrap_or_else(|| panic!("{word} was not said"));
    assert!(at("pg_is_in_recovery") < at("concurrent_locks.layout"));
    let acquire = "SELECT CASE WHEN pg_backend_pid() = 7 THEN concurrent_locks.acquire($1";
    assert!(at(acquire) < at("pg_advisory_lock(81985529216486895)"));
    assert!(at("pg_advisory_lock(") < at("LISTEN \"concurrent_locks_0123456789abcdef\""));
    assert!(!heard.contains("CREATE"), "the schema is there");
}

#[test]
fn by_a_pool_nothing_is_left_in_the_connection() {
    let answers = [let_in(), good(), [row("t"), ready()].concat(), [row("2"), ready()].concat()];
    let (result, heard) = after_handshake(Role::Calls, &answers);
    result.unwrap();
    for word in ["LISTEN", "pg_advisory_lock", "set_config", "SET "] {
        assert!(!heard.contains(word), "{word}");
    }
    let (result, heard) = after_handshake(Role::Listen, &[let_in(), good(), ready(), ready(), ready(), ready()]);
    result.unwrap();
    assert!(heard.contains("LISTEN") && !heard.contains("concurrent_locks.layout"));
}

#[test]
fn a_pooler_that_was_not_named_is_seen_and_nothing_is_left_in_its_connection() {
    let other =
        |process: &str| [row("f"), row("off"), row("150018"), row("read committed"), row(process), ready()].concat();
    let schema = || [[row("t"), ready()].concat(), [row("2"), ready()].concat()].concat();
    let dialect = dialect(Role::Both);
    let mut server = Canned { answers: [let_in(), other("8"), schema()].concat().into(), heard: Vec::new() };
    dialect.handshake(&mut server, &mut Vec::new(), "0123456789abcdef").unwrap();
    let heard = String::from_utf8_lossy(&server.heard).into_owned();
    for word in ["LISTEN", "pg_advisory_lock", "set_config", "SET ", "CASE"] {
        assert!(!heard.contains(word), "{word}");
    }
    assert!(!dialect.proves_life());
    let mut output = Vec::new();
    dialect.encode(&Call { verb: Verb::Verify, arguments: &["s", "r"] }, &mut output);
    assert_eq!(kinds(&said(&output)), "PBES", "no statement is left there");
    // The direct connection has to be one.
    let (result, _) = after_handshake(Role::Listen, &[let_in(), other("8")]);
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("listen="), "{error}");
}

#[test]
fn a_call_that_comes_to_another_process_ends_the_connection_and_is_remembered() {
    let first = alone(Role::Both);
    assert!(first.proves_life());
    let told = frames(&first, &mut [row(super::ELSEWHERE), ready()].concat());
    assert!(told[0].starts_with("End("), "{told:?}");
    let next = dialect(Role::Both).knowing(std::sync::Arc::clone(&first.multiplexed));
    let answers = [let_in(), good(), [row("t"), ready()].concat(), [row("2"), ready()].concat()];
    let mut server = Canned { answers: answers.concat().into(), heard: Vec::new() };
    next.handshake(&mut server, &mut Vec::new(), "0123456789abcdef").unwrap();
    assert!(!next.proves_life());
}

#[test]
fn a_missing_schema_is_made_by_one_of_many() {
    let missing = || [row("f"), ready()].concat();
    let there = || [row("t"), ready()].concat();
    let first = [let_in(), good(), missing(), ready(), missing(), ready(), ready()];
    let (result, heard) = after_handshake(Role::Calls, &first);
    result.unwrap();
    assert!(heard.contains("CREATE SCHEMA") && heard.contains("pg_advisory_xact_lock") && heard.contains("COMMIT"));
    let second = [let_in(), good(), missing(), ready(), there(), [row("2"), ready()].concat(), ready()];
    let (result, heard) = after_handshake(Role::Calls, &second);
    result.unwrap();
    assert!(!heard.contains("CREATE SCHEMA"), "somebody else made it");
    let forbidden = [refused("ERROR", "42501", "permission denied for database"), ready()].concat();
    let (result, _) =
        after_handshake(Role::Calls, &[let_in(), good(), missing(), ready(), missing(), forbidden, ready()]);
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permission);
    assert!(error.to_string().contains("schema/*.sql"), "{error}");
}

#[test]
fn a_server_that_will_not_do_is_refused_with_the_reason() {
    let error = |answers: &[Vec<u8>]| after_handshake(Role::Calls, answers).0.unwrap_err();
    let replica = error(&[let_in(), seen("t", "on", "150018", "read committed")]);
    assert_eq!(replica.kind(), ErrorKind::Unreachable);
    assert!(replica.to_string().starts_with("this server is a replica"), "{replica}");
    assert_eq!(error(&[let_in(), seen("f", "on", "150018", "read committed")]).kind(), ErrorKind::Unreachable);
    assert_eq!(error(&[let_in(), seen("f", "off", "120001", "read committed")]).kind(), ErrorKind::Unsupported);
    assert_eq!(error(&[let_in(), seen("f", "off", "150018", "serializable")]).kind(), ErrorKind::Unsupported);
    assert_eq!(error(&[refused("FATAL", "28P01", "wrong")]).kind(), ErrorKind::Permission);
    assert_eq!(error(&[refused("FATAL", "3D000", "no database")]).kind(), ErrorKind::InvalidInput);
    assert_eq!(error(&[refused("FATAL", "53300", "too many")]).kind(), ErrorKind::Unreachable);
    assert_eq!(error(&[message(b'R', &[0, 0, 0, 7])]).kind(), ErrorKind::Unsupported);
    assert_eq!(error(&[b"HTTP/1.1 400 Bad Request\r\n".to_vec()]).kind(), ErrorKind::Unreachable);
    let newer = [let_in(), good(), [row("t"), ready()].concat(), [row("7"), ready()].concat()];
    assert_eq!(error(&newer).kind(), ErrorKind::Unsupported);
}

#[test]
fn a_password_is_sent_as_required_and_only_if_there_is_one() {
    let plain = message(b'R', &[0, 0, 0, 3]);
    let (_, heard) = after_handshake(Role::Calls, &[plain.clone(), let_in()]);
    assert!(heard.contains("secret"));
    let (_, heard) = after_handshake(Role::Calls, &[message(b'R', &[0, 0, 0, 5, 1, 2, 3, 4]), let_in()]);
    assert!(heard.contains("md5") && !heard.contains("secret"));
    let (_, heard) = after_handshake(Role::Calls, &[message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0")]);
    assert!(heard.contains("SCRAM-SHA-256") && !heard.contains("secret"));
    let mut server = Canned { answers: plain.into(), heard: Vec::new() };
    let nameless = PostgresDialect::new("blue", "ann", None, "", Role::Calls);
    let error = nameless.handshake(&mut server, &mut Vec::new(), "0123456789abcdef").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permission);
}

/// Something a server could send.
fn part() -> impl Strategy<Value = Vec<u8>> {
    let text = "[^\0]{0,40}";
    prop_oneof![
        text.prop_map(|text| answered(&text)),
        text.prop_map(|text| pushed(&text)),
        ("[0-9A-Z]{5}", text).prop_map(|(code, text)| [refused("ERROR", &code, &text), ready()].concat()),
        vec(any::<u8>(), 0..20).prop_map(|body| message(b'N', &body)),
        vec(any::<u8>(), 0..20).prop_map(|body| message(b'S', &body)),
    ]
}

proptest! {
    #[test]
    fn however_the_stream_is_cut_the_frames_are_the_same(parts in vec(part(), 0..8), cuts in vec(any::<prop::sample::Index>(), 0..12)) {
        let stream = parts.concat();
        let all = frames(&dialect(Role::Both), &mut stream.clone());
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).chain([stream.len()]).collect();
        ends.sort_unstable();
        let (in_pieces, mut input, mut sent, mut seen) = (dialect(Role::Both), Vec::new(), 0, Vec::new());
        for end in ends {
            input.extend_from_slice(&stream[sent..end]);
            sent = end;
            seen.append(&mut frames(&in_pieces, &mut input));
        }
        prop_assert!(input.is_empty());
        prop_assert_eq!(seen, all);
    }

    #[test]
    fn hostile_bytes_neither_panic_nor_go_on_for_ever(
        bytes in vec(prop_oneof![Just(b'D'), Just(b'E'), Just(b'A'), Just(b'Z'), 0..9_u8, any::<u8>()], 0..200),
        tag in prop_oneof![Just(b'D'), Just(b'E'), Just(b'A'), Just(b'R'), any::<u8>()],
    ) {
        let whole_message = message(tag, &bytes);
        for mut input in [bytes, whole_message] {
            frames(&dialect(Role::Both), &mut input);
            let mut server = Canned { answers: input.into(), heard: Vec::new() };
            prop_assert!(dialect(Role::Both).handshake(&mut server, &mut Vec::new(), "0123456789abcdef").is_err());
        }
    }

    #[test]
    fn a_call_is_read_back_as_it_was_said(request in "[^\0]{0,300}") {
        let mut output = b"before".to_vec();
        dialect(Role::Calls).encode(&Call { verb: Verb::Verify, arguments: &["s", &request] }, &mut output);
        let messages = said(output.strip_prefix(b"before").unwrap());
        let expected = [&4_u32.to_be_bytes()[..], b"blue", &1_u32.to_be_bytes(), b"s",
            &u32::try_from(request.len()).unwrap().to_be_bytes(), request.as_bytes()].concat();
        prop_assert!(messages[1].1.windows(expected.len()).any(|window| window == expected));
    }
}
