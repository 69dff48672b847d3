//! The `locks` command as its user sees it: real processes on a real lock table.

mod break_lock;
mod deadlocks;
mod docs;
mod git;
mod inspection;
mod json;
mod leases;
mod nested;
mod run;
mod signals;
mod space;
mod spelling;
mod terminal;
mod tree;
mod usage;
