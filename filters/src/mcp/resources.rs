//! Secrets as resources: the URI `kv://{subject}/{path}`, and the order in
//! which an agent's secrets are listed, page by page.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::message::NO_CURSOR;
use crate::catalog;
use crate::names::AgentId;
use crate::operation::Operation;
use crate::path::{self, SecretPath};
use crate::refusal::Refusal;

mod listed;

pub use listed::{Page, listed_resources, listed_templates, told};
pub(super) use listed::{resource_uri, uri_of};

pub(super) const SCHEME: &str = "kv://";
const MALFORMED: Refusal =
    Refusal::Malformed("The URI must be kv://{subject}/{path} with an optional ?version=N, or a folder's");

/// The operation that reads what `uri` names: a secret, the version of one, or,
/// with a slash at the end, the names below a folder.
///
/// # Errors
/// [`Refusal::NotFound`] for what is not `subject`'s, whatever else is wrong
/// with it; [`Refusal::Path`] and [`Refusal::Malformed`] for what is.
pub fn target(uri: &str, subject: &AgentId) -> Result<Operation, Refusal> {
    let rest = uri.strip_prefix(SCHEME).ok_or(Refusal::NotFound)?;
    let rest = rest.strip_prefix(subject.as_str()).and_then(|rest| rest.strip_prefix('/')).ok_or(Refusal::NotFound)?;
    if rest.contains('#') {
        return Err(MALFORMED);
    }
    let (raw, query) = rest.split_once('?').map_or((rest, None), |(raw, query)| (raw, Some(query)));
    let folder = if raw.is_empty() { Some("") } else { raw.strip_suffix('/') };
    match (folder, query) {
        (Some(""), None) if raw.is_empty() => names(None),
        (Some(folder), None) => names(Some(&SecretPath::parse(&path::decode(folder.as_bytes())?)?)),
        (Some(_), Some(_)) => Err(MALFORMED),
        (None, query) => {
            let version = query.map(version).transpose()?;
            secret(&SecretPath::parse(&path::decode(raw.as_bytes())?)?, version)
        }
    }
}

fn version(query: &str) -> Result<u64, Refusal> {
    let number = query.strip_prefix("version=").filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    number.and_then(|text| text.parse().ok()).filter(|version| *version > 0).ok_or(MALFORMED)
}

/// The operation that reads a secret of the agent's own.
///
/// # Errors
/// As [`crate::operation::Entry::parse`].
pub fn secret(path: &SecretPath, version: Option<u64>) -> Result<Operation, Refusal> {
    operation("kv.read", &json!({"path": path, "version": version}))
}

/// The operation that lists the names directly below a folder of the agent's
/// own, or, for `None`, below its root.
///
/// # Errors
/// As [`crate::operation::Entry::parse`].
pub fn names(folder: Option<&SecretPath>) -> Result<Operation, Refusal> {
    operation("kv.list", &json!({"prefix": folder.map_or("", SecretPath::as_str)}))
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
    folder: Option<SecretPath>,
    /// The last name seen in it.
    after: Option<Box<str>>,
}

/// A walk through the secrets, depth first, each folder by its names' bytes.
#[derive(Debug)]
pub struct Walk {
    /// From the root to where the walk is.
    frames: Vec<Frame>,
}

#[derive(Debug)]
struct Frame {
    place: ListPlace,
    /// The rest of the folder's names, once they are known.
    names: Option<std::vec::IntoIter<String>>,
}

/// The next step of a walk.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// The names of this folder are needed; `None` is the root.
    Folder(Option<SecretPath>),
    /// A secret.
    Secret(SecretPath),
}

impl Frame {
    const fn new(folder: Option<SecretPath>, after: Option<Box<str>>) -> Self {
        Self { place: ListPlace { folder, after }, names: None }
    }
}

impl Walk {
    /// A walk from `place` on, or from the beginning.
    #[must_use]
    pub fn from(place: Option<ListPlace>) -> Self {
        let ListPlace { folder, after } = place.unwrap_or(ListPlace { folder: None, after: None });
        let mut frames = Vec::new();
        let mut parent = None;
        for name in folder.iter().flat_map(SecretPath::segments) {
            let below = child(parent.as_ref(), name);
            frames.push(Frame::new(parent, Some(format!("{name}/").into())));
            parent = below;
        }
        frames.push(Frame::new(parent, after));
        Self { frames }
    }

