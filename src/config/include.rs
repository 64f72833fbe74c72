//! Roles, agents and families of other files: those in the folders that
//! `include` names are read as if they stood in the configuration file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::kind::{Kind, Value, Word};
use super::near::nearest_of;
use super::node::{Content, Entry, Node};
use super::source::{Source, reason};

/// The named tables that such a file may hold, in the singular for problems.
const SHARED: [(&str, &str); 2] = [("roles", "role"), ("agents", "agent")];

/// The problem with everything else.
const ELSE: &str = "an included file holds `roles`, `agents` and `identity.families` only";

/// The configuration file's tree with what the files that it includes hold.
pub(super) fn merged(source: &Source<'_>, mut file: Node) -> Node {
    let files: Vec<Node> = folders(source, &file).iter().flat_map(|folder| trees(source, folder)).collect();
    if files.is_empty() {
        return file;
    }
    let Content::Table(top) = &mut file.content else { return file };
    for file in files {
        add(source, top, file);
    }
    for (name, one) in SHARED {
        told_apart(source, top, name, one);
    }
    file
}

/// The folders that `include` names; what is wrong with the option is told where options are checked.
fn folders(source: &Source<'_>, file: &Node) -> Vec<Word> {
    let Content::Table(top) = &file.content else { return Vec::new() };
    let Some(entry) = top.iter().find(|entry| is(&entry.key, "include")) else { return Vec::new() };
    match Kind::Words.read_node(&entry.node, |line| source.line(line)) {
        Ok(Value::Words(words)) => words,
        _ => Vec::new(),
    }
}

/// The trees of the files in a folder, which is watched whatever is in it.
fn trees(source: &Source<'_>, folder: &Word) -> Vec<Node> {
    let path = beside(source, &folder.text);
    let listed = source.list(&path);
    source.files.borrow_mut().push(path);
    let files = listed.unwrap_or_else(|error| {
        let wrong = format!("a folder of `include` cannot be read: {}", reason(&error));
        let mend = "name a readable folder, from where the configuration file is";
        source.findings.problem(&folder.place, wrong, mend);
        Vec::new()
    });
    files.iter().filter_map(|file| source.read_included(file)).collect()
}

/// The path, from the configuration file's folder.
fn beside(source: &Source<'_>, path: &str) -> PathBuf {
    let files = source.files.borrow();
    files.first().and_then(|file| file.parent()).unwrap_or(Path::new("")).join(path)
}

/// Adds what an included file holds.
fn add(source: &Source<'_>, top: &mut Vec<Entry>, file: Node) {
    let entries = match file.content {
        Content::Table(entries) => entries,
        other => {
            let wrong = format!("an included file is {}", other.name());
            source.findings.problem(&source.line(file.line), wrong, "give the tables `roles` and `agents`");
            return;
        }
    };
    for entry in entries {
        if is(&entry.key, "identity") {
            add_families(source, top, entry.node);
            continue;
        }
        if !SHARED.iter().any(|(name, _)| is(&entry.key, name)) {
            refuse(source, &entry);
            continue;
        }
        match top.iter_mut().find(|other| other.key.eq_ignore_ascii_case(&entry.key)) {
            Some(other) => join(other, entry),
            None => top.push(entry),
        }
    }
}

/// Notes that an included file may not hold it.
fn refuse(source: &Source<'_>, entry: &Entry) {
    let near = nearest_of(&entry.key, SHARED.iter().map(|(name, _)| *name));
    let mend = near.map_or_else(
        || "put everything else into the configuration file".to_owned(),
        |near| format!("did you mean `{near}`?"),
    );
    source.findings.problem(&source.line(entry.line), ELSE, mend);
}

/// Puts the families of an included file's `identity` behind those that are there.
fn add_families(source: &Source<'_>, top: &mut Vec<Entry>, identity: Node) {
    let Content::Table(members) = identity.content else {
        let wrong = format!("`identity` is {}", identity.content.name());
        return source.findings.problem(&source.line(identity.line), wrong, "give a table");
    };
    for Entry { key, line, node } in members {
        if !is(&key, "families") {
            refuse(source, &Entry { key, line, node });
            continue;
        }
        let Some(there) = member(top, "identity", line) else { continue };
        if matches!(there.content, Content::Nothing) {
            there.content = Content::Table(Vec::new());
        }
        let Content::Table(members) = &mut there.content else { continue };
        let Some(there) = member(members, "families", line) else { continue };
        let (before, line) = (std::mem::replace(&mut there.content, Content::Nothing), there.line);
        there.content = match (before, node.content) {
            (Content::Nothing, new) => new,
            (before, new) => Content::List(rules(before, line).into_iter().chain(rules(new, node.line)).collect()),
        };
    }
}

/// The rules of a list, or the one that stands for a list.
fn rules(content: Content, line: usize) -> Vec<Node> {
    match content {
        Content::List(list) => list,
        Content::Nothing => Vec::new(),
        one => vec![Node { line, content: one }],
    }
}

/// The member of that name, put there empty where it is missing.
fn member<'a>(table: &'a mut Vec<Entry>, name: &str, line: usize) -> Option<&'a mut Node> {
    if !table.iter().any(|entry| is(&entry.key, name)) {
        table.push(Entry { key: name.to_owned(), line, node: Node { line, content: Content::Nothing } });
    }
    table.iter_mut().find(|entry| is(&entry.key, name)).map(|entry| &mut entry.node)
}

