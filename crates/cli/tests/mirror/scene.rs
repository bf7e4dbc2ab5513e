//! The real binary on a real Postgres: a source, its mirror, its native replica, and what is killed of them.

use std::time::Duration;

use antiphon_testkit::{Pg, PgVersion, Process, Response, Signal, TestDb, get};
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::{pgbench, run, zoo};

/// Starting, recovering and catching up must each be done within this time.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// The mirror's name.
pub const MIRROR: &str = "copy";
const SLOT: &str = "native";

/// A server under test with its databases.
pub struct Scene {
    pub pg: Pg,
    /// The mirror's own, killed apart from the source's.
    target_pg: Pg,
    pub source: TestDb,
    pub target: TestDb,
    pub replica: TestDb,
    folder: tempfile::TempDir,
    port: u16,
    admin: String,
    server: Process,
}

impl Scene {
    /// Prepares the databases with their tables and first rows, and starts the server and the native replication.
    pub async fn open(version: PgVersion, accounts: u64) -> Option<Scene> {
        // Little memory for decoding, so that large transactions are streamed before they end.
        let settings = [("logical_decoding_work_mem", "256kB"), ("max_replication_slots", "20")];
        let mut scene = Scene::prepare(version, &settings).await?;
        pgbench::fill(&scene, accounts).await;
        scene.refuses_what_has_no_key().await;
        pgbench::give_key(&scene.source.connect().await).await;
        pgbench::prepare_replica(&scene).await;
        for db in [&scene.source, &scene.replica] {
            db.connect().await.batch_execute(zoo::TABLES).await.expect("the zoo is made");
        }
        scene.source.connect().await.batch_execute(zoo::FIRST_ROWS).await.expect("the first animals come");
        // One type is known to the mirror, the other is not.
        let enumerated = "create type mood as enum ('sad', 'ok', 'happy')";
        scene.target.connect().await.batch_execute(enumerated).await.expect("the type is made");
        for (entity_type, table, org) in pgbench::ENTITIES.iter().chain(zoo::ENTITIES) {
            scene.done(&["entities", "add", entity_type, "--table", table, "--org", org, "--yes"]);
            // Ours, and part of what the source's publication carries.
            let metadata = format!("alter table {table} add column tx jsonb");
            scene.replica.connect().await.batch_execute(&metadata).await.expect("the column is made");
        }
        scene.replicate().await;
        scene.serve().await;
        Some(scene)
    }

    /// Prepares databases and configuration without any table.
    pub async fn prepare(version: PgVersion, settings: &[(&str, &str)]) -> Option<Scene> {
        Scene::prepare_with(version, settings, |source, _| source.log_url()).await
    }

    /// As `prepare`, with the log elsewhere: beside the source or beside the mirror, as the address that is returned says.
    pub async fn prepare_with(
        version: PgVersion,
        settings: &[(&str, &str)],
        log: impl FnOnce(&TestDb, &TestDb) -> String,
    ) -> Option<Scene> {
        let (pg, target_pg) = (Pg::private(version, settings).await?, Pg::private(version, &[]).await?);
        let (source, target) = (pg.database("source").await, target_pg.database("target").await);
        let replica = pg.database("replica").await;
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let method = std::env::var("ANTIPHON_CAPTURE_METHOD").unwrap_or_else(|_| "log".to_owned());
        let text = format!(
            "[capture]\nmethod = \"{method}\"\n\n[database]\nurl = \"{}\"\nlog_url = \"{}\"\nslot = \"{}\"\npublication = \"{}\"\n\n\
             [server]\nlisten = \"127.0.0.1:{port}\"\n\n[[mirrors]]\nname = \"{MIRROR}\"\nurl_env = \"MIRROR_URL\"\n",
            source.url(),
            log(&source, &target),
            source.slot(),
            source.publication(),
        );
        std::fs::write(folder.path().join("antiphon.toml"), text).expect("the configuration is written");
        let migrated = run::run_in(folder.path(), &["migrate"], &[]);
        assert_eq!(migrated.code, 0, "{}", migrated.stderr);
        // Anything that ends by itself, until the server is started.
        let server = Process::start(tokio::process::Command::new("/bin/true")).expect("a process");
        Some(Scene { pg, target_pg, source, target, replica, folder, port, admin: String::new(), server })
    }

