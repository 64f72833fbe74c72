//! Subscriptions: the changes that a client asks to be told of, and the notifications that tell it.
//!
//! Sources: <https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/subscriptions>,
//! <https://modelcontextprotocol.io/specification/2025-11-25/server/resources#subscriptions>.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Failure;
use super::events::written;
use super::notices::notification;
use super::resources::{self, uri_of};
use super::result::{Meta, SERVER};
use crate::event::Event;
use crate::grants::{Resource, Space};
use crate::names::AgentId;
use crate::operation::Operation;
use crate::path::SecretPath;
use crate::refusal::Refusal;

/// Most resources that one stream or session is told of.
pub const MOST_WATCHED: usize = 256;

/// A resource that a client wants to be told of: a secret, or everything below a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    uri: Box<str>,
    space: Space,
    path: Option<SecretPath>,
    is_folder: bool,
}

impl Watched {
    /// The resource of a URI that `subject` names, and the operation that reads it, by which it is
    /// judged. A version in it is not looked at.
    ///
    /// # Errors
    /// As [`resources::target`].
    pub fn parse(uri: &str, subject: &AgentId) -> Result<(Self, Operation), Refusal> {
        let operation = resources::target(uri, subject)?;
        let (space, path, is_folder) = match &operation.resource {
            Some(Resource::Secret(space, path)) => (*space, Some(path.clone()), false),
            Some(Resource::Names(space, prefix)) => (*space, prefix.clone(), true),
            Some(Resource::Key(..) | Resource::Nameless(_)) | None => return Err(Refusal::NotFound),
        };
        Ok((Self { uri: uri.into(), space, path, is_folder }, operation))
    }

    /// Its URI, as the client wrote it.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// True where `event` changed it, or something in it.
    #[must_use]
    pub fn is_changed_by(&self, event: &Event) -> bool {
        let Some((_, path)) = event.secret().filter(|(space, _)| *space == self.space) else { return false };
        match &self.path {
            None => self.is_folder,
            Some(watched) if self.is_folder => {
                path.as_str().strip_prefix(watched.as_str()).is_some_and(|rest| rest.starts_with('/'))
            }
            Some(watched) => watched == path,
        }
    }
}

/// The notifications that a client wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `notifications/tools/list_changed`.
    pub tools: bool,
    /// `notifications/prompts/list_changed`.
    pub prompts: bool,
    /// `notifications/resources/list_changed`.
    pub resources: bool,
    /// `notifications/resources/updated`, for these.
    pub watched: Arc<[Watched]>,
}

/// A client's wish, as it is written (`SubscriptionFilter`).
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Filter {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) tools_list_changed: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) prompts_list_changed: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) resources_list_changed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) resource_subscriptions: Vec<Box<str>>,
}

impl Filter {
    /// Reads the parameter `notifications`.
    ///
    /// # Errors
    /// [`Failure::Parameters`] for what is none, or names too many resources.
    pub(super) fn read(raw: Option<&RawValue>) -> Result<Self, Failure> {
        let raw = raw.ok_or(Failure::Parameters("The parameter notifications is missing"))?;
        let filter: Self = serde_json::from_str(raw.get())
            .map_err(|_| Failure::Parameters("The parameter notifications is no filter of subscriptions"))?;
        if filter.resource_subscriptions.len() > MOST_WATCHED {
            return Err(Failure::Parameters("More than 256 resources are subscribed to at once"));
        }
        Ok(filter)
    }

    /// The part of the wish that is granted. Resources are left out unless `may_read` allows reading them.
    pub fn grant(&self, subject: &AgentId, may_read: impl Fn(Operation) -> bool) -> Wanted {
        let watched = self.resource_subscriptions.iter().filter_map(|uri| {
            let (watched, operation) = Watched::parse(uri, subject).ok()?;
            may_read(operation).then_some(watched)
        });
        Wanted {
            tools: self.tools_list_changed,
            prompts: self.prompts_list_changed,
            resources: self.resources_list_changed,
            watched: watched.collect(),
        }
    }
}

