//! Whether file locks work on the file system of a folder.
//!
//! - **V1** Two opens of one file must exclude each other: tried, on every file system.
//! - **V2** On a network file system they must exclude each other across machines, too. One machine cannot
//!   try that; but the system knows of mounts whose locks stay on this machine, and of those nobody can
//!   tell.

use std::path::Path;

use super::token;
use crate::{
    os::kernel_lock::KernelLock,
    words::{
        error::{Error, ErrorKind},
        mode::Mode,
    },
};

/// Refuses a folder in which locks cannot be taken, or keep nobody out.
pub(super) fn check(folder: &Path) -> Result<(), Error> {
    if !excludes(folder)? {
        let lies = "grants one file lock to two requesters, so no lock there would exclude anybody";
        return Err(refused(folder, lies));
    }
    match mount(folder) {
        Some(mount) => mount.local_locks().map_or(Ok(()), |why| Err(refused(folder, &why))),
        None => Ok(()),
    }
}

/// V1.
fn excludes(folder: &Path) -> Result<bool, Error> {
    let path = folder.join(token::MAKER);
    // If the first is refused, locks exclude.
    let Some(first) = KernelLock::try_take(&path, Mode::Read)? else { return Ok(true) };
    let second = KernelLock::try_take(&path, Mode::Write)?;
    // Of a file that was deleted meanwhile, both may have been had.
    Ok(second.is_none() || !first.is_at(&path))
}

fn refused(folder: &Path, why: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "the file system of {} {why}; use a folder on another one, host: on one machine, or redis:// or postgres://",
            folder.display()
        ),
    )
}

/// File systems that cannot be judged from one machine.
pub(super) fn doubt(folder: &Path) -> Option<String> {
    let mount = mount(folder)?;
    mount.is_doubtful().then(|| {
        format!(
            "{} is on {}, whose locks may not reach other machines: try with `locks run` on two",
            folder.display(),
            mount.kind
        )
    })
}

/// The mount that a folder is on.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// As `mount -t` has it.
    kind: String,
    options: Vec<String>,
}

impl Mount {
    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|own| own == option)
    }

    /// Why its locks stay on this machine, if it is mounted so.
    fn local_locks(&self) -> Option<String> {
        let option = match self.kind.as_str() {
            "nfs" | "nfs4" => ["local_lock=all", "local_lock=flock", "nolock"].into_iter().find(|it| self.has(it)),
            "lustre" => ["localflock", "noflock"].into_iter().find(|it| self.has(it)),
            "cifs" | "smb3" => ["nobrl"].into_iter().find(|it| self.has(it)),
            "ocfs2" | "gfs2" => ["localflocks"].into_iter().find(|it| self.has(it)),
            _ => None,
        }?;
        Some(format!("({}, mounted with {option}) keeps locks on this machine", self.kind))
    }

    fn is_doubtful(&self) -> bool {
        // A file system in a process hands locks on or does not, as its author liked. GPFS keeps flock on
        // one node, depending on its version; so does 9p on its cache mode.
        self.kind == "fuse" || self.kind.starts_with("fuse.") || matches!(self.kind.as_str(), "gpfs" | "9p" | "afs")
    }
}

/// The mount of a folder, if it may be a network's: local disks have device numbers of their own.
#[cfg(target_os = "linux")]
fn mount(folder: &Path) -> Option<Mount> {
    use std::os::unix::fs::MetadataExt;
    if libc::major(std::fs::metadata(folder).ok()?.dev()) != 0 {
        return None;
    }
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    find(&table, &std::fs::canonicalize(folder).ok()?)
}

/// Other systems have no such table.
#[cfg(not(target_os = "linux"))]
fn mount(_folder: &Path) -> Option<Mount> {
    None
}

