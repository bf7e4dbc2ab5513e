//! The real binary on a real Postgres, every link between clients, server and databases through a proxy of its own, and
//! the databases on small disks where this machine lets us mount them.
//!
//! Apart, the log has a server of its own, the spool a small disk, and beside the notes of people there are many that
//! nobody reads, so that a copy takes a while, and a ledger of commits.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use antiphon_testkit::{Pg, PgVersion, Process, Proxy, SmallDisk, TestDb, get};
use serde_json::Value;
use tokio::{process::Command, time::Instant};
use tokio_postgres::{Client, NoTls};

use crate::{device::Owner, ledger};

const TABLE: &str = "create table notes (id text primary key, organization_id text not null, title text, body text,
                     votes int4 not null default 0)";
/// Postgres gives a reader that it does not hear up after this, so that what is stranded comes free within a test.
pub const SETTINGS: &[(&str, &str)] = &[("wal_sender_timeout", "4s"), ("max_connections", "300")];
/// Room for a database and what a test writes, and little more.
const DISK_BYTES: u64 = 96 << 20;
/// Room for a large transaction, and little more.
const SPOOL_BYTES: u64 = 64 << 20;
/// Starting, recovering from a crash and catching up must each be done within this time.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// Who writes, and where.
const DEVICES: &[(&str, &str, &str)] = &[
    ("alice-1", "alice", "acme"),
    ("alice-2", "alice", "acme"),
    ("bob-1", "bob", "acme"),
    ("carol-1", "carol", "globex"),
];

/// The links; each can be broken by itself.
pub struct Links {
    /// From the clients to the server.
    pub clients: Proxy,
    /// From the server to the database that it captures.
    pub source: Proxy,
    /// From the server to our own database.
    pub log: Proxy,
}

/// What a scene has of its own where it is set apart.
pub struct Apart {
    /// Our own database, on its own server.
    pub log: TestDb,
    /// The spool's disk; none where it cannot be mounted.
    pub spool: Option<SmallDisk>,
    /// Who reads the ledger.
    pub reader: Owner,
}

/// Everything that a test breaks.
pub struct Scene {
    /// The server of the source; another one after a promotion or a restore.
    pub pg: Pg,
    pub db: TestDb,
    pub apart: Option<Apart>,
    pub links: Links,
    /// The disks of the source and of the log; none where they cannot be mounted.
    pub disks: Option<[SmallDisk; 2]>,
    pub owners: Vec<Owner>,
    config: PathBuf,
    folder: tempfile::TempDir,
    server: Process,
    past: Vec<String>,
    port: u16,
    /// Where the source is, for whoever writes by SQL.
    url: Arc<Mutex<String>>,
}

impl Scene {
    /// Prepares databases, configuration, people and links, and starts the server.
    pub async fn open(version: PgVersion, seed: u64) -> Option<Scene> {
        let pg = Pg::private(version, SETTINGS).await?;
        let db = pg.database("chaos").await;
        let disks = small_disks(&pg, &db).await;
        db.connect().await.batch_execute(TABLE).await.expect("the table is made");
        Some(Scene::serve((pg, db, disks), None, seed).await)
    }

    /// As `open`, with the log, the spool and a ledger apart.
    pub async fn open_apart(version: PgVersion, seed: u64) -> Option<Scene> {
        let pg = Pg::private(version, SETTINGS).await?;
        let log = Pg::private(version, SETTINGS).await?.database("chaoslog").await;
        let db = pg.database("chaos").await;
        let client = db.connect().await;
        client.batch_execute(TABLE).await.expect("the table is made");
        client.batch_execute(ledger::TABLES).await.expect("the ledger is made");
        Some(Scene::serve((pg, db, None), Some(log), seed).await)
    }

