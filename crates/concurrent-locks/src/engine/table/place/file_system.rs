//! File systems that cannot hold a table, and why. The kernel identifies the kind by a number, its "magic".

use std::{fs::File, io, os::fd::AsFd, path::Path};

use crate::{
    engine::table::machine::kernel,
    words::error::{Error, ErrorKind},
};

/// Memory mapped on one machine is not that of another, nor are its locks.
const REMOTE: [(u32, &str); 17] = [
    (0x0000_6969, "NFS"),
    (0x0000_517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0102_1997, "9P"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    (0x1983_0326, "BeeGFS"),
    (0xaad7_aaea, "PanFS"),
    (0x2003_0528, "OrangeFS"),
    (0x786f_4256, "a folder of a VirtualBox host"),
];

/// What lies behind it decides whether memory and locks are shared; it does not say.
const UNKNOWN: [(u32, &str); 2] = [(0x6573_5546, "FUSE"), (0xbacb_acbc, "a folder of a VMware host")];

/// Every change is written to a new place. When that is missing, the change is a SIGBUS.
const COPY_ON_WRITE: [(u32, &str); 3] = [(0x9123_683e, "btrfs"), (0xca45_1a4e, "bcachefs"), (0x0000_3434, "NILFS2")];

/// Whether locks on a file are seen by this machine alone, as far as its kind says.
pub(crate) fn is_of_this_machine(file: &File) -> bool {
    kernel::file_system(file.as_fd())
        .is_ok_and(|(kind, _)| REMOTE.iter().chain(&UNKNOWN).all(|(number, _)| *number != kind))
}

/// Refuses a file, or the folder it is to be made in, that lies where a table would not work.
pub(crate) fn check(file: &File, path: &Path) -> Result<(), Error> {
    let failed = |error: io::Error| Error::io(format_args!("cannot use {}", path.display()), error);
    let (kind, _) = kernel::file_system(file.as_fd()).map_err(failed)?;
    let refuse = |name: &str, why: &str| {
        Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "the lock table {} cannot lie on {name}, {why}; put it on tmpfs (/dev/shm), ext4 or XFS, or use file:DIR",
                path.display()
            ),
        ))
    };
    let among = |kinds: &[(u32, &'static str)]| kinds.iter().find(|(number, _)| *number == kind).map(|(_, name)| *name);
    if let Some(name) = among(&REMOTE) {
        return refuse(name, "where machines do not share memory and locks");
    }
    if let Some(name) = among(&UNKNOWN) {
        return refuse(name, "which may not share memory and locks between processes");
    }
    if let Some(name) = among(&COPY_ON_WRITE) {
        return refuse(name, "which ends its users by SIGBUS when it is full");
    }
    Ok(())
}
