//! Redis: a script that runs one command if its token is not older than one that has passed.
//!
//! `EVAL GUARD 1 FENCE TOKEN COMMAND ARGUMENT...` compares, remembers and runs the command in one step, and
//! answers what the command answers. A refusal is an error whose first word is [`REFUSAL`] and whose
//! second is the token that has passed.
//!
//! - In a cluster the fence and all keys of the command must be in one slot: give them the same hash
//!   tag, as in `{skills}:fence` and `{skills}:data`. Keys of the command may be named behind the fence's (`KEYS[2]` and on).
//! - The fence must not expire or be evicted: no time to live, `maxmemory-policy` `noeviction` or one of the
//!   `volatile-` ones.
//! - A replica that takes over may lack the last commands. The fence and what was written under it are
//!   lost together, so an older token may then pass.
//!
//! `docs/fencing.md` has a recipe.

/// The script. `KEYS[1]` is the fence, `ARGV[1]` the token, the rest of `ARGV` the command.
pub const GUARD: &str = include_str!("guard.lua");

/// The first word of a refusal.
pub const REFUSAL: &str = "FENCED";

/// The tokens that the script accepts are smaller: above, Lua's numbers cannot distinguish neighbours.
/// Those of servers are microseconds since 1970 and reach it in the year 2255; those of `host:` and
/// `local:` count in 256 ns and reach it in 2043.
pub const TOKEN_LIMIT: u64 = 1 << 53;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_has_the_word_and_the_limit_that_are_promised() {
        assert!(GUARD.contains(&format!("'{REFUSAL} ")));
        assert!(GUARD.contains(&format!("< {TOKEN_LIMIT}")));
    }
}