    /// Runs a command to its end, whatever that is, and returns what it printed.
    pub fn ran(&self, arguments: &[&str]) -> String {
        run::run_in(self.folder.path(), arguments, &[("MIRROR_URL", &self.target.url())]).stdout
    }

    /// Runs a command to its good end.
    pub fn done(&self, arguments: &[&str]) -> String {
        let ran = run::run_in(self.folder.path(), arguments, &[]);
        assert_eq!(ran.code, 0, "{arguments:?}:\n{}{}", ran.stdout, ran.stderr);
        ran.stdout
    }

    /// Starts the server, and waits until it answers.
    pub async fn serve(&mut self) {
        if self.admin.is_empty() {
            self.admin = self.administrator();
        }
        self.start_server();
        let line = self.server.wait_for_line(|line| line.contains("http://"), DEADLINE).await;
        line.expect("the server says its address");
    }

    /// Ends the server in good order.
    pub async fn end_server(&mut self) {
        self.server.signal(Signal::Term).expect("the server was running");
        self.server.wait(DEADLINE).await.expect("the server ends when it is asked to");
    }

    /// Starts another server on the same databases.
    pub fn another(&self) -> Process {
        let mut command = self.serving();
        command.args(["--listen", "127.0.0.1:0"]);
        Process::start(command.into()).expect("the other server starts")
    }

    fn serving(&self) -> std::process::Command {
        let mut command = run::command(self.folder.path());
        command.arg("serve").env("MIRROR_URL", self.target.url()).env("ANTIPHON_LOG", "info");
        command
    }

    fn start_server(&mut self) {
        self.server = Process::start(self.serving().into()).expect("the server starts");
    }

    /// Makes a system administrator, and returns the token.
    fn administrator(&self) -> String {
        self.done(&["users", "create", "root", "--system-admin"]);
        let token: serde_json::Value =
            serde_json::from_str(&self.done(&["tokens", "create", "root", "--json"])).expect("the token is JSON");
        token["token"].as_str().expect("a token").to_owned()
    }

    /// A table without a key is told, not mirrored in part.
    async fn refuses_what_has_no_key(&self) {
        let arguments =
            ["entities", "add", "history", "--table", "public.pgbench_history", "--org", "*", "--yes", "--json"];
        let ran = run::run_in(self.folder.path(), &arguments, &[]);
        assert_eq!(ran.code, 3, "{}{}", ran.stdout, ran.stderr);
        let told = |code: &str| ran.stderr.contains(code);
        assert!(told("TABLE_WITHOUT_IDENTITY") || told("TABLE_UNFIT"), "{}", ran.stderr);
    }

    async fn replicate(&self) {
        let source = self.source.connect().await;
        let tables: Vec<&str> = pgbench::ENTITIES.iter().chain(zoo::ENTITIES).map(|(_, table, _)| *table).collect();
        let publication = format!("create publication {SLOT} for table {}", tables.join(", "));
        source.batch_execute(&publication).await.expect("the publication is made");
        let slot = format!("select pg_create_logical_replication_slot('{SLOT}', 'pgoutput')");
        source.batch_execute(&slot).await.expect("the slot is made");
        // Source and replica share a cluster: the slot is made apart, or both would wait for each other.
        let subscription = format!(
            "create subscription {SLOT} connection '{}' publication {SLOT}
             with (create_slot = false, slot_name = {SLOT}, streaming = off)",
            self.source.url(),
        );
        self.replica.connect().await.batch_execute(&subscription).await.expect("the subscription is made");
    }

