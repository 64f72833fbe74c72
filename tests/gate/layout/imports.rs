//! Imports between the files of a crate: no file needs one that needs it.
//!
//! A path belongs to the file that defines its item. A re-export is looked through to that file, a
//! declared child is no import, and what only tests need does not count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The names of a module, from the root of its crate.
type Place = Vec<String>;

/// One `use` of one name.
struct Import {
    path: Vec<String>,
    name: String,
    public: bool,
}

/// A file, as far as its imports go.
#[derive(Default)]
struct Module {
    file: String,
    imports: Vec<Import>,
    /// Items that it declares.
    items: BTreeSet<String>,
    /// Every identifier outside of imports.
    named: BTreeSet<String>,
    /// Every path outside of imports.
    paths: BTreeSet<Vec<String>>,
    /// Children that are compiled for tests only.
    tests: Vec<String>,
}

/// The end of a path.
enum Found {
    Module(Place),
    /// An item of the module there.
    Item(Place),
}

/// The files of a crate.
pub struct Files(BTreeMap<Place, Module>);

impl Files {
    /// Reads `sources`, each with its path below the crate's folder; `root` is the crate's first file.
    pub fn read(sources: &[(String, String)], root: &str) -> Self {
        let mut modules = BTreeMap::new();
        for (file, text) in sources {
            let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
            let mut module = Module { file: file.clone(), ..Module::default() };
            module.read(tokens);
            modules.insert(place(file, root), module);
        }
        let tests: Vec<Place> =
            modules.iter().flat_map(|(place, module)| module.tests.iter().map(|test| below(place, test))).collect();
        modules.retain(|place, _| !tests.iter().any(|test| place.starts_with(test)));
        Self(modules)
    }

    /// The shortest circle through each file that is in one.
    pub fn circles(&self) -> BTreeSet<String> {
        let edges: BTreeMap<&str, BTreeSet<&str>> =
            self.0.iter().map(|(place, module)| (module.file.as_str(), self.edges(place, module))).collect();
        edges.keys().filter_map(|start| circle(&edges, start)).collect()
    }

    /// The other files that a module imports from.
    fn edges(&self, place: &Place, module: &Module) -> BTreeSet<&str> {
        let imported = module.imports.iter().filter(|import| !import.public || module.named.contains(&import.name));
        let paths = imported.map(|import| &import.path).chain(&module.paths);
        let found = paths.filter_map(|path| match self.resolve(place, path, 0)? {
            Found::Module(_) if path.last().is_some_and(|last| last != "*") => None,
            Found::Module(place) | Found::Item(place) => Some(self.0[&place].file.as_str()),
        });
        found.filter(|file| *file != module.file).collect()
    }

    /// The end of a path that is written in the module at `place`; `None` where it leads out of the crate.
    fn resolve(&self, place: &Place, path: &[String], depth: usize) -> Option<Found> {
        let first = path.first()?.as_str();
        let ups = path.iter().take_while(|part| *part == "super").count();
        match first {
            _ if depth > 8 => None,
            "crate" => self.walk(Place::new(), &path[1..], depth),
            "self" => self.walk(place.clone(), &path[1..], depth),
            "super" => self.walk(place[..place.len().checked_sub(ups)?].to_vec(), &path[ups..], depth),
            _ => {
                let local = self.0.contains_key(&below(place, first));
                let import = self.0[place].imports.iter().find(|import| import.name == first);
                let named = import.is_some_and(|import| import.path != path && import.path[0] != first);
                (local || named).then(|| self.walk(place.clone(), path, depth))?
            }
        }
    }

    fn walk(&self, mut place: Place, path: &[String], depth: usize) -> Option<Found> {
        for (index, part) in path.iter().enumerate() {
            if part == "*" {
                break;
            }
            let child = below(&place, part);
            if self.0.contains_key(&child) {
                place = child;
                continue;
            }
            return match self.imported(&place, part, depth) {
                Some(Found::Module(other)) => self.walk(other, &path[index + 1..], depth + 1),
                Some(item) => Some(item),
                // An import from another crate is no item of this one.
                None if self
                    .0
                    .get(&place)
                    .is_none_or(|module| module.imports.iter().any(|import| import.name == *part)) =>
                {
                    None
                }
                None => Some(Found::Item(place)),
            };
        }
        Some(Found::Module(place))
    }

    /// The item or module that the module at `place` has imported as `name`.
    fn imported(&self, place: &Place, name: &str, depth: usize) -> Option<Found> {
        // A module within a file has no imports of its own here.
        let imports = &self.0.get(place)?.imports;
        if let Some(import) = imports.iter().find(|import| import.name == name) {
            return self.resolve(place, &import.path, depth + 1);
        }
        imports.iter().filter(|import| import.name == "*").find_map(|glob| {
            let Found::Module(other) = self.resolve(place, &glob.path, depth + 1)? else { return None };
            let declares = self.0[&other].items.contains(name) || self.imported(&other, name, depth + 1).is_some();
            (other != *place && declares).then(|| self.walk(other, &[name.to_owned()], depth + 1))?
        })
    }
}

