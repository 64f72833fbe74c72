//! The bus against a model of it: who hears of what, in which order, and from where on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use filters::event::{Event, EventId, EventKind};
use filters::grants::{Resource, Space};
use filters::names::{AgentId, Namespace};
use filters::path::SecretPath;
use futures_util::FutureExt as _;
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use crate::telemetry::Metrics;

use super::bus::{KEPT, QUEUE};
use super::{Bus, Heard, Subscription};

/// Names of agents.
const AGENTS: [&str; 3] = ["alice", "bob", "carol"];

/// One thing that happens to a bus.
#[derive(Clone, Debug)]
enum Happening {
    /// An agent changes secrets, one after the other.
    Change { agent: usize, shared: bool, times: usize },
    /// A stream is opened, by a client that had this event last, or none.
    Open { agent: usize, last: Option<usize> },
    /// A stream hears of so many things, as far as there are any.
    Hear { stream: usize, times: usize },
    /// A stream is closed.
    Close { stream: usize },
}

/// Something heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Change(usize),
    Gap,
    TooSlow,
}

#[derive(Clone, Debug, Default)]
struct ModelStream {
    agent: usize,
    backlog: VecDeque<Expected>,
    queue: VecDeque<Expected>,
    /// True once more has happened than it may have waiting.
    cut: bool,
}

impl ModelStream {
    fn hear(&mut self) -> Option<Expected> {
        let next = self.backlog.pop_front().or_else(|| self.queue.pop_front());
        next.or(self.cut.then_some(Expected::TooSlow))
    }
}

/// The bus as it should be: all that has happened, and what each stream is still to hear.
#[derive(Clone, Debug, Default)]
struct Model {
    changes: Vec<(usize, bool)>,
    streams: BTreeMap<usize, ModelStream>,
    opened: usize,
}

impl Model {
    fn concerns(&self, change: usize, agent: usize) -> bool {
        let (by, shared) = self.changes[change];
        shared || by == agent
    }

    fn backlog(&self, agent: usize, last: usize) -> VecDeque<Expected> {
        let kept = self.changes.len().saturating_sub(KEPT)..self.changes.len();
        let (gap, from) = if kept.contains(&last) { (None, last + 1) } else { (Some(Expected::Gap), kept.start) };
        let missed = (from..kept.end).filter(|change| self.concerns(*change, agent)).map(Expected::Change);
        gap.into_iter().chain(missed).collect()
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Happening;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Happening> {
        let change = (0..AGENTS.len(), any::<bool>(), prop_oneof![8 => 1_usize..4, 1 => QUEUE - 2..QUEUE + 2])
            .prop_map(|(agent, shared, times)| Happening::Change { agent, shared, times });
        // One that was never made is one that is kept no longer.
        let last = prop::option::of(0..=state.changes.len());
        let open = (0..AGENTS.len(), last).prop_map(|(agent, last)| Happening::Open { agent, last });
        if state.streams.is_empty() {
            return prop_oneof![change, open].boxed();
        }
        let streams: Vec<usize> = state.streams.keys().copied().collect();
        let stream = prop::sample::select(streams);
        let hear = (stream.clone(), 1..QUEUE * 2).prop_map(|(stream, times)| Happening::Hear { stream, times });
        let close = stream.prop_map(|stream| Happening::Close { stream });
        prop_oneof![4 => change, 2 => open, 4 => hear, 1 => close].boxed()
    }

    fn apply(mut state: Self, happening: &Happening) -> Self {
        match *happening {
            Happening::Change { agent, shared, times } => {
                for _ in 0..times {
                    let change = state.changes.len();
                    state.changes.push((agent, shared));
                    for stream in state.streams.values_mut().filter(|stream| shared || stream.agent == agent) {
                        stream.cut |= stream.queue.len() == QUEUE;
                        if !stream.cut {
                            stream.queue.push_back(Expected::Change(change));
                        }
                    }
                }
            }
            Happening::Open { agent, last } => {
                let backlog = last.map_or_else(VecDeque::new, |last| state.backlog(agent, last));
                state.streams.insert(state.opened, ModelStream { agent, backlog, ..ModelStream::default() });
                state.opened += 1;
            }
            Happening::Hear { stream, times } => {
                let stream = state.streams.get_mut(&stream).expect("an open stream");
                for _ in 0..times {
                    let _ = stream.hear();
                }
            }
            Happening::Close { stream } => drop(state.streams.remove(&stream)),
        }
        state
    }

    fn preconditions(state: &Self, happening: &Happening) -> bool {
        match happening {
            Happening::Hear { stream, .. } | Happening::Close { stream } => state.streams.contains_key(stream),
            Happening::Open { last, .. } => last.is_none_or(|last| last <= state.changes.len()),
            Happening::Change { .. } => true,
        }
    }
}

/// A bus, and the streams on it.
struct System {
    bus: Arc<Bus>,
    /// Hears of everything, so that ids are known.
    ids: Vec<EventId>,
    streams: BTreeMap<usize, Subscription>,
    opened: usize,
    /// The model before what happens now.
    before: Model,
}

fn agent(place: usize) -> AgentId {
    AgentId::parse(AGENTS[place]).expect("a name")
}

impl System {
    fn change(&mut self, by: usize, shared: bool) {
        let space = if shared { Space::Shared } else { Space::Own };
        let path = SecretPath::parse("a").expect("a path");
        self.bus.publish(Event {
            kind: EventKind::Changed,
            agent: agent(by),
            generation: 1,
            namespace: Namespace::default(),
            operation: "kv.write".into(),
            resource: Some(Resource::Secret(space, path)),
            version: u64::try_from(self.ids.len()).ok(),
        });
        self.ids.push(self.bus.recent(&agent(by)).last().expect("it is kept").id);
    }

