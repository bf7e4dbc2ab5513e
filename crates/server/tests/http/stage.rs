//! The real service over a real Postgres, with two organisations, their people and three tables.
//!
//! `note` is what most tests write, `task` has a key of two columns, `kind` has a column of every type. The database's
//! own settings for the printing of values are unusual on purpose: what readers see must not depend on them.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use antiphon_model::{EntityType, RelationName, Role, Rule, Sync, Tenancy};
use antiphon_server::Service;
use antiphon_server::admin::{Admin, AdminConfig, AuthConfig, CaptureMethod, Identity, People, ServeOptions, serve};
use antiphon_testkit::{Pg, PgVersion, Response, Sse, TestDb, get, sse};
use serde_json::Value;
use tokio_postgres::Client;

/// Whatever is waited for comes within this time.
pub const SOON: Duration = Duration::from_secs(30);

const TABLE: &str = "
create table notes (id text primary key, org text not null, title text, rank int4, secret text default 'hush', body text,
  doc json, at timestamptz, amount numeric, flag bool, tags text[], span interval, fixed char(5), net inet);
create unique index notes_identity on notes (id, org);
alter table notes replica identity using index notes_identity;
create table tasks (list text, n int4, org text not null, title text, primary key (list, n));
create unique index tasks_identity on tasks (list, n, org);
alter table tasks replica identity using index tasks_identity;
create type mood as enum ('sad', 'ok');
create type pair as (a int4, b text);
create domain positive as numeric check (value > 0);
create table kinds (id text primary key, org text not null, b bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8,
  num numeric, cash money, o oid, x8 xid8, t text, v varchar(20), c char(4), nm name, e mood, u uuid, x xml, ip inet,
  net cidr, mac macaddr, bits bit(3), vb varbit, ts tsvector, r int4range, pt point, j json, jb jsonb, by bytea, d date,
  tm time, tz timetz, stamp timestamp, stz timestamptz, iv interval, ia int4[], ta text[], ja jsonb[], ba bytea[],
  za timestamptz[], p pair, pa pair[], dom positive, em mood[]);
create unique index kinds_identity on kinds (id, org);
alter table kinds replica identity using index kinds_identity;";
/// Tables that are polled have a column that every write raises, as many applications' have.
const TOUCH: &str = "
create function touch() returns trigger language plpgsql as 'begin new.touched := now(); return new; end';
do $$ declare t text; begin
  for t in select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'touched'
      where c.relkind in ('r', 'p') and not c.relispartition loop
    execute format('create trigger touch before update on %I for each row execute function touch()', t);
  end loop;
end $$";
/// What a database may be set to; no reader may notice.
const SETTINGS: &[&str] = &[
    "datestyle = 'German, DMY'",
    "intervalstyle = 'postgres_verbose'",
    "timezone = 'America/New_York'",
    "extra_float_digits = -3",
    "bytea_output = 'escape'",
];
/// The types, their tables and keys.
const TYPES: &[(&str, &str, &[&str])] =
    &[("note", "notes", &["id"]), ("task", "tasks", &["list", "n"]), ("kind", "kinds", &["id"])];

/// A service under test.
pub struct Stage {
    pub db: TestDb,
    pub client: Client,
    pub operator: Admin,
    pub people: People,
    pub alice: String,
    pub carol: String,
    pub admin: String,
    base: String,
    config: AdminConfig,
    setup: Setup,
    /// Where the log is, if not with the rest.
    log: Option<TestDb>,
    serving: Option<Service>,
}

/// What a test's service has besides the usual.
#[derive(Clone, Default)]
pub struct Setup {
    pub auth: AuthConfig,
    pub allowed_origins: Vec<String>,
    /// More tables, and the types that they hold.
    pub tables: &'static str,
    pub types: Vec<EntityType>,
    /// What is served differently.
    pub serve: Option<fn(ServeOptions) -> ServeOptions>,
    /// Rules of the type `note`.
    pub rules: Vec<Rule>,
    /// An address in front of the cluster.
    pub through: Option<SocketAddr>,
    /// A cluster of its own for the log.
    pub log: Option<Pg>,
    /// How the database is captured; without it as `ANTIPHON_CAPTURE_METHOD` says, so that every test can run by every method.
    pub method: Option<CaptureMethod>,
    /// Everything in one database, and all of it published.
    pub together: bool,
}