    async fn serve((pg, db, disks): (Pg, TestDb, Option<[SmallDisk; 2]>), log: Option<TestDb>, seed: u64) -> Scene {
        let port = free_port();
        let log_address = log.as_ref().map_or(pg.address(), |log| log.pg().address());
        let links = Links {
            clients: Proxy::with_seed(([127, 0, 0, 1], port).into(), seed).await.expect("a proxy"),
            source: Proxy::with_seed(pg.address(), seed ^ 1 << 40).await.expect("a proxy"),
            log: Proxy::with_seed(log_address, seed ^ 1 << 41).await.expect("a proxy"),
        };
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("antiphon.toml");
        // The server is of our own user, whoever the databases are of.
        let owner = std::fs::metadata(folder.path()).expect("our folder").uid();
        let spool = log.as_ref().and_then(|_| SmallDisk::mount(SPOOL_BYTES, owner));
        let spool_dir = spool.as_ref().map_or(folder.path().to_owned(), SmallDisk::path).join("spool");
        let text = configuration(&db, log.as_ref(), &links, (port, &spool_dir));
        std::fs::write(&config, text).expect("the configuration is written");
        done(command(&config, &["migrate"])).await;
        for entity in if log.is_some() { &["note", "entry"][..] } else { &["note"] } {
            done(command(&config, &["entities", "add", entity, "--yes"])).await;
        }
        for org in ["acme", "globex", ledger::ORG] {
            done(command(&config, &["orgs", "create", org])).await;
        }
        let base = format!("http://{}", links.clients.address());
        let owners = people(&config, DEVICES, &base, seed).await;
        let apart = match log {
            Some(log) => {
                let reader = people(&config, &[("dave-1", "dave", ledger::ORG)], &base, seed).await.remove(0);
                Some(Apart { log, spool, reader })
            }
            None => None,
        };
        let server = Process::start(command(&config, &["serve"])).expect("the server starts");
        let url = Arc::new(Mutex::new(db.url()));
        let past = Vec::new();
        let mut scene = Scene { pg, db, apart, links, disks, owners, config, folder, server, past, port, url };
        let line = scene.server.wait_for_line(|line| line.contains("http://"), DEADLINE).await;
        line.expect("the server says its address");
        scene
    }

    /// Puts another server in the place of the source's: promoted, or restored.
    pub fn replace_source(&mut self, pg: Pg) {
        *self.url.lock().unwrap_or_else(PoisonError::into_inner) = pg.url(self.db.name());
        self.links.source.lead_to(pg.address());
        self.pg = pg;
    }

    /// Returns where the source is, now and later.
    pub fn url(&self) -> Arc<Mutex<String>> {
        Arc::clone(&self.url)
    }

    /// Returns the folder of this scene's files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until the table is copied; an empty one at first, so that rows come by stream alone.
    pub async fn copied(&self) {
        let sql = "select exists (select from log.snapshots where type = 'note' and complete and $1 <> '')";
        self.until_log(sql, "the copy").await;
    }

    /// Waits until the last row of every organisation is in the log.
    pub async fn logged(&self, sentinel: &str) {
        let sql = "select count(distinct org) = 2 from log.activities where entity in ($1 || '-acme', $1 || '-globex')";
        self.until_log(sql, sentinel).await;
    }

