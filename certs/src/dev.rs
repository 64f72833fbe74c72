use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use crate::facts::Facts;
use crate::{Authority, Error, Issued, Leaf};
use time::Duration;

const AUTHORITY_NAME: &str = "Portcullis development CA";

/// The time before its end at which a certificate is replaced.
const RENEW_BEFORE: Duration = Duration::days(7);

/// A folder of development certificates, kept up to date.
///
/// It holds `ca.crt`, `server.crt` and one `<agent>.crt` per agent, each with its `.key`. The
/// authority's key is kept too, so that agents can be added later.
#[derive(Debug)]
pub struct DevFolder {
    dir: PathBuf,
    force: bool,
}

/// The fate of one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Minted {
    /// It was made.
    New,
    /// The one that was there is good for more than a week.
    Kept,
}

impl DevFolder {
    /// Keeps its certificates in `dir`; with `force` every one of them is made anew.
    pub fn new(dir: impl Into<PathBuf>, force: bool) -> DevFolder {
        DevFolder { dir: dir.into(), force }
    }

    /// Mints what is missing or ends within a week, and returns what became of each certificate
    /// with the path of its file. Nothing is written when nothing is due.
    ///
    /// A certificate by an authority that was replaced is missing in this sense.
    pub fn mint(&self, agents: &[String]) -> Result<Vec<(PathBuf, Minted)>, Error> {
        if let Some(name) = agents.iter().find(|name| !is_agent_name(name)) {
            return Err(Error::AgentName(name.clone()));
        }
        fs::create_dir_all(&self.dir).map_err(|cause| Error::File(self.dir.clone(), cause))?;
        let (authority, fate) = self.authority()?;
        let mut report = vec![(self.path("ca", "crt"), fate)];
        report.push(self.leaf(&authority, "server", &Leaf::server())?);
        for agent in agents {
            report.push(self.leaf(&authority, agent, &Leaf::agent(agent))?);
        }
        Ok(report)
    }

    fn authority(&self) -> Result<(Authority, Minted), Error> {
        if let Some(authority) = self.kept_authority()? {
            return Ok((authority, Minted::Kept));
        }
        let authority = Authority::new(AUTHORITY_NAME)?;
        let issued = Issued { certificate: authority.pem(), key: authority.key_pem() };
        self.write("ca", &issued)?;
        Ok((authority, Minted::New))
    }

    /// The authority in the folder, when its certificate is good and the key is its own.
    fn kept_authority(&self) -> Result<Option<Authority>, Error> {
        let (Some(text), Some(key)) = (self.read("ca", "crt")?, self.read("ca", "key")?) else {
            return Ok(None);
        };
        let name = Facts::parse(&text)
            .filter(|facts| !self.force && !facts.ends_within(RENEW_BEFORE))
            .and_then(|facts| facts.common_name);
        Ok(name.and_then(|name| Authority::kept(&name, text, &key)))
    }

    fn leaf(&self, authority: &Authority, name: &str, leaf: &Leaf) -> Result<(PathBuf, Minted), Error> {
        let certificate = self.path(name, "crt");
        if !self.force && self.is_good(authority, name)? {
            return Ok((certificate, Minted::Kept));
        }
        self.write(name, &authority.issue(leaf)?)?;
        Ok((certificate, Minted::New))
    }

    /// True where `name` has a key and a certificate by this authority that lasts another week.
    fn is_good(&self, authority: &Authority, name: &str) -> Result<bool, Error> {
        let (Some(text), true) = (self.read(name, "crt")?, self.path(name, "key").exists()) else {
            return Ok(false);
        };
        let issuer = Facts::parse(&authority.pem()).and_then(|facts| facts.key_id);
        Ok(Facts::parse(&text)
            .is_some_and(|facts| issuer.is_some() && facts.issuer_key_id == issuer && !facts.ends_within(RENEW_BEFORE)))
    }