    /// Kills the server and starts it again.
    pub async fn kill_server(&mut self) {
        self.supervise().await;
        self.server.kill9().await.expect("the server was running");
        self.start_server();
    }

    /// Starts the server again where it has ended by itself.
    pub async fn supervise(&mut self) {
        if self.server.wait(Duration::from_millis(1)).await.is_ok() {
            self.start_server();
        }
    }

    /// Kills the mirror's connections to its database.
    pub async fn kill_target_connections(&self) {
        let sql =
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'antiphon mirror ' || $1";
        self.target_pg.admin().await.query(sql, &[&MIRROR]).await.expect("the connections are ended");
    }

    /// Kills the Postgres of the mirror and starts it again.
    pub async fn kill_target(&self) {
        self.target_pg.kill9().await;
        self.target_pg.restart().await;
    }

    /// Kills the process that sends the source's log.
    pub async fn kill_walsender(&self) {
        let sql = "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1 and active";
        self.pg.admin().await.query(sql, &[&self.source.slot()]).await.expect("the sender is ended");
    }

    /// Tells whether the first rows of every table are in the mirror.
    pub async fn listed(&self) -> bool {
        let client = self.target.connect().await;
        let sql = "select pg_catalog.to_regclass('antiphon_mirror.tables') is not null";
        if !client.query_one(sql, &[]).await.expect("the target answers").get::<_, bool>(0) {
            return false;
        }
        let sql = "select count(*) > 0 and bool_and(state = 'ready') from antiphon_mirror.tables";
        client.query_one(sql, &[]).await.expect("the state is read").get::<_, Option<bool>>(0) == Some(true)
    }

    /// Commits the last change of all, and waits until mirror and replica have it.
    pub async fn sentinel(&mut self) {
        let source = self.source.connect().await;
        let row = "insert into small (id, note) values (-1, 'sentinel')";
        source.execute(row, &[]).await.expect("the sentinel is written");
        self.both_have("sentinel").await;
        // It may have come with first rows, while changes of before were still on their way: from here on, by change alone.
        let replica = connect(&self.replica.url()).await;
        let copying = "select exists (select from pg_subscription_rel where srsubstate <> 'r')";
        let deadline = Instant::now() + DEADLINE;
        while replica.query_one(copying, &[]).await.expect("the state is read").get::<_, bool>(0) {
            assert!(Instant::now() < deadline, "the replica never has its first rows:\n{}", self.pg.log_tail());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let row = "update small set note = 'end' where id = -1";
        source.execute(row, &[]).await.expect("the sentinel is changed");
        self.both_have("end").await;
    }

    async fn both_have(&mut self, note: &str) {
        let deadline = Instant::now() + 4 * DEADLINE;
        for url in [self.target.url(), self.replica.url()] {
            let client = connect(&url).await;
            let sql = "select exists (select from small where id = -1 and note = $1)";
            while !client.query_one(sql, &[&note]).await.expect("the table is there").get::<_, bool>(0) {
                let postgres = || self.pg.log_tail();
                assert!(Instant::now() < deadline, "the end never came:\n{}\n{}", self.said(), postgres());
                self.supervise().await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Asks the server as its administrator; `None` while it does not answer.
    pub async fn ask(&self, path: &str) -> Option<Response> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        get(&url, Some(&self.admin), &[]).await.ok().filter(|answer| answer.status == 200)
    }

    /// Waits until the mirror's status fits, and returns it.
    pub async fn until(&mut self, fits: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let answer = self.ask("/v1/admin/mirrors").await.and_then(|answer| answer.json().ok());
            let status = answer.map(|answer| answer["items"][0].clone()).unwrap_or_default();
            if fits(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "it stays {status}:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Returns the end of what the server said.
    pub fn said(&self) -> String {
        let lines = self.server.lines();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

/// Connects to a database.
pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("the database answers");
    drop(antiphon_testkit::spawn("connection", connection));
    client
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