/// Puts the names of `more` behind those of `entry`; what is no table is left to the check of options.
fn join(entry: &mut Entry, more: Entry) {
    match (&mut entry.node.content, more.node.content) {
        (_, Content::Nothing) => {}
        (Content::Table(names), Content::Table(others)) => names.extend(others),
        (Content::Nothing | Content::Table(_), other) => {
            entry.node = Node { line: more.node.line, content: other };
        }
        _ => {}
    }
}

/// Takes out each name of the table `name` that stands there already, and notes both places.
fn told_apart(source: &Source<'_>, top: &mut [Entry], name: &str, one: &str) {
    let Some(table) = top.iter_mut().find(|entry| is(&entry.key, name)) else { return };
    let Content::Table(names) = &mut table.node.content else { return };
    let mut seen: HashMap<String, usize> = HashMap::with_capacity(names.len());
    names.retain(|entry| {
        let Some(line) = seen.get(&entry.key) else {
            seen.insert(entry.key.clone(), entry.line);
            return true;
        };
        let wrong = format!("`{name}` has a name that is given twice");
        let mend = format!("give each {one} once; the other is at {}", source.line(*line));
        source.findings.problem(&source.line(entry.line), wrong, mend);
        false
    });
}

/// True where it is the option `name`, which may stand in upper case too.
fn is(key: &str, name: &str) -> bool {
    key == name || key == name.to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::super::Flags;
    use super::super::tests::load_with;
    use super::*;

    const MAIN: &str = "include = [\"agents.d\"]\n[roles.reader]\nscopes = [\"read\"]\n";

    fn load(main: &str, files: &[(&str, &str)]) -> Result<super::super::Settings, String> {
        let flags = Flags { config: Some("etc/gate.toml".into()), ..Flags::default() };
        let files: Vec<_> = files.iter().copied().chain([("etc/gate.toml", main)]).collect();
        load_with(&flags, &[], &files).map_err(|report| report.to_string())
    }

    #[test]
    fn agents_and_roles_of_every_kind_of_file_are_read_in_the_order_of_names() {
        let settings = load(
            MAIN,
            &[
                ("etc/agents.d/b.yaml", "agents:\n  bob: {roles: [reader, writer]}\nroles:\n"),
                ("etc/agents.d/a.toml", "[roles.writer]\nscopes = [\"write\"]\n[agents.amy]\nroles = [\"writer\"]\n"),
                ("etc/agents.d/c.json", "{\"AGENTS\": {\"cat\": {\"roles\": [\"reader\"]}}}"),
            ],
        )
        .unwrap();
        let agents: Vec<_> =
            settings.agents.iter().map(|agent| (agent.id.as_str().to_owned(), agent.roles.clone())).collect();
        let expected = [("amy", vec![2]), ("bob", vec![1, 2]), ("cat", vec![1])];
        assert_eq!(agents, expected.map(|(name, roles)| (name.to_owned(), roles)));
        assert_eq!(settings.files, ["etc/gate.toml", "etc/agents.d"].map(PathBuf::from), "they are watched");
    }

    #[test]
    fn families_of_every_file_are_read_together() {
        let main = "[identity]\nunknown_agents = \"refuse\"\n\
                    families = { spiffe = \"spiffe://a/{name}\", agent = \"a-{name}\" }\n";
        let included = "[[identity.families]]\nspiffe = \"spiffe://b/{name}\"\nagent = \"b-{name}\"\n";
        let yaml = "identity:\n  families:\n    dns: \"{name}.c.example\"\n    agent: c-{name}\n";
        let files = [("etc/agents.d/b.toml", included), ("etc/agents.d/c.yaml", yaml)];
        for (main, count) in [(format!("include = [\"agents.d\"]\n{main}"), 3), (MAIN.to_owned(), 2)] {
            let settings = load(&main, &files).unwrap();
            assert_eq!(settings.identity.directory.families().len(), count, "{main}");
        }
        let more = [("etc/agents.d/d.toml", included), files[0], files[1]];
        let report = load(MAIN, &more).err().unwrap();
        assert!(report.contains("d.toml:1: ") && report.contains("b.toml:1"), "{report}");
    }

    #[test]
    fn a_problem_names_the_file_and_line_that_has_it() {
        let long = "# a line\n".repeat(1000);
        for (file, text, problem) in [
            ("a.toml", "\n[agents.x]\nroles = [\"none\"]\n", "a.toml:3: `agents.*.roles` names a role"),
            ("a.yaml", "agents:\n  x:\n    roles: [reader]\n    colour: 1\n", "a.yaml:4: unknown key in `agents.*`"),
            ("a.json", "{\n\"agents\": {\n\"X\": {}}}", "a.json:3: `agents` has an invalid name"),
            ("a.toml", "[roles.reader]\nscopes = []\n", "give each role once; the other is at etc/gate.toml:2"),
            ("a.toml", "[agents.x\n", "a.toml:1: unclosed table"),
            ("a.yaml", "- x\n", "a.yaml:1: an included file is a list"),
            ("a.yaml", "identity: []\n", "a.yaml:1: `identity` is a list"),
            ("a.yaml", "identity:\n  families: {cn: x}\n", "a.yaml:2: a family's templates"),
            ("a.toml", "[identity]\nissuers = []\n", "a.toml:2: an included file holds"),
        ] {
            let name = format!("etc/agents.d/{file}");
            let files = [("etc/agents.d/0.yaml", long.as_str()), (&name, text), ("etc/agents.d/z.toml", &long)];
            let report = load(MAIN, &files).err().unwrap_or_default();
            assert!(report.contains(problem) && report.contains(": 1 problem\n"), "{text}: {report}");
        }
    }
}
