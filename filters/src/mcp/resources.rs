//! Secrets as resources: the URIs `kv://{subject}/{path}` and, for what agents share,
//! `kv://~shared/{path}`, and the order in which an agent's secrets are listed, page by page.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::message::NO_CURSOR;
use crate::catalog;
use crate::grants::Space;
use crate::names::AgentId;
use crate::operation::Operation;
use crate::path::{self, SecretPath};
use crate::refusal::Refusal;

mod listed;
mod there;

pub use listed::{Page, listed_resources, listed_templates, told};
pub(super) use listed::{resource_uri, uri as uri_of};
pub use there::is_there;

const SCHEME: &str = "kv://";
/// Stands for all agents in the place of one. No agent's name begins so, and no escape is needed
/// (RFC 3986 section 2.3).
const SHARED: &str = "~shared";
const MALFORMED: Refusal =
    Refusal::Malformed("The URI must be kv://{subject}/{path} with an optional ?version=N, or a folder's");

/// A secret: the part of the tree that it is in, and its path there.
pub type Listed = (Space, SecretPath);
/// A folder; `None` is the root of its part of the tree.
pub type Folder = (Space, Option<SecretPath>);

/// The operation that reads what `uri` names: a secret, the version of one, or,
/// with a slash at the end, the names below a folder.
///
/// # Errors
/// [`Refusal::NotFound`] for what is neither `subject`'s nor shared, whatever else is wrong
/// with it; [`Refusal::Path`] and [`Refusal::Malformed`] for what is.
pub fn target(uri: &str, subject: &AgentId) -> Result<Operation, Refusal> {
    let (space, rest) = in_space(uri, subject)?;
    if rest.contains('#') {
        return Err(MALFORMED);
    }
    let (raw, query) = rest.split_once('?').map_or((rest, None), |(raw, query)| (raw, Some(query)));
    let folder = if raw.is_empty() { Some("") } else { raw.strip_suffix('/') };
    match (folder, query) {
        (Some(""), None) if raw.is_empty() => names(&(space, None)),
        (Some(folder), None) => names(&(space, Some(SecretPath::parse(&path::decode(folder.as_bytes())?)?))),
        (Some(_), Some(_)) => Err(MALFORMED),
        (None, query) => {
            let version = query.map(version).transpose()?;
            secret(&(space, SecretPath::parse(&path::decode(raw.as_bytes())?)?), version)
        }
    }
}

/// The part of the tree that a URI is in, and what follows.
pub(super) fn in_space<'u>(uri: &'u str, subject: &AgentId) -> Result<(Space, &'u str), Refusal> {
    let rest = uri.strip_prefix(SCHEME).ok_or(Refusal::NotFound)?;
    match rest.split_once('/').ok_or(Refusal::NotFound)? {
        (SHARED, rest) => Ok((Space::Shared, rest)),
        (owner, rest) if owner == subject.as_str() => Ok((Space::Own, rest)),
        _ => Err(Refusal::NotFound),
    }
}

fn version(query: &str) -> Result<u64, Refusal> {
    let number = query.strip_prefix("version=").filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    number.and_then(|text| text.parse().ok()).filter(|version| *version > 0).ok_or(MALFORMED)
}

/// The operation that reads a secret.
///
/// # Errors
/// As [`crate::operation::Entry::parse`].
pub fn secret((space, path): &Listed, version: Option<u64>) -> Result<Operation, Refusal> {
    operation("kv.read", &json!({"path": path, "version": version, "shared": *space == Space::Shared}))
}

/// The operation by which [`is_there`] tells whether a secret can be read.
///
/// # Errors
/// As [`crate::operation::Entry::parse`].
pub fn metadata((space, path): &Listed) -> Result<Operation, Refusal> {
    operation("kv.metadata", &json!({"path": path, "shared": *space == Space::Shared}))
}

/// The operation that lists the names directly below a folder.
///
/// # Errors
/// As [`crate::operation::Entry::parse`].
pub fn names((space, folder): &Folder) -> Result<Operation, Refusal> {
    let prefix = folder.as_ref().map_or("", SecretPath::as_str);
    operation("kv.list", &json!({"prefix": prefix, "shared": *space == Space::Shared}))
}

fn operation(name: &str, arguments: &serde_json::Value) -> Result<Operation, Refusal> {
    catalog::find(name).ok_or(Refusal::Internal)?.parse(arguments.to_string().as_bytes())
}

