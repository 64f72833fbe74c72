//! Where values come from: flags, variables, the file.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use filters::secret::Digest;
use zeroize::Zeroizing;

use super::files;
use super::format::Format;
use super::node::Node;
use super::report::{Findings, Place};
use super::table::Table;

/// Most bytes of the configuration file and all that it includes; 100,000 agents need about 20 MiB.
const MOST: usize = 64 << 20;
/// Most bytes of any other file whose text is part of the configuration, such as a key set.
const MOST_TEXT: u64 = 4 << 20;
/// Most configuration files in a folder.
const MOST_FILES: usize = 100_000;
/// The files looked for in the working directory, in this order.
const DEFAULT_FILES: [&str; 3] = ["config.toml", "config.json", "config.yaml"];
/// Names the file.
const FILE_VARIABLE: &str = "APP_CONFIG_FILE";

/// Options that are given on the command line; their text is checked like a variable's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--config`: the configuration file.
    pub config: Option<PathBuf>,
    /// `--host`.
    pub host: Option<String>,
    /// `--port`.
    pub port: Option<String>,
    /// `--log-level`.
    pub log_level: Option<String>,
    /// `--reload`, with or without a value.
    pub reload: Option<String>,
}

/// Everything that a configuration is read by, so that a test can stand in for it.
pub struct Environment<'a> {
    /// The value of a variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Reads a configuration file, or one whose text is part of it, of so many bytes at most.
    pub read: &'a dyn Fn(&Path, u64) -> io::Result<String>,
    /// True where a certificate, key or CA file can be read.
    pub probe: &'a dyn Fn(&Path) -> io::Result<()>,
    /// The configuration files in a folder, in the order of their names.
    pub list: &'a dyn Fn(&Path) -> io::Result<Vec<PathBuf>>,
    /// The options that there are.
    pub table: &'static Table,
}

impl Environment<'static> {
    /// The variables and files of this process, and the options of the gate's catalog.
    #[must_use]
    pub fn of_process() -> Self {
        Self { variable: &variable, read: &read_file, probe: &probe_file, list: &files_in, table: Table::of_gate() }
    }
}

/// A variable of this process. What is not UTF-8 is not dropped in silence: it
/// becomes text that its option refuses.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

fn read_file(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(files::read(path, most)?).map_err(|error| {
        drop(Zeroizing::new(error.into_bytes()));
        io::ErrorKind::InvalidData.into()
    })
}

fn probe_file(path: &Path) -> io::Result<()> {
    let size = files::open(path)?.metadata()?.len();
    if size > MOST as u64 { Err(files::too_large(MOST as u64)) } else { Ok(()) }
}

/// The files in `folder` whose names end as a configuration file's and begin
/// with no dot, in the order of their names.
///
/// # Errors
/// The file system's error, or one that says that there are more than 100,000.
pub fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && Format::of(&path).is_some() {
            files.push(path);
        }
        if files.len() > MOST_FILES {
            return Err(io::Error::other(format!("holds more than {MOST_FILES} configuration files")));
        }
    }
    files.sort();
    Ok(files)
}

/// Why, without the path.
pub(super) fn reason(error: &io::Error) -> String {
    if let Some(own) = error.get_ref() {
        return format!("it {own}");
    }
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::InvalidData => "it is not UTF-8".to_owned(),
        kind => kind.to_string(),
    }
}

/// One reading of the configuration.
pub(super) struct Source<'a> {
    flags: &'a Flags,
    environment: &'a Environment<'a>,
    /// Each file's name, and the line after which its own are counted: those of
    /// the files before it are all smaller.
    texts: RefCell<Vec<(usize, Arc<str>)>>,
    /// The first line that no file has yet.
    end: Cell<usize>,
    pub(super) table: &'static Table,
    pub(super) findings: Findings,
    pub(super) files: RefCell<Vec<PathBuf>>,
    /// Of every text that was read, in its order.
    pub(super) digest: Cell<Digest>,
}

impl<'a> Source<'a> {
    pub(super) fn new(flags: &'a Flags, environment: &'a Environment<'a>) -> Self {
        let (findings, files, digest) = (Findings::default(), RefCell::default(), Cell::new(Digest::of(b"")));
        let (texts, table) = (RefCell::default(), environment.table);
        Self { flags, environment, texts, end: Cell::new(0), table, findings, files, digest }
    }

    /// A line of one of the files, by the number that its nodes have.
    pub(super) fn line(&self, line: usize) -> Place {
        let texts = self.texts.borrow();
        let count = texts.partition_point(|(begin, _)| *begin <= line);
        match count.checked_sub(1).and_then(|last| texts.get(last)) {
            Some((begin, label)) => Place::Line(Arc::clone(label), line - begin),
            None => Place::Nowhere,
        }
    }

