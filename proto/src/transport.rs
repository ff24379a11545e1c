//! How gRPC travels: the windows, frames and keep-alives that both ends of a Forebay connection agree on.
//!
//! The sizes are measured: with HTTP/2's default window of 64 KiB a stream of 1 MiB messages stalls after each, and
//! many small calls on one connection make the peer end it.

use std::io;
use std::time::Duration;

use forebay_types::ErrorKind;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};

use crate::status::WireError;

/// Longest HTTP/2 frame, in bytes.
pub const FRAME_LENGTH_MAX: u32 = 1 << 20;
/// What may be on its way of one call, in bytes.
pub const STREAM_WINDOW: u32 = 8 << 20;
/// What may be on its way of one connection, in bytes.
pub const CONNECTION_WINDOW: u32 = 64 << 20;
/// Calls under way on one connection; more wait at the client.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 1024;
/// Longest wait for a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a connection in use is tried, so that a peer that vanished is noticed.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long a peer may take to answer that.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where to connect: `host:port`, with an IPv6 address in brackets.
///
/// # Errors
/// `InvalidArgument` when the text is no address.
pub fn endpoint(address: &str) -> Result<Endpoint, WireError> {
    let wrong = |_| {
        let message =
            format!("`{address}` is no address: write HOST:PORT, such as 127.0.0.1:7411 or [::1]:7411");
        WireError::new(ErrorKind::InvalidArgument, message)
    };
    Ok(Endpoint::from_shared(format!("http://{address}"))
        .map_err(wrong)?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT))
}

/// Serves gRPC services and plain HTTP pages on one port until `cancel`, then finishes the calls that have begun.
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
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, cancel.cancelled_owned())
        .await
        .map_err(io::Error::other)
}
