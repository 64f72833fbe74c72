//! The secrets of an agent, and those it shares with others, as MCP resources: listed page by page, read
//! by URI.

use filters::grants::Space;
use filters::handle::Purpose;
use filters::mcp::{self, Call, Completing, Folder, ListPlace, Page, Sought, Step, Walk};
use filters::path::SecretPath;
use filters::refusal::Refusal;
use filters::verdict::About;
use futures_util::future::join_all;
use serde::Deserialize;

use crate::service::Outcome;

use super::{Asked, Json};

/// Most secrets on a page.
const SECRETS: usize = 100;
/// Most folders that are listed for a page.
const FOLDERS: usize = 16;
/// Most names that are looked at for a page.
const STEPS: usize = 2_000;
/// Most secrets of a page whose metadata Vault is asked for at once.
const AT_ONCE: usize = 8;

/// The contents of a page.
struct Found {
    secrets: Vec<mcp::Listed>,
    /// Folders that cannot be listed.
    large: Vec<Folder>,
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

    /// The values that an argument may have: paths, keys and roles that the agent may use as the argument is used, and
    /// folders on the way to the paths.
    pub(super) async fn complete(&self, call: &Call<'_>, completing: &Completing) -> Listed {
        let mut outcome = Outcome::default();
        let values = self.values(completing, &mut outcome).await;
        let told = |values: Vec<String>| {
            let mut body = Vec::new();
            mcp::completed(call, &values, &mut body);
            body
        };
        Listed::new(values.map(told), outcome)
    }

    async fn values(&self, completing: &Completing, outcome: &mut Outcome) -> Result<Vec<String>, Refusal> {
        let Some((kind, sought)) = completing.sought(self.caller.agent())? else { return Ok(Vec::new()) };
        let may_use =
            |name: &str, shared| self.context.may_use(self.caller, kind, About { name, shared, ..About::default() });
        match sought {
            Sought::Names(names) => {
                Ok(names.into_iter().filter(|name| may_use(name, false)).map(str::to_owned).collect())
            }
            Sought::Paths(folder, begun) => {
                outcome.operation = "kv.list";
                let shared = folder.0 == Space::Shared;
                let mut paths = self.paths(folder, begun, outcome).await?;
                paths.retain(|path| match path.strip_suffix('/') {
                    Some(folder) => SecretPath::parse(folder).is_ok(),
                    None => may_use(path, shared),
                });
                Ok(paths)
            }
        }
    }

    /// The paths in a folder whose names begin so, in order; those of folders end in a slash.
    async fn paths(&self, folder: Folder, begun: &str, outcome: &mut Outcome) -> Result<Vec<String>, Refusal> {
        let mut names = match self.names(&folder, outcome).await {
            Err(Refusal::NotFound | Refusal::Absent(_) | Refusal::AnswerTooLarge) => Vec::new(),
            names => names?,
        };
        names.retain(|name| name.starts_with(begun));
        names.sort_unstable();
        names.dedup();
        let Some(above) = folder.1 else { return Ok(names) };
        Ok(names.iter().map(|name| format!("{}/{name}", above.as_str())).collect())
    }

    async fn listed(&self, call: &Call<'_>, cursor: Option<&str>, outcome: &mut Outcome) -> Result<Vec<u8>, Refusal> {
        let agent = self.caller.agent();
        let place =
            cursor.map(|cursor| self.context.open(agent, Purpose::Cursor, cursor, mcp::no_cursor())).transpose()?;
        let mut roots = Vec::new();
        for space in [Space::Own, Space::Shared] {
            if place.is_none() && self.context.judge(self.caller, mcp::names(&(space, None))?).is_ok() {
                roots.push(space);
            }
        }
        let Found { secrets, large, place } = self.page(Walk::from(place), outcome).await?;
        let secrets = self.there(secrets, outcome).await?;
        let next = place.map(|place| self.context.seal(agent, Purpose::Cursor, &place)).transpose()?;
        let mut body = Vec::new();
        mcp::listed_resources(call, &Page { subject: &agent.id, roots, secrets, large, next }, &mut body);
        Ok(body)
    }

    /// Walks until the page is full; what the agent may not read is not on it. A folder with more
    /// names than an answer may hold is named, and passed.
    async fn page(&self, mut walk: Walk, outcome: &mut Outcome) -> Result<Found, Refusal> {
        let (mut secrets, mut large, mut folders) = (Vec::new(), Vec::new(), 0);
        for _ in 0..STEPS {
            match walk.step() {
                None => break,
                Some(Step::Secret(secret)) => {
                    if self.context.judge(self.caller, mcp::secret(&secret, None)?).is_ok() {
                        secrets.push(secret);
                    }
                }
                Some(Step::Folder(_)) if folders == FOLDERS => break,
                Some(Step::Folder(folder)) => match self.names(&folder, outcome).await {
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
        self.context.tell_left_out(self.caller, walk.left_out());
        Ok(Found { secrets, large, place: walk.place() })
    }

    /// The secrets among them that can be read: Vault lists deleted ones too, and a client that reads all it is shown would
    /// fail by the first of them. Vault is asked once for each; where it does not say, the secret is taken to be there.
    async fn there(&self, secrets: Vec<mcp::Listed>, outcome: &mut Outcome) -> Result<Vec<mcp::Listed>, Refusal> {
        let mut there = Vec::with_capacity(secrets.len());
        for some in secrets.chunks(AT_ONCE) {
            let asked = some.iter().map(mcp::metadata).collect::<Result<Vec<_>, _>>()?;
            let looked = asked.into_iter().map(|metadata| self.context.look(self.caller, metadata, &Json::Whole));
            for (secret, called) in some.iter().zip(join_all(looked).await) {
                let (answer, part) = called.text();
                outcome.add(part);
                let gone = match answer {
                    Ok(metadata) => !mcp::is_there(&metadata, self.context.now()),
                    Err(refusal) => matches!(refusal, Refusal::NotFound | Refusal::Absent(_)),
                };
                if !gone {
                    there.push(secret.clone());
                }
            }
        }
        Ok(there)
    }

    /// The names directly below a folder. Where the agent may not list it,
    /// those that its grants name on the way to what it may.
    async fn names(&self, folder: &Folder, outcome: &mut Outcome) -> Result<Vec<String>, Refusal> {
        match self.context.judge(self.caller, mcp::names(folder)?) {
            Ok(()) => {}
            Err(Refusal::Forbidden) => {
                let (space, prefix) = folder;
                let ways = self.caller.agent().ways_below(*space, prefix.as_ref());
                return Ok(ways.map(|name| format!("{name}/")).collect());
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