/// The refusal of a cursor that does not open.
#[must_use]
pub const fn no_cursor() -> Refusal {
    Refusal::Malformed(NO_CURSOR)
}

/// A place in the order in which secrets are listed: what stands before it has
/// been seen. It names nothing but a path, so that it holds however the tree
/// changes between two pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListPlace {
    /// The agent's own in cursors of gates that listed nothing else.
    #[serde(default = "own")]
    space: Space,
    folder: Option<SecretPath>,
    /// The last name seen in it.
    after: Option<Box<str>>,
}

const fn own() -> Space {
    Space::Own
}

/// A walk through the agent's own secrets and then the shared ones, depth first, each folder by its
/// names' bytes.
#[derive(Debug)]
pub struct Walk {
    space: Space,
    /// From the root to where the walk is.
    frames: Vec<Frame>,
    left_out: usize,
}

#[derive(Debug)]
struct Frame {
    folder: Option<SecretPath>,
    /// The last name seen in it.
    after: Option<Box<str>>,
    /// The rest of the folder's names, once they are known.
    names: Option<std::vec::IntoIter<String>>,
}

/// The next step of a walk.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// The names of this folder are needed.
    Folder(Folder),
    /// A secret.
    Secret(Listed),
}

impl Frame {
    const fn new(folder: Option<SecretPath>, after: Option<Box<str>>) -> Self {
        Self { folder, after, names: None }
    }
}

impl Walk {
    /// A walk from `place` on, or from the beginning.
    #[must_use]
    pub fn from(place: Option<ListPlace>) -> Self {
        let ListPlace { space, folder, after } =
            place.unwrap_or(ListPlace { space: Space::Own, folder: None, after: None });
        let mut frames = Vec::new();
        let mut parent = None;
        for name in folder.iter().flat_map(SecretPath::segments) {
            let below = child(parent.as_ref(), name);
            frames.push(Frame::new(parent, Some(format!("{name}/").into())));
            parent = below;
        }
        frames.push(Frame::new(parent, after));
        Self { space, frames, left_out: 0 }
    }

    /// The next step; `None` at the end. A folder comes again and again until
    /// its names are told.
    pub fn step(&mut self) -> Option<Step> {
        loop {
            let Some(frame) = self.frames.last_mut() else {
                self.cross()?;
                continue;
            };
            let Some(names) = &mut frame.names else {
                return Some(Step::Folder((self.space, frame.folder.clone())));
            };
            let Some(name) = names.next() else {
                self.frames.pop();
                continue;
            };
            let (plain, is_folder) = name.strip_suffix('/').map_or((&*name, false), |plain| (plain, true));
            // What no caller could name is passed over.
            let Some(path) = child(frame.folder.as_ref(), plain) else {
                self.left_out += 1;
                continue;
            };
            frame.after = Some(name.into());
            if !is_folder {
                return Some(Step::Secret((self.space, path)));
            }
            self.frames.push(Frame::new(Some(path), None));
        }
    }

    /// Goes on from the agent's own secrets to the shared ones; `None` where these are at their end.
    fn cross(&mut self) -> Option<()> {
        if self.space == Space::Shared {
            return None;
        }
        self.space = Space::Shared;
        self.frames.push(Frame::new(None, None));
        Some(())
    }

    /// Tells the names of the folder that was asked for, those of folders with
    /// a slash at the end.
    pub fn tell(&mut self, mut names: Vec<String>) {
        let Some(frame) = self.frames.last_mut() else { return };
        names.retain(|name| frame.after.as_deref().is_none_or(|after| name.as_str() > after));
        names.sort_unstable();
        names.dedup();
        frame.names = Some(names.into_iter());
    }

    /// The names that were passed over, since the gate takes them in no path.
    #[must_use]
    pub const fn left_out(&self) -> usize {
        self.left_out
    }

    /// Where the walk is; `None` where nothing is left.
    #[must_use]
    pub fn place(mut self) -> Option<ListPlace> {
        loop {
            match self.frames.pop() {
                None => self.cross()?,
                Some(Frame { names: Some(names), .. }) if names.as_slice().is_empty() => {}
                Some(Frame { folder, after, .. }) => return Some(ListPlace { space: self.space, folder, after }),
            }
        }
    }
}

