//! Private clusters and the databases of tests, on every version that is installed.

use std::{path::PathBuf, time::Duration};

use antiphon_postgres::{Cluster, ClusterConfig, Installation};
use antiphon_testkit::{Pg, PgVersion, Process, Signal, StopMode, for_each_postgres, skipped};
use tokio_postgres::NoTls;

const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn clusters_decode_logically_and_test_databases_take_their_slots_along() {
    for_each_postgres(|pg| async move {
        let name = {
            let db = pg.database("slots").await;
            let client = db.connect().await;
            let version: String = client.query_one("show server_version", &[]).await.expect("a version").get(0);
            assert!(version.starts_with(&pg.version().major().to_string()), "{version}");
            let made = "select pg_create_logical_replication_slot($1, 'pgoutput')::text";
            client.query_one(made, &[&db.slot()]).await.expect("a slot");
            db.connect_log().await.batch_execute("create table t (n int)").await.expect("a log database");
            db.name().to_owned()
        };
        let left = "select (select count(*) from pg_database where datname like $1 || '%') + \
                    (select count(*) from pg_replication_slots where database = $1)";
        let left: i64 = pg.admin().await.query_one(left, &[&name]).await.expect("a count").get(0);
        assert_eq!(left, 0, "{name} was left behind");
    })
    .await;
}

#[tokio::test]
async fn committed_rows_survive_a_killed_server() {
    for version in PgVersion::tested() {
        let Some(pg) = Pg::private(version, &[("max_connections", "17")]).await else { continue };
        let port = pg.port();
        let client = pg.admin().await;
        client.batch_execute("create table t as select generate_series(1, 1000) n").await.expect("rows");
        for mode in [StopMode::Kill, StopMode::Immediate, StopMode::Fast] {
            pg.halt(mode).await;
            assert!(tokio_postgres::connect(&pg.url("postgres"), NoTls).await.is_err(), "{mode:?} left it running");
            pg.restart().await;
            assert_eq!(pg.port(), port);
            let rows = "select count(*), current_setting('max_connections') from t";
            let rows = pg.admin().await.query_one(rows, &[]).await.expect("a count");
            assert_eq!((rows.get::<_, i64>(0), rows.get::<_, String>(1)), (1000, "17".to_owned()), "{mode:?}");
        }
    }
}

/// Not a test: the owner that `a_server_follows_its_killed_owner_...` kills.
#[test]
#[ignore = "run by another test, as a process of its own"]
fn owner_process() {
    let Some(folder) = std::env::var_os("ANTIPHON_TEST_CLUSTER") else { return };
    let installation = PgVersion::V15.installation().expect("Postgres 15");
    let cluster = Cluster::start(ClusterConfig::new(installation, PathBuf::from(folder))).expect("a cluster");
    eprintln!("serving pid={} port={}", cluster.pid().expect("a process"), cluster.port());
    loop {
        std::thread::park();
    }
}

#[tokio::test]
async fn a_server_follows_its_killed_owner_and_the_next_owner_recovers() {
    let Some(installation) = PgVersion::V15.installation() else { return skipped("Postgres 15") };
    let parent = tempfile::Builder::new().prefix("antiphon-owner-").tempdir().expect("a folder");
    let folder = parent.path().join("cluster");
    open_to_all(parent.path());
    for kill_guard in [false, true] {
        let mut command = tokio::process::Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "owner_process", "--ignored", "--nocapture"]);
        command.env("ANTIPHON_TEST_CLUSTER", &folder);
        let mut owner = Process::start(command).expect("the owner");
        let line = owner.wait_for_line(|line| line.contains("serving pid="), DEADLINE).await.expect("a cluster");
        let number = |key: &str| -> u32 {
            let value = line.split(key).nth(1).and_then(|rest| rest.split(' ').next()).expect("a number");
            value.trim().parse().expect("a number")
        };
        let (pid, port) = (number("pid="), number("port="));
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("a connection");
        let connection = antiphon_testkit::spawn("connection", connection);
        client.batch_execute("create table if not exists t (n int); insert into t values (1)").await.expect("a row");
        if kill_guard {
            // Without its guard the server is left behind: the next owner has to stop it.
            antiphon_testkit::signal(guard_of(pid), Signal::Kill).expect("a guard");
        }
        owner.kill9().await.expect("the owner's end");
        if !kill_guard {
            let gone = tokio::time::timeout(DEADLINE, connection).await.expect("the server ends by itself");
            assert!(gone.expect("no panic").is_err(), "the connection ended without the server's word");
        }
    }
    let rows = tokio::task::spawn_blocking(move || reopen(installation, folder)).await.expect("no panic");
    let (cluster, url) = rows;
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("a connection");
    antiphon_testkit::spawn("connection", connection);
    let rows: i64 = client.query_one("select count(*) from t", &[]).await.expect("a count").get(0);
    assert_eq!(rows, 2);
    drop(client);
    tokio::task::spawn_blocking(move || cluster.stop(StopMode::Fast)).await.expect("no panic");
}

#[tokio::test]
async fn a_password_is_asked_for_where_one_was_set() {
    let Some(installation) = PgVersion::V15.installation() else { return skipped("Postgres 15") };
    let parent = tempfile::Builder::new().prefix("antiphon-password-").tempdir().expect("a folder");
    open_to_all(parent.path());
    let mut config = ClusterConfig::new(installation, parent.path().join("cluster"));
    config.password = Some("p@ss/w:rd".to_owned());
    let cluster =
        tokio::task::spawn_blocking(move || Cluster::start(config)).await.expect("no panic").expect("a cluster");
    let with = tokio_postgres::connect(&cluster.url("postgres"), NoTls).await.map(drop);
    with.expect("with the password");
    let without = format!("postgres://postgres:wrong@127.0.0.1:{}/postgres", cluster.port());
    let error = tokio_postgres::connect(&without, NoTls).await.err().expect("without it");
    assert_eq!(error.code().map(|code| code.code()), Some("28P01"));
    tokio::task::spawn_blocking(move || cluster.stop(StopMode::Immediate)).await.expect("no panic");
}

#[tokio::test]
async fn a_taken_port_is_told_at_once() {
    let Some(installation) = PgVersion::V15.installation() else { return skipped("Postgres 15") };
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let parent = tempfile::Builder::new().prefix("antiphon-port-").tempdir().expect("a folder");
    open_to_all(parent.path());
    let mut config = ClusterConfig::new(installation, parent.path().join("cluster"));
    config.port = Some(taken.local_addr().expect("its address").port());
    config.durable = false;
    let started = tokio::task::spawn_blocking(move || Cluster::start(config).map(drop)).await.expect("no panic");
    assert!(started.expect_err("the port is taken").to_string().starts_with("PORT_IN_USE"));
}

fn reopen(installation: Installation, folder: PathBuf) -> (Cluster, String) {
    let cluster = Cluster::start(ClusterConfig::new(installation, folder)).expect("the next owner");
    let url = cluster.url("postgres");
    (cluster, url)
}

/// Lets another user pass, because as root the server runs as one.
fn open_to_all(folder: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).expect("permissions");
}

/// Finds the process that guards a server by its arguments.
fn guard_of(server: u32) -> u32 {
    let pattern = format!("antiphon-postgres-guard {server} ");
    let output = std::process::Command::new("pgrep").args(["-f", &pattern]).output().expect("pgrep");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("one guard")
}
