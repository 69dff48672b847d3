//! The tables and functions in the database. Each part can be applied again.

/// All of it, in one order: what a part uses is in an earlier one.
pub(super) const SCHEMA: &str = concat!(
    include_str!("schema/1_tables.sql"),
    include_str!("schema/2_rule.sql"),
    include_str!("schema/3_requests.sql"),
    include_str!("schema/4_sessions.sql"),
    include_str!("schema/5_inspection.sql"),
);

/// What a database administrator does where our role may not.
pub(super) const BY_HAND: &str = "have an administrator of the database apply the files of the folder \
    `engine/cluster/postgres/schema` of the crate `concurrent-locks`, all of them in their order and in one transaction \
    (`cat schema/*.sql | psql -1 DATABASE`), and grant your role what the first of them says";
