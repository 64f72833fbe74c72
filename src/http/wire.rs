//! The way out of a stream of events once its head is written: the connection of HTTP/1.1, or a stream of
//! HTTP/2. The framework's session, which keeps both heads, is given up for it.

use std::future::poll_fn;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::SendStream;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::write::{Unwritten, takes_chunks};

/// Longest time for a client to take what it is sent.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a stream's events are written.
pub(super) enum Wire {
    /// A connection, which ends with the stream.
    Http1 { stream: Stream, chunked: bool },
    /// A stream beside others of its connection.
    Http2(SendStream<Bytes>),
}

impl Wire {
    /// The way out of `session`, whose head is written and whose body was read; `None` for what is neither
    /// HTTP/1.1 nor HTTP/2.
    pub(super) fn of(session: ServerSession) -> Option<Self> {
        let chunked = takes_chunks(&session);
        match session {
            ServerSession::H1(session) => Some(Self::Http1 { stream: session.into_inner(), chunked }),
            ServerSession::H2(mut session) => session.take_response_body_writer().map(Self::Http2),
            ServerSession::Subrequest(_) | ServerSession::Custom(_) => None,
        }
    }

    /// Sends a text, of at least one byte.
    pub(super) async fn send(&mut self, text: &str) -> Result<(), Unwritten> {
        let sent = async {
            match self {
                Self::Http1 { stream, chunked: true } => {
                    let chunk = format!("{:x}\r\n{text}\r\n", text.len());
                    stream.write_all(chunk.as_bytes()).await?;
                    stream.flush().await?;
                }
                Self::Http1 { stream, chunked: false } => {
                    stream.write_all(text.as_bytes()).await?;
                    stream.flush().await?;
                }
                Self::Http2(stream) => {
                    let mut rest = BytesMut::from(text).freeze();
                    while !rest.is_empty() {
                        stream.reserve_capacity(rest.len());
                        let room = poll_fn(|context| stream.poll_capacity(context)).await;
                        let room = room.ok_or(Unwritten::Caller)??;
                        stream.send_data(rest.split_to(room.min(rest.len())), false)?;
                    }
                }
            }
            Ok(())
        };
        timeout(PATIENCE, sent).await.map_err(|_| Unwritten::Caller)?
    }

    /// Returns when the client has gone. There is nothing to read from it: who sends something on a
    /// connection that is to be closed is as good as gone.
    pub(super) async fn gone(&mut self) {
        match self {
            Self::Http1 { stream, .. } => _ = stream.read(&mut [0]).await,
            Self::Http2(stream) => _ = poll_fn(|context| stream.poll_reset(context)).await,
        }
    }

    /// Ends the stream, as a whole.
    pub(super) async fn finish(&mut self) -> Result<(), Unwritten> {
        let finished = async {
            match self {
                Self::Http1 { stream, chunked } => {
                    if *chunked {
                        stream.write_all(b"0\r\n\r\n").await?;
                    }
                    stream.shutdown().await?;
                }
                Self::Http2(stream) => stream.send_data(Bytes::new(), true)?,
            }
            Ok(())
        };
        timeout(PATIENCE, finished).await.map_err(|_| Unwritten::Caller)?
    }
}
