//! [`Dialect`]: the protocol of one kind of server. Pure except for the handshake: bytes in, frames out.

use crate::{engine::cluster::protocol::Call, words::error::Error};

/// Why a call has no answer.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The connection ended before the answer: whether the call was carried out is not known.
    Broken(String),
    /// The server refused it (its own words): the call was not carried out.
    Refused(String),
}

/// How late the past of a space is that a server remembers. Of two servers, the later one knows more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Past {
    /// How often the server that takes writes was another one before (Redis), its timeline (PostgreSQL).
    pub(crate) epoch: u64,
    /// The last contact of a session, in microseconds.
    pub(crate) last_contact: u64,
}

/// What came over a connection.
#[derive(Debug)]
pub(crate) enum Frame {
    /// The answer to the oldest call that has none yet.
    Answer(Result<String, Failure>),
    /// Text for this session.
    Push(String),
    /// Nothing that concerns anybody (a notice, a pong, a subscription confirmed).
    Nothing,
    /// The server can no longer serve this connection (scripts flushed, moved, read only, shutting
    /// down): the connection ends, and what waits is requested again on the next one.
    End(String),
}

/// A byte stream during the handshake, when nobody else uses it.
pub(crate) trait HandshakeStream {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error>;
    /// Reads at least one more byte behind `input`, or fails at the deadline of the handshake.
    fn read(&mut self, input: &mut Vec<u8>) -> Result<(), Error>;
}

/// How one kind of server speaks, with what it remembers of one connection.
pub(crate) trait Dialect: Send + Sync + 'static {
    /// Begins the conversation: authenticates, subscribes to the pushes for `session`, makes sure
    /// that scripts or schema are there. What it read beyond its answers stays in `input`.
    fn handshake(&self, stream: &mut dyn HandshakeStream, input: &mut Vec<u8>, session: &str) -> Result<(), Error>;

    /// Looks at a server without leaving anything there: whether it would serve us, and how late its past of our
    /// space is.
    fn look(&self, stream: &mut dyn HandshakeStream, input: &mut Vec<u8>) -> Result<Past, Error>;

    /// Whether the server may take the end of the connection for our death: it is a session of its own.
    fn proves_life(&self) -> bool;

    /// Appends a call to `output`.
    fn encode(&self, call: &Call<'_>, output: &mut Vec<u8>);

    /// The first whole frame of `input` and its length in bytes; `None` if it is not all there yet.
    fn decode(&self, input: &[u8]) -> Result<Option<(usize, Frame)>, Failure>;
}