fn child(folder: Option<&SecretPath>, name: &str) -> Option<SecretPath> {
    let path = match folder {
        Some(folder) => SecretPath::parse(&format!("{}/{name}", folder.as_str())),
        None => SecretPath::parse(name),
    };
    path.ok()
}

#[cfg(test)]
mod tests {
    use super::listed::uri;
    use super::*;
    use crate::grants::{Resource, Space};
    use crate::path::PathProblem;
    use std::collections::BTreeMap;

    fn bob() -> AgentId {
        AgentId::parse("bob").unwrap()
    }

    #[test]
    fn a_uri_names_a_secret_a_version_or_a_folder() {
        for (uri, kind, path) in [
            ("kv://bob/a", "kv.read", Some("a")),
            ("kv://bob/a/b%20c/%C3%A9", "kv.read", Some("a/b c/é")),
            ("kv://bob/a%3Fversion%3D1%23x", "kv.read", Some("a?version=1#x")),
            ("kv://bob/a?version=3", "kv.read", Some("a")),
            ("kv://bob/", "kv.list", None),
            ("kv://bob/a/b/", "kv.list", Some("a/b")),
        ] {
            for (space, uri) in [(Space::Own, uri.to_owned()), (Space::Shared, uri.replace("//bob/", "//~shared/"))] {
                let operation = target(&uri, &bob()).unwrap();
                let path = path.map(|path| SecretPath::parse(path).unwrap());
                let expected = match kind {
                    "kv.list" => Resource::Names(space, path),
                    _ => Resource::Secret(space, path.unwrap()),
                };
                assert_eq!((operation.kind.spec.name, operation.resource), (kind, Some(expected)), "{uri}");
            }
        }
    }

    #[test]
    fn what_is_not_the_callers_is_not_there_however_it_is_spelled() {
        for uri in ["kv://alice/a", "kv://alice/..", "kv://bobby/a", "kv://bob", "kv://BOB/a", "kv://b%6Fb/a"] {
            assert_eq!(target(uri, &bob()).unwrap_err(), Refusal::NotFound, "{uri}");
        }
        for uri in ["kv://~Shared/a", "kv://%7Eshared/a", "kv://~shared", "kv://shared/a", "kv://~/a"] {
            assert_eq!(target(uri, &bob()).unwrap_err(), Refusal::NotFound, "{uri}");
        }
        assert_eq!(AgentId::parse(SHARED), None, "an agent's name would stand for all");
        for uri in ["", "kv:", "kv:///a", "file:///etc/passwd", "KV://bob/a", "kv://@bob/a", "kv://bob:1/a", "bob/a"] {
            assert_eq!(target(uri, &bob()).unwrap_err(), Refusal::NotFound, "{uri}");
        }
    }

    #[test]
    fn a_uri_is_decoded_once_and_judged() {
        for (path, problem) in [
            ("..", PathProblem::Dots),
            ("%2e%2e/alice/a", PathProblem::Dots),
            ("a/%2E%2e/", PathProblem::Dots),
            ("%252e%252e", PathProblem::DecodesTwice),
            ("a//b", PathProblem::EmptySegment),
            ("/", PathProblem::Empty),
            ("a//", PathProblem::EmptySegment),
            ("a%2F/", PathProblem::EmptySegment),
            ("a%2F", PathProblem::EmptySegment),
            ("a%5Cb", PathProblem::Separator),
            ("a%00", PathProblem::Control),
            ("a%FF", PathProblem::NotUtf8),
        ] {
            assert_eq!(target(&format!("kv://bob/{path}"), &bob()).unwrap_err(), Refusal::Path(problem), "{path}");
        }
        for rest in ["a#b", "#", "a?", "a?version=", "a?version=0", "a?version=-1", "a?version=+1", "a?version=1&b=2"] {
            assert_eq!(target(&format!("kv://bob/{rest}"), &bob()).unwrap_err(), MALFORMED, "{rest}");
        }
        for rest in ["a/?version=1", "?version=1", "a?other=1", "a?version=99999999999999999999", "a?version=1?"] {
            assert_eq!(target(&format!("kv://bob/{rest}"), &bob()).unwrap_err(), MALFORMED, "{rest}");
        }
    }

    #[test]
    fn a_listed_uri_names_what_was_listed() {
        for path in ["a", "a b/c?d#e", "é/100%", "x+y=z;v,w@h:1/日本"] {
            let path = SecretPath::parse(path).unwrap();
            for space in [Space::Own, Space::Shared] {
                let operation = target(&uri(&bob(), space, &path), &bob()).unwrap();
                assert_eq!(operation.resource, Some(Resource::Secret(space, path.clone())));
            }
        }
    }

