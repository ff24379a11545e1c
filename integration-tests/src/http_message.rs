//! HTTP/1.1 as the scenarios' own client and proxy speak it: heads with their headers, and bodies sent in chunks.
//!
//! Just what S3 servers and clients send to each other; anything else is an error.

use std::io::{self, BufRead, Read, Write};

/// The first line of a request or answer, and the headers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    /// `GET /bucket/key HTTP/1.1` or `HTTP/1.1 200 OK`.
    pub(crate) start: String,
    headers: Vec<(String, String)>,
}

impl Head {
    /// A head without headers.
    pub(crate) fn new(start: String) -> Self {
        Self { start, headers: Vec::new() }
    }

    /// The next head; `None` where the other side has ended.
    pub(crate) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(start) = line(from)? else { return Ok(None) };
        let mut head = Self::new(start);
        loop {
            let line = line(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if line.is_empty() {
                return Ok(Some(head));
            }
            let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
            head.headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    pub(crate) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut text = format!("{}\r\n", self.start);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        to.write_all(text.as_bytes())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| &value[..])
    }

    /// Sets a header instead of what it was.
    pub(crate) fn set(&mut self, name: &str, value: impl ToString) {
        self.remove(name);
        self.headers.push((name.to_owned(), value.to_string()));
    }

    /// Removes a header; whether it was there.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let before = self.headers.len();
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.len() < before
    }

    /// Of a request: GET, HEAD, PUT or DELETE.
    pub(crate) fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// Of a request: path and query, as they were sent.
    pub(crate) fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// Of an answer.
    pub(crate) fn status(&self) -> io::Result<u16> {
        let status = self.start.split(' ').nth(1).and_then(|number| number.parse().ok());
        status.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.get("content-length")?.parse().ok()
    }

    pub(crate) fn is_chunked(&self) -> bool {
        self.get("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    }

    /// Whether the sender ends the connection after this message.
    pub(crate) fn is_last(&self) -> bool {
        self.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// The whole body of a message of this head that has one.
pub(crate) fn read_body(head: &Head, from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if !head.is_chunked() {
        let length = head.content_length().unwrap_or(0);
        let read = from.take(length).read_to_end(&mut body)?;
        return if read as u64 == length { Ok(body) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
    }
    loop {
        let size = line(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = u64::from_str_radix(size.trim(), 16).map_err(|_| io::ErrorKind::InvalidData)?;
        from.take(size).read_to_end(&mut body)?;
        line(from)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

/// A line without its end; `None` where there is none.
fn line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok(Some(line))
}
