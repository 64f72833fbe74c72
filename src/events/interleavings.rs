//! The bus under many orders in which its threads may run (`make interleavings` has them tried).

use std::sync::Arc;

use filters::event::{Event, EventId, EventKind};
use filters::grants::{Resource, Space};
use filters::names::{AgentId, Namespace};
use filters::path::SecretPath;
use futures_util::FutureExt as _;
use shuttle::future::block_on;
use shuttle::thread;

use crate::telemetry::Metrics;

use super::{Bus, Heard};

/// Orders that are tried.
const ORDERS: usize = 2_000;
/// Changes of each thread that makes some.
const CHANGES: u64 = 3;

fn bus() -> Arc<Bus> {
    Arc::new(Bus::new(Arc::new(Metrics::new(Vec::new()).expect("metrics"))))
}

fn alice() -> AgentId {
    AgentId::parse("alice").expect("a name")
}

fn change(version: u64) -> Event {
    Event {
        kind: EventKind::Changed,
        agent: alice(),
        generation: 1,
        namespace: Namespace::default(),
        operation: "kv.write".into(),
        resource: Some(Resource::Secret(Space::Own, SecretPath::parse("a").expect("a path"))),
        version: Some(version),
    }
}

/// Has threads make changes: the first 1, 2 and 3, the second 11, 12 and 13.
fn publish(bus: &Arc<Bus>) -> Vec<thread::JoinHandle<()>> {
    let begin = |first: u64| {
        let bus = Arc::clone(bus);
        thread::spawn(move || (first..first + CHANGES).for_each(|version| bus.publish(change(version))))
    };
    vec![begin(1), begin(11)]
}

#[test]
fn who_subscribes_meanwhile_hears_of_each_change_once_and_in_order() {
    let run = || {
        let bus = bus();
        bus.publish(change(0));
        let last = bus.recent(&alice())[0].id;
        let publishers = publish(&bus);
        let mut subscription = bus.subscribe(&alice(), Some(last), false);
        publishers.into_iter().for_each(|publisher| publisher.join().expect("it ends"));
        let (mut ids, mut versions) = (vec![last], Vec::new());
        while let Some(Heard::Event(told)) = subscription.next().now_or_never() {
            ids.push(told.id);
            versions.extend(told.event.version);
        }
        assert!(ids.is_sorted_by(|one: &EventId, next: &EventId| one < next), "{ids:?}");
        for first in [1, 11] {
            let of: Vec<_> = versions.iter().copied().filter(|version| (first..first + 10).contains(version)).collect();
            assert_eq!(of, (first..first + CHANGES).collect::<Vec<_>>(), "{versions:?}");
        }
    };
    shuttle::check_random(run, ORDERS);
}

#[test]
fn what_is_posted_is_sent_once_and_in_order() {
    let run = || {
        let bus = bus();
        bus.outbox.open(true);
        let publishers = publish(&bus);
        let sent = block_on(async {
            let mut sent = Vec::new();
            while sent.len() < 2 * usize::try_from(CHANGES).expect("a number") {
                let posts = bus.outbox.wait(2).await;
                sent.extend(posts.iter().map(|post| post.text.clone()));
                bus.outbox.sent(&posts);
            }
            sent
        });
        publishers.into_iter().for_each(|publisher| publisher.join().expect("it ends"));
        let told: Vec<_> = bus.recent(&alice()).iter().map(|told| serde_json::to_string(&**told)).collect();
        let told: Result<Vec<_>, _> = told.into_iter().collect();
        assert_eq!(sent, told.expect("JSON"), "in the order in which they are told here");
    };
    shuttle::check_random(run, ORDERS);
}

#[test]
fn a_stream_may_close_while_others_are_told() {
    let run = || {
        let bus = bus();
        let (leaves, mut stays) = (bus.subscribe(&alice(), None, true), bus.subscribe(&alice(), None, false));
        let publishers = publish(&bus);
        let left = thread::spawn(move || drop(leaves));
        let mut heard = 0;
        block_on(async {
            while heard < 2 * CHANGES {
                assert!(matches!(stays.next().await, Heard::Event(_)));
                heard += 1;
            }
        });
        left.join().expect("it ends");
        publishers.into_iter().for_each(|publisher| publisher.join().expect("it ends"));
        assert!(stays.next().now_or_never().is_none(), "and of nothing twice");
    };
    shuttle::check_random(run, ORDERS);
}
