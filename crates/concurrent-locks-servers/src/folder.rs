//! Folders of servers: all of them below one of this process, which goes when the process does.

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{
    error::{Error, Trying},
    program::User,
};

/// A server's folder, removed with the value.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// A new folder, which belongs to `user` if one is given.
    pub(crate) fn fresh(name: &str, user: Option<User>) -> Result<Folder, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let path = of_this_process()?.join(format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&path).trying(|| format!("make {}", path.display()))?;
        let folder = Folder(path);
        folder.give(&folder.0, user)?;
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file that `user`, else we alone, can read.
    pub(crate) fn write(&self, name: &str, text: &str, user: Option<User>) -> Result<PathBuf, Error> {
        let path = self.0.join(name);
        fs::write(&path, text).trying(|| format!("write {}", path.display()))?;
        fs::set_permissions(&path, Permissions::from_mode(0o600)).trying(|| format!("close {}", path.display()))?;
        self.give(&path, user)?;
        Ok(path)
    }

    fn give(&self, path: &Path, user: Option<User>) -> Result<(), Error> {
        let Some(User { uid, gid, .. }) = user else { return Ok(()) };
        chown(path, Some(uid), Some(gid)).trying(|| format!("give {} away", path.display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is removed with the folder of the process.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The folder of this process, and the pipe whose closing tells the shell that we are gone.
struct OfThisProcess {
    path: PathBuf,
    _pipe: ChildStdin,
}

/// Waits for our end, however it comes, then removes the folder. A server may write its last lines
/// into it meanwhile, so more than once.
const SWEEPER: &str = r#"read -r _; for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$1" && exit; sleep 0.5; done"#;

/// What a suite's servers write at most, with room to spare.
const ROOM: u64 = 2 << 30;

/// A folder in memory, if there is room: no test asks for a disk, and a busy one makes servers slow to answer.
fn memory() -> Option<PathBuf> {
    let folder = PathBuf::from("/dev/shm");
    let space = rustix::fs::statvfs(&folder).ok()?;
    (space.f_bavail * space.f_frsize >= ROOM).then_some(folder)
}

fn of_this_process() -> Result<PathBuf, Error> {
    static FOLDER: Mutex<Option<OfThisProcess>> = Mutex::new(None);
    let mut folder = FOLDER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(folder) = &*folder {
        return Ok(folder.path.clone());
    }
    let path = tempfile::Builder::new()
        .prefix("locks-servers-")
        .tempdir_in(memory().unwrap_or_else(std::env::temp_dir))
        .trying(|| "make a temporary folder".to_owned())?
        .keep();
    // Servers that run as another user must get through it.
    fs::set_permissions(&path, Permissions::from_mode(0o711)).trying(|| format!("open {}", path.display()))?;
    let mut sweeper = Command::new("sh")
        .args(["-c", SWEEPER, "sh"])
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Out of reach of signals to the group of a test.
        .process_group(0)
        .spawn()
        .trying(|| "start sh".to_owned())?;
    let pipe = sweeper.stdin.take().expect("a piped stdin");
    *folder = Some(OfThisProcess { path: path.clone(), _pipe: pipe });
    Ok(path)
}
