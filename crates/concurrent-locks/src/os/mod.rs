//! What the operating system is asked for: which process this is, its end, its open files, locks of the kernel;
//! and what stays usable when it forks.

pub(crate) mod fork_generation;
pub(crate) mod kernel_lock;
pub(crate) mod number_file;
pub(crate) mod own_file;
pub(crate) mod owner_id;
pub(crate) mod per_process;
pub(crate) mod process_end;
pub(crate) mod roll;