/// Makes two organisations and their people.
async fn people(admin: &Admin) -> People {
    let people = admin.people().await.expect("people");
    for (org, user, role) in [("acme", "alice", Role::Owner), ("globex", "carol", Role::Member)] {
        people.create_org(org, org, org).await.expect("an organisation");
        people.create_user(user, user, false).await.expect("a user");
        people.join(org, user, role).await.expect("a member");
    }
    people.create_user("root", "root", true).await.expect("an administrator");
    people
}

async fn tokens(people: &People) -> [String; 3] {
    let mut tokens = Vec::new();
    for user in ["alice", "carol", "root"] {
        tokens.push(people.create_token(user, "test", None).await.expect("a token"));
    }
    <[String; 3]>::try_from(tokens).expect("three")
}

/// Returns how the tests that do not say so capture.
pub fn usual_method() -> CaptureMethod {
    let word = std::env::var("ANTIPHON_CAPTURE_METHOD").unwrap_or_else(|_| CaptureMethod::Log.as_str().to_owned());
    CaptureMethod::parse(&word).unwrap_or_else(|| panic!("ANTIPHON_CAPTURE_METHOD is {word:?}"))
}

/// For what is about slots and publications, which other methods have not.
pub fn by_log() -> Setup {
    Setup { method: Some(CaptureMethod::Log), ..Setup::default() }
}

impl Setup {
    fn carried(&self, tables: &[String]) -> String {
        if self.together { "all tables".to_owned() } else { format!("table {}", tables.join(", ")) }
    }

    fn options(&self) -> ServeOptions {
        let base = ServeOptions::new(([127, 0, 0, 1], 0).into());
        let base = ServeOptions { auth: self.auth.clone(), allowed_origins: self.allowed_origins.clone(), ..base };
        self.serve.map_or(base.clone(), |serve| serve(base))
    }
}

/// A declared type.
pub fn entity((name, table, key): &(&str, &str, &[&str])) -> EntityType {
    let filter: &[&str] = if *name == "note" { &["title", "rank"] } else { &[] };
    EntityType {
        name: (*name).into(),
        table: RelationName { schema: "public".into(), name: (*table).into() },
        org: Tenancy::Column("org".into()),
        key: key.iter().map(|key| (*key).into()).collect(),
        tx: "tx".into(),
        hidden: if *name == "note" { vec!["secret".into()] } else { Vec::new() },
        sync: Sync::All,
        filter: filter.iter().map(|field| (*field).into()).collect(),
        together: Vec::new(),
        refs: BTreeMap::new(),
        fields: BTreeMap::new(),
        rules: Vec::new(),
        polling: Default::default(),
    }
}

impl Stage {
    pub async fn open(pg: &Pg) -> Stage {
        Stage::open_with(pg, Setup::default()).await
    }

    /// Opens a service with more than the usual.
    pub async fn open_with(pg: &Pg, setup: Setup) -> Stage {
        let db = pg.database("http").await;
        let log = match &setup.log {
            Some(log) => Some(log.database("httplog").await),
            None => None,
        };
        for setting in SETTINGS {
            let sql = format!("alter database {} set {setting}", db.name());
            pg.admin().await.batch_execute(&sql).await.expect("the setting");
        }
        let client = db.connect().await;
        client.batch_execute(TABLE).await.expect("the table");
        client.batch_execute(setup.tables).await.expect("more tables");
        let mut entities: Vec<EntityType> = TYPES.iter().map(entity).chain(setup.types.iter().cloned()).collect();
        entities[0].rules = setup.rules.clone();
        let tables: Vec<String> = entities.iter().map(|entity| entity.table.name.clone()).collect();
        let publish = format!("create publication {} for {}", db.publication(), setup.carried(&tables));
        let method = setup.method.unwrap_or_else(usual_method);
        if method == CaptureMethod::Query {
            for (declared, table) in entities.iter_mut().zip(&tables) {
                let sql = format!(
                    "alter table {table} add touched timestamptz not null default now(); create index on {table} (touched)"
                );
                client.batch_execute(&sql).await.expect("a cursor");
                declared.hidden.push("touched".into());
                declared.polling.cursor = Some("touched".into());
            }
            client.batch_execute(TOUCH).await.expect("touched by every write");
        }
        if method == CaptureMethod::Log {
            client.batch_execute(&publish).await.expect("published");
        }
        let config = AdminConfig {
            database_url: setup.through.map_or(db.url(), |address| db.url_through(address)),
            log_url: Some(match (&log, setup.through) {
                (Some(log), _) => log.log_url(),
                (None, Some(address)) => db.log_url_through(address),
                (None, None) if setup.together => db.url(),
                (None, None) => db.log_url(),
            }),
            standby_url: None,
            slot: db.slot(),
            publication: db.publication(),
            entities,
            spool_dir: db.spool(),
            spool_bytes_max: 1 << 30,
            method,
            poll_interval: (method == CaptureMethod::Query).then_some(Duration::from_millis(50)),
            reconcile_interval: None,
        };
        let admin = Admin::new(config.clone()).expect("the configuration");
        admin.migrate(false).await.expect("our tables");
        for declared in &config.entities {
            let plan = admin.plan_add(declared, Identity::Index).await.expect("a plan");
            admin.apply(&plan, &mut |_| {}).await.expect("prepared");
        }
        let people = people(&admin).await;
        let serving = serve(config.clone(), setup.options()).await.expect("the service starts");
        let [alice, carol, root] = tokens(&people).await;
        let base = format!("http://{}", serving.local_addr());
        let serving = Some(serving);
        let stage =
            Stage { db, client, operator: admin, people, alice, carol, admin: root, base, config, setup, log, serving };
        stage.copied().await;
        stage
    }

