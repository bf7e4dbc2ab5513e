//! The account that a private server runs as.
//!
//! Postgres refuses to run as root, so root drops to another user; everyone else runs it as themselves.
//! Law: a folder that the account cannot reach is told as such before the server fails in its own words.

use std::{
    fs, io,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

/// The users that root drops to, best first.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// Who runs the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// The user of this process.
    Same,
    /// Another user, because this process is root.
    Other { uid: u32, gid: u32 },
}

impl Account {
    /// Chooses the account; `None` where this is root and no other user is known.
    pub(super) fn choose() -> Option<Account> {
        if !rustix::process::geteuid().is_root() {
            return Some(Account::Same);
        }
        let accounts = fs::read_to_string("/etc/passwd").ok()?;
        USERS.iter().find_map(|name| find(&accounts, name))
    }

    /// Makes a command run as this account, away from folders that it might not enter.
    pub(super) fn apply<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if let Account::Other { uid, gid } = *self {
            command.uid(uid).gid(gid);
        }
        command.current_dir("/")
    }

    /// Gives a file or folder to this account.
    pub(super) fn own(&self, path: &Path) -> io::Result<()> {
        match *self {
            Account::Same => Ok(()),
            Account::Other { uid, gid } => chown(path, Some(uid), Some(gid)),
        }
    }

    /// Reports whether the account may pass through every folder above and into `path`.
    pub(super) fn reaches(&self, path: &Path) -> bool {
        let Account::Other { uid, gid } = *self else { return true };
        path.ancestors().filter(|folder| !folder.as_os_str().is_empty()).all(|folder| {
            // A folder that does not exist yet will be made by us and given to the account.
            let Ok(metadata) = fs::metadata(folder) else { return true };
            let mode = metadata.permissions().mode();
            match (metadata.uid() == uid, metadata.gid() == gid) {
                (true, _) => mode & 0o100 != 0,
                (false, true) => mode & 0o010 != 0,
                (false, false) => mode & 0o001 != 0,
            }
        })
    }
}

fn find(accounts: &str, name: &str) -> Option<Account> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account::Other { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_their_whole_name() {
        let text = "root:x:0:0:root:/root:/bin/sh\npostgres2:x:1:1::/:/bin/sh\npostgres:x:101:104:,,,:/var:/bin/sh\n";
        assert_eq!(find(text, "postgres"), Some(Account::Other { uid: 101, gid: 104 }));
        assert_eq!(find(text, "nobody"), None);
        assert_eq!(find("postgres:x:nonsense", "postgres"), None);
    }
}