/// In a table as `/proc/self/mountinfo` has it: the mount with the longest path, of several the last.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "other systems have no such table"))]
fn find(table: &str, folder: &Path) -> Option<Mount> {
    let mounts = table.lines().filter_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let place = unescaped(place.split(' ').nth(4)?);
        let [kind, _source, options] = kind.splitn(3, ' ').collect::<Vec<_>>().try_into().ok()?;
        folder.starts_with(&place).then_some((place.len(), kind, options))
    });
    let (_, kind, options) = mounts.max_by_key(|(length, ..)| *length)?;
    Some(Mount { kind: kind.to_owned(), options: options.split(',').map(str::to_owned).collect() })
}

/// Blanks and the like are written as `\040`.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(char::from(byte));
                plain.push_str(&part[3..]);
            }
            None => plain.push_str(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /home/shared\\040files rw shared:9 - nfs4 server:/export rw,vers=4.2,local_lock=none,addr=10.0.0.1
31 22 0:27 / /home/old rw - nfs server:/old rw,vers=3,nolock,local_lock=all
32 22 0:28 / /scratch rw - lustre mgs@tcp:/fs rw,localflock
33 22 0:29 / /scratch/flock rw - lustre mgs@tcp:/fs rw,flock
34 22 0:30 / /mnt/sshfs rw - fuse.sshfs me@there: rw,user_id=0
35 22 0:31 / /mnt/win rw - cifs //server/share rw,vers=3.0,nobrl
36 22 0:32 / /mnt/win rw - cifs //server/other rw,vers=3.0
";

    #[test]
    fn mounts_whose_locks_stay_on_this_machine_are_known() {
        let at = |path: &str| find(TABLE, Path::new(path)).unwrap();
        let says = |path: &str| at(path).local_locks();
        assert_eq!(at("/etc").kind, "ext4");
        assert_eq!(at("/home/shared files/locks").kind, "nfs4");
        assert_eq!(says("/home/shared files/locks"), None);
        assert!(says("/home/old/locks").unwrap().contains("local_lock=all"));
        assert!(says("/scratch/me").unwrap().contains("localflock"));
        assert_eq!(says("/scratch/flock/me"), None);
        // The later mount is the one that is seen.
        assert_eq!(says("/mnt/win"), None);
        assert!(at("/mnt/sshfs/x").is_doubtful());
        assert!(!at("/etc").is_doubtful());
        assert_eq!(find("", Path::new("/")), None);
    }

    #[test]
    fn the_systems_own_table_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(excludes(folder.path()).unwrap());
        check(folder.path()).unwrap();
        #[cfg(target_os = "linux")]
        assert!(find(&std::fs::read_to_string("/proc/self/mountinfo").unwrap(), Path::new("/")).is_some());
    }

    /// In a child of its own, for which the kernel answers every `flock` with yes and does nothing.
    #[cfg(target_os = "linux")]
    #[test]
    #[expect(unsafe_code, reason = "system calls are taken away in a forked child")]
    fn a_system_that_grants_every_lock_is_refused() {
        use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter, sock_fprog};
        let folder = tempfile::tempdir().unwrap();
        let step = |code: u32, jf: u8, k: u32| sock_filter { code: code as u16, jt: 0, jf, k };
        let mut steps = [
            step(BPF_LD | BPF_W | BPF_ABS, 0, 0),
            step(BPF_JMP | BPF_JEQ | BPF_K, 1, libc::SYS_flock as u32),
            step(BPF_RET | BPF_K, 0, libc::SECCOMP_RET_ERRNO),
            step(BPF_RET | BPF_K, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let program = sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
        // SAFETY: the child only uses its memory and files, and ends without running anything of the
        // test harness; the filter lies in memory that outlives the call.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            // SAFETY: as above.
            let filtered = unsafe {
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                    && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
            };
            let error = check(folder.path()).err();
            let right = error.is_some_and(|error| {
                error.kind() == ErrorKind::Unsupported && error.to_string().contains("two requesters")
            });
            // SAFETY: ends the process.
            unsafe { libc::_exit(if filtered { i32::from(!right) } else { 77 }) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        if libc::WEXITSTATUS(status) == 77 {
            eprintln!("SKIPPED: this machine allows no filter of system calls");
            return;
        }
        assert_eq!(status, 0);
    }
}