/// A notification without parameters of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    /// The tools that are listed.
    Tools,
    /// The prompts that are listed.
    Prompts,
    /// The resources that are listed.
    Resources,
}

impl Changed {
    const fn method(self) -> &'static str {
        match self {
            Self::Tools => "notifications/tools/list_changed",
            Self::Prompts => "notifications/prompts/list_changed",
            Self::Resources => "notifications/resources/list_changed",
        }
    }
}

#[derive(Serialize)]
struct Params<'a, P> {
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<SubscriptionMeta<'a>>,
    #[serde(flatten)]
    own: P,
}

#[derive(Serialize)]
struct SubscriptionMeta<'a> {
    #[serde(rename = "io.modelcontextprotocol/subscriptionId")]
    id: &'a RawValue,
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct Updated {
    uri: String,
}

/// The messages of one stream, which name the subscription where the revision has its id in them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Messages<'a> {
    /// The id of the request that opened the stream; `None` for a stream of an older revision.
    pub(super) subscription: Option<&'a RawValue>,
}

impl Messages<'_> {
    /// The first message of a subscription: what of it is granted.
    #[must_use]
    pub(super) fn acknowledged(self, wanted: &Wanted) -> String {
        #[derive(Serialize)]
        struct Acknowledged {
            notifications: Filter,
        }
        let filter = Filter {
            tools_list_changed: wanted.tools,
            prompts_list_changed: wanted.prompts,
            resources_list_changed: wanted.resources,
            resource_subscriptions: wanted.watched.iter().map(|watched| watched.uri.clone()).collect(),
        };
        self.notification("notifications/subscriptions/acknowledged", Acknowledged { notifications: filter })
    }

    /// A list has changed.
    #[must_use]
    pub(super) fn changed(self, list: Changed) -> String {
        match self.subscription {
            Some(_) => self.notification(list.method(), Nothing {}),
            None => notification(list.method(), None::<Nothing>),
        }
    }

    /// A resource has changed, told by its own URI.
    #[must_use]
    pub(super) fn updated(self, uri: String) -> String {
        self.notification("notifications/resources/updated", Updated { uri })
    }

    /// The messages that tell a client of an event that its agent may see.
    #[must_use]
    pub(super) fn of(self, event: &Event, wanted: &Wanted, subject: &AgentId) -> Vec<String> {
        let Some((space, path)) = event.secret() else { return Vec::new() };
        let mut messages = Vec::new();
        if wanted.watched.iter().any(|watched| watched.is_changed_by(event)) {
            messages.push(self.updated(uri_of(subject, space, path)));
        }
        // A later version adds no name; of what has none it is not known.
        if wanted.resources && event.version.is_none_or(|version| version == 1) {
            messages.push(self.changed(Changed::Resources));
        }
        messages
    }

    fn notification(self, method: &str, own: impl Serialize) -> String {
        let meta = self.subscription.map(|id| SubscriptionMeta { id });
        notification(method, Some(Params { meta, own }))
    }
}

/// The result that closes a subscription: the last message of its stream.
#[must_use]
pub(super) fn closed(subscription: &RawValue) -> String {
    #[derive(Serialize)]
    struct Closed<'a> {
        jsonrpc: &'static str,
        id: &'a RawValue,
        result: Result<'a>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Result<'a> {
        result_type: &'static str,
        #[serde(rename = "_meta")]
        meta: ClosedMeta<'a>,
    }
    #[derive(Serialize)]
    struct ClosedMeta<'a> {
        #[serde(flatten)]
        server: Meta,
        #[serde(flatten)]
        subscription: SubscriptionMeta<'a>,
    }
    let meta = ClosedMeta { server: Meta { server: SERVER }, subscription: SubscriptionMeta { id: subscription } };
    written(&Closed { jsonrpc: "2.0", id: subscription, result: Result { result_type: "complete", meta } })
}
