//! HTTP/2 by hand: frames as a client would never send them.

use std::io::{self, Read, Write};

/// The bytes that a client begins with (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The type of a frame of settings.
pub const SETTINGS: u8 = 4;
/// The type of a frame that resets a stream.
pub const RST_STREAM: u8 = 3;
/// The type of a frame of a body.
pub const DATA: u8 = 0;
/// The type of a frame that is sent back.
pub const PING: u8 = 6;
/// The type of a frame that opens a stream.
pub const HEADERS: u8 = 1;

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A preface, and settings that let nobody send a byte of a body.
pub fn opening_without_window() -> Vec<u8> {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let mut settings = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
    settings.extend(0_u32.to_be_bytes());
    [PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat()
}

/// A `GET` of `path` on that stream, whole.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("a short text")], text.as_bytes()].concat();
    // Indexed GET and https; path and authority literally (RFC 7541, appendix A).
    let block = [&[0x82, 0x87, 0x04][..], &text(path), &[0x01], &text("localhost")].concat();
    frame(HEADERS, 0x5, stream, &block)
}

/// The head of a `POST` to `path` on that stream, whose body is to come.
pub fn post(stream: u32, path: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("a short text")], text.as_bytes()].concat();
    // As [`get`], with an indexed POST.
    let block = [&[0x83, 0x87, 0x04][..], &text(path), &[0x01], &text("localhost")].concat();
    frame(HEADERS, 0x4, stream, &block)
}

/// Reads one frame: its type, flags, stream and payload.
pub fn read(stream: &mut impl Read) -> io::Result<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload)?;
    Ok((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
}

/// Sends `bytes`, whole.
pub fn send(stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}
