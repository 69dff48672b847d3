//! [`Identity`]: a labelled owner as its handles and guards share it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use once_cell::race::OnceBox;

use crate::{
    api::holdings::{Held, Holdings},
    engine::Who,
    os::{fork_generation::ForkGeneration, owner_id::anonymous},
    words::{
        error::{Error, ErrorKind},
        limits::MAX_LABEL_BYTES,
    },
};

/// A labelled owner, as shared by all of its handles and guards.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) who: Who,
    pub(crate) holdings: Holdings,
    /// The process that owns it.
    process: ForkGeneration,
    /// Its replacement in a forked child: two processes that share an owner would both enter.
    in_child: OnceBox<Arc<Identity>>,
    /// Other processes may have it from the environment: what they hold in its name is not among the
    /// holdings.
    handed_down: AtomicBool,
}

impl Identity {
    pub(crate) fn new(label: &str, ancestors: Vec<u64>) -> Result<Identity, Error> {
        if label.is_empty() || label.len() > MAX_LABEL_BYTES || label.contains('\0') {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("the owner label {label:?} must have 1 to {MAX_LABEL_BYTES} bytes and no NUL"),
            ));
        }
        Ok(Self::drawn(label.to_owned(), ancestors))
    }

    fn drawn(label: String, ancestors: Vec<u64>) -> Identity {
        Identity {
            who: Who { id: anonymous() & !(1 << 63), label, ancestors },
            holdings: Holdings::default(),
            handed_down: AtomicBool::new(false),
            process: ForkGeneration::current(),
            in_child: OnceBox::new(),
        }
    }

    /// The owner of requests made in this process: in a forked child another one of the same label.
    #[inline]
    pub(crate) fn in_this_process(self: &Arc<Identity>) -> &Arc<Identity> {
        let process = ForkGeneration::current();
        let mut identity = self;
        while identity.process != process {
            identity = match identity.in_child.get() {
                Some(own) => own,
                None => {
                    let own = Arc::new(Identity::drawn(identity.who.label.clone(), identity.who.ancestors.clone()));
                    identity.in_child.get_or_init(|| Box::new(own))
                }
            };
        }
        identity
    }

    /// A grant of this owner was released, or its copy dropped in a forked child. There another thread of
    /// the parent may have locked the holdings for ever, and nobody asks for them.
    #[inline]
    pub(crate) fn gave(&self, given: &Held) {
        if self.process.is_current() {
            self.holdings.gave(given);
        }
    }

    /// Other processes may hold in its name from now on.
    pub(crate) fn hand_down(&self) {
        self.handed_down.store(true, Relaxed);
    }

    /// Whether a wait of this owner could close a cycle, or a request of it re-enter.
    #[inline]
    pub(crate) fn may_hold(&self) -> bool {
        !self.who.ancestors.is_empty() || self.holdings.any() || self.handed_down.load(Relaxed)
    }
}
