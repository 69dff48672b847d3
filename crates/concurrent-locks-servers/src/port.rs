//! Free ports.

use std::net::{Ipv4Addr, TcpListener};

/// A port of loopback on which nobody listens now.
///
/// Not one that the kernel chooses: those are of the range that it gives to outgoing connections too.
/// While a server is down, such a port may become somebody's outgoing end, even that of a client that
/// tries to reach the server and so meets itself, and the server could not come back. The range also
/// leaves room for Redis Cluster's second port, 10,000 above.
pub(crate) fn free() -> u16 {
    loop {
        let port = fastrand::u16(12_000..22_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
