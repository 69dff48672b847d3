//! The identity of this process, as sent to the server.

/// The machine's name.
pub(super) fn host() -> String {
    #[cfg(unix)]
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    let name = std::env::var("COMPUTERNAME").unwrap_or_default();
    shortened(name)
}

/// The program's name.
pub(super) fn program() -> String {
    let path = std::env::current_exe().ok();
    let name = path.as_deref().and_then(std::path::Path::file_name);
    shortened(name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default())
}

fn shortened(text: String) -> String {
    text.chars().filter(|char| *char != '\0').take(64).collect()
}
