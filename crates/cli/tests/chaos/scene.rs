//! The real binary on a real Postgres, every link between clients, server and databases through a proxy of its own, and
//! the databases on small disks where this machine lets us mount them.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use antiphon_testkit::{Pg, PgVersion, Process, Proxy, SmallDisk, TestDb, get};
use serde_json::Value;
use tokio::{process::Command, time::Instant};
use tokio_postgres::{Client, NoTls};

use crate::device::Owner;

const TABLE: &str = "create table notes (id text primary key, organization_id text not null, title text, body text,
                     votes int4 not null default 0)";
/// Postgres gives a reader that it does not hear up after this, so that what is stranded comes free within a test.
const SETTINGS: &[(&str, &str)] = &[("wal_sender_timeout", "4s"), ("max_connections", "300")];
/// Room for a database and what a test writes, and little more.
const DISK_BYTES: u64 = 96 << 20;
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

/// Everything that a test breaks.
pub struct Scene {
    pub pg: Pg,
    pub db: TestDb,
    pub links: Links,
    /// The disks of the source and of the log; none where they cannot be mounted.
    pub disks: Option<[SmallDisk; 2]>,
    pub owners: Vec<Owner>,
    config: PathBuf,
    folder: tempfile::TempDir,
    server: Process,
    past: Vec<String>,
    port: u16,
}

impl Scene {
    /// Prepares databases, configuration, people and links, and starts the server.
    pub async fn open(version: PgVersion, seed: u64) -> Option<Scene> {
        let pg = Pg::private(version, SETTINGS).await?;
        let db = pg.database("chaos").await;
        let disks = small_disks(&pg, &db).await;
        db.connect().await.batch_execute(TABLE).await.expect("the table is made");
        let port = free_port();
        let links = Links {
            clients: Proxy::with_seed(([127, 0, 0, 1], port).into(), seed).await.expect("a proxy"),
            source: Proxy::with_seed(pg.address(), seed ^ 1 << 40).await.expect("a proxy"),
            log: Proxy::with_seed(pg.address(), seed ^ 1 << 41).await.expect("a proxy"),
        };
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("antiphon.toml");
        std::fs::write(&config, configuration(&db, &links, port, folder.path())).expect("the configuration is written");
        let run = |arguments: &'static [&'static str]| done(command(&config, arguments));
        run(&["migrate"]).await;
        run(&["entities", "add", "note", "--yes"]).await;
        for org in ["acme", "globex"] {
            done(command(&config, &["orgs", "create", org])).await;
        }
        let mut owners = Vec::new();
        for (number, (name, user, org)) in DEVICES.iter().enumerate() {
            if !owners.iter().any(|owner: &Owner| owner.name.starts_with(user)) {
                done(command(&config, &["users", "create", user])).await;
                done(command(&config, &["users", "join", user, "--org", org])).await;
            }
            let token = done(command(&config, &["tokens", "create", user, "--json"])).await;
            let token: Value = serde_json::from_str(&token).expect("the token is JSON");
            owners.push(Owner {
                name: (*name).to_owned(),
                user,
                org,
                token: token["token"].as_str().expect("a token").to_owned(),
                base: format!("http://{}", links.clients.address()),
                seed: seed.wrapping_mul(31).wrapping_add(number as u64),
            });
        }
        let server = Process::start(command(&config, &["serve"])).expect("the server starts");
        let mut scene = Scene { pg, db, links, disks, owners, config, folder, server, past: Vec::new(), port };
        let line = scene.server.wait_for_line(|line| line.contains("http://"), DEADLINE).await;
        line.expect("the server says its address");
        Some(scene)
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
        self.db.connect().await
    }

    /// Connects to our own database, without a proxy in between.
    pub async fn log_client(&self) -> Client {
        self.db.connect_log().await
    }
}

fn configuration(db: &TestDb, links: &Links, port: u16, folder: &Path) -> String {
    let (url, log_url) = (db.url_through(links.source.address()), db.log_url_through(links.log.address()));
    let (slot, publication, spool) = (db.slot(), db.publication(), folder.join("spool"));
    format!(
        "[database]\nurl = \"{url}\"\nlog_url = \"{log_url}\"\nslot = \"{slot}\"\npublication = \"{publication}\"\n\
         spool_dir = \"{}\"\n\n[server]\nlisten = \"127.0.0.1:{port}\"\n\n[limits]\nmutations_per_second = 0\n\n\
         [[entities]]\ntype = \"note\"\ntable = \"public.notes\"\norg = \"organization_id\"\n\
         [entities.fields]\ntitle = {{ merge = \"manual\" }}\nvotes = {{ merge = \"counter\" }}\n",
        spool.display()
    )
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
