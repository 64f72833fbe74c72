//! The requests of one connection: one after the other over HTTP/1.1, several at once over HTTP/2.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use pingora_core::protocols::http::v2::server::{self, H2Accept, HttpSession, default_h2_options};
use pingora_core::protocols::http::{ReusableHttpStream, ServerSession};
use pingora_core::protocols::{ALPN, Digest, Stream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::listener::Connection;

use super::{Answered, Gateway};

/// Most requests of one HTTP/2 connection whose head is no head of HTTP.
const MALFORMED: usize = 32;

impl Gateway {
    /// Serves the requests of a connection until it is closed.
    pub(super) async fn serve(
        self: &Arc<Self>,
        stream: Stream,
        connection: &Arc<Connection>,
        shutdown: watch::Receiver<bool>,
    ) {
        match stream.selected_alpn_proto() {
            Some(ALPN::H2) => self.serve_http2(stream, connection, shutdown).await,
            _ => self.serve_http1(stream, connection, shutdown).await,
        }
    }

    async fn serve_http1(
        self: &Arc<Self>,
        stream: Stream,
        connection: &Arc<Connection>,
        shutdown: watch::Receiver<bool>,
    ) {
        let (mut next, mut fresh) = (Some((stream, None)), true);
        while let Some((stream, sent)) = next {
            let mut session = ServerSession::new_http1(stream);
            // What comes with a request may be the next one.
            session.set_pipelining_enabled(true);
            if let Some(sent) = sent.and_then(without_line_ends) {
                session.set_pipelined_prefix(sent);
            }
            if self.read_head(&mut session, fresh).await.is_none() {
                return;
            }
            let answered = self.respond(session, connection, &shutdown).await;
            next = answered.map(ReusableHttpStream::into_parts);
            fresh = false;
        }
    }

    /// Answers the request whose head was read, to its end; gives the connection for the next one, and
    /// what has come of that.
    async fn respond(
        &self,
        session: ServerSession,
        connection: &Arc<Connection>,
        shutdown: &watch::Receiver<bool>,
    ) -> Option<ReusableHttpStream> {
        // Neither an idle connection nor a stream holds what a request needs. It is large: made where it
        // stays, it is not copied there.
        let answer = Box::write(Box::new_uninit(), self.answer(session, connection, shutdown));
        match Box::into_pin(answer).await {
            Answered::Whole(next) => next,
            Answered::Stream(stream) => {
                Box::pin(stream.attend(shutdown)).await;
                None
            }
        }
    }

    async fn serve_http2(
        self: &Arc<Self>,
        stream: Stream,
        connection: &Arc<Connection>,
        mut shutdown: watch::Receiver<bool>,
    ) {
        let limits = self.state.snapshot().limits.bounds.clone();
        let digest = Arc::new(Digest { ssl_digest: stream.get_ssl_digest(), ..Digest::default() });
        let mut options = default_h2_options();
        options.max_concurrent_streams(limits.http2_streams);
        // Its preface may be as long in coming as a head.
        let Ok(Ok(mut http2)) = timeout(limits.head_timeout, server::handshake(stream, Some(options))).await else {
            return;
        };
        let (mut ending, mut malformed) = (false, 0);
        let mut quiet = limits.idle;
        loop {
            let accepted = tokio::select! {
                biased;
                _ = shutdown.wait_for(|down| *down), if !ending => {
                    http2.graceful_shutdown();
                    ending = true;
                    continue;
                }
                accepted = HttpSession::from_h2_conn(&mut http2, Arc::clone(&digest)) => accepted,
                () = sleep(quiet), if !ending => {
                    quiet = left(connection, self.state.snapshot().limits.bounds.idle);
                    if quiet.is_zero() {
                        return;
                    }
                    continue;
                }
            };
            match accepted {
                Ok(Some(H2Accept::Session(session))) => {
                    let (gateway, shutdown) = (Arc::clone(self), shutdown.clone());
                    let (connection, busy) = (Arc::clone(connection), connection.begin());
                    tokio::spawn(async move {
                        let mut session = ServerSession::new_http2(session);
                        // It has arrived with its head.
                        if gateway.read_head(&mut session, true).await.is_some() {
                            gateway.respond(session, &connection, &shutdown).await;
                        }
                        drop(busy);
                    });
                }
                Ok(Some(H2Accept::Rejected)) if malformed < MALFORMED => malformed += 1,
                Ok(Some(H2Accept::Rejected) | None) | Err(_) => return,
            }
        }
    }
}

/// The begin of a request, without the empty lines that some clients send after a body (RFC 9112,
/// section 2.2); `None` where there is nothing else.
fn without_line_ends(mut sent: BytesMut) -> Option<BytesMut> {
    while sent.starts_with(b"\r\n") {
        sent.advance(2);
    }
    (!sent.is_empty()).then_some(sent)
}

/// The time for which a connection may still be idle; zero where that is over.
fn left(connection: &Connection, most: Duration) -> Duration {
    connection.idle_for().map_or(most, |idle| most.saturating_sub(idle))
}