    /// Walks through `tree` with so many steps and folders to a page.
    fn walked(tree: &BTreeMap<&str, Vec<&str>>, steps: usize, folders: usize) -> Vec<String> {
        let (mut found, mut place, mut pages) = (Vec::new(), None, 0);
        loop {
            let mut walk = Walk::from(place);
            let mut told = 0;
            for _ in 0..steps {
                match walk.step() {
                    None => break,
                    Some(Step::Secret((Space::Own, path))) => found.push(path.as_str().to_owned()),
                    Some(Step::Secret((Space::Shared, path))) => found.push(format!("~{}", path.as_str())),
                    Some(Step::Folder(_)) if told == folders => break,
                    Some(Step::Folder((space, folder))) => {
                        let root = if space == Space::Own { "" } else { "~" };
                        let names = tree.get(folder.as_ref().map_or(root, SecretPath::as_str));
                        walk.tell(names.into_iter().flatten().map(|name| (*name).to_owned()).collect());
                        told += 1;
                    }
                }
            }
            // As it goes out and comes back in a cursor.
            place = walk.place().map(|place| serde_json::from_str(&serde_json::to_string(&place).unwrap()).unwrap());
            pages += 1;
            assert!(pages < 200, "{steps} {folders}: {found:?}");
            if place.is_none() {
                return found;
            }
        }
    }

    #[test]
    fn every_secret_is_found_once_however_small_the_pages() {
        let tree = BTreeMap::from([
            ("", vec!["z", "a/", "a", "a.b", "..", "b/", "c/", "a\\b", "gone/"]),
            ("a", vec!["x/", "y", "x"]),
            ("a/x", vec!["1", "2", "3/"]),
            ("a/x/3", vec!["deep"]),
            ("b", vec![]),
            ("c", vec!["é", "a b"]),
            ("~", vec!["a/", "t"]),
        ]);
        let all = ["a", "a.b", "a/x", "a/x/1", "a/x/2", "a/x/3/deep", "a/y", "c/a b", "c/é", "z"]
            .into_iter()
            .chain(["~a/x", "~a/x/1", "~a/x/2", "~a/x/3/deep", "~a/y", "~t"])
            .collect::<Vec<_>>();
        for steps in [2, 3, 5, 100] {
            for folders in [1, 2, 100] {
                assert_eq!(walked(&tree, steps, folders), all, "{steps} {folders}");
            }
        }
    }

    #[test]
    fn a_place_that_is_gone_is_passed() {
        let place = ListPlace { space: Space::Own, folder: SecretPath::parse("m/n").ok(), after: Some("o".into()) };
        let mut walk = Walk::from(Some(place));
        let mut asked = Vec::new();
        while let Some(step) = walk.step() {
            let names: &[&str] = if step == Step::Folder((Space::Own, None)) { &["a", "m/", "m0"] } else { &[] };
            asked.push(step);
            walk.tell(names.iter().map(|name| (*name).to_owned()).collect());
            if asked.len() == 4 {
                break;
            }
        }
        let folder = |text: &str| Step::Folder((Space::Own, SecretPath::parse(text).ok()));
        let secret = Step::Secret((Space::Own, SecretPath::parse("m0").unwrap()));
        assert_eq!(asked, [folder("m/n"), folder("m"), folder(""), secret]);
    }

    #[test]
    fn what_no_caller_could_name_is_counted() {
        let mut walk = Walk::from(None);
        while let Some(step) = walk.step() {
            if let Step::Folder((space, _)) = step {
                let names: &[&str] = if space == Space::Own { &["a\\b", "..", "c", "d\\e/"] } else { &[] };
                walk.tell(names.iter().map(|name| (*name).to_owned()).collect());
            }
        }
        assert_eq!((walk.left_out(), walk.place()), (3, None));
    }

    #[test]
    fn a_cursor_of_a_gate_that_listed_only_the_agents_own_still_holds() {
        let place: ListPlace = serde_json::from_str(r#"{"folder":"a","after":"b"}"#).unwrap();
        assert_eq!(
            place,
            ListPlace { space: Space::Own, folder: SecretPath::parse("a").ok(), after: Some("b".into()) }
        );
    }
}