impl Module {
    fn read(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match token {
                TokenTree::Punct(hash) if hash.as_char() == '#' && is_test(tokens.get(at + 1)) => {
                    at = self.skip_test(&tokens, at + 2);
                }
                TokenTree::Ident(word) if word == "use" => {
                    let end = (at..tokens.len()).find(|end| is_punct(tokens.get(*end), ';')).unwrap_or(tokens.len());
                    self.import(&tokens[at + 1..end], &[], is_public(&tokens[..at]));
                    at = end;
                }
                TokenTree::Ident(word) => {
                    let word = word.to_string();
                    if let (true, Some(TokenTree::Ident(item))) = (declares(&word), tokens.get(at + 1)) {
                        self.items.insert(item.to_string());
                    }
                    at = self.path(&tokens, at);
                }
                TokenTree::Group(group) => {
                    self.read(group.stream());
                    at += 1;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => at += 1,
            }
        }
    }

    /// Reads the path that begins at `at`; gives the place after it.
    fn path(&mut self, tokens: &[TokenTree], mut at: usize) -> usize {
        let inside = at > 1 && is_separator(tokens, at - 2);
        let mut path = Vec::new();
        while let Some(TokenTree::Ident(word)) = tokens.get(at) {
            path.push(word.to_string());
            at += 1;
            if !is_separator(tokens, at) || !matches!(tokens.get(at + 2), Some(TokenTree::Ident(_))) {
                break;
            }
            at += 2;
        }
        if !inside {
            self.named.insert(path[0].clone());
            if path.len() > 1 {
                self.paths.insert(path);
            }
        }
        at
    }

    /// Passes over an item that only tests have; gives the place after it.
    fn skip_test(&mut self, tokens: &[TokenTree], at: usize) -> usize {
        let ends = |token: &TokenTree| match token {
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            token => is_punct(Some(token), ';'),
        };
        let end = tokens[at..].iter().position(ends).map_or(tokens.len(), |length| at + length + 1);
        if let [.., TokenTree::Ident(module), TokenTree::Ident(name), _] = &tokens[at..end]
            && module == "mod"
        {
            self.tests.push(name.to_string());
        }
        end
    }

    /// Reads a tree of imports below `prefix`.
    fn import(&mut self, tree: &[TokenTree], prefix: &[String], public: bool) {
        let (mut path, mut name) = (prefix.to_vec(), None);
        let mut tokens = tree.iter();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Ident(word) if word == "as" => name = tokens.next().map(ToString::to_string),
                TokenTree::Ident(word) if word == "self" && !path.is_empty() => {}
                TokenTree::Ident(word) => path.push(word.to_string()),
                TokenTree::Punct(star) if star.as_char() == '*' => path.push("*".to_owned()),
                TokenTree::Group(group) => {
                    let list: Vec<TokenTree> = group.stream().into_iter().collect();
                    let trees = list.split(|token| is_punct(Some(token), ',')).filter(|tree| !tree.is_empty());
                    return trees.for_each(|tree| self.import(tree, &path, public));
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
        if let Some(last) = path.last().cloned() {
            self.imports.push(Import { name: name.unwrap_or(last), path, public });
        }
    }
}

/// The shortest way from `start` back to it.
fn circle(edges: &BTreeMap<&str, BTreeSet<&str>>, start: &str) -> Option<String> {
    let mut ways = VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in &edges[way[way.len() - 1]] {
            let longer: Vec<&str> = way.iter().chain([next]).copied().collect();
            if *next == start {
                return Some(longer.join(" → "));
            }
            if seen.insert(*next) {
                ways.push_back(longer);
            }
        }
    }
    None
}

fn place(file: &str, root: &str) -> Place {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    if file == root { Place::new() } else { path.split('/').map(str::to_owned).collect() }
}

fn below(place: &Place, name: &str) -> Place {
    place.iter().cloned().chain([name.to_owned()]).collect()
}

fn declares(word: &str) -> bool {
    matches!(word, "struct" | "enum" | "union" | "trait" | "type" | "fn" | "const" | "static")
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(found)) if found.as_char() == wanted)
}

/// True where `::` stands at `at`.
fn is_separator(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')
}

/// True for `[cfg(test)]`.
fn is_test(token: Option<&TokenTree>) -> bool {
    token.is_some_and(|token| token.to_string().replace(' ', "") == "[cfg(test)]")
}

/// True after `pub` or `pub(…)`.
fn is_public(before: &[TokenTree]) -> bool {
    let last = match before {
        [before @ .., TokenTree::Group(scope)] if scope.delimiter() == Delimiter::Parenthesis => before.last(),
        before => before.last(),
    };
    matches!(last, Some(TokenTree::Ident(word)) if word == "pub")
}
