//! Tells a client whose call takes long that it goes on.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, OnceLock};
use std::task::Poll;
use std::time::Duration;

use filters::mcp;
use futures_util::poll;
use memchr::memmem::Finder;
use serde_json::value::RawValue;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::service::Caller;

/// Time until a client is told for the first time, and between that and the next.
const PERIOD: Duration = Duration::from_secs(1);

/// The wish of a call's client to be told that it goes on.
#[derive(Default)]
pub struct Progress {
    token: OnceLock<Box<RawValue>>,
    has_begun: AtomicBool,
}

/// The client, as it waits for its answer.
pub trait Waiting: Send {
    /// Returns when the client has gone, where that can be told.
    fn gone(&mut self) -> impl Future<Output = ()> + Send;
    /// Tells it this much of a stream of events, whose head goes before the first; false where it has gone.
    fn tell(&mut self, text: String) -> impl Future<Output = bool> + Send;
}

impl Progress {
    /// The client wants to be told by this token; the first one counts.
    pub(super) fn is_wanted(&self, token: &RawValue) {
        self.token.get_or_init(|| token.to_owned());
    }

    /// True where the client wants to be told.
    pub(super) fn has_token(&self) -> bool {
        self.token.get().is_some()
    }

    /// True where the client was told, and waits for its answer on that stream.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Relaxed)
    }
}

/// The member by which a client wants to be told.
static TOKEN: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("progressToken"));

/// False for a body that cannot hold such a wish.
#[must_use]
pub fn may_be_wanted(body: &[u8]) -> bool {
    TOKEN.find(body).is_some()
}

/// Waits until the messages are served. Their client is told meanwhile if it wants to be, and where it
/// has gone they are cancelled.
pub async fn attend<T>(
    progress: &Progress,
    caller: &Caller<'_>,
    mut serving: Pin<&mut (impl Future<Output = T> + Send)>,
    client: &mut impl Waiting,
) -> T {
    // What waits for nothing costs nothing more, and has said by then what it wants.
    if let Poll::Ready(served) = poll!(serving.as_mut()) {
        return served;
    }
    let began = Instant::now();
    let mut ticks = progress.token.get().map(|token| {
        let mut ticks = interval_at(began + PERIOD, PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        (token, ticks)
    });
    loop {
        let tick = async {
            match &mut ticks {
                Some((token, ticks)) => {
                    ticks.tick().await;
                    &**token
                }
                None => std::future::pending().await,
            }
        };
        let token = tokio::select! {
            served = &mut serving => return served,
            () = client.gone() => break,
            token = tick => token,
        };
        // Until it is paid for, its answer may be that of the whole request.
        if caller.has_paid() {
            progress.has_begun.store(true, Ordering::Relaxed);
            let told = mcp::message_event(&mcp::progress(token, began.elapsed().as_secs()));
            if !client.tell(told).await {
                break;
            }
        }
    }
    caller.leave();
    serving.await
}
