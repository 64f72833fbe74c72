//! Questions that come before an answer (multi round-trip requests, revision 2026-07-28).

use std::sync::Arc;

use filters::grants::Agent;
use filters::handle::{Binding, Keyring, Purpose};
use filters::mcp::Failure;
use filters::names::{AgentId, Namespace};
use filters::quota::Terms;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::tools::text;
use super::{Answer, Asked};

/// A question to the client or its user.
#[derive(Clone, Copy)]
pub(super) enum Question {
    /// For a field of this name and type.
    Elicit(&'static str, &'static str),
    /// For a message of a model's.
    Sample,
    /// For the client's roots.
    Roots,
}

impl Question {
    const fn capability(self) -> &'static str {
        match self {
            Self::Elicit(..) => "elicitation",
            Self::Sample => "sampling",
            Self::Roots => "roots",
        }
    }

    fn written(self) -> Value {
        match self {
            Self::Elicit(field, kind) => {
                let schema = json!({"type": "object", "properties": {field: {"type": kind}}, "required": [field]});
                let params = json!({"message": format!("The {field}, please."), "requestedSchema": schema});
                json!({"method": "elicitation/create", "params": params})
            }
            Self::Sample => {
                let message = json!({"role": "user", "content": text("A word, please.")});
                json!({"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": 9}})
            }
            Self::Roots => json!({"method": "roots/list", "params": {}}),
        }
    }

    fn is_answered_by(self, answer: &Value) -> bool {
        match self {
            Self::Elicit(field, _) => answer["action"] == "accept" && !answer["content"][field].is_null(),
            Self::Sample => answer["content"].is_object(),
            Self::Roots => answer["roots"].is_array(),
        }
    }
}

/// Questions by their names, round by round.
pub(super) struct Questions<'q> {
    rounds: &'q [&'q [(&'static str, Question)]],
    /// True where the client brings back which round it is in.
    sealed: bool,
}

impl<'q> Questions<'q> {
    pub(super) const fn new(rounds: &'q [&'q [(&'static str, Question)]]) -> Self {
        Self { rounds, sealed: false }
    }

    pub(super) const fn sealed(rounds: &'q [&'q [(&'static str, Question)]]) -> Self {
        Self { rounds, sealed: true }
    }
}

impl Asked<'_> {
    /// Asks the questions that the client can answer, and completes the call once it has.
    pub(super) fn ask(&self, questions: &Questions<'_>, complete: impl FnOnce() -> Value) -> Answer {
        let input = &self.call.input;
        let state = input.state.as_deref().filter(|_| questions.sealed);
        let Some(mut round) = state.map_or(Some(0), |state| self.shared.seal.open(state)) else {
            return Answer::Failed(Failure::Parameters("The state is not one that was given out"));
        };
        let answers: Value = input.responses.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        let is_answered = |(name, question): &(&'static str, Question)| {
            answers.get(name).is_some_and(|answer| question.is_answered_by(answer))
        };
        if state.is_some() == questions.sealed && questions.rounds[round].iter().all(is_answered) {
            round += 1;
        }
        let Some(asked) = questions.rounds.get(round) else { return Answer::Complete(complete()) };
        let open = asked.iter().filter(|(_, question)| self.may_ask(*question));
        let requests: Map<_, _> = open.map(|(name, question)| ((*name).to_owned(), question.written())).collect();
        match asked.first() {
            Some((_, question)) if requests.is_empty() => {
                Answer::Failed(Failure::NoCapability(question.capability(), "The client cannot be asked"))
            }
            _ if questions.sealed => {
                Answer::InputRequired(json!({"inputRequests": requests, "requestState": self.shared.seal.seal(round)}))
            }
            _ => Answer::InputRequired(json!({"inputRequests": requests})),
        }
    }

    /// True where the client has declared the capability that the question needs.
    fn may_ask(&self, question: Question) -> bool {
        let input = &self.call.input;
        let declared = |raw: &RawValue| serde_json::from_str::<Map<String, Value>>(raw.get()).ok();
        match question {
            Question::Elicit(..) => input.elicits(),
            Question::Sample | Question::Roots => {
                input.capabilities.and_then(declared).is_some_and(|all| all.contains_key(question.capability()))
            }
        }
    }
}

/// Seals rounds as the gate seals calls that are to be confirmed, for the one agent that there is.
pub(super) struct Seal {
    keys: Keyring,
    pub(super) agent: Agent,
}

impl Default for Seal {
    fn default() -> Self {
        let agent = Agent {
            id: AgentId::parse("samples").expect("a name"),
            generation: 1,
            namespace: Namespace::default(),
            roles_policy: "".into(),
            tally: Arc::default(),
            roles: Vec::new(),
            limit: None,
            operations: Vec::new(),
            terms: Terms::default(),
        };
        Self { keys: Keyring::new([(1, [1; 32])]), agent }
    }
}

impl Seal {
    const fn binding(&self) -> Binding<'_> {
        Binding { purpose: Purpose::Confirmation, agent: &self.agent }
    }

    fn seal(&self, round: usize) -> String {
        self.keys.seal(&round, self.binding()).expect("a key")
    }

    fn open(&self, state: &str) -> Option<usize> {
        self.keys.open(state, self.binding()).ok()
    }
}
