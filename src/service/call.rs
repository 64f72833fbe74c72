//! From an operation to its answer: decide, ask Vault, have the answer formed, wrap.

use std::mem;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use filters::confirmation::ConfirmationId;
use filters::decide::{AgentRequest, DecisionContext, Effect, Permit, Permitted, Refused, Wrap, decide};
use filters::event::EventKind;
use filters::grants::{Agent, Engine};
use filters::handle::{Binding, Closed, Keyring, Purpose};
use filters::kms::KmsRequest;
use filters::notes::{LEASE, Note};
use filters::operation::{Entry, Operation};
use filters::refusal::Refusal;
use serde::{Deserialize, Serialize};

use crate::exchange::{Answer, Arrival, Envelope, Lane, Opened, Unanswered};
use crate::limits::Running;
use crate::telemetry::{Call, Record, Recording, Step};
use crate::vault::epoch_seconds;

use super::confirm::Confirm;
use super::form::{Form, Formed, Unformed, read};
use super::judge::ungranted;
use super::streaming::{Performed, Streaming};
use super::{Caller, Context, Outcome};

/// The result of an operation.
pub struct Called {
    /// The answer, a JSON object.
    pub answer: Result<Performed, Refusal>,
    /// The facts for log and metrics.
    pub outcome: Outcome,
}

impl Called {
    /// One that was refused before it was decided.
    #[must_use]
    pub fn refused(operation: &'static str, refusal: Refusal) -> Self {
        Self { outcome: Outcome::refused(operation, &refusal), answer: Err(refusal) }
    }

    /// The answer as text, where the form holds all of it.
    pub fn text(self) -> (Result<String, Refusal>, Outcome) {
        let (answer, mut outcome) = (self.answer, self.outcome);
        let text = answer.and_then(|performed| match performed {
            Performed::Whole(formed) => String::from_utf8(formed.body).map_err(|_| Refusal::UpstreamNonsense),
            Performed::Streaming(_) => Err(Refusal::Internal),
        });
        if let Err(refusal) = &text {
            outcome.decision = refusal.public().code;
        }
        (text, outcome)
    }
}

/// The terms on which a call is done.
enum Terms<'a> {
    /// It is charged.
    Charged,
    /// Something else was charged for it.
    Free,
    /// It is charged, and confirmed first where a role says so.
    Confirmed(Confirm<'a>),
}

/// The parts of a call that say nothing of what is done or for whom.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    /// Goes to Vault as `X-Correlation-Id`.
    pub(super) correlation_id: &'a str,
    /// The form of the answer.
    pub(super) form: &'a dyn Form,
    /// Tells when its client cancels it.
    pub(super) running: Option<&'a Running>,
    /// Takes what records tell of the lease that is made.
    pub(super) lease: &'a OnceLock<Note>,
    /// The notes for its trace, and the operation.
    pub(super) traced: Option<(&'a Recording, &'static Entry)>,
}

