//! [`Inbox`]: bytes received over one channel and not decoded yet.

/// The least room for one read.
const ROOM: usize = 16 * 1024;

#[derive(Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    /// What lies before is decoded.
    start: usize,
}

impl Inbox {
    pub(super) fn new(bytes: Vec<u8>) -> Inbox {
        Inbox { bytes, start: 0 }
    }

    pub(super) fn waiting(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start >= self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// Where the next bytes are appended. The room doubles with what waits, so that a long frame is
    /// looked at a few times only before it is whole.
    pub(super) fn room(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() - self.bytes.len() < ROOM {
            self.bytes.drain(..self.start);
            self.start = 0;
            self.bytes.reserve(ROOM.max(self.bytes.len()));
        }
        &mut self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decoded_makes_room() {
        let mut inbox = Inbox::new(b"decoded, waiting".to_vec());
        inbox.consume("decoded, ".len());
        inbox.room().extend_from_slice(b" and more");
        assert_eq!(inbox.waiting(), b"waiting and more");
        inbox.consume("waiting and more".len());
        assert!(inbox.waiting().is_empty());
        assert!(inbox.room().is_empty() && inbox.room().capacity() >= ROOM);
    }
}
