//! Results about resources: lists of them, their templates, and what was read.

use serde::Serialize;

use super::super::Call;
use super::super::result::{self, TTL};
use super::SCHEME;
use crate::grants::{self, Space};
use crate::names::AgentId;
use crate::path::{self, SecretPath};

const MEDIA: &str = "application/json";
const LARGE: &str = "More names than one answer may hold: the secrets in this folder are not listed.";

/// A page of an agent's secrets.
#[derive(Debug)]
pub struct Page<'a> {
    /// The agent whose secrets they are.
    pub subject: &'a AgentId,
    /// True where the root is shown, which is listed by reading it.
    pub root: bool,
    /// The secrets.
    pub secrets: Vec<SecretPath>,
    /// Folders with more names than one answer may hold, whose secrets are not listed; `None` is
    /// the root.
    pub large: Vec<Option<SecretPath>>,
    /// The cursor of the next page.
    pub next: Option<String>,
}

/// A resource, as it is listed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    uri: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'static str>,
    mime_type: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    resources: Vec<Resource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<&'a str>,
}

/// Answers `resources/list`.
pub fn listed_resources(call: &Call<'_>, page: &Page<'_>, out: &mut Vec<u8>) {
    let root = (page.root && !page.large.contains(&None)).then_some((None, "The names at the root."));
    let large = page.large.iter().map(|folder| (folder.as_ref(), LARGE));
    let folders = root.into_iter().chain(large).map(|(folder, description)| Resource {
        uri: folder.map_or_else(|| format!("{SCHEME}{}/", page.subject), |path| uri(page.subject, path) + "/"),
        name: folder.map_or_else(|| "/".to_owned(), |path| format!("{}/", path.as_str())),
        description: Some(description),
        mime_type: MEDIA,
    });
    let secrets = page.secrets.iter().map(|path| Resource {
        uri: uri(page.subject, path),
        name: path.as_str().to_owned(),
        description: None,
        mime_type: MEDIA,
    });
    let listed = Listed { resources: folders.chain(secrets).collect(), next_cursor: page.next.as_deref() };
    result::write_kept(call, 0, listed, out);
}

/// The URI of a secret, as `subject` reads it.
pub(in crate::mcp) fn uri_of(space: Space, path: &SecretPath, subject: &AgentId) -> String {
    match space {
        Space::Own => uri(subject, path),
        // TODO
        Space::Shared => uri(subject, path),
    }
}

/// The URI of anything that an agent has done something to.
pub(in crate::mcp) fn resource_uri(resource: &grants::Resource<Box<str>>, subject: &AgentId) -> String {
    use grants::Resource as R;
    match resource {
        R::Secret(space, path) => uri_of(*space, path, subject),
        R::Names(space, Some(prefix)) => uri_of(*space, prefix, subject) + "/",
        R::Names(_, None) => format!("{SCHEME}{subject}/"),
        R::Key(engine, name) => format!("{engine}://{}", path::escape(name).collect::<String>()),
        R::Nameless(engine) => format!("{engine}://"),
    }
}

pub(super) fn uri(subject: &AgentId, path: &SecretPath) -> String {
    let mut uri = format!("{SCHEME}{subject}");
    for segment in path.segments() {
        uri.push('/');
        uri.extend(path::escape(segment));
    }
    uri
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Template {
    uri_template: String,
    name: &'static str,
    description: &'static str,
    mime_type: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Templates {
    resource_templates: [Template; 2],
}

/// Answers `resources/templates/list`.
pub fn listed_templates(call: &Call<'_>, subject: &AgentId, out: &mut Vec<u8>) {
    let template = |name, form, description| {
        let uri_template = format!("{SCHEME}{subject}/{form}");
        Template { uri_template, name, description, mime_type: MEDIA }
    };
    let resource_templates = [
        template("secret", "{+path}{?version}", "A secret, the latest version or the one named."),
        template("folder", "{+path}/", "The names directly below a folder."),
    ];
    result::write_kept(call, TTL, Templates { resource_templates }, out);
}

#[derive(Serialize)]
struct Told<'a> {
    contents: [Content<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Content<'a> {
    uri: &'a str,
    mime_type: &'static str,
    text: &'a str,
}

/// Answers `resources/read` with `json`.
pub fn told(call: &Call<'_>, uri: &str, json: &str, out: &mut Vec<u8>) {
    out.reserve(json.len() + json.len() / 4 + 256);
    result::write_kept(call, 0, Told { contents: [Content { uri, mime_type: MEDIA, text: json }] }, out);
}
