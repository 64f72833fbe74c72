//! Makes spans of requests that have ended and sends them, many at a time, by a thread of its own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use tokio::runtime::Builder;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use crate::config;
use crate::telemetry::metrics::SpanCounters;

use super::otlp::{Collector, Untaken, resource, scope};
use super::spans::{Ended, Places};

/// Pause before spans are sent again.
const AGAIN: Duration = Duration::from_millis(500);
/// Longest time to send what waits at the end.
const GRACE: Duration = Duration::from_secs(2);

/// Sends what it is given.
pub(super) struct Exporter {
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Spans that wait to be made and sent.
struct Queue {
    waiting: Mutex<Waiting>,
    /// Most of them.
    most: usize,
    /// The number from which they do not wait for others.
    batch: usize,
    full: Notify,
    ending: watch::Sender<bool>,
    counters: SpanCounters,
}

#[derive(Default)]
struct Waiting {
    ended: Vec<Ended>,
    /// The number of their spans, and of those that are made and not taken to be sent.
    spans: usize,
}

/// The thread's own part.
struct Sender {
    queue: Arc<Queue>,
    places: Places,
    /// Spans that are made and not sent yet.
    spans: VecDeque<Span>,
    ending: watch::Receiver<bool>,
    collector: Collector,
    resource: Resource,
    schedule_delay: Duration,
    export_timeout: Duration,
    /// True after an attempt that failed.
    fails: bool,
    /// True once the gate has waited for the collector as long as it may at the end.
    late: bool,
}

impl Exporter {
    /// Begins to send.
    ///
    /// # Errors
    /// Why it cannot.
    pub(super) fn begin(settings: &config::Traces, places: Places, counters: SpanCounters) -> Result<Self, String> {
        let ending = watch::Sender::new(false);
        let collector = Collector::new(settings.otlp.clone())?;
        let receiver = ending.subscribe();
        let config::Traces { queue: most, batch, schedule_delay, export_timeout, .. } = *settings;
        let queue = Arc::new(Queue { waiting: Mutex::default(), most, batch, full: Notify::new(), ending, counters });
        let resource = resource(&settings.otlp);
        let sender = Sender {
            queue: Arc::clone(&queue),
            places,
            spans: VecDeque::new(),
            ending: receiver,
            collector,
            resource,
            schedule_delay,
            export_timeout,
            fails: false,
            late: false,
        };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        let thread = thread::Builder::new().name("traces".to_owned()).spawn(move || runtime.block_on(sender.run()));
        let thread = Mutex::new(Some(thread.map_err(|error| error.to_string())?));
        Ok(Self { queue, thread })
    }

    /// Takes a request, unless too many spans wait.
    pub(super) fn add(&self, ended: Ended) {
        let mut waiting = self.queue.waiting();
        let spans = ended.count();
        if waiting.spans + spans > self.queue.most {
            drop(waiting);
            return self.queue.counters.lost.inc_by(spans as u64);
        }
        waiting.spans += spans;
        waiting.ended.push(ended);
        let full = waiting.spans >= self.queue.batch;
        drop(waiting);
        if full {
            self.queue.full.notify_one();
        }
    }

    /// Sends what waits, and ends the thread.
    pub(super) fn close(&self) {
        self.queue.ending.send_replace(true);
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sender {
    async fn run(mut self) {
        loop {
            let ending = *self.ending.borrow();
            if !ending {
                tokio::select! {
                    () = sleep(self.schedule_delay) => {}
                    () = self.queue.full.notified() => {}
                    _ = self.ending.changed() => {}
                }
            }
            loop {
                let spans = self.take();
                if spans.is_empty() {
                    break;
                }
                self.send(spans).await;
            }
            if ending {
                return;
            }
        }
    }

    /// Takes as many spans as are sent at once, and makes them first where there are none.
    fn take(&mut self) -> Vec<Span> {
        if self.spans.is_empty() {
            let ended = std::mem::take(&mut self.queue.waiting().ended);
            self.spans.extend(ended.into_iter().flat_map(|ended| ended.spans(&self.places)));
        }
        let some = self.spans.len().min(self.queue.batch);
        self.queue.waiting().spans -= some;
        self.spans.drain(..some).collect()
    }

    /// Sends spans, again and again where that may help.
    async fn send(&mut self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        if self.late {
            return self.queue.counters.lost.inc_by(count);
        }
        let deadline = Instant::now() + self.export_timeout;
        let body = self.collector.body(&self.request(spans));
        loop {
            let untaken = match self.post(body.clone()).await {
                Ok(rejected) => return self.sent(count, rejected.min(count)),
                Err(untaken) => untaken,
            };
            self.tell(untaken.as_ref());
            self.late = untaken.is_none();
            let pause = untaken.and_then(|untaken| untaken.pause(AGAIN));
            let again = pause.filter(|pause| Instant::now() + *pause < deadline && !*self.ending.borrow());
            let Some(pause) = again else { return self.queue.counters.lost.inc_by(count) };
            tokio::select! {
                () = sleep(pause) => {}
                _ = self.ending.changed() => {}
            }
        }
    }

    /// Posts a body, and gives the number of spans that were rejected. At the end there is little time.
    async fn post(&mut self, body: Vec<u8>) -> Result<u64, Option<Untaken>> {
        let mut ending = self.ending.clone();
        let over = async move {
            let _ = ending.wait_for(|ending| *ending).await;
            sleep(GRACE).await;
        };
        let answer = tokio::select! {
            answer = self.collector.post(body) => answer.map_err(Some)?,
            () = over => return Err(None),
        };
        let answer = ExportTraceServiceResponse::decode(&answer[..]).unwrap_or_default();
        let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
        Ok(u64::try_from(rejected).unwrap_or(0))
    }

    fn sent(&mut self, count: u64, rejected: u64) {
        self.queue.counters.sent.inc_by(count - rejected);
        self.queue.counters.lost.inc_by(rejected);
        if std::mem::take(&mut self.fails) {
            tracing::warn!("the collector takes spans again");
        }
    }

    /// Tells once that spans are not taken.
    fn tell(&mut self, untaken: Option<&Untaken>) {
        if !std::mem::replace(&mut self.fails, true) {
            let why = untaken.map_or_else(|| "it does not answer in time".to_owned(), ToString::to_string);
            let most = self.queue.most;
            tracing::error!(%why, most, "the collector takes no spans: they wait, as many as may, and then are lost");
        }
    }

    fn request(&self, spans: Vec<Span>) -> ExportTraceServiceRequest {
        let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans, ..ScopeSpans::default() }];
        let resource = Some(self.resource.clone());
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
        }
    }
}
