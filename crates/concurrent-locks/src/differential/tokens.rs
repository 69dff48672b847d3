//! Rule 7: the tokens that an engine may assign to the grants of the specification.

use super::specification::Token;
use crate::words::mode::Mode;

/// The engine's tokens of one resource, by the specification's.
#[derive(Debug, Default)]
pub(super) struct Tokens(Vec<Option<u64>>);

impl Tokens {
    /// Takes in that the engine gave `seen` for the grant `token`; `grants` are the modes of all grants so far.
    pub(super) fn take_in(&mut self, token: Token, seen: u64, grants: &[Mode]) -> Result<(), String> {
        self.0.resize(grants.len(), None);
        match self.0[token] {
            Some(known) if known == seen => return Ok(()),
            Some(known) => return Err(format!("grant {token} had token {known}, and now {seen}")),
            None => {}
        }
        for (other, known) in self.0.iter().enumerate() {
            let Some(known) = *known else { continue };
            let ordered = [token, other].into_iter().any(|grant| grants[grant] == Mode::Write);
            let fits = if ordered { token.cmp(&other) == seen.cmp(&known) } else { seen != known };
            if !fits {
                return Err(format!("grant {token} has token {seen}, but grant {other} has {known}: {grants:?}"));
            }
        }
        self.0[token] = Some(seen);
        Ok(())
    }

    pub(super) fn of(&self, token: Option<Token>) -> Option<u64> {
        *self.0.get(token?)?
    }
}
