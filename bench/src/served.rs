//! The program as users run it: `antiphon serve` with a file of its own, beside a private Postgres.
//!
//! Its disk is real (`fsync` on). Everything is set up by the program's own commands, and one user is a member of every
//! organisation, because an organisation has at most 1,000 streams. It refuses to run without the release build.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use antiphon_testkit::{Pg, PgVersion, Process, Signal};
use anyhow::{Context, Result, ensure};
use tokio::process::Command;
use tokio_postgres::{Client, NoTls};

/// The organisation that readers and writers meet in.
pub(crate) const ORG: &str = "acme";
/// Starting and stopping take no longer than this.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every row says when it was written, by this machine's clock.
const TABLE: &str = "
create table items (
  id int8 not null primary key, organization_id text not null, title text, status text, priority int4, done bool,
  at_us int8 not null, body text);
alter table items set (autovacuum_enabled = off);";

/// Postgres, and a server in front of it.
pub(crate) struct Served {
    /// The private Postgres.
    pub(crate) pg: Pg,
    /// A session of the application's database.
    pub(crate) client: Client,
    /// The server's version.
    pub(crate) version: String,
    /// A token that is good in every organisation.
    pub(crate) token: String,
    /// Where the server listens.
    pub(crate) address: SocketAddr,
    folder: tempfile::TempDir,
    process: Process,
}

impl Served {
    /// Sets everything up; `orgs` organisations besides the usual one are named `org1` and so on.
    /// Without `held` no connection is held to a byte rate, because then the rate would be what is measured.
    pub(crate) async fn start(postgres: u32, orgs: usize, held: bool) -> Result<Served> {
        let version = if postgres == 18 { PgVersion::V18 } else { PgVersion::V15 };
        let settings = [
            ("fsync", "on"),
            ("full_page_writes", "on"),
            ("shared_buffers", "512MB"),
            ("max_wal_size", "8GB"),
            ("checkpoint_timeout", "30min"),
            // A server that is frozen while the floor has its turn keeps its connection.
            ("wal_sender_timeout", "0"),
        ];
        let pg = Pg::private(version, &settings).await.context("that version of Postgres is not installed")?;
        let admin = pg.admin().await;
        admin.batch_execute("create database bench_app").await?;
        admin.batch_execute("create database bench_log").await?;
        let version: String = admin.query_one("select version()", &[]).await?.get(0);
        let client = session(&pg).await?;
        client.batch_execute(TABLE).await?;
        let folder = tempfile::tempdir()?;
        let file = format!(
            "[database]\nurl = \"{}\"\nlog_url = \"{}\"\nspool_dir = \"{}\"\n[server]\nlisten = \"127.0.0.1:0\"\n",
            pg.url("bench_app"),
            pg.url("bench_log"),
            folder.path().join("spool").display()
        );
        let rate = if held { "" } else { "stream_bytes_per_second = 0\n" };
        let file = format!("{file}[limits]\nmutations_per_second = 0\n{rate}");
        std::fs::write(folder.path().join("antiphon.toml"), file)?;
        let run = |arguments: Vec<String>| run(folder.path().to_owned(), arguments);
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        run(words("migrate")).await?;
        run(words("entities add item --table public.items --org organization_id --yes")).await?;
        run(words("users create alice")).await?;
        for number in 0..=orgs {
            let org = if number == 0 { ORG.to_owned() } else { format!("org{number}") };
            run(words(&format!("orgs create {org}"))).await?;
            run(words(&format!("users join alice --org {org} --role owner"))).await?;
        }
        let token = run(words("tokens create alice")).await?;
        let token = token.split_whitespace().last().context("no token")?.to_owned();
        let (process, address) = serve(folder.path().to_owned()).await?;
        let served = Served { pg, client, version, token, address, folder, process };
        served.copied().await?;
        Ok(served)
    }

    /// Stops the server and starts it anew, so that its memory holds nothing of what was before.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        self.process.signal(Signal::Term)?;
        self.process.wait(PATIENCE).await?;
        let (process, address) = serve(self.folder.path().to_owned()).await?;
        (self.process, self.address) = (process, address);
        self.caught_up().await
    }

    /// Returns the server's process number.
    pub(crate) fn pid(&self) -> Result<String> {
        Ok(self.process.pid().context("the server has ended")?.to_string())
    }

    /// Freezes or thaws the server, which takes no part while the floor has its turn.
    pub(crate) fn freeze(&self, frozen: bool) -> Result<()> {
        self.process.signal(if frozen { Signal::Stop } else { Signal::Cont })
    }

    /// Waits until the server has captured all that was written.
    pub(crate) async fn caught_up(&self) -> Result<()> {
        let end: String = self.client.query_one("select pg_current_wal_flush_lsn()::text", &[]).await?.get(0);
        let sql = "select coalesce(bool_or(confirmed_flush_lsn >= $1::text::pg_lsn), false)
                   from pg_replication_slots where slot_name = 'antiphon'";
        while !self.client.query_one(sql, &[&end]).await?.get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn copied(&self) -> Result<()> {
        let (log, connection) = tokio_postgres::connect(&self.pg.url("bench_log"), NoTls).await?;
        drop(antiphon_testkit::spawn("connection", connection));
        let sql = "select exists (select from log.snapshots where complete)";
        while !log.query_one(sql, &[]).await?.get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.caught_up().await
    }
}

async fn session(pg: &Pg) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(&pg.url("bench_app"), NoTls).await?;
    drop(antiphon_testkit::spawn("connection", connection));
    Ok(client)
}

/// The program lies beside this one: `script/bench` builds both.
fn program(folder: &PathBuf) -> Result<Command> {
    let program = std::env::current_exe()?.with_file_name("antiphon");
    ensure!(program.exists(), "{} is missing: cargo build --release -p antiphon-cli", program.display());
    let mut command = Command::new(program);
    command.current_dir(folder);
    Ok(command)
}

async fn run(folder: PathBuf, arguments: Vec<String>) -> Result<String> {
    let output = program(&folder)?.args(&arguments).output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "antiphon {}: {said}", arguments.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn serve(folder: PathBuf) -> Result<(Process, SocketAddr)> {
    let mut command = program(&folder)?;
    command.arg("serve");
    let mut process = Process::start(command)?;
    let line = process.wait_for_line(|line| line.starts_with("http://"), PATIENCE).await?;
    Ok((process, line.trim_start_matches("http://").parse()?))
}
