//! The real binary on a real Postgres, with everything that the test kills, starts again and reads.

use std::{path::PathBuf, time::Duration};

use antiphon_testkit::{Pg, PgVersion, Process, Signal, SteppedClock, TestDb, get, sse};
use tokio::{process::Command, task::JoinHandle, time::Instant};
use tokio_postgres::{Client, NoTls};

use crate::verify::{self, Seen};

const TABLE: &str = "create table items (id uuid primary key default gen_random_uuid(), organization_id text not null,
                     version int not null default 1, payload text)";
/// Some values long enough to be stored out of line, so that updates leave them unchanged.
const ROWS: &str = "insert into items (organization_id, payload)
                    select case when n % 2 = 0 then 'globex' else 'acme' end,
                      case when n % 50 = 0 then (select string_agg(md5(n::text || m), '') from generate_series(1, 200) m)
                           else 'row ' || n end
                    from generate_series(1, $1) n";
/// A server that is asked to end does so within this time.
const ENDED: Duration = Duration::from_secs(30);
/// Starting, recovering from a crash and catching up must each be done within this time.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// What a table has that is polled: each write moves it.
const CURSOR: &str = "alter table items add updated_at timestamptz not null default clock_timestamp();
    create function moved() returns trigger language plpgsql as
      'begin new.updated_at := clock_timestamp(); return new; end';
    create trigger moved before update on items for each row execute function moved();";

/// How a scene's server captures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// By the log.
    #[default]
    Log,
    /// By triggers that record rows.
    Trigger,
    /// By queries for rows whose cursor was raised.
    Query,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Method::Log => "log",
            Method::Trigger => "trigger",
            Method::Query => "query",
        }
    }
}

/// What servers and databases run under, where it is not this machine as it is, by its log.
#[derive(Debug, Default)]
pub struct Under {
    /// How changes are captured.
    pub method: Method,
    /// A wall clock of their own.
    pub clock: Option<SteppedClock>,
    /// How many descriptors a server is given, and up to how many it may ask for.
    pub descriptors: Option<(u64, u64)>,
}

impl Under {
    /// Starts a Postgres under it.
    async fn postgres(&self, version: PgVersion) -> Option<Pg> {
        match &self.clock {
            Some(clock) => clock.postgres(version, &[]).await,
            None => Pg::private(version, &[]).await,
        }
    }

    /// Makes the command that starts a server under it.
    fn serve(&self, config: &std::path::Path, more: &[&str]) -> Command {
        let mut command = match self.descriptors {
            Some((soft, hard)) => {
                let mut shell = Command::new("/bin/sh");
                let limits = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" \"$@\"");
                shell.arg("-c").arg(limits).arg(env!("CARGO_BIN_EXE_antiphon"));
                shell
            }
            None => Command::new(env!("CARGO_BIN_EXE_antiphon")),
        };
        command.arg("--config").arg(config).arg("serve").args(more);
        command.envs(self.clock.iter().flat_map(SteppedClock::variables));
        command
    }
}

/// A server under test with its database and its one address.
pub struct Scene {
    pub pg: Pg,
    under: Under,
    db: TestDb,
    config: PathBuf,
    _folder: tempfile::TempDir,
    port: u16,
    token: String,
    server: Process,
}

/// A reader that goes on after every cut, and what it was shown.
pub struct Reader {
    task: JoinHandle<Vec<Seen>>,
}

impl Scene {
    /// Prepares database, table with `rows` rows, configuration, organisations and token, and starts the server.
    pub async fn open(version: PgVersion, rows: i32) -> Option<Scene> {
        Scene::open_under(version, rows, Under::default()).await
    }

    /// As `open`, under something else than this machine as it is.
    pub async fn open_under(version: PgVersion, rows: i32, under: Under) -> Option<Scene> {
        let pg = under.postgres(version).await?;
        let db = pg.database("exactlyonce").await;
        let client = db.connect().await;
        client.batch_execute(TABLE).await.expect("the table is made");
        let polled = under.method == Method::Query;
        if polled {
            client.batch_execute(CURSOR).await.expect("the table has a cursor");
        }
        client.execute(ROWS, &[&rows]).await.expect("the rows are made");
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("antiphon.toml");
        let port = free_port();
        let text = format!(
            "[database]\nurl = \"{}\"\nlog_url = \"{}\"\nslot = \"{}\"\npublication = \"{}\"\n\n[server]\nlisten = \"127.0.0.1:{port}\"\n\n[capture]\nmethod = \"{}\"\n",
            db.url(),
            db.log_url(),
            db.slot(),
            db.publication(),
            under.method.name(),
        );
        std::fs::write(&config, text).expect("the configuration is written");
        let run = |arguments: &[&str]| command(&config, arguments);
        done(run(&["migrate"])).await;
        let mut add = vec!["entities", "add", "item", "--table", "public.items", "--org", "organization_id", "--yes"];
        add.extend(["--cursor", "updated_at"].iter().filter(|_| polled));
        done(run(&add)).await;
        for org in ["acme", "globex"] {
            done(run(&["orgs", "create", org])).await;
        }
        done(run(&["users", "create", "alice"])).await;
        done(run(&["users", "join", "alice", "--org", "acme"])).await;
        let token = done(run(&["tokens", "create", "alice", "--json"])).await;
        let token: serde_json::Value = serde_json::from_str(&token).expect("the token is JSON");
        let token = token["token"].as_str().expect("a token").to_owned();
        let server = Process::start(under.serve(&config, &[])).expect("the server starts");
        let mut scene = Scene { pg, under, db, config, _folder: folder, port, token, server };
        let line = scene.server.wait_for_line(|line| line.contains("http://"), DEADLINE).await;
        line.expect("the server says its address");
        Some(scene)
    }

