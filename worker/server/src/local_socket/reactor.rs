//! A local socket in tokio's reactor: waits until a call on it need not wait.

#![allow(unsafe_code, reason = "tokio asks for a promise about the descriptor that its types cannot express")]

use std::io;

use forebay_local::{LocalError, LocalSocket};
use tokio::io::unix::AsyncFd;

/// Puts a socket into the reactor. Needs a runtime.
pub(crate) fn register(socket: LocalSocket) -> io::Result<AsyncFd<LocalSocket>> {
    // SAFETY: a `LocalSocket` owns its descriptor and names the same one for as long as it lives; it has no way to
    // close or replace it before it is dropped, and nobody reaches it mutably in here.
    unsafe { AsyncFd::register(socket) }.map_err(io::Error::from)
}

/// Repeats `work` each time the socket is ready, until it does not have to wait. Cancel safe.
pub(crate) async fn when_ready<T>(
    socket: &AsyncFd<LocalSocket>,
    to_write: bool,
    mut work: impl FnMut(&LocalSocket) -> Result<T, LocalError>,
) -> Result<T, LocalError> {
    let failed = |source| LocalError::Socket { action: "wait", source };
    loop {
        let mut ready = if to_write {
            socket.writable().await.map_err(failed)?
        } else {
            socket.readable().await.map_err(failed)?
        };
        match work(ready.get_inner()) {
            Err(LocalError::WouldBlock) => ready.clear_ready(),
            done => return done,
        }
    }
}
