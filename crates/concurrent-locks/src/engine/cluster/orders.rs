//! The order in which the owners of this process acquired their locks: for contradictions between two orders, which are
//! deadlocks that have not happened yet.
//!
//! It is a hint for people, so it causes no call of its own: each pair is sent once, many in one call, with
//! the next release or renewal, with a search for deadlocks, and at the end.

use std::collections::HashSet;

use super::{client::Client, protocol::Verb, state::State};

/// How many pairs are remembered, here and by the server.
const MOST: usize = 4096;

/// How many are sent in one call, so that none keeps others waiting for long.
const AT_ONCE: usize = 256;

#[derive(Default)]
pub(super) struct Orders {
    known: HashSet<(String, String)>,
    /// What must still be sent to the server: earlier, later, the owner's label.
    untold: Vec<(String, String, String)>,
}

impl Orders {
    /// `later` was taken while `earlier` was held.
    fn add(&mut self, earlier: &str, later: &str, label: &str) {
        let pair = (earlier.to_owned(), later.to_owned());
        if self.known.len() < MOST && self.known.insert(pair) {
            self.untold.push((earlier.to_owned(), later.to_owned(), label.to_owned()));
        }
    }

    /// The server may be another one, or have lost its state: what happens again is sent again.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    pub(super) fn were_sent(&self) -> bool {
        self.untold.is_empty()
    }
}

impl Client {
    pub(super) fn record_order(&self, earlier: &str, later: &str, label: &str) {
        self.state().orders.add(earlier, later, label);
    }

    /// Sends what is pending. A loss on the way does not matter much.
    pub(super) fn tell_orders(&'static self, state: &mut State) {
        let Some(link) = state.link.clone().filter(|_| !state.orders.were_sent()) else { return };
        let untold = std::mem::take(&mut state.orders.untold);
        for part in untold.chunks(AT_ONCE) {
            let Ok(text) = serde_json::to_string(part) else { continue };
            self.tell(&link, Verb::RecordOrders, &[&text], |_| {});
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_is_sent_once_and_only_so_many() {
        let mut orders = Orders::default();
        for _ in 0..2 {
            orders.add("a", "b", "ann");
            orders.add("b", "a", "bob");
        }
        assert_eq!(orders.untold.len(), 2);
        for number in 0..2 * MOST {
            orders.add("a", &number.to_string(), "ann");
        }
        assert_eq!((orders.untold.len(), orders.known.len()), (MOST, MOST));
    }
}