    fn hear(&mut self, stream: usize) -> Option<Expected> {
        let heard = self.streams.get_mut(&stream).expect("an open stream").next().now_or_never()?;
        Some(match heard {
            Heard::Event(told) => Expected::Change(usize::try_from(told.event.version?).expect("a number")),
            Heard::Gap => Expected::Gap,
            Heard::TooSlow => Expected::TooSlow,
            Heard::Answer(_) => panic!("nobody has asked anything"),
        })
    }
}

impl StateMachineTest for System {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(model: &Model) -> Self {
        let metrics = Arc::new(Metrics::new(Vec::new()).expect("metrics"));
        let (bus, before) = (Arc::new(Bus::new(metrics)), model.clone());
        Self { bus, ids: Vec::new(), streams: BTreeMap::new(), opened: 0, before }
    }

    fn apply(mut system: Self, model: &Model, happening: Happening) -> Self {
        match happening {
            Happening::Change { agent, shared, times } => (0..times).for_each(|_| system.change(agent, shared)),
            Happening::Open { agent: of, last } => {
                let gone = EventId::first(7).next(u64::from(u32::MAX));
                let last = last.map(|last| system.ids.get(last).copied().unwrap_or(gone));
                system.streams.insert(system.opened, system.bus.subscribe(&agent(of), last, false));
                system.opened += 1;
            }
            Happening::Hear { stream, times } => {
                let expected = system.before.streams.get_mut(&stream).expect("an open stream");
                let expected: Vec<_> = (0..times).map(|_| expected.hear()).collect();
                let heard: Vec<_> = (0..times).map(|_| system.hear(stream)).collect();
                assert_eq!(heard, expected);
            }
            Happening::Close { stream } => drop(system.streams.remove(&stream)),
        }
        system.before = model.clone();
        system
    }

    fn check_invariants(system: &Self, model: &Model) {
        for (place, name) in AGENTS.iter().enumerate() {
            let kept = model.changes.len().saturating_sub(KEPT)..model.changes.len();
            let expected = kept.filter(|change| model.concerns(*change, place)).count();
            assert_eq!(system.bus.recent(&agent(place)).len(), expected, "{name}");
        }
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_bus_does_what_its_model_does(sequential 1..60 => System);
}
