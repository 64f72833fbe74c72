//! An agent's secrets as MCP resources: listed page by page, read by URI.

use filters::handle::Purpose;
use filters::mcp::{self, Call, Completing, ListPlace, Page, Step, Walk};
use filters::path::SecretPath;
use filters::refusal::Refusal;
use serde::Deserialize;

use crate::service::Outcome;

use super::{Asked, Json};

/// Most secrets on a page.
const SECRETS: usize = 100;
/// Most folders that are listed for a page.
const FOLDERS: usize = 16;
/// Most names that are looked at for a page.
const STEPS: usize = 2_000;

/// The contents of a page.
struct Found {
    secrets: Vec<SecretPath>,
    /// Folders that cannot be listed.
    large: Vec<Option<SecretPath>>,
    /// Where the next page begins.
    place: Option<ListPlace>,
}

/// The answer of `kv.list`.
#[derive(Deserialize)]
struct Names {
    keys: Vec<String>,
}

/// The result of a message about resources, and its outcome.
pub(super) struct Listed {
    pub(super) result: Result<Vec<u8>, Refusal>,
    pub(super) outcome: Outcome,
}

impl Listed {
    /// Refused as a whole, whatever became of its parts.
    fn new(result: Result<Vec<u8>, Refusal>, mut outcome: Outcome) -> Self {
        outcome.decision = result.as_ref().map_or_else(|refusal| refusal.public().code, |_| "allow");
        Self { result, outcome }
    }
}

impl Asked<'_> {
    /// Reads the secret that a URI names.
    pub(super) async fn read_resource(&self, call: &Call<'_>, uri: &str) -> Listed {
        let operation = match mcp::target(uri, &self.caller.agent().id) {
            Ok(operation) => operation,
            Err(refusal) => return Listed { outcome: Outcome::refused("kv.read", &refusal), result: Err(refusal) },
        };
        let (answer, outcome) = self.context.call(self.caller, operation, &Json::Whole).await.text();
        let told = |json: String| {
            let mut body = Vec::new();
            mcp::told(call, uri, &json, &mut body);
            body
        };
        Listed::new(answer.map(told), outcome)
    }

    /// A page of the secrets that the agent may read.
    pub(super) async fn list_resources(&self, call: &Call<'_>, cursor: Option<&str>) -> Listed {
        let mut outcome = Outcome { operation: "kv.list", ..Outcome::default() };
        let result = self.listed(call, cursor, &mut outcome).await;
        Listed::new(result, outcome)
    }

    /// The values that an argument may have: paths of secrets that the agent may use as the argument
    /// is used, and of folders on the way to them.
    pub(super) async fn complete(&self, call: &Call<'_>, completing: &Completing<'_>) -> Listed {
        let mut outcome = Outcome { operation: "kv.list", ..Outcome::default() };
        let values = self.values(completing, &mut outcome).await;
        let told = |values: Vec<String>| {
            let mut body = Vec::new();
            mcp::completed(call, &values, &mut body);
            body
        };
        Listed::new(values.map(told), outcome)
    }

    async fn values(&self, completing: &Completing<'_>, outcome: &mut Outcome) -> Result<Vec<String>, Refusal> {
        let Some((folder, begun)) = completing.folder(&self.caller.agent().id)? else { return Ok(Vec::new()) };
        let mut names = match self.names(folder.as_ref(), outcome).await {
            Err(Refusal::NotFound | Refusal::Absent(_) | Refusal::AnswerTooLarge) => Vec::new(),
            names => names?,
        };
        names.retain(|name| name.starts_with(begun));
        names.sort_unstable();
        names.dedup();
        let path = |name: &str| folder.as_ref().map_or(name.into(), |folder| format!("{}/{name}", folder.as_str()));
        let paths = names.iter().map(|name| path(name));
        Ok(paths.filter(|path| self.may_use(completing, path)).collect())
    }

    fn may_use(&self, completing: &Completing<'_>, path: &str) -> bool {
        let (plain, is_folder) = path.strip_suffix('/').map_or((path, false), |plain| (plain, true));
        let Ok(path) = SecretPath::parse(plain) else { return false };
        let may = |operation| self.context.judge(self.caller, operation).is_ok();
        is_folder || completing.operation(&path).is_ok_and(may)
    }

    async fn listed(&self, call: &Call<'_>, cursor: Option<&str>, outcome: &mut Outcome) -> Result<Vec<u8>, Refusal> {
        let agent = self.caller.agent();
        let place =
            cursor.map(|cursor| self.context.open(agent, Purpose::Cursor, cursor, mcp::no_cursor())).transpose()?;
        let root = place.is_none() && self.context.judge(self.caller, mcp::names(None)?).is_ok();
        let Found { secrets, large, place } = self.page(Walk::from(place), outcome).await?;
        let next = place.map(|place| self.context.seal(agent, Purpose::Cursor, &place)).transpose()?;
        let mut body = Vec::new();
        mcp::listed_resources(call, &Page { subject: &agent.id, root, secrets, large, next }, &mut body);
        Ok(body)
    }

    /// Walks until the page is full; what the agent may not read is not on it. A folder with more
    /// names than an answer may hold is named, and passed.
    async fn page(&self, mut walk: Walk, outcome: &mut Outcome) -> Result<Found, Refusal> {
        let (mut secrets, mut large, mut folders) = (Vec::new(), Vec::new(), 0);
        for _ in 0..STEPS {
            match walk.step() {
                None => break,
                Some(Step::Secret(path)) => {
                    if self.context.judge(self.caller, mcp::secret(&path, None)?).is_ok() {
                        secrets.push(path);
                    }
                }
                Some(Step::Folder(_)) if folders == FOLDERS => break,
                Some(Step::Folder(folder)) => match self.names(folder.as_ref(), outcome).await {
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
    async fn names(&self, folder: Option<&SecretPath>, outcome: &mut Outcome) -> Result<Vec<String>, Refusal> {
        match self.context.judge(self.caller, mcp::names(folder)?) {
            Ok(()) => {}
            Err(Refusal::Forbidden) => {
                return Ok(self.caller.agent().ways_below(folder).map(|name| format!("{name}/")).collect());
            }
            Err(refusal) => return Err(refusal),
        }
        let (answer, part) = self.context.call(self.caller, mcp::names(folder)?, &Json::Whole).await.text();
        outcome.add(part);
        match answer {
            Ok(json) => Ok(serde_json::from_str::<Names>(&json).map_err(|_| Refusal::UpstreamNonsense)?.keys),
            Err(Refusal::DeniedByVault) => Ok(Vec::new()),
            Err(refusal) => Err(refusal),
        }
    }
}
