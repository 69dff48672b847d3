//! PostgreSQL: a table of tokens in the protected database.
//!
//! Run [`SETUP`] once (it may be repeated, also by several at once), and [`CHECK`] in each transaction
//! that writes, before its first write. It fails with SQLSTATE [`SQLSTATE`] if a greater token has
//! written, and the transaction with it. The row of the resource stays locked until the transaction
//! ends, so no other writer comes between the check and the commit. In the isolation levels
//! `REPEATABLE READ` and `SERIALIZABLE` a check that has waited for another may fail with 40001 first:
//! the transaction is to be repeated, as always there, and the check then decides.
//!
//! Outside a transaction the check is worth nothing: it ends before the write begins. The database
//! need not be the one that keeps the locks.
//!
//! `docs/fencing.md` has a recipe.

/// One statement that makes the schema `concurrent_locks`, in it the table `fence` and the function
/// `fence`, where they are missing. Needs the right to create a schema; those who check need `USAGE` on
/// the schema, and `SELECT`, `INSERT` and `UPDATE` on the table.
pub const SETUP: &str = include_str!("postgres.sql");

/// A statement with two parameters, `$1` the resource (`text`) and `$2` the token (`bigint`).
pub const CHECK: &str = "SELECT concurrent_locks.fence($1, $2)";

/// The SQLSTATE of a refusal.
pub const SQLSTATE: &str = "CL001";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_refuses_with_the_state_that_is_promised() {
        assert!(SETUP.contains(&format!("ERRCODE = '{SQLSTATE}'")));
    }
}
