//! How gRPC travels: the windows, frames, waits and keep-alives that both ends of each Forebay connection agree on, and
//! the span that each request of a server runs in.
//!
//! The sizes are measured: with HTTP/2's default window of 64 KiB a stream of 1 MiB messages stalls after each, and
//! many small calls on one connection make the peer end it. Nobody else sets them.

mod span;

use std::io;
use std::time::Duration;

use forebay_types::ErrorKind;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};

use crate::status::WireError;
use span::RequestSpans;

/// Longest HTTP/2 frame, in bytes; fewer frames cost less for bulk data.
pub const FRAME_LENGTH_MAX: u32 = 1 << 20;
/// What may be on its way of one call, in bytes: two calls of full speed fill a connection.
pub const STREAM_WINDOW: u32 = 16 << 20;
/// What may be on its way of one connection, in bytes. A small one ends connections with many small calls in flight.
pub const CONNECTION_WINDOW: u32 = 32 << 20;
/// Calls under way on one connection; more wait at the client.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 1024;
/// Longest wait for a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a client tries a connection, also one without calls: it asks another server as soon as one has vanished.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// How long the server may take to answer that before the connection counts as dead.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(4);
/// How often a server tries one that is silent. A client that vanished costs it some memory only, and there are many.
pub const SERVER_KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long the client may take to answer that.
pub const SERVER_KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Where to connect: `host:port`, with an IPv6 address in brackets.
///
/// # Errors
/// `InvalidArgument` when the text is no address.
pub fn endpoint(address: &str) -> Result<Endpoint, WireError> {
    let wrong = || {
        let message =
            format!("`{address}` is no address: write HOST:PORT, such as 127.0.0.1:7411 or [::1]:7411");
        WireError::new(ErrorKind::InvalidArgument, message)
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    // What a URI would take for a path, a user or more is no part of an address.
    if host.is_empty() || host.contains(['/', '@', '?', '#']) || port.parse::<u16>().is_err() {
        return Err(wrong());
    }
    Ok(Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_| wrong())?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .max_frame_size(FRAME_LENGTH_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}

/// Serves gRPC services and plain HTTP pages on one port until `cancel`, then finishes the calls that have begun.
///
/// Each call runs in a span at the level DEBUG with the field `rpc`, such as `Blocks/Read`, so that log lines within it
/// say what they belong to.
///
/// # Errors
/// What the listener said when it could not go on.
pub async fn serve(listener: TcpListener, routes: Routes, cancel: CancellationToken) -> io::Result<()> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .accept_http1(true)
        .max_frame_size(FRAME_LENGTH_MAX)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(SERVER_KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(SERVER_KEEP_ALIVE_TIMEOUT))
        .layer(RequestSpans)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, cancel.cancelled_owned())
        .await
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port_and_nothing_else() {
        for right in ["127.0.0.1:7411", "[::1]:7411", "master.example:1"] {
            assert!(endpoint(right).is_ok(), "{right}");
        }
        for wrong in
            ["", "host", ":1", "host:", "host:70000", "me@host:1", "host/x:1", "http://host:1", "a b:1"]
        {
            let error = endpoint(wrong).expect_err(wrong);
            assert_eq!(error.kind, ErrorKind::InvalidArgument);
        }
    }
}