    /// The next step; `None` at the end. A folder comes again and again until
    /// its names are told.
    pub fn step(&mut self) -> Option<Step> {
        loop {
            let frame = self.frames.last_mut()?;
            let Some(names) = &mut frame.names else {
                return Some(Step::Folder(frame.place.folder.clone()));
            };
            let Some(name) = names.next() else {
                self.frames.pop();
                continue;
            };
            let (plain, is_folder) = name.strip_suffix('/').map_or((&*name, false), |plain| (plain, true));
            // What no caller could name is passed over.
            let Some(path) = child(frame.place.folder.as_ref(), plain) else { continue };
            frame.place.after = Some(name.into());
            if !is_folder {
                return Some(Step::Secret(path));
            }
            self.frames.push(Frame::new(Some(path), None));
        }
    }

    /// Tells the names of the folder that was asked for, those of folders with
    /// a slash at the end.
    pub fn tell(&mut self, mut names: Vec<String>) {
        let Some(frame) = self.frames.last_mut() else { return };
        names.retain(|name| frame.place.after.as_deref().is_none_or(|after| name.as_str() > after));
        names.sort_unstable();
        names.dedup();
        frame.names = Some(names.into_iter());
    }

    /// Where the walk is; `None` where nothing is left.
    #[must_use]
    pub fn place(mut self) -> Option<ListPlace> {
        while self.frames.last()?.names.as_ref().is_some_and(|names| names.as_slice().is_empty()) {
            self.frames.pop();
        }
        self.frames.pop().map(|frame| frame.place)
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
            let operation = target(uri, &bob()).unwrap();
            let path = path.map(|path| SecretPath::parse(path).unwrap());
            let expected = match kind {
                "kv.list" => Resource::Names(Space::Own, path),
                _ => Resource::Secret(Space::Own, path.unwrap()),
            };
            assert_eq!((operation.kind.spec.name, operation.resource), (kind, Some(expected)), "{uri}");
        }
    }

    #[test]
    fn what_is_not_the_callers_is_not_there_however_it_is_spelled() {
        for uri in ["kv://alice/a", "kv://alice/..", "kv://bobby/a", "kv://bob", "kv://BOB/a", "kv://b%6Fb/a"] {
            assert_eq!(target(uri, &bob()).unwrap_err(), Refusal::NotFound, "{uri}");
        }
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
            let operation = target(&uri(&bob(), &path), &bob()).unwrap();
            assert_eq!(operation.resource, Some(Resource::Secret(Space::Own, path)));
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
                    Some(Step::Secret(path)) => found.push(path.as_str().to_owned()),
                    Some(Step::Folder(_)) if told == folders => break,
                    Some(Step::Folder(folder)) => {
                        let names = tree.get(folder.as_ref().map_or("", SecretPath::as_str));
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
        ]);
        let all = ["a", "a.b", "a/x", "a/x/1", "a/x/2", "a/x/3/deep", "a/y", "c/a b", "c/é", "z"];
        for steps in [2, 3, 5, 100] {
            for folders in [1, 2, 100] {
                assert_eq!(walked(&tree, steps, folders), all, "{steps} {folders}");
            }
        }
    }

    #[test]
    fn a_place_that_is_gone_is_passed() {
        let place = ListPlace { folder: SecretPath::parse("m/n").ok(), after: Some("o".into()) };
        let mut walk = Walk::from(Some(place));
        let mut asked = Vec::new();
        while let Some(step) = walk.step() {
            let names: &[&str] = if step == Step::Folder(None) { &["a", "m/", "m0"] } else { &[] };
            asked.push(step);
            walk.tell(names.iter().map(|name| (*name).to_owned()).collect());
            if asked.len() == 4 {
                break;
            }
        }
        let folder = |text: &str| Step::Folder(SecretPath::parse(text).ok());
        let secret = Step::Secret(SecretPath::parse("m0").unwrap());
        assert_eq!(asked, [folder("m/n"), folder("m"), Step::Folder(None), secret]);
    }
}
