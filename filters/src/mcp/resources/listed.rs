//! Results about resources: lists of them, their templates, and what was read.

use serde::Serialize;

use super::super::Call;
use super::super::result::{self, TTL};
use super::{Folder, Listed, SCHEME, SHARED};
use crate::grants::{self, Agent, Space};
use crate::names::AgentId;
use crate::path::{self, SecretPath};

const MEDIA: &str = "application/json";
const ROOT: &str = "The names at the root.";
const LARGE: &str = "More names than one answer may hold: the secrets in this folder are not listed.";

/// A page of the secrets that an agent may list and read.
#[derive(Debug)]
pub struct Page<'a> {
    /// The agent.
    pub subject: &'a AgentId,
    /// The roots that are shown, which are listed by reading them.
    pub roots: Vec<Space>,
    /// The secrets.
    pub secrets: Vec<Listed>,
    /// Folders with more names than one answer may hold, whose secrets are not listed.
    pub large: Vec<Folder>,
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
struct Resources<'a> {
    resources: Vec<Resource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<&'a str>,
}

/// Answers `resources/list`.
pub fn listed_resources(call: &Call<'_>, page: &Page<'_>, out: &mut Vec<u8>) {
    let roots = page.roots.iter().map(|space| (*space, None)).filter(|root| !page.large.contains(root));
    let large = page.large.iter().map(|(space, folder)| ((*space, folder.as_ref()), LARGE));
    let folders = roots.map(|(space, _)| ((space, None), ROOT)).chain(large);
    let folders = folders.map(|((space, folder), description)| Resource {
        uri: folder.map_or_else(|| root(page.subject, space), |path| uri(page.subject, space, path) + "/"),
        name: name(space, folder) + "/",
        description: Some(description),
        mime_type: MEDIA,
    });
    let secrets = page.secrets.iter().map(|(space, path)| Resource {
        uri: uri(page.subject, *space, path),
        name: name(*space, Some(path)),
        description: None,
        mime_type: MEDIA,
    });
    let resources = Resources { resources: folders.chain(secrets).collect(), next_cursor: page.next.as_deref() };
    result::write_kept(call, 0, resources, out);
}

/// The path, below `~shared` where it is shared.
fn name(space: Space, path: Option<&SecretPath>) -> String {
    match (space, path.map_or("", SecretPath::as_str)) {
        (Space::Own, path) => path.to_owned(),
        (Space::Shared, "") => SHARED.to_owned(),
        (Space::Shared, path) => format!("{SHARED}/{path}"),
    }
}

fn root(subject: &AgentId, space: Space) -> String {
    match space {
        Space::Own => format!("{SCHEME}{subject}/"),
        Space::Shared => format!("{SCHEME}{SHARED}/"),
    }
}

/// The URI of anything that `subject` has done something to.
pub(in crate::mcp) fn resource_uri(resource: &grants::Resource<Box<str>>, subject: &AgentId) -> String {
    match resource {
        grants::Resource::Secret(space, path) => uri(subject, *space, path),
        grants::Resource::Names(space, Some(prefix)) => uri(subject, *space, prefix) + "/",
        grants::Resource::Names(space, None) => root(subject, *space),
        grants::Resource::Key(engine, name) => format!("{engine}://{}", path::escape(name).collect::<String>()),
        grants::Resource::Nameless(engine) => format!("{engine}://"),
    }
}

/// The URI of a secret, as `subject` reads it.
pub(in crate::mcp) fn uri(subject: &AgentId, space: Space, path: &SecretPath) -> String {
    let mut uri = root(subject, space);
    for (place, segment) in path.segments().enumerate() {
        uri.push_str(if place == 0 { "" } else { "/" });
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
    resource_templates: Vec<Template>,
}

/// Answers `resources/templates/list`: the agent's own and, where a role grants some, shared ones.
pub fn listed_templates(call: &Call<'_>, agent: &Agent, out: &mut Vec<u8>) {
    let template = |space, name, form, description| {
        let uri_template = root(&agent.id, space) + form;
        Template { uri_template, name, description, mime_type: MEDIA }
    };
    let (secret, folder) = ("{+path}{?version}", "{+path}/");
    let mut resource_templates = vec![
        template(Space::Own, "secret", secret, "A secret, the latest version or the one named."),
        template(Space::Own, "folder", folder, "The names directly below a folder."),
    ];
    if agent.roles.iter().any(|(role, _)| !role.shared.is_empty()) {
        resource_templates.extend([
            template(Space::Shared, "shared secret", secret, "A secret that agents share, likewise."),
            template(Space::Shared, "shared folder", folder, "The names directly below a folder that agents share."),
        ]);
    }
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
