//! The part of Redis's protocol needed to send commands to a server.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use crate::error::{Error, Trying};

/// What Redis answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A status or a string.
    Text(String),
    /// A whole number.
    Number(i64),
    /// Nothing is there.
    Nil,
    /// Several replies.
    List(Vec<Reply>),
}

impl Reply {
    /// The text.
    ///
    /// # Panics
    /// If it is something else.
    #[track_caller]
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Reply::Text(text) => text,
            other => panic!("not a text but {other:?}"),
        }
    }
}

/// Gives one command on a connection of its own, after `login`, if there is one.
pub(crate) fn command(socket: &Path, login: &[String], words: &[&str]) -> Result<Reply, Error> {
    let connect = || -> io::Result<_> {
        let stream = UnixStream::connect(socket)?;
        // A server that is stopped must not stop its test.
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(BufReader::new(stream))
    };
    let mut connection = connect().trying(|| format!("connect to {}", socket.display()))?;
    if !login.is_empty() {
        ask(&mut connection, &login.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    ask(&mut connection, words)
}

fn ask(connection: &mut BufReader<UnixStream>, words: &[&str]) -> Result<Reply, Error> {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    let trying = || format!("ask redis {words:?}");
    connection.get_mut().write_all(request.as_bytes()).trying(trying)?;
    read(connection).trying(trying)?.map_err(Error::Refused)
}

/// One reply; the inner error is one that Redis has sent.
fn read(input: &mut impl BufRead) -> io::Result<Result<Reply, String>> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let strange = || io::Error::new(io::ErrorKind::InvalidData, format!("not a reply: {line:?}"));
    let end = line.strip_suffix("\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let (sign, rest) = end.split_at_checked(1).ok_or_else(strange)?;
    let number = || rest.parse::<i64>().map_err(|_| strange());
    Ok(Ok(match sign {
        "+" => Reply::Text(rest.to_owned()),
        "-" => return Ok(Err(rest.to_owned())),
        ":" => Reply::Number(number()?),
        "$" | "*" => match (sign, usize::try_from(number()?)) {
            (_, Err(_)) => Reply::Nil,
            ("$", Ok(length)) => {
                let mut text = vec![0; length + 2];
                input.read_exact(&mut text)?;
                text.truncate(length);
                Reply::Text(String::from_utf8_lossy(&text).into_owned())
            }
            (_, Ok(length)) => {
                let mut list = Vec::new();
                for _ in 0..length {
                    match read(input)? {
                        Ok(reply) => list.push(reply),
                        Err(said) => return Ok(Err(said)),
                    }
                }
                Reply::List(list)
            }
        },
        _ => return Err(strange()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_reply_is_read() {
        let mut input = &b"*4\r\n+OK\r\n:-7\r\n$-1\r\n$4\r\na\r\nb\r\n-ERR no\r\n"[..];
        let list = vec![Reply::Text("OK".into()), Reply::Number(-7), Reply::Nil, Reply::Text("a\r\nb".into())];
        assert_eq!(read(&mut input).unwrap(), Ok(Reply::List(list)));
        assert_eq!(read(&mut input).unwrap(), Err("ERR no".to_owned()));
        assert_eq!(read(&mut input).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
