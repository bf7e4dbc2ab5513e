//! Moving a cluster to a newer version by `pg_upgrade`, as an operator does in a planned pause.
//!
//! The old server is stopped and its data left as it was; the new one has another system identifier, as always after an
//! upgrade. Both versions must have all their programs: some packages of binaries leave out those that an upgrade needs.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    process::Command,
};

use antiphon_postgres::{Cluster, ClusterConfig, StopMode};

use crate::{
    pg::{Pg, PgVersion, blocking},
    skip::skipped,
    standby::{Backup, new_folder, run},
};

impl Pg {
    /// Upgrades it and starts the newer server; `None` (and a skip) where one of both lacks a program.
    ///
    /// # Panics
    /// When the upgrade fails.
    pub async fn upgraded(&self, to: PgVersion, settings: &[(&str, &str)]) -> Option<Pg> {
        let Some(newer) = to.installation() else {
            skipped(&to.to_string());
            return None;
        };
        let needed = ["pg_upgrade", "pg_resetwal", "pg_controldata", "pg_checksums", "pg_dumpall", "psql"];
        let old = self.program("pg_controldata");
        if !old.exists() || needed.iter().any(|program| !newer.program(program).exists()) {
            skipped("every program of both versions, which an upgrade needs");
            return None;
        }
        self.halt(StopMode::Fast).await;
        let before = self.copied(new_folder());
        let (data, folder) = (self.lock().data(), new_folder());
        let mut config = ClusterConfig::new(newer.clone(), &folder);
        config.durable = false;
        blocking(move || {
            let made = Cluster::start(config).unwrap_or_else(|fault| panic!("{to} does not start: {fault:?}"));
            made.stop(StopMode::Fast);
            let (uid, gid) = before.owner;
            let as_owner = |program: &str| {
                let mut command = Command::new(newer.program(program));
                command.uid(uid).gid(gid);
                command
            };
            // The older one has none, and both have to be alike.
            let mut checksums = as_owner("pg_checksums");
            checksums.arg("--disable").arg("-D").arg(folder.join("data"));
            checksums.output().unwrap_or_else(|error| panic!("pg_checksums cannot be run: {error}"));
            let work = before.folder.clone();
            chown(&work, Some(uid), Some(gid)).unwrap_or_else(|error| panic!("the folder cannot be given: {error}"));
            let mut upgrade = as_owner("pg_upgrade");
            upgrade.args(["-U", "postgres", "-b"]).arg(old.parent().unwrap_or(&old));
            upgrade.arg("-B").arg(newer.bin_dir()).arg("-d").arg(data).arg("-D").arg(folder.join("data"));
            run(upgrade, &work);
            fs::remove_dir_all(&work).unwrap_or_else(|error| panic!("the folder cannot be removed: {error}"));
            Backup { version: to, installation: newer, folder, owner: (uid, gid) }
        })
        .await
        .start(settings)
        .await
        .into()
    }
}
