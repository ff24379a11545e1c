//! One request and its answer on their way through the proxy.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Shared;
use super::faults::{Fault, has_condition};
use super::record::{Entry, Exchange};
use crate::http_message::{Head, read_body};
use crate::signature::sign;

/// Most bytes that are sent on at once.
const PIECE_LENGTH: usize = 64 << 10;

/// A connection to the server, kept for the next request.
pub(super) struct Upstream<'a> {
    server: &'a str,
    connection: Option<BufReader<TcpStream>>,
}

/// Passes the next request and its answer; whether the client's connection goes on.
pub(super) fn pass(
    shared: &Shared,
    client: &mut BufReader<TcpStream>,
    upstream: &mut Upstream<'_>,
) -> io::Result<bool> {
    let Some(mut request) = Head::read(client)? else { return Ok(false) };
    let content = read_body(&request, client)?;
    let entry = shared.record.add(Exchange {
        method: request.method().to_owned(),
        target: request.target().to_owned(),
        range: request.get("range").map(str::to_owned),
        authorization: request.get("authorization").unwrap_or_default().to_owned(),
        has_condition: has_condition(&request),
        ..Exchange::default()
    });
    shared.faults.wait_as_told(&request);
    let cut_after = match shared.faults.of(&request) {
        None => None,
        Some(Fault::CutAfter(bytes)) => Some(bytes),
        Some(Fault::Status(status)) => {
            shared.record.change(entry, |exchange| exchange.status = status);
            refuse(client.get_mut(), status)?;
            return Ok(true);
        }
        Some(Fault::Silence) => {
            while shared.faults.lasts(&request, Fault::Silence) && shared.is_up.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
            }
            return Ok(false);
        }
    };
    if shared.faults.strip(&mut request) {
        sign(&mut request, upstream.server);
    }
    let (mut answer, mut server) = upstream.ask(&request, &content)?;
    shared.faults.freeze(&request, &mut answer);
    let status = answer.status()?;
    shared.record.change(entry, |exchange| exchange.status = status);
    let is_bodyless = request.method() == "HEAD" || matches!(status, 204 | 304);
    let goes_on = !answer.is_last();
    if is_bodyless {
        answer.write(client.get_mut())?;
    } else if answer.is_chunked() {
        let body = read_body(&answer, &mut server)?;
        answer.remove("Transfer-Encoding");
        answer.set("Content-Length", body.len());
        answer.write(client.get_mut())?;
        client.get_mut().write_all(&body)?;
        shared.record.change(entry, |exchange| exchange.body_bytes = body.len() as u64);
    } else {
        let length = answer.content_length().ok_or(io::ErrorKind::InvalidData)?;
        answer.write(client.get_mut())?;
        let sent = cut_after.unwrap_or(length).min(length);
        stream(shared, entry, &mut server, client.get_mut(), sent)?;
        if sent < length {
            return Ok(false);
        }
    }
    upstream.connection = goes_on.then_some(server);
    Ok(goes_on)
}

/// Sends so many bytes on as they come.
fn stream(
    shared: &Shared,
    entry: Entry,
    server: &mut BufReader<TcpStream>,
    client: &mut TcpStream,
    mut left: u64,
) -> io::Result<()> {
    while left > 0 {
        let piece = server.fill_buf()?;
        let length = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        shared.faults.wait_for(length);
        // Counted before it is sent: whoever has the bytes finds them counted.
        shared.record.change(entry, |exchange| exchange.body_bytes += length as u64);
        client.write_all(&piece[..length])?;
        server.consume(length);
        left -= length as u64;
    }
    Ok(())
}

/// Answers as S3 does when it cannot.
fn refuse(client: &mut TcpStream, status: u16) -> io::Result<()> {
    let code = match status {
        403 => "AccessDenied",
        404 => "NoSuchKey",
        503 => "SlowDown",
        _ => "InternalError",
    };
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>planted</Message></Error>");
    let mut answer = Head::new(format!("HTTP/1.1 {status} Planted"));
    answer.set("Content-Type", "application/xml");
    answer.set("Content-Length", body.len());
    answer.write(client)?;
    client.write_all(body.as_bytes())
}

impl<'a> Upstream<'a> {
    pub(super) fn new(server: &'a str) -> Self {
        Self { server, connection: None }
    }

    /// Sends a request and gives the head of its answer, with what the body comes from.
    fn ask(&mut self, request: &Head, content: &[u8]) -> io::Result<(Head, BufReader<TcpStream>)> {
        if let Some(kept) = self.connection.take()
            && let Ok(answered) = Self::ask_on(kept, request, content)
        {
            return Ok(answered);
        }
        let connection = TcpStream::connect(self.server)?;
        connection.set_nodelay(true)?;
        Self::ask_on(BufReader::with_capacity(PIECE_LENGTH, connection), request, content)
    }

    fn ask_on(
        mut connection: BufReader<TcpStream>,
        request: &Head,
        content: &[u8],
    ) -> io::Result<(Head, BufReader<TcpStream>)> {
        request.write(connection.get_mut())?;
        connection.get_mut().write_all(content)?;
        let answer = Head::read(&mut connection)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok((answer, connection))
    }
}