    /// Returns the source's name.
    pub fn database(&self) -> &str {
        self.db.name()
    }

    /// Returns the address of our own database.
    pub fn log_url(&self) -> String {
        self.db.log_url()
    }

    /// Kills the server and starts it again.
    pub async fn kill_server(&mut self) {
        self.supervise().await;
        self.server.kill9().await.expect("the server was running");
        self.start_server();
    }

    /// Kills the server, and once more while it recovers.
    pub async fn kill_server_twice(&mut self, after: Duration) {
        self.kill_server().await;
        tokio::time::sleep(after).await;
        self.kill_server().await;
    }

    /// Ends the server in good order under load, and starts it again; whoever loses patience asks twice.
    pub async fn end_server(&mut self, twice: bool) {
        self.supervise().await;
        for _ in 0..=u8::from(twice) {
            // It may have ended between the two.
            self.server.signal(Signal::Term).ok();
        }
        self.server.wait(ENDED).await.expect("the server ends when it is asked to");
        self.start_server();
    }

    /// Kills Postgres and starts it again; the server has to cope.
    pub async fn kill_postgres(&mut self) {
        self.supervise().await;
        self.pg.kill9().await;
        self.pg.restart().await;
    }

    /// Kills both at once.
    pub async fn kill_postgres_and_server(&mut self) {
        self.supervise().await;
        self.pg.kill9().await;
        self.server.kill9().await.expect("the server was running");
        self.pg.restart().await;
        self.start_server();
    }

    /// Starts the server again where it has ended by itself: one that starts while Postgres is down says so and ends.
    pub async fn supervise(&mut self) {
        if self.server.wait(Duration::from_millis(1)).await.is_ok() {
            self.start_server();
        }
    }

    fn start_server(&mut self) {
        self.server = Process::start(self.under.serve(&self.config, &[])).expect("the server starts");
    }

    /// Returns the first server.
    pub fn server(&mut self) -> &mut Process {
        &mut self.server
    }

