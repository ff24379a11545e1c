//! A way to one process that can be made to stall: from then on the first new connection that carried so many bytes from it
//! carries no more, until that process is gone.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// No stall.
const NEVER: u64 = u64::MAX;

/// The way. It goes on until the process of the tests ends.
#[derive(Debug)]
pub struct StallingProxy {
    address: String,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    target: String,
    /// After so many bytes a connection that begins now stalls.
    stalls_after: AtomicU64,
    has_stalled: AtomicBool,
}

impl StallingProxy {
    /// A way to `target`, which need not be there yet.
    ///
    /// # Panics
    /// When there is no port.
    #[must_use]
    pub fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let state = Arc::new(State {
            target: target.to_owned(),
            stalls_after: AtomicU64::new(NEVER),
            has_stalled: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || carry(client, &shared));
            }
        });
        Self { address, state }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Connections that begin from now on stall after so many bytes from the process.
    pub fn stall_after(&self, bytes: u64) {
        self.state.stalls_after.store(bytes, Ordering::Relaxed);
    }

    /// Whether one has.
    #[must_use]
    pub fn has_stalled(&self) -> bool {
        self.state.has_stalled.load(Ordering::Relaxed)
    }
}

fn carry(client: TcpStream, state: &Arc<State>) {
    let Ok(server) = TcpStream::connect(&state.target) else { return };
    let (Ok(from_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else { return };
    thread::spawn(move || copy(from_client, to_server, NEVER, None));
    copy(server, client, state.stalls_after.load(Ordering::Relaxed), Some(state));
}

/// Copies until the end; from `limit` on what comes is swallowed.
fn copy(mut from: TcpStream, mut to: TcpStream, limit: u64, state: Option<&State>) {
    let (mut buffer, mut carried) = ([0; 16 << 10], 0);
    while let Ok(length) = from.read(&mut buffer) {
        if length == 0 {
            break;
        }
        if carried >= limit {
            if let Some(state) = state {
                state.has_stalled.store(true, Ordering::Relaxed);
            }
            continue;
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
        carried += length as u64;
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
