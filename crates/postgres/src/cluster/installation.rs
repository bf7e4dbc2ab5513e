//! Finding Postgres programs on this machine, without reading the environment.
//!
//! What the caller names wins over what is found; among the usual folders the newest version wins.
//! A named folder that holds no fit Postgres is an error, never a reason to search on: the person meant that one.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use antiphon_engine::Fault;
use antiphon_model::Code;

/// The oldest Postgres that capture works with.
pub const VERSION_MAJOR_MIN: u32 = 15;

const USUAL_FOLDERS: [&str; 6] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
];

/// Where to look for Postgres, in the order of the fields.
#[derive(Clone, Debug, Default)]
pub struct FindOptions {
    /// A folder of programs named on the command line.
    pub flag: Option<PathBuf>,
    /// A folder of programs named in the environment, read by the caller.
    pub environment: Option<PathBuf>,
    /// The folders of PATH, read by the caller.
    pub path: Vec<PathBuf>,
    /// Our cache folder, in which `postgres-18/bin` may lie.
    pub cache: Option<PathBuf>,
}

/// A folder of Postgres programs and their version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    bin_dir: PathBuf,
    version: Version,
}

/// The version of a Postgres server's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The major version, such as 18.
    pub major: u32,
    /// The minor version, zero for a beta.
    pub minor: u32,
}

impl Installation {
    /// Takes the programs of one folder, which must hold `postgres` and `initdb` of a fit version.
    pub fn at(bin_dir: &Path) -> Result<Installation, Fault> {
        let not_found = |why: &str| Fault::new(Code::PostgresNotFound, format!("{}: {why}", bin_dir.display()));
        // The real path: a link may lie where the server's user cannot reach it.
        let bin_dir =
            bin_dir.canonicalize().map_err(|error| not_found("there is no such folder").with_source(error))?;
        if !bin_dir.join("initdb").is_file() {
            return Err(not_found("it holds no initdb"));
        }
        let output = Command::new(bin_dir.join("postgres"))
            .arg("--version")
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| not_found("it holds no postgres that runs here").with_source(error))?;
        let version = parse_version(&String::from_utf8_lossy(&output.stdout))
            .ok_or_else(|| not_found("its postgres does not tell its version"))?;
        if version.major < VERSION_MAJOR_MIN {
            return Err(not_found(&format!("version {version} is older than {VERSION_MAJOR_MIN}")));
        }
        Ok(Installation { bin_dir, version })
    }

    /// Finds the Postgres to use.
    pub fn find(options: &FindOptions) -> Result<Installation, Fault> {
        if let Some(named) = options.flag.as_deref().or(options.environment.as_deref()) {
            return Installation::at(named);
        }
        let on_path = options.path.iter().filter(|folder| folder.join("postgres").is_file());
        if let Some(found) = on_path.filter_map(|folder| Installation::at(folder).ok()).next() {
            return Ok(found);
        }
        let mut usual: Vec<PathBuf> = USUAL_FOLDERS.iter().flat_map(|pattern| expand(pattern)).collect();
        usual.extend(options.cache.as_ref().map(|cache| cache.join("postgres-18/bin")));
        usual.iter().filter_map(|folder| Installation::at(folder).ok()).max_by_key(|found| found.version).ok_or_else(
            || {
                Fault::new(
                    Code::PostgresNotFound,
                    "neither on PATH nor in the usual folders; on Debian and Ubuntu `apt-get install postgresql` \
                     brings one, on macOS `brew install postgresql@18`, and in a checkout script/bootstrap",
                )
            },
        )
    }

    /// Returns the folder of the programs.
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// Returns the path of one program, such as `pg_recvlogical`, which may be missing.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin_dir.join(name)
    }

    /// Returns the version.
    pub fn version(&self) -> Version {
        self.version
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Reads `postgres (PostgreSQL) 15.8 (Debian 15.8-1)`, `... 19beta1` and the like.
fn parse_version(text: &str) -> Option<Version> {
    let number = text.split_once("(PostgreSQL) ")?.1.split_whitespace().next()?;
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    let (major, rest) = number.split_at(end);
    let minor = rest.strip_prefix('.').and_then(|minor| minor.parse().ok()).unwrap_or(0);
    Some(Version { major: major.parse().ok()?, minor })
}

/// Lists the folders that a pattern with at most one `*`, inside one component, stands for.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![PathBuf::from(pattern)];
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or((".", before));
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join(after.trim_start_matches('/')))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_every_known_form() {
        let check = |text: &str, expected: Option<(u32, u32)>| {
            assert_eq!(parse_version(text).map(|v| (v.major, v.minor)), expected, "{text}");
        };
        check("postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)\n", Some((15, 8)));
        check("postgres (PostgreSQL) 18.6\n", Some((18, 6)));
        check("postgres (PostgreSQL) 19beta1\n", Some((19, 0)));
        check("postgres (PostgreSQL) 19devel\n", Some((19, 0)));
        check("something else 15.8", None);
        check("", None);
    }

    #[test]
    fn a_named_folder_without_postgres_is_an_error_and_not_searched_past() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = FindOptions { flag: Some(folder.path().to_owned()), ..FindOptions::default() };
        let fault = Installation::find(&options).expect_err("the folder is empty");
        assert_eq!(fault.code(), Code::PostgresNotFound);
    }
}