    /// Waits until the copies of the (empty) tables are over.
    async fn copied(&self) {
        let log = match self.setup.together {
            true => self.db.connect().await,
            false => self.log.as_ref().unwrap_or(&self.db).connect_log().await,
        };
        let deadline = tokio::time::Instant::now() + SOON;
        let wanted = i64::try_from(self.config.entities.len()).expect("a few");
        let sql = "select count(*) = $1 from log.snapshots where complete";
        while !log.query_one(sql, &[&wanted]).await.expect("the log").get::<_, bool>(0) {
            if tokio::time::Instant::now() >= deadline {
                let source = self.ask_as(&self.admin, "/v1/admin/source").await;
                panic!("capture never began: {}", source.text());
            }
            tokio::task::yield_now().await;
        }
    }

    /// Whether every change is told, and not only the state that it led to.
    pub fn tells_history(&self) -> bool {
        self.config.method != CaptureMethod::Query
    }

    /// Starts another server on the same databases, and returns it with its address.
    pub async fn another(&self) -> (Service, String) {
        let spool_dir = self.config.spool_dir.with_extension("another");
        let config = AdminConfig { spool_dir, ..self.config.clone() };
        let serving = serve(config, self.setup.options()).await.expect("another service starts");
        let base = format!("http://{}", serving.local_addr());
        (serving, base)
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Asks as alice.
    pub async fn get(&self, path: &str) -> Response {
        self.ask_as(&self.alice, path).await
    }

    pub async fn ask_as(&self, token: &str, path: &str) -> Response {
        get(&self.url(path), Some(token), &[]).await.expect("an answer")
    }

    /// Asks as alice and reads a document.
    pub async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        response.json().expect("JSON")
    }

    /// Asks until an answer is as wanted, and returns it.
    pub async fn until(&self, token: &str, path: &str, wanted: impl Fn(&Response) -> bool) -> Response {
        let deadline = tokio::time::Instant::now() + SOON;
        loop {
            let response = self.ask_as(token, path).await;
            if wanted(&response) {
                return response;
            }
            assert!(tokio::time::Instant::now() < deadline, "{path} stayed at {}", response.text());
        }
    }

    /// Opens alice's stream.
    pub async fn stream(&self, parameters: &str, last: Option<&str>) -> Sse {
        let url = self.url(&format!("/v1/orgs/acme/live?live=sse&{parameters}"));
        sse(&url, Some(&self.alice), last).await.expect("the stream")
    }

    pub async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.expect("the statement");
    }

    /// Starts the service again with more types declared; nothing of theirs is waited for.
    pub async fn reopen(&mut self, types: Vec<EntityType>) {
        self.stop().await;
        self.config.entities.extend(types);
        let serving = serve(self.config.clone(), self.setup.options()).await.expect("the service starts again");
        self.base = format!("http://{}", serving.local_addr());
        self.serving = Some(serving);
    }

    /// Stops the service.
    pub async fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.stop().await;
        }
    }
}

/// Waits for the next event of a kind and returns its id and data.
pub async fn next(stream: &mut Sse, kind: &str) -> (Option<String>, Value) {
    loop {
        let event = stream.next(SOON).await.expect("an event").expect("an open stream");
        if event.event == kind {
            return (event.id, serde_json::from_str(&event.data).expect("JSON"));
        }
    }
}

/// A cluster of each version with these settings, for the tests of one file alone.
pub async fn private_clusters(settings: &[(&str, &str)]) -> Vec<Pg> {
    let mut clusters = Vec::new();
    for version in PgVersion::tested() {
        clusters.extend(Pg::private(version, settings).await);
    }
    clusters
}
