//! A proxy between the cluster and an S3 server that counts what passes, and breaks what it is told to break.
//!
//! Bodies stream through. Each request is recorded as it arrives, so what was recorded when a reader has its bytes is
//! all that was asked for. Where it changes a request it signs it again, since S3 signs conditions too.

mod exchange;
mod faults;
mod record;

use std::io::{self, BufReader};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use exchange::Upstream;
pub use faults::Fault;
use faults::Faults;
pub use record::Exchange;
use record::Record;

/// A running proxy. It ends when this is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    server: String,
    is_up: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
    faults: Faults,
    record: Record,
}

impl FaultProxy {
    /// Starts one before the server at an endpoint such as `http://127.0.0.1:9000`.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start(endpoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            server: endpoint.strip_prefix("http://").expect("an endpoint without TLS").to_owned(),
            is_up: AtomicBool::new(true),
            connections: Mutex::default(),
            faults: Faults::default(),
            record: Record::default(),
        });
        let acceptor = Some(accept(&shared, listener));
        Self { shared, address, acceptor }
    }

    /// Where it listens: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What passed since the start or the last [`forget`](Self::forget), requests under way included.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.shared.record.all()
    }

    /// GETs of objects (not of listings) since then.
    #[must_use]
    pub fn object_gets(&self) -> usize {
        self.exchanges().iter().filter(|exchange| exchange.is_object_get()).count()
    }

    /// Bytes of objects that were sent on since then.
    #[must_use]
    pub fn object_bytes(&self) -> u64 {
        let exchanges = self.exchanges();
        exchanges.iter().filter(|exchange| exchange.is_object_get()).map(|exchange| exchange.body_bytes).sum()
    }

    /// Begins to count anew.
    pub fn forget(&self) {
        self.shared.record.forget();
    }

    /// From now on GETs whose path and query contain `part` meet `fault`: the next `times` of them, or all.
    pub fn fail(&self, part: &str, fault: Fault, times: Option<u32>) {
        self.shared.faults.add("GET", part, fault, times);
    }

    /// The same of PUTs.
    pub fn fail_puts(&self, part: &str, fault: Fault, times: Option<u32>) {
        self.shared.faults.add("PUT", part, fault, times);
    }

    /// Takes back all that [`fail`](Self::fail) was told.
    pub fn heal(&self) {
        self.shared.faults.clear();
    }

    /// Whether conditions of requests (`If-Match` and its like) are left away.
    pub fn strip_conditions(&self, strip: bool) {
        self.shared.faults.strip_conditions(strip);
    }

    /// Whether each object shows the tag and time that it showed first, whatever it is now: a server that lies.
    pub fn freeze_tags(&self, freeze: bool) {
        self.shared.faults.freeze_tags(freeze);
    }

    /// Object bytes that pass in a second, all connections together; `None` for all that come.
    pub fn throttle(&self, bytes_per_second: Option<u64>) {
        self.shared.faults.throttle(bytes_per_second);
    }

    /// How long each request waits before it is sent on.
    pub fn delay(&self, delay: Duration) {
        self.shared.faults.delay(delay);
    }

    /// How long each request whose path and query contain `part` waits beside that.
    pub fn delay_those(&self, part: &str, delay: Duration) {
        self.shared.faults.delay_those(part, delay);
    }

    /// Ends all connections and refuses new ones.
    pub fn go_down(&mut self) {
        self.shared.is_up.store(false, Ordering::SeqCst);
        // Wakes the acceptor, which then gives up its port.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for connection in self.shared.connections.lock().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Listens again.
    ///
    /// # Panics
    /// When somebody else took the port.
    pub fn come_back(&mut self) {
        self.go_down();
        self.shared.is_up.store(true, Ordering::SeqCst);
        self.acceptor = Some(accept(&self.shared, TcpListener::bind(self.address).expect("its own port")));
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.go_down();
    }
}

fn accept(shared: &Arc<Shared>, listener: TcpListener) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            if !shared.is_up.load(Ordering::SeqCst) {
                return;
            }
            let _ = connection.set_nodelay(true);
            if let Ok(twin) = connection.try_clone() {
                shared.connections.lock().push(twin);
            }
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                // Whoever goes away in the middle of something is none of the proxy's concern.
                let _ = serve(&shared, &connection);
                let _ = connection.shutdown(Shutdown::Both);
            });
        }
    })
}

/// Serves one connection until one of both sides ends it.
fn serve(shared: &Shared, connection: &TcpStream) -> io::Result<()> {
    let mut client = BufReader::new(connection.try_clone()?);
    let mut upstream = Upstream::new(&shared.server);
    while exchange::pass(shared, &mut client, &mut upstream)? {}
    Ok(())
}