    /// The configuration files in a folder.
    pub(super) fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        (self.environment.list)(folder)
    }

    /// A flag's text.
    pub(super) fn flag(&self, name: &str) -> Option<Zeroizing<String>> {
        let value = match name {
            "--host" => &self.flags.host,
            "--port" => &self.flags.port,
            "--log-level" => &self.flags.log_level,
            "--reload" => &self.flags.reload,
            _ => &None,
        };
        value.clone().map(Zeroizing::new)
    }

    /// A variable's text; an empty one counts as not set.
    pub(super) fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        (self.environment.variable)(name).map(Zeroizing::new).filter(|text| !text.is_empty())
    }

    /// Checks that a file can be read, and has it watched.
    pub(super) fn file(&self, place: &Place, label: &str, path: &str) -> PathBuf {
        let path = PathBuf::from(path);
        match (self.environment.probe)(&path) {
            Ok(()) => self.files.borrow_mut().push(path.clone()),
            Err(error) => self.unreadable_file(place, label, &error),
        }
        path
    }

    /// The text of a file, which is watched.
    pub(super) fn text_of(&self, place: &Place, label: &str, path: &str) -> Option<String> {
        let path = self.file(place, label, path);
        match (self.environment.read)(&path, MOST_TEXT) {
            Ok(text) => {
                self.add_to_digest(&text);
                Some(text)
            }
            Err(error) => {
                self.unreadable_file(place, label, &error);
                None
            }
        }
    }

    fn add_to_digest(&self, text: &str) {
        let both = [self.digest.get(), Digest::of(text.as_bytes())].map(Digest::to_hex).concat();
        self.digest.set(Digest::of(both.as_bytes()));
    }

    fn unreadable_file(&self, place: &Place, label: &str, error: &io::Error) {
        let wrong = format!("the file of {label} cannot be read: {}", reason(error));
        let mend = "check the path, which begins at the working directory, and its permissions";
        self.findings.problem(place, wrong, mend);
    }

    /// Reads the configuration file, if there is one.
    pub(super) fn read_file(&self) -> Option<Node> {
        let (place, path, text) = match self.chosen_file() {
            Some((place, path)) => {
                let text = self.text(&path);
                (place, path, text)
            }
            None => self.default_file()?,
        };
        let read = self.read(&path, text);
        self.files.borrow_mut().push(path);
        read.unwrap_or_else(|why| {
            let wrong = format!("the configuration file cannot be read: {why}");
            self.findings.problem(&place, wrong, "name a readable TOML, JSON or YAML file");
            None
        })
    }

    /// Reads a file of a folder.
    pub(super) fn read_included(&self, path: &Path) -> Option<Node> {
        let text = self.text(path);
        self.read(path, text).unwrap_or_else(|why| {
            let place = Place::Line(path.to_string_lossy().into(), 1);
            self.findings.problem(&place, format!("the file cannot be read: {why}"), "make it readable, or remove it");
            None
        })
    }

    /// The text of a file of the configuration, which has what the others leave of the bound.
    fn text(&self, path: &Path) -> io::Result<Zeroizing<String>> {
        let left = MOST.saturating_sub(self.end.get());
        let text = (self.environment.read)(path, left as u64);
        text.map(Zeroizing::new).map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => io::Error::new(error.kind(), "makes the configuration larger than 64MiB"),
            _ => error,
        })
    }

    /// The tree of a text, or nothing where what is wrong with it was noted.
    fn read(&self, path: &Path, text: io::Result<Zeroizing<String>>) -> Result<Option<Node>, String> {
        let text = text.map_err(|error| reason(&error))?;
        let Some(format) = Format::of(path) else {
            return Err("its name ends in none of .toml, .json, .yaml, .yml".to_owned());
        };
        self.add_to_digest(&text);
        let begin = self.end.get();
        // No text has more lines than bytes, but for the last one.
        self.end.set(begin + text.len() + 2);
        self.texts.borrow_mut().push((begin, path.to_string_lossy().into()));
        Ok(self.parse(format, &text, begin))
    }

    fn parse(&self, format: Format, text: &str, begin: usize) -> Option<Node> {
        let faults = match format.parse(text) {
            Ok(mut node) => {
                node.move_by(begin);
                return Some(node);
            }
            Err(faults) => faults,
        };
        for fault in faults {
            self.findings.problem(
                &self.line(begin + fault.line),
                fault.text,
                "check quotes, brackets and commas here and on the line before",
            );
        }
        None
    }

    fn chosen_file(&self) -> Option<(Place, PathBuf)> {
        let flag = self.flags.config.clone().map(|path| (Place::Flag("--config"), path));
        flag.or_else(|| {
            let path = self.variable(FILE_VARIABLE)?;
            Some((Place::Variable(FILE_VARIABLE), PathBuf::from(path.as_str())))
        })
    }

    fn default_file(&self) -> Option<(Place, PathBuf, io::Result<Zeroizing<String>>)> {
        let mut found = None;
        for name in DEFAULT_FILES {
            let text = match self.text(Path::new(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                text => text,
            };
            if found.is_none() {
                found = Some((Place::Line(name.into(), 1), PathBuf::from(name), text));
            } else {
                self.findings
                    .warning(&Place::Line(name.into(), 1), "not read: an earlier configuration file was found");
            }
        }
        found
    }
}