    fn read(&self, name: &str, extension: &str) -> Result<Option<String>, Error> {
        let path = self.path(name, extension);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(Error::File(path, cause)),
        }
    }

    fn write(&self, name: &str, issued: &Issued) -> Result<(), Error> {
        issued.write(&self.dir, name).map_err(|cause| Error::File(self.path(name, "*"), cause))
    }

    fn path(&self, name: &str, extension: &str) -> PathBuf {
        self.dir.join(format!("{name}.{extension}"))
    }
}

/// True where `name` can be an agent's: `[a-z0-9][a-z0-9._-]{0,62}` without `..`, and not the name
/// of a file that the folder keeps for itself.
pub fn is_agent_name(name: &str) -> bool {
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    starts_well
        && name.len() <= 63
        && name.chars().all(allowed)
        && !name.contains("..")
        && !matches!(name, "ca" | "server")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::Validity;

    fn mint(dir: &Path, agents: &[&str], force: bool) -> Vec<Minted> {
        let agents: Vec<String> = agents.iter().map(|&agent| agent.to_owned()).collect();
        let minted = DevFolder::new(dir, force).mint(&agents).unwrap();
        minted.into_iter().map(|(_, fate)| fate).collect()
    }

    #[test]
    fn a_second_run_keeps_everything() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(mint(dir.path(), &["a"], false), [Minted::New; 3]);
        let before = fs::read(dir.path().join("a.crt")).unwrap();
        assert_eq!(mint(dir.path(), &["a"], false), [Minted::Kept; 3]);
        assert_eq!(before, fs::read(dir.path().join("a.crt")).unwrap());
    }

    #[test]
    fn an_agent_can_be_added_later() {
        let dir = tempfile::tempdir().unwrap();
        mint(dir.path(), &["a"], false);
        let fates = mint(dir.path(), &["a", "b"], false);
        assert_eq!(fates, [Minted::Kept, Minted::Kept, Minted::Kept, Minted::New]);
    }

    #[test]
    fn force_replaces_everything() {
        let dir = tempfile::tempdir().unwrap();
        mint(dir.path(), &["a"], false);
        assert_eq!(mint(dir.path(), &["a"], true), [Minted::New; 3]);
    }

    #[test]
    fn a_new_authority_replaces_the_certificates_of_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        mint(dir.path(), &["a"], false);
        fs::remove_file(dir.path().join("ca.key")).unwrap();
        assert_eq!(mint(dir.path(), &[], false), [Minted::New; 2]);
        let fates = mint(dir.path(), &["a"], false);
        assert_eq!(fates, [Minted::Kept, Minted::Kept, Minted::New]);
    }

    #[test]
    fn an_authority_whose_key_is_not_its_own_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        mint(dir.path(), &["a"], false);
        fs::copy(dir.path().join("a.key"), dir.path().join("ca.key")).unwrap();
        assert_eq!(mint(dir.path(), &["a"], false), [Minted::New; 3]);
    }

    #[test]
    fn a_certificate_that_ends_within_a_week_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        mint(dir.path(), &["a"], false);
        let folder = DevFolder::new(dir.path(), false);
        let leaf = Leaf { validity: Validity::Seconds(6 * 86_400), ..Leaf::agent("a") };
        let authority = folder.kept_authority().unwrap().unwrap();
        folder.write("a", &authority.issue(&leaf).unwrap()).unwrap();
        let fates = mint(dir.path(), &["a"], false);
        assert_eq!(fates, [Minted::Kept, Minted::Kept, Minted::New]);
    }

    #[test]
    fn keys_are_for_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        mint(dir.path(), &["a"], false);
        for name in ["ca.key", "server.key", "a.key"] {
            let mode = fs::metadata(dir.path().join(name)).unwrap().permissions();
            assert_eq!(mode.mode() & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn only_agent_names_become_files() {
        for good in ["a", "agent_api", "0.b-c", &"a".repeat(63)] {
            assert!(is_agent_name(good), "{good}");
        }
        for bad in ["", "..", "a..b", "a/b", "A", "_a", "ca", "server", &"a".repeat(64)] {
            assert!(!is_agent_name(bad), "{bad}");
        }
    }
}
