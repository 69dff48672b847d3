//! The ownership of a table: one user's or, as an explicit choice, a group's.

/// Who may use a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// The user who made it.
    User,
    /// The members of the group of the folder it lies in (`?share=group`).
    Group,
}

#[cfg(all(target_os = "linux", not(concurrent_locks_portable)))]
mod checks {
    use std::{
        fs::{File, Metadata, Permissions},
        io,
        os::unix::fs::{MetadataExt, PermissionsExt, fchown},
        path::Path,
    };

    use super::Sharing;

    const STICKY: u32 = 0o1000;

    impl Sharing {
        /// The permission bits of a table's file.
        pub(in super::super) fn mode(self) -> u32 {
            match self {
                Sharing::User => 0o600,
                Sharing::Group => 0o660,
            }
        }

        /// What is wrong with a folder: who may write it may delete the table or put another there.
        pub(in super::super) fn wrong_with_folder(self, folder: &Metadata) -> Option<String> {
            let mode = folder.mode();
            let shown = mode & 0o7777;
            match self {
                Sharing::User if mode & 0o002 != 0 && mode & STICKY == 0 => Some(format!(
                    "lies in a folder that everybody may write (mode {shown:04o}), so anybody could delete it: chmod o-w"
                )),
                Sharing::Group if mode & 0o002 != 0 => Some(format!(
                    "lies in a folder that everybody may write (mode {shown:04o}): make one for the group (chgrp GROUP, chmod 2770)"
                )),
                _ => None,
            }
        }

        /// What is wrong with a table's file in that folder, for `user`.
        pub(in super::super) fn wrong_with_file(self, file: &Metadata, folder: &Metadata, user: u32) -> Option<String> {
            let mode = file.mode() & 0o7777;
            match self {
                Sharing::User if file.uid() != user => {
                    Some(format!("belongs to user {}, not to this user", file.uid()))
                }
                Sharing::User if mode == Sharing::Group.mode() => Some(format!(
                    "is open to others (mode {mode:04o}); chmod 600 it, or use ?share=group for a group's table"
                )),
                Sharing::User if mode & 0o077 != 0 => {
                    Some(format!("is open to others (mode {mode:04o}); chmod 600 it"))
                }
                Sharing::Group if mode != self.mode() => {
                    Some(format!("is not a group's table (mode {mode:04o}); chmod 660 it"))
                }
                Sharing::Group if file.gid() != folder.gid() => {
                    Some(format!("belongs to group {}, and its folder to group {}", file.gid(), folder.gid()))
                }
                _ => None,
            }
        }

        /// Gives a new file to those whose it is to be.
        pub(in super::super) fn apply(self, file: &File, folder: &Path) -> io::Result<()> {
            if self == Sharing::Group {
                fchown(file, None, Some(std::fs::metadata(folder)?.gid()))?;
            }
            file.set_permissions(Permissions::from_mode(self.mode()))
        }
    }
}
