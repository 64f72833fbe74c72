use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Error;

/// The time between two lines that tell how far a build is.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// The package that Go compiles last, before it links: the module's own.
const MAIN_PACKAGE: &str = "portcullis/local-vault";

/// Everything the build depends on, besides Go itself.
pub(crate) fn sources(module: &Path) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    for name in ["main.go", "go.mod", "go.sum"] {
        let path = module.join(name);
        all.extend(fs::read(&path).map_err(Error::file(&path))?);
    }
    Ok(all)
}

/// Builds the Go module in `module` into the file `built`.
pub(crate) fn compile(module: &Path, built: &Path) -> Result<(), Error> {
    eprintln!("building Vault from {}: the first time takes some minutes, later Go's cache helps", module.display());
    let packages = count_packages(module)?;
    let unfinished = built.with_extension("unfinished");
    let mut build = go(module)
        .args(["build", "-v", "-ldflags=-s -w", "-o"])
        .args([&unfinished, Path::new(".")])
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Error::NoGo)?;
    let said = follow(&mut build, |count, line| match line {
        MAIN_PACKAGE => "linking".to_owned(),
        _ => format!("compiled {count} packages of at most {packages}"),
    });
    finish(build, said)?;
    fs::rename(&unfinished, built).map_err(Error::file(built))
}

/// Fetches the modules that the build needs and counts the packages in them.
fn count_packages(module: &Path) -> Result<usize, Error> {
    let mut list = go(module)
        .args(["list", "-deps", "."])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Error::NoGo)?;
    let packages = list
        .stdout
        .take()
        .map(|stdout| std::thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).count()));
    let said = follow(&mut list, |count, _| format!("fetched {count} modules"));
    finish(list, said)?;
    Ok(packages.and_then(|count| count.join().ok()).unwrap_or(0))
}

fn go(module: &Path) -> Command {
    let mut command = Command::new("go");
    command.current_dir(module).env("GOFLAGS", "-mod=readonly");
    command.stdin(Stdio::null());
    command
}

/// Reads what Go says line by line until it ends, tells how far it is every few seconds, and
/// returns the last lines.
fn follow(child: &mut Child, progress: impl Fn(usize, &str) -> String) -> Vec<String> {
    let started = Instant::now();
    let mut reported = started;
    let mut last: Vec<String> = Vec::new();
    let Some(stderr) = child.stderr.take() else {
        return last;
    };
    for (index, line) in BufReader::new(stderr).lines().map_while(Result::ok).enumerate() {
        if reported.elapsed() >= REPORT_EVERY || line == MAIN_PACKAGE {
            reported = Instant::now();
            eprintln!("  {}, {} s", progress(index + 1, &line), started.elapsed().as_secs());
        }
        last.push(line);
        if last.len() > 20 {
            last.remove(0);
        }
    }
    last
}

fn finish(mut child: Child, said: Vec<String>) -> Result<(), Error> {
    let status = child.wait().map_err(|cause| Error::Start(PathBuf::from("go"), cause))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Build(format!("{status}\n{}", said.join("\n"))))
}
