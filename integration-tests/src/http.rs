//! The pages for people and Prometheus, asked for by hand: they speak plain HTTP/1.1.

use std::io::{Read, Write};
use std::net::TcpStream;

/// The whole answer to one GET, with its status line and headers.
///
/// # Panics
/// When nobody answers.
#[must_use]
pub fn http_get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the port of the process");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("received");
    answer
}
