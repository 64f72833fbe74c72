use std::path::{Path, PathBuf};
use std::{env, fmt, fs};

use crate::{Error, compile};

/// A Vault, or what is compatible with it, that can be run.
#[derive(Clone, Debug)]
pub struct Binary {
    /// Where it is.
    pub path: PathBuf,
    /// Where it came from.
    pub kind: Kind,
}

/// Which Vault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `vault` from `PATH`.
    Vault,
    /// `bao` (OpenBao) from `PATH`.
    OpenBao,
    /// Built from this crate's Go module.
    Built,
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Vault => "vault from PATH",
            Kind::OpenBao => "bao from PATH",
            Kind::Built => "built from local-vault/go.mod",
        };
        write!(f, "{} ({kind})", self.path.display())
    }
}

/// Finds `vault` or `bao` in `PATH`; else the one built from `<root>/local-vault`, which is built
/// when it is missing or its module has changed, with its progress on standard error.
///
/// `root` is the workspace's folder; the build is kept in `<root>/target/local-vault/vault`.
/// Several processes may ask at once: one builds, the others wait for it.
pub fn binary(root: &Path) -> Result<Binary, Error> {
    for (name, kind) in [("vault", Kind::Vault), ("bao", Kind::OpenBao)] {
        if let Some(path) = in_path(name) {
            return Ok(Binary { path, kind });
        }
    }
    let built = root.join("target/local-vault/vault");
    compile::ensure(&root.join("local-vault"), &built)?;
    Ok(Binary { path: built, kind: Kind::Built })
}

fn in_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
