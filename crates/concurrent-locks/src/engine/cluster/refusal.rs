//! The meaning of a server's refusal: by the first word of a Redis error, or PostgreSQL's SQLSTATE.
//!
//! A refusal of the connection, not of one call, ends the connection and does not come here (`Frame::End`).

use crate::words::error::ErrorKind;

/// What kind of error a refusal is.
pub(super) fn kind(why: &str) -> ErrorKind {
    let word = why.split(' ').next().unwrap_or_default();
    match word {
        "NOPERM" | "NOAUTH" | "WRONGPASS" => return ErrorKind::Permission,
        "OOM" => return ErrorKind::Full,
        _ => {}
    }
    let Some(class) = class(word) else {
        // A command that an administrator renamed, met in a script.
        let unknown = why.contains("unknown command") || why.contains("Unknown Redis command");
        return if unknown { ErrorKind::Unsupported } else { ErrorKind::Corrupt };
    };
    match (class, word) {
        // Who we are, and what we may do.
        ("28", _) | (_, "42501") => ErrorKind::Permission,
        // Disk, memory, connections.
        ("53", _) => ErrorKind::Full,
        // It cannot do that, or something between us and it cannot.
        ("0A" | "42" | "54", _) if word != "42P17" => match word {
            // Our own functions meet tables that are not as they made them.
            "42703" | "42702" | "42804" | "42883" | "42P01" => ErrorKind::Corrupt,
            _ => ErrorKind::Unsupported,
        },
        // Raised by our functions, or data that is not as they keep it; and what the server itself calls corrupted.
        ("P0" | "21" | "22" | "23" | "27" | "2F" | "38" | "39" | "42" | "XX", _) => ErrorKind::Corrupt,
        // Cancelled, timed out, a deadlock, shutting down, an I/O error, or what nobody has thought of: nothing is
        // known to be damaged.
        _ => ErrorKind::Unreachable,
    }
}

/// Whether the same call may well be carried out at once: it was cancelled, ran into a limit of time, or met others.
pub(super) fn passes(why: &str) -> bool {
    let code = why.split(' ').next().unwrap_or_default();
    matches!(code, "57014" | "55P03" | "55006") || class(code) == Some("40")
}

/// The class of an SQLSTATE.
fn class(code: &str) -> Option<&str> {
    let is_one = code.len() == 5 && code.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    // No word of Redis has five letters and a digit among them.
    (is_one && code.bytes().any(|byte| byte.is_ascii_digit())).then(|| &code[..2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_reported_only_where_something_is_damaged() {
        for (why, expected) in [
            ("57014 canceling statement due to user request", ErrorKind::Unreachable),
            ("57014 canceling statement due to statement timeout", ErrorKind::Unreachable),
            ("55P03 canceling statement due to lock timeout", ErrorKind::Unreachable),
            ("40P01 deadlock detected", ErrorKind::Unreachable),
            ("40001 could not serialize access", ErrorKind::Unreachable),
            ("58030 could not read block 3", ErrorKind::Unreachable),
            ("42501 permission denied for table request", ErrorKind::Permission),
            ("28000 role is not permitted to log in", ErrorKind::Permission),
            ("53100 No space left on device", ErrorKind::Full),
            ("0A000 prepared statements are not supported", ErrorKind::Unsupported),
            ("42P05 prepared statement \"hello\" already exists", ErrorKind::Unsupported),
            ("42703 column \"mode\" does not exist", ErrorKind::Corrupt),
            ("P0001 a row is not as it was written", ErrorKind::Corrupt),
            ("XX001 invalid page in block 1", ErrorKind::Corrupt),
            ("23505 duplicate key value", ErrorKind::Corrupt),
            ("NOPERM this user has no permissions", ErrorKind::Permission),
            ("OOM command not allowed", ErrorKind::Full),
            ("ERR Unknown Redis command called from script", ErrorKind::Unsupported),
            ("ERR unknown command 'EVALSHA'", ErrorKind::Unsupported),
            ("ERR user_script:3: attempt to index a nil value", ErrorKind::Corrupt),
        ] {
            assert_eq!(kind(why), expected, "{why}");
        }
    }

    #[test]
    fn what_passes_is_tried_again() {
        for why in ["57014 canceled", "55P03 timed out", "40P01 deadlock", "40001 serialization"] {
            assert!(passes(why), "{why}");
        }
        for why in ["42501 permission denied", "53100 disk full", "P0001 raised", "ERR nothing", "OOM full", ""] {
            assert!(!passes(why), "{why}");
        }
    }
}
