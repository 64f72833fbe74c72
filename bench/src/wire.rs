//! Just enough HTTP/1.1 framing for both ends of the bench.
//!
//! Stub and generator share one core with nothing else to spare, so both look at a buffer in
//! place and keep no state between messages.

use anyhow::{Context, Result, anyhow, bail};
use httparse::{EMPTY_HEADER, Header, Status};
use std::net::SocketAddr;
use std::ops::Range;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HEADERS: usize = 64;

/// One complete request at the start of a buffer.
pub(crate) struct Request<'b> {
    pub(crate) method: &'b str,
    pub(crate) path: &'b str,
    /// Where the next message begins.
    pub(crate) end: usize,
}

/// One complete response at the start of a buffer.
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The body as it was framed: with its chunk sizes when it was chunked.
    pub(crate) body: Range<usize>,
    /// True where the server keeps the connection open.
    pub(crate) keep_alive: bool,
}

enum Framing {
    Length(usize),
    Chunked,
}

/// The status that a plain HTTP server answers to one request.
pub(crate) async fn status_of(server: SocketAddr, request: &[u8]) -> Result<u16> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(request).await?;
    let mut buffer = Vec::new();
    while stream.read_buf(&mut buffer).await? > 0 {
        if let Some(response) = response(&buffer)? {
            return Ok(response.status);
        }
    }
    bail!("connection closed with {} bytes of an answer", buffer.len())
}

/// The request at the start of `buffer`, or `None` while it is incomplete.
pub(crate) fn request(buffer: &[u8]) -> Result<Option<Request<'_>>> {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let Status::Complete(head) = parsed.parse(buffer)? else {
        return Ok(None);
    };
    let (Some(method), Some(path)) = (parsed.method, parsed.path) else {
        bail!("a request without method or path");
    };
    let end = message_end(buffer, head, &framing(parsed.headers)?)?;
    Ok(end.map(|end| Request { method, path, end }))
}

/// The response at the start of `buffer`, or `None` while it is incomplete.
pub(crate) fn response(buffer: &[u8]) -> Result<Option<Response>> {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    let Status::Complete(head) = parsed.parse(buffer)? else {
        return Ok(None);
    };
    let status = parsed.code.ok_or_else(|| anyhow!("a response without status"))?;
    let end = match status {
        100..200 | 204 | 304 => Some(head),
        _ => message_end(buffer, head, &framing(parsed.headers)?)?,
    };
    let keep_alive = !named(parsed.headers, "connection").any(|value| value == b"close");
    Ok(end.map(|end| Response { status, body: head..end, keep_alive }))
}

fn named<'h>(headers: &'h [Header<'h>], name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

fn framing(headers: &[Header<'_>]) -> Result<Framing> {
    if named(headers, "transfer-encoding").any(|value| value.eq_ignore_ascii_case(b"chunked")) {
        return Ok(Framing::Chunked);
    }
    let Some(length) = named(headers, "content-length").next() else {
        return Ok(Framing::Length(0));
    };
    Ok(Framing::Length(std::str::from_utf8(length)?.parse().context("content-length")?))
}

fn message_end(buffer: &[u8], head: usize, framing: &Framing) -> Result<Option<usize>> {
    match framing {
        Framing::Length(length) => Ok(Some(head + length).filter(|end| *end <= buffer.len())),
        Framing::Chunked => chunked_end(buffer, head),
    }
}

/// Trailers are not expected from any of the servers measured here.
fn chunked_end(buffer: &[u8], head: usize) -> Result<Option<usize>> {
    let mut at = head;
    loop {
        let rest = buffer.get(at..).unwrap_or_default();
        let Ok(parsed) = httparse::parse_chunk_size(rest) else {
            bail!("a chunk size that is not one");
        };
        let Status::Complete((line, size)) = parsed else {
            return Ok(None);
        };
        at += line + usize::try_from(size)? + "\r\n".len();
        if at > buffer.len() {
            return Ok(None);
        }
        if size == 0 {
            return Ok(Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_complete_only_with_its_last_byte() {
        let messages: [&[u8]; 4] = [
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        ];
        for message in messages {
            for cut in 0..message.len() {
                assert!(response(&message[..cut]).unwrap().is_none(), "{cut} bytes");
            }
            let whole = response(message).unwrap().unwrap();
            assert_eq!(whole.body.end, message.len());
        }
    }

    #[test]
    fn the_next_request_begins_where_the_first_ends() {
        let two = b"PUT /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\n\r\n";
        let first = request(two).unwrap().unwrap();
        assert_eq!((first.method, first.path), ("PUT", "/a"));
        let second = request(&two[first.end..]).unwrap().unwrap();
        assert_eq!((second.method, second.path), ("GET", "/b"));
    }
}
