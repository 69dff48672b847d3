//! RESP3, as far as it comes over our connections: <https://redis.io/docs/latest/develop/reference/protocol-spec/>
//!
//! By hand, because what comes from outside must not end the process: the one maintained crate
//! (`redis-protocol` 6.0) decodes by recursion without a bound, so 400 KB of `*1` overflow the stack,
//! which nobody can catch. What we need besides is little: a command is a list of strings, and an
//! answer is read where it lies.

/// The longest line: simple texts, errors, lengths.
const MOST_LINE: usize = 64 * 1024;
/// The longest text; Redis itself has this limit.
const MOST_TEXT: usize = 512 * 1024 * 1024;
/// How deep lists may nest. The handshake's deepest answer has two levels.
const MOST_DEPTH: usize = 8;
/// The most elements of a list. The handshake's longest answer has some dozens.
const MOST_ELEMENTS: usize = 4096;

/// One value, where it lies in the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Text(&'a [u8]),
    /// The server's words about what it did not do.
    Error(&'a [u8]),
    /// Number, boolean, double: its text.
    Scalar(&'a [u8]),
    Null,
    /// Array, set, or map (keys and values in turn).
    List(Vec<Value<'a>>),
    /// What the server says unasked.
    Push(Vec<Value<'a>>),
}

/// Why bytes are no RESP3.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// The first whole value of `input` and its length in bytes; `None` if it is not all there yet.
pub(super) fn read(input: &[u8]) -> Result<Option<(usize, Value<'_>)>, Malformed> {
    let mut reader = Reader { input, at: 0 };
    Ok(reader.value(MOST_DEPTH)?.map(|value| (reader.at, value)))
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Option<Value<'a>>, Malformed> {
        let Some(depth) = depth.checked_sub(1) else { return Err(Malformed("lists nest too deep")) };
        let Some(line) = self.line()? else { return Ok(None) };
        let Some((kind, rest)) = line.split_first() else { return Err(Malformed("an empty line")) };
        Ok(match kind {
            b'$' | b'=' | b'!' if is_null(rest) => Some(Value::Null),
            b'$' => self.text(length(rest, MOST_TEXT)?)?.map(Value::Text),
            // A verbatim text begins with its kind, as in `txt:`.
            b'=' => self.text(length(rest, MOST_TEXT)?)?.map(|text| Value::Text(text.get(4..).unwrap_or_default())),
            b'!' => self.text(length(rest, MOST_TEXT)?)?.map(Value::Error),
            b'+' => Some(Value::Text(rest)),
            b'-' => Some(Value::Error(rest)),
            b':' | b'#' | b',' | b'(' => Some(Value::Scalar(rest)),
            b'_' => Some(Value::Null),
            b'*' | b'~' if is_null(rest) => Some(Value::Null),
            b'*' | b'~' => self.list(length(rest, MOST_ELEMENTS)?, depth)?.map(Value::List),
            b'%' => self.list(2 * length(rest, MOST_ELEMENTS)?, depth)?.map(Value::List),
            b'>' => self.list(length(rest, MOST_ELEMENTS)?, depth)?.map(Value::Push),
            // An attribute of the value that follows.
            b'|' => match self.list(2 * length(rest, MOST_ELEMENTS)?, depth)? {
                Some(_) => self.value(depth)?,
                None => None,
            },
            _ => return Err(Malformed("a value of an unknown kind")),
        })
    }

    /// The next line without its end.
    fn line(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let rest = &self.input[self.at..];
        let seen = &rest[..rest.len().min(MOST_LINE)];
        let Some(end) = seen.iter().position(|byte| *byte == b'\n') else {
            return if seen.len() == MOST_LINE { Err(Malformed("a line has no end")) } else { Ok(None) };
        };
        let line = seen[..end].strip_suffix(b"\r").ok_or(Malformed("a line ends without a carriage return"))?;
        self.at += end + 1;
        Ok(Some(line))
    }

    /// So many bytes and the line's end behind them.
    fn text(&mut self, length: usize) -> Result<Option<&'a [u8]>, Malformed> {
        let rest = &self.input[self.at..];
        if rest.len() < length + 2 {
            return Ok(None);
        }
        if &rest[length..length + 2] != b"\r\n" {
            return Err(Malformed("a text is longer than it says"));
        }
        self.at += length + 2;
        Ok(Some(&rest[..length]))
    }

    fn list(&mut self, length: usize, depth: usize) -> Result<Option<Vec<Value<'a>>>, Malformed> {
        let mut values = Vec::new();
        for _ in 0..length {
            let Some(value) = self.value(depth)? else { return Ok(None) };
            values.push(value);
        }
        Ok(Some(values))
    }
}

fn is_null(length: &[u8]) -> bool {
    length == b"-1"
}

fn length(digits: &[u8], most: usize) -> Result<usize, Malformed> {
    let number = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = number.and_then(|text| text.parse::<usize>().ok()).ok_or(Malformed("a length is not a number"))?;
    if number > most { Err(Malformed("a length is beyond all bounds")) } else { Ok(number) }
}

/// Appends the head of a command of so many words.
pub(super) fn begin(words: usize, output: &mut Vec<u8>) {
    number(b'*', words, output);
}

/// Appends one word of a command.
pub(super) fn word(word: &[u8], output: &mut Vec<u8>) {
    number(b'$', word.len(), output);
    output.extend_from_slice(word);
    output.extend_from_slice(b"\r\n");
}

/// Appends a whole command.
pub(super) fn command(words: &[&str], output: &mut Vec<u8>) {
    begin(words.len(), output);
    for text in words {
        word(text.as_bytes(), output);
    }
}

fn number(kind: u8, number: usize, output: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    output.push(kind);
    output.extend_from_slice(&digits[at..]);
    output.extend_from_slice(b"\r\n");
}