    /// Waits until a statement on our own database answers true.
    pub async fn until_log(&self, what: &str, condition: &str) {
        let (client, deadline) = (self.log_client().await, Instant::now() + DEADLINE);
        while !client.query_one(condition, &[]).await.expect("the log can be read").get::<_, bool>(0) {
            assert!(Instant::now() < deadline, "{what}: never came\n{}", self.server.lines().join("\n"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until one of these servers captures, and returns which.
    pub async fn capturing(&self, bases: &[String]) -> usize {
        let deadline = Instant::now() + DEADLINE;
        loop {
            for (index, base) in bases.iter().enumerate() {
                let Ok(ready) = get(&format!("{base}/readyz"), None, &[]).await else { continue };
                let source = ready.json().map(|ready| ready["source"].clone()).unwrap_or_default();
                if source["reason"].is_null() && source["state"] != "initialising" && source["ready"] == true {
                    return index;
                }
            }
            assert!(Instant::now() < deadline, "nobody captures:\n{}", self.server.lines().join("\n"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Has what was told compared with the table, and waits until that is done: nothing else finds deletes by plain SQL
    /// where tables are polled.
    pub async fn reconcile(&mut self) {
        done(command(&self.config, &["capture", "reconcile"])).await;
        let (client, deadline) = (self.client().await, Instant::now() + DEADLINE);
        let asked = "select bool_or(asked is not null) from antiphon.poll_tables";
        while client.query_one(asked, &[]).await.expect("it is known").get::<_, bool>(0) {
            self.supervise().await;
            assert!(Instant::now() < deadline, "never reconciled:\n{}", self.server.lines().join("\n"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the initial copy of the table is in the log, also with a server that found no database at its start.
    pub async fn copied(&mut self) {
        let (client, deadline) = (self.log_client().await, Instant::now() + DEADLINE);
        let sql = "select exists (select from log.snapshots where type = 'item' and complete)";
        while !client.query_one(sql, &[]).await.expect("the log can be read").get::<_, bool>(0) {
            self.supervise().await;
            assert!(Instant::now() < deadline, "the copy never ends:\n{}", self.server.lines().join("\n"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the ids of the rows there are.
    pub async fn ids(&self) -> Vec<String> {
        let rows = self.client().await.query("select id::text from items", &[]).await.expect("the rows are read");
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Connects to the source.
    pub async fn client(&self) -> Client {
        connect(&self.db.url()).await
    }

    /// Connects to our own database.
    pub async fn log_client(&self) -> Client {
        connect(&self.db.log_url()).await
    }

    /// Commits the last row of all and returns its id.
    pub async fn sentinel(&self) -> String {
        let sql = "insert into items (organization_id, payload) values ('acme', 'sentinel') returning id::text";
        self.client().await.query_one(sql, &[]).await.expect("the sentinel is written").get(0)
    }

    /// Commits a row of another organisation, and returns its id.
    pub async fn marked(&self, what: &str) -> String {
        let sql = "insert into items (organization_id, payload) values ('globex', $1) returning id::text";
        self.client().await.query_one(sql, &[&what]).await.expect("the row is written").get(0)
    }

    /// Steps the clock that the scene runs under.
    pub fn step_clock(&self, ahead_seconds: i64) {
        self.under.clock.as_ref().expect("a clock of its own").step(ahead_seconds);
    }

    /// Starts a reader of an organisation that begins with the log's first activity.
    pub fn follow(&self, org: &'static str) -> Reader {
        self.follow_at(vec![self.base()], org)
    }

    /// As `follow`, at several servers: after each cut at the next one.
    pub fn follow_at(&self, bases: Vec<String>, org: &'static str) -> Reader {
        let urls = bases.iter().map(|base| format!("{base}/v1/orgs/{org}/live?live=sse&offset=-1")).collect();
        let task = antiphon_testkit::spawn("reader", follow(urls, self.token.clone(), org));
        Reader { task }
    }

    /// The address of the first server.
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The token of a member of `acme`.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Starts another server on the same databases.
    pub fn another(&self) -> Another {
        let listen = format!("127.0.0.1:{}", free_port());
        let server = self.start_at(&listen);
        Another { listen, server }
    }

    /// Kills another server, and starts it again at once.
    pub async fn kill_another(&self, other: &mut Another) {
        other.server.kill9().await.expect("the other server was running");
        other.server = self.start_at(&other.listen);
    }

    fn start_at(&self, listen: &str) -> Process {
        Process::start(self.under.serve(&self.config, &["--listen", listen])).expect("the other server starts")
    }

    /// Waits until the reader was shown the sentinel, and returns all that it was shown.
    pub async fn collect(&mut self, reader: Reader, sentinel: &str) -> Vec<Seen> {
        let sentinel = sentinel.to_owned();
        let (deadline, mut task) = (Instant::now() + DEADLINE, reader.task);
        let shown = loop {
            match tokio::time::timeout(Duration::from_millis(200), &mut task).await {
                Ok(shown) => break shown.expect("the reader does not panic"),
                Err(_) => self.supervise().await,
            }
            assert!(
                Instant::now() < deadline,
                "the end was never shown; the server says:\n{}",
                self.server.lines().join("\n")
            );
        };
        assert!(shown.iter().any(|seen| seen.entity == sentinel), "the reader ended before the sentinel");
        shown
    }
}

/// Another server of a scene, at an address of its own.
pub struct Another {
    listen: String,
    server: Process,
}

impl Another {
    /// Its address.
    pub fn base(&self) -> String {
        format!("http://{}", self.listen)
    }
}

/// Reads until the sentinel, connecting anew with the last id after each cut.
async fn follow(urls: Vec<String>, token: String, org: &'static str) -> Vec<Seen> {
    let (mut shown, mut last): (Vec<Seen>, Option<String>) = (Vec::new(), None);
    for url in urls.iter().cycle() {
        let Ok(mut stream) = sse(url, Some(&token), last.as_deref()).await else {
            // The server is being started again; there is no event to wait for.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        while let Ok(Some(event)) = stream.next(Duration::from_secs(30)).await {
            match event.event.as_str() {
                "change" => {
                    let seen = verify::frame(org, &event.data).expect("a change has the shape of the protocol");
                    let end = seen.image.as_ref().is_some_and(|image| image["payload"] == "sentinel");
                    shown.push(seen);
                    if end {
                        return shown;
                    }
                }
                "reset" => panic!("a reader was reset: {}", event.data),
                _ => {}
            }
            last = event.id.or(last);
        }
    }
    shown
}

fn command(config: &std::path::Path, arguments: &[&str]) -> Command {
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

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the database answers");
    drop(antiphon_testkit::spawn("connection", connection));
    client
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