    async fn until_log(&self, sql: &str, what: &str) {
        let (client, deadline) = (self.log_client().await, Instant::now() + DEADLINE);
        while !client.query_one(sql, &[&what]).await.expect("the log can be read").get::<_, bool>(0) {
            assert!(Instant::now() < deadline, "{what} is not in the log in time:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kills the server without a word.
    pub async fn kill_server(&mut self) {
        self.server.kill9().await.expect("the server was running");
    }

    /// Starts the server.
    pub fn start_server(&mut self) {
        self.past.extend(self.server.lines());
        self.server = Process::start(command(&self.config, &["serve"])).expect("the server starts");
    }

    /// Starts the server again where it has ended by itself: one that starts while Postgres is down says so and ends.
    pub async fn supervise(&mut self) {
        if self.server.wait(Duration::from_millis(1)).await.is_ok() {
            self.start_server();
        }
    }

    /// Returns the server's process number while it runs.
    pub fn server_pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Runs a command of an operator.
    pub async fn operate(&self, arguments: &[&str]) {
        done(command(&self.config, arguments)).await;
    }

    /// Runs a command and returns all that it says, whether or not it succeeds.
    pub async fn ask(&self, arguments: &[&str]) -> String {
        let output = command(&self.config, arguments).output().await.expect("the program runs");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Returns the last activity in the log.
    pub async fn last_activity(&self) -> i64 {
        let client = self.log_client().await;
        client.query_one("select last from log.head", &[]).await.expect("the log can be read").get(0)
    }

    /// Returns what `/readyz` says, asked without a proxy in between; null while nobody answers.
    pub async fn readiness(&self) -> Value {
        let url = format!("http://127.0.0.1:{}/readyz", self.port);
        let asked = get(&url, None, &[]);
        let answer = tokio::time::timeout(Duration::from_secs(2), asked).await;
        answer.ok().and_then(Result::ok).and_then(|answer| answer.json().ok()).unwrap_or_default()
    }

    /// Waits until `/readyz` says what is wanted; fails with what it said last.
    pub async fn until_ready(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.supervise().await;
            let said = self.readiness().await;
            if fits(&said) {
                return said;
            }
            assert!(Instant::now() < deadline, "{what}: it never came, but {said}\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the last that the server wrote.
    pub fn said(&self) -> String {
        let lines: Vec<String> = self.past.iter().cloned().chain(self.server.lines()).collect();
        lines[lines.len().saturating_sub(80)..].join("\n")
    }

    /// Returns what the databases are busy with, for a message about what never came.
    pub async fn sessions(&self) -> String {
        let sql = "select format('%s %s %s: %s %s, since %s, behind %s: %s', pid, datname, application_name, state,
                   wait_event, now() - xact_start, pg_blocking_pids(pid), left(query, 100))
                   from pg_stat_activity where state <> 'idle' and pid <> pg_backend_pid()";
        let rows = self.client().await.query(sql, &[]).await.expect("the sessions can be read");
        rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n")
    }

    /// Connects to the source, without a proxy in between.
    pub async fn client(&self) -> Client {
        self.pg.connect(self.db.name()).await
    }

    /// Connects to our own database, without a proxy in between.
    pub async fn log_client(&self) -> Client {
        self.apart.as_ref().map_or(&self.db, |apart| &apart.log).connect_log().await
    }
}

fn configuration(db: &TestDb, log: Option<&TestDb>, links: &Links, (port, spool): (u16, &Path)) -> String {
    let url = db.url_through(links.source.address());
    let log_url = log.unwrap_or(db).log_url_through(links.log.address());
    let (slot, publication) = (db.slot(), db.publication());
    let entry = if log.is_some() { ledger::ENTITY } else { "" };
    format!(
        "[database]\nurl = \"{url}\"\nlog_url = \"{log_url}\"\nslot = \"{slot}\"\npublication = \"{publication}\"\n\
         spool_dir = \"{}\"\n\n[server]\nlisten = \"127.0.0.1:{port}\"\n\n[limits]\nmutations_per_second = 0\n\n\
         [[entities]]\ntype = \"note\"\ntable = \"public.notes\"\norg = \"organization_id\"\n\
         [entities.fields]\ntitle = {{ merge = \"manual\" }}\nvotes = {{ merge = \"counter\" }}\n{entry}",
        spool.display()
    )
}

/// Makes people with a token each, and returns the devices of theirs.
async fn people(config: &Path, devices: &[(&str, &'static str, &'static str)], base: &str, seed: u64) -> Vec<Owner> {
    let mut owners: Vec<Owner> = Vec::new();
    for (number, (name, user, org)) in devices.iter().enumerate() {
        if !owners.iter().any(|owner| owner.user == *user) {
            done(command(config, &["users", "create", user])).await;
            done(command(config, &["users", "join", user, "--org", org])).await;
        }
        let token = done(command(config, &["tokens", "create", user, "--json"])).await;
        let token: Value = serde_json::from_str(&token).expect("the token is JSON");
        owners.push(Owner {
            name: (*name).to_owned(),
            user,
            org,
            token: token["token"].as_str().expect("a token").to_owned(),
            base: base.to_owned(),
            seed: seed.wrapping_mul(31).wrapping_add(number as u64),
        });
    }
    owners
}

/// Puts both databases on disks of their own.
async fn small_disks(pg: &Pg, db: &TestDb) -> Option<[SmallDisk; 2]> {
    let pid = pg.pid().expect("it runs");
    let owner = std::fs::metadata(format!("/proc/{pid}")).ok()?.uid();
    let disks = [SmallDisk::mount(DISK_BYTES, owner)?, SmallDisk::mount(DISK_BYTES, owner)?];
    let admin = pg.admin().await;
    let log = format!("{}_log", db.name());
    for ((database, space), disk) in [(db.name(), "small_source"), (&log, "small_log")].into_iter().zip(&disks) {
        let make = format!("create tablespace {space} location '{}'", disk.path().display());
        admin.batch_execute(&make).await.expect("the tablespace is made");
        let moving = format!("alter database \"{database}\" set tablespace {space}");
        admin.batch_execute(&moving).await.expect("the database moves");
    }
    Some(disks)
}

/// Connects to a database by its URL.
pub async fn connect(url: &str) -> Option<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.ok()?;
    drop(antiphon_testkit::spawn("connection", connection));
    Some(client)
}

fn command(config: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
    command.arg("--config").arg(config).args(arguments);
    command
}

async fn done(mut command: Command) -> String {
    let output = command.output().await.expect("the program runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{text}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
