//! An agent's secrets as MCP resources: listed page by page, read by URI.

use filters::handle::{Binding, Closed, Purpose};
use filters::identity::Identity;
use filters::mcp::{self, Call, Page, Place, Step, Walk};
use filters::path::SecretPath;
use filters::refusal::Refusal;
use serde::Deserialize;

use super::{Outcome, Request};

/// Most secrets on a page.
const SECRETS: usize = 100;
/// Most folders that are listed for a page.
const FOLDERS: usize = 16;
/// Most names that are looked at for a page.
const STEPS: usize = 2_000;

/// What is on a page.
struct Found {
    secrets: Vec<SecretPath>,
    /// Folders that cannot be listed.
    large: Vec<Option<SecretPath>>,
    /// Where the next page begins.
    place: Option<Place>,
}

/// What `kv.list` answers.
#[derive(Deserialize)]
struct Names {
    keys: Vec<String>,
}

impl Request<'_> {
    /// What a URI names.
    pub(super) async fn read_resource(
        &self,
        call: &Call<'_>,
        uri: &str,
        identity: &Identity,
        outcome: &mut Outcome,
    ) -> Result<Vec<u8>, Refusal> {
        outcome.operation = "kv.read";
        let operation = mcp::target(uri, &identity.agent.id)?;
        let json = self.perform(identity, operation, outcome).await?;
        let json = String::from_utf8(json).map_err(|_| Refusal::UpstreamNonsense)?;
        let mut body = Vec::new();
        mcp::told(call, uri, &json, &mut body);
        Ok(body)
    }

    /// A page of the secrets that the agent may read.
    pub(super) async fn list_resources(
        &self,
        call: &Call<'_>,
        cursor: Option<&str>,
        identity: &Identity,
        outcome: &mut Outcome,
    ) -> Result<Vec<u8>, Refusal> {
        outcome.operation = "kv.list";
        let place = cursor.map(|cursor| self.open_cursor(identity, cursor)).transpose()?;
        let root = place.is_none() && self.judge(identity, mcp::names(None)?).is_ok();
        let Found { secrets, large, place } = self.page(Walk::from(place), identity, outcome).await?;
        let next = place.map(|place| self.seal(&identity.agent, Purpose::Cursor, &place)).transpose()?;
        let mut body = Vec::new();
        mcp::listed_resources(call, &Page { subject: &identity.agent.id, root, secrets, large, next }, &mut body);
        outcome.decision = "allow";
        Ok(body)
    }

    fn open_cursor(&self, identity: &Identity, cursor: &str) -> Result<Place, Refusal> {
        let keyring = self.state.vault.handles.keyring();
        if keyring.is_empty() {
            return Err(self.state.vault.handles.without());
        }
        let namespace = &self.state.vault.namespace;
        let binding = Binding { purpose: Purpose::Cursor, agent: &identity.agent, namespace };
        let closed = |closed| match closed {
            Closed::Foreign => mcp::no_cursor(),
            Closed::Later => Refusal::HandleKeyUnknown,
        };
        keyring.open(cursor, binding).map_err(closed).inspect_err(|refusal| self.seek_key(refusal))
    }

    /// Walks until the page is full; what the agent may not read is not on it. A folder with more
    /// names than an answer may hold is named, and passed.
    async fn page(&self, mut walk: Walk, identity: &Identity, outcome: &mut Outcome) -> Result<Found, Refusal> {
        let (mut secrets, mut large, mut folders) = (Vec::new(), Vec::new(), 0);
        for _ in 0..STEPS {
            match walk.step() {
                None => break,
                Some(Step::Secret(path)) => {
                    if self.judge(identity, mcp::secret(&path, None)?).is_ok() {
                        secrets.push(path);
                    }
                }
                Some(Step::Folder(_)) if folders == FOLDERS => break,
                Some(Step::Folder(folder)) => match self.names(folder.as_ref(), identity, outcome).await {
                    Ok(names) => {
                        walk.tell(names);
                        folders += 1;
                    }
                    Err(Refusal::AnswerTooLarge) => {
                        walk.tell(Vec::new());
                        folders += 1;
                        large.push(folder);
                    }
                    // The page is a short one; the next is refused if it comes too soon.
                    Err(Refusal::RateLimited(_)) if folders > 0 => break,
                    Err(refusal) => return Err(refusal),
                },
            }
            if secrets.len() == SECRETS {
                break;
            }
        }
        Ok(Found { secrets, large, place: walk.place() })
    }

    /// The names directly below a folder. Where the agent may not list it,
    /// those that its grants name on the way to what it may.
    async fn names(
        &self,
        folder: Option<&SecretPath>,
        identity: &Identity,
        outcome: &mut Outcome,
    ) -> Result<Vec<String>, Refusal> {
        match self.judge(identity, mcp::names(folder)?) {
            Ok(()) => {}
            Err(Refusal::Forbidden) => {
                return Ok(identity.agent.ways_below(folder).map(|name| format!("{name}/")).collect());
            }
            Err(refusal) => return Err(refusal),
        }
        match self.perform(identity, mcp::names(folder)?, outcome).await {
            Ok(json) => Ok(serde_json::from_slice::<Names>(&json).map_err(|_| Refusal::UpstreamNonsense)?.keys),
            Err(Refusal::DeniedByVault) => Ok(Vec::new()),
            Err(refusal) => Err(refusal),
        }
    }
}
