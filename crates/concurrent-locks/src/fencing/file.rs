//! A file that is replaced as a whole, under its fence.
//!
//! What a crash leaves behind, by the step after which it comes:
//!
//! | after | content | the fence | refused afterwards |
//! |---|---|---|---|
//! | locking the fence, comparing | old | old | what was refused before |
//! | writing the token | old | this token | every older token |
//! | making, filling, syncing `NAME.fence.new` | old | this token | every older token |
//! | renaming it to `NAME` | new | this token | every older token |
//!
//! The lock ends with the process. A `NAME.fence.new` left behind is overwritten by the next write.

use std::{
    fs::{self, File},
    io::{self, ErrorKind::NotFound, Write},
    path::Path,
};

use super::beside::{Passage, beside, pass, sync_folder};
use crate::{
    os::{kernel_lock::failed, own_file::above_standard_streams},
    words::error::Error,
};

/// Replaces a file's content, unless a greater token has written it: a late write is refused.
///
/// Readers see the old content or the new, whole, without a lock. When it returns, the content is on
/// the disk. A symbolic link is followed, the file's permissions are kept; hard links keep the old
/// content, as with every replacement by renaming. Beside `NAME` there is `NAME.fence`, for ever, and
/// `NAME.fence.new` while it writes.
///
/// Every writer must come this way: a fence stops nobody who walks around it.
///
/// # Errors
/// As [`pass`]; `Lost` is the refusal, and names both tokens. Whatever the error, the file has its old
/// content or the new one.
pub fn write_file(path: impl AsRef<Path>, token: u64, contents: impl AsRef<[u8]>) -> Result<(), Error> {
    let passage = pass(path, token)?;
    replace(&passage, contents.as_ref()).map_err(|error| failed("replace", passage.path(), error))
}

fn replace(passage: &Passage, contents: &[u8]) -> io::Result<()> {
    let path = passage.path();
    let new = beside(path, ".fence.new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != NotFound => return Err(error),
        _ => {}
    }
    // Created, so that it is not a link that somebody has put there.
    let mut file = above_standard_streams(File::create_new(&new)?)?;
    match fs::metadata(path) {
        Ok(old) => file.set_permissions(old.permissions())?,
        Err(error) if error.kind() == NotFound => {}
        Err(error) => return Err(error),
    }
    file.write_all(contents)?;
    file.sync_all()?;
    drop(file); // Windows renames no open file.
    fs::rename(&new, path)?;
    sync_folder(path)
}