impl Context<'_> {
    /// Does what a caller asks for, as far as its roles and limits let it; the answer is in the form
    /// that the surface gives it.
    pub async fn call(&self, caller: &Caller<'_>, operation: Operation, form: &dyn Form) -> Called {
        self.called(caller, operation, form, Terms::Charged).await
    }

    /// Does a part of a listing of bounded size, which only the listing is charged for.
    pub async fn look(&self, caller: &Caller<'_>, operation: Operation, form: &dyn Form) -> Called {
        self.called(caller, operation, form, Terms::Free).await
    }

    /// Does it as [`Context::call`] does, where the role that allows has it confirmed first only with a
    /// confirmation: [`Refusal::ConfirmationRequired`] says that there is none.
    pub async fn call_confirmed(
        &self,
        caller: &Caller<'_>,
        operation: Operation,
        form: &dyn Form,
        confirm: Confirm<'_>,
    ) -> Called {
        self.called(caller, operation, form, Terms::Confirmed(confirm)).await
    }

    async fn called(&self, caller: &Caller<'_>, operation: Operation, form: &dyn Form, terms: Terms<'_>) -> Called {
        let entry = operation.kind;
        let traced = self.recording.as_deref().map(|recording| (recording, entry));
        let lease = OnceLock::new();
        let (correlation_id, running) = (caller.correlation_id(), caller.running());
        let asking = Asking { correlation_id, form, running, lease: &lease, traced };
        let deciding = self.timed(Step::Decide);
        let permitted = deciding.over(self.permitted(caller, operation, terms).await, |refused| &refused.refusal);
        let (role, mut concern, mut event, mut answer, upstream) = match permitted {
            Ok(mut permitted) => {
                let (role, event) = (permitted.role.clone(), permitted.event.take());
                let concern = mem::take(&mut permitted.concern);
                // What changes a secret is waited for: whoever may see that is told of it.
                let changes = event.as_ref().is_some_and(|event| event.kind == EventKind::Changed);
                let asking = if changes { Asking { running: None, ..asking } } else { asking };
                let (answer, upstream) = self.performed(asking, permitted).await;
                (role, concern, event, answer, upstream)
            }
            Err(Refused { refusal, concern }) => (None, concern, None, Err(refusal), None),
        };
        let refused = answer.as_ref().err().map(|refusal| refusal.public().code);
        match &mut answer {
            Ok(Performed::Whole(formed)) => {
                concern.notes.append(mem::take(&mut formed.notes));
                concern.answered();
            }
            Ok(Performed::Streaming(_)) => {}
            Err(_) => event = None,
        }
        if let Some(event) = &mut event {
            event.version = concern.version;
        }
        lease.into_inner().into_iter().for_each(|lease| concern.notes.add(LEASE, lease));
        Called { outcome: Outcome::of(Call { entry, concern, refused, upstream, event }, role), answer }
    }

    /// Does what is permitted. The time is that of Vault; `None` where it was not asked.
    async fn performed(
        &self,
        asking: Asking<'_>,
        permitted: Permitted,
    ) -> (Result<Performed, Refusal>, Option<Duration>) {
        let Permitted { agent, entry, effect, wrap, .. } = permitted;
        if let Effect::Own(answer) = effect {
            return (Ok(Performed::Whole(answer.into())), None);
        }
        // Until it is known who is suspended, everybody might be.
        if !self.state.vault.suspensions.are_known() {
            return (Err(self.state.vault.suspensions.unknown()), None);
        }
        let started = Instant::now();
        let answer = match (effect, &wrap) {
            (Effect::Vault(request), None) if asking.form.takes_parts() => {
                self.stream(asking, &agent, entry, request).await
            }
            (Effect::Pass(passing), None) if asking.form.takes_parts() => {
                Box::pin(self.pass_in_parts(asking, &agent, entry, *passing)).await
            }
            (effect, _) => self.unless_cancelled(asking, &agent, entry, effect, wrap).await.map(Performed::Whole),
        };
        (answer, Some(started.elapsed()))
    }

    /// Does it, unless its client cancels it. What gives something out is waited for, so that it can be
    /// given back; anything else ends at once, and so does Vault's work on it. What was given out for an answer
    /// that is none goes back.
    async fn unless_cancelled(
        &self,
        asking: Asking<'_>,
        agent: &Agent,
        entry: &'static Entry,
        effect: Effect,
        wrap: Option<Wrap>,
    ) -> Result<Formed, Refusal> {
        let gives = wrap.is_some() || !matches!(effect, Effect::Vault(_) | Effect::Kms(_));
        let before = self.parcel.len();
        let mut work = pin!(self.done(asking, agent, entry, effect, wrap));
        let answer = match asking.running {
            None => work.await,
            Some(running) => tokio::select! {
                biased;
                answer = &mut work => answer,
                () = running.cancelled() => {
                    if gives {
                        let _ = work.await;
                    }
                    Err(Refusal::Cancelled)
                }
            },
        };
        answer.inspect_err(|_| self.parcel.give_back(before))
    }

    /// Asks Vault, and begins an answer that is too large to be held.
    async fn stream(
        &self,
        asking: Asking<'_>,
        agent: &Agent,
        entry: &'static Entry,
        request: AgentRequest,
    ) -> Result<Performed, Refusal> {
        let tokens = self.tokens(asking);
        self.check_circuit()?;
        let opened = self.state.vault.upstream.open_for(request, &tokens, self.envelope(asking)).await;
        match self.heard(opened)? {
            Opened::Whole(answer) => read(asking.form, entry, &answer).map(Performed::Whole),
            Opened::Part(arrival) => self.begin(asking, agent, entry, arrival),
        }
    }

    /// Begins an answer that is sent on as it arrives.
    pub(super) fn begin(
        &self,
        asking: Asking<'_>,
        agent: &Agent,
        entry: &'static Entry,
        arrival: Box<Arrival>,
    ) -> Result<Performed, Refusal> {
        let (form, suspensions) = ((asking.form, entry), Arc::clone(&self.state.vault.suspensions));
        let streaming = Streaming::begin(arrival, form, agent.id.clone(), suspensions)?;
        Ok(Performed::Streaming(Box::new(streaming)))
    }

    /// Does it, and holds the whole answer.
    async fn done(
        &self,
        asking: Asking<'_>,
        agent: &Agent,
        entry: &'static Entry,
        effect: Effect,
        wrap: Option<Wrap>,
    ) -> Result<Formed, Refusal> {
        let answer = match effect {
            Effect::Own(answer) => answer.into(),
            Effect::Vault(request) => read(asking.form, entry, &self.ask_vault(asking, request).await?)?,
            Effect::Pass(passing) => Box::pin(self.pass(asking, agent, entry, *passing)).await?,
            Effect::Issue(issued, origin, request) => {
                Box::pin(self.issue(asking, entry, issued, origin, request)).await?
            }
            Effect::Redeem(redeemed) => Box::pin(self.redeem(asking, agent, entry, redeemed)).await?,
            Effect::Kms(request) => Box::pin(self.ask_kms(asking, entry, request)).await?,
        };
        match wrap {
            // It is kept in JSON, which a certificate is not.
            Some(_) if answer.media.is_some() => Err(Refusal::UpstreamNonsense),
            // Of some of Vault's own paths there is no answer.
            Some(wrap) if !answer.body.is_empty() => {
                Box::pin(self.wrap(asking, agent, wrap, &answer.body)).await.map(Formed::from)
            }
            Some(_) | None => Ok(answer),
        }
    }

    pub(super) fn decision_context<'k>(&'k self, caller: &Caller<'_>, keyring: &'k Keyring) -> DecisionContext<'k> {
        DecisionContext { layout: &self.snapshot.vault.layout, keyring, client: caller.client, now: epoch_seconds() }
    }

    /// The time of the wall clock, in seconds since the epoch.
    #[must_use]
    pub fn now(&self) -> u64 {
        epoch_seconds()
    }

    /// Logs how many names a listing left out, since no request could name them.
    pub fn tell_left_out(&self, caller: &Caller<'_>, names: usize) {
        if names > 0 {
            let (agent, request_id) = (caller.agent().id.as_str(), caller.request_id);
            tracing::warn!(agent, request_id, names, "names in Vault that the gate takes in no path are not listed");
        }
    }

    /// Decides when it is the caller's turn, charges by these terms, and tells the sinks.
    async fn permitted(
        &self,
        caller: &Caller<'_>,
        operation: Operation,
        terms: Terms<'_>,
    ) -> Result<Permitted, Refused> {
        if let Err(refusal) = caller.turn().await {
            return Err(Refused { refusal, concern: operation.into() });
        }
        if operation.kind.spec.engine.is_some_and(Engine::is_kms) && self.state.kms.is_none() {
            return Err(Refused { refusal: Refusal::KmsDisabled, concern: operation.into() });
        }
        let keyring = self.state.vault.handles.keyring();
        let (entry, context) = (operation.kind, self.decision_context(caller, &keyring));
        let permit = decide(&caller.identity, operation, context).map_err(|Refused { refusal, concern }| {
            self.seek_key(&refusal);
            Refused { refusal: ungranted(refusal, &caller.identity, entry, context), concern }
        })?;
        let confirmed = match self.charged(caller, entry, &permit, terms, &keyring).await {
            Ok(confirmed) => confirmed,
            Err(refusal) => return Err(Refused { refusal, concern: permit.into() }),
        };
        let permitted = permit.into_permitted(&self.snapshot.vault.layout, self.snapshot.vault.wrap_ttl)?;
        match self.begun(caller, &permitted, confirmed, &keyring).await {
            Ok(()) => Ok(permitted),
            Err(refusal) => Err(Refused { refusal, concern: permitted.concern }),
        }
    }

    /// Charges all of the request's limits. What is to be confirmed is asked for before they are charged; the
    /// answer's id is what is to be used up.
    async fn charged(
        &self,
        caller: &Caller<'_>,
        entry: &'static Entry,
        permit: &Permit,
        terms: Terms<'_>,
        keyring: &Keyring,
    ) -> Result<Option<ConfirmationId>, Refusal> {
        let (charged, confirm) = match terms {
            Terms::Charged => (true, None),
            Terms::Free => (false, None),
            Terms::Confirmed(confirm) => (true, Some(confirm).filter(|_| permit.is_confirmed_first())),
        };
        let confirmed = confirm.map(|confirm| self.confirmed(caller, entry, confirm, keyring)).transpose()?;
        caller.debt.pay(if charged { permit.limits() } else { [None, None] }).await?;
        Ok(confirmed)
    }

    /// The last things before Vault is asked: a confirmation is used up, and the sinks are told.
    async fn begun(
        &self,
        caller: &Caller<'_>,
        permitted: &Permitted,
        confirmed: Option<ConfirmationId>,
        keyring: &Keyring,
    ) -> Result<(), Refusal> {
        if permitted.gives_handle() && keyring.is_empty() {
            return Err(self.state.vault.handles.without());
        }
        if let Some(id) = confirmed {
            self.use_up_confirmation(id).await?;
        }
        let trace = self.recording.as_ref().map(|recording| recording.trace_id());
        for kept in self.state.sinks.admit(&Record { trace, ..caller.record(permitted) })? {
            kept.await?;
        }
        Ok(())
    }

    /// Has the keys of handles looked at where a handle names one that is not known here yet.
    pub fn seek_key(&self, refusal: &Refusal) {
        if *refusal == Refusal::HandleKeyUnknown {
            self.state.vault.handles.want();
        }
    }

    /// Asks with the agent's token, and reads the whole answer.
    pub(super) async fn ask_vault(&self, asking: Asking<'_>, request: AgentRequest) -> Result<Answer, Refusal> {
        let tokens = self.tokens(asking);
        self.check_circuit()?;
        self.heard(self.state.vault.upstream.ask_for(request, &tokens, self.envelope(asking)).await)
    }

    /// Counts where Vault does not answer.
    pub(super) fn heard<T>(&self, answer: Result<T, Unanswered>) -> Result<T, Refusal> {
        answer.map_err(|unanswered| {
            if let Unanswered::Broken(_) = unanswered {
                self.state.metrics.vault.broken.inc();
            }
            unanswered.into()
        })
    }

    /// Asks AWS KMS with the gate's own credentials.
    async fn ask_kms(&self, asking: Asking<'_>, entry: &'static Entry, request: KmsRequest) -> Result<Formed, Refusal> {
        let kms = self.state.kms.as_ref().ok_or(Refusal::KmsDisabled)?;
        let answer = self.timed(Step::Kms).over(kms.ask(request).await, |refusal| refusal)?;
        let unformed = Unformed { entry, body: Some(&answer), given: &[] };
        asking.form.whole(unformed).map_err(|_| Refusal::KmsUnavailable)
    }

    /// Nothing is asked of a Vault that is known to be away.
    pub(super) fn check_circuit(&self) -> Result<(), Refusal> {
        if self.state.vault.monitor.is_open() { Ok(()) } else { Err(Refusal::UpstreamUnavailable) }
    }

    /// The envelope of every call to Vault for this request.
    pub(super) fn envelope<'s>(&self, asking: Asking<'s>) -> Envelope<'s> {
        Envelope {
            lane: Lane::Requests,
            correlation: Some(asking.correlation_id),
            limit: self.snapshot.limits.bounds.answer,
            traced: asking.traced,
            ..Envelope::default()
        }
    }

    /// Opens a handle of the agent's: gives the claims that were sealed into it.
    ///
    /// # Errors
    /// `foreign`, and that its key is not known, or none is.
    pub fn open<T: for<'a> Deserialize<'a>>(
        &self,
        agent: &Agent,
        purpose: Purpose,
        handle: &str,
        foreign: Refusal,
    ) -> Result<T, Refusal> {
        self.opened(|keyring| keyring.open(handle, Binding { purpose, agent }))?.ok_or(foreign)
    }

    /// Opens what was sealed; `None` where it was not, or not for this.
    ///
    /// # Errors
    /// That its key is not known yet, or none is.
    pub(super) fn opened<T>(&self, open: impl FnOnce(&Keyring) -> Result<T, Closed>) -> Result<Option<T>, Refusal> {
        let keyring = self.state.vault.handles.keyring();
        if keyring.is_empty() {
            return Err(self.state.vault.handles.without());
        }
        match open(&keyring) {
            Ok(opened) => Ok(Some(opened)),
            Err(Closed::Foreign) => Ok(None),
            Err(Closed::Later) => {
                self.state.vault.handles.want();
                Err(Refusal::HandleKeyUnknown)
            }
        }
    }

    /// A handle for the agent.
    pub fn seal<T: Serialize>(&self, agent: &Agent, purpose: Purpose, claims: &T) -> Result<String, Refusal> {
        let binding = Binding { purpose, agent };
        self.state.vault.handles.keyring().seal(claims, binding).map_err(|_| self.state.vault.handles.without())
    }
}
