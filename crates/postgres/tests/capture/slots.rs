//! What happens to slot, server and connection while we stream, and what each looks like afterwards.

use std::os::unix::fs::MetadataExt;

use antiphon_engine::{Fault, ports::Source};
use antiphon_model::{Checkpoint, Code};
use antiphon_postgres::{
    ConnectionInfo, LogSource, connect_sql,
    health::{ConcernKind, Health, HealthConfig},
};
use antiphon_testkit::{Pg, PgVersion, for_each_postgres, spawn};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::stage::{Reader, Stage, column, until, within};

async fn refusal(source: &LogSource, checkpoint: &Checkpoint) -> Fault {
    match within(source.connect(checkpoint, &|_| {})).await {
        Ok(_) => panic!("the connection was not refused"),
        Err(fault) => fault,
    }
}

async fn released(stage: &Stage) {
    let slot = stage.db.slot();
    let free = format!("select not exists (select from pg_replication_slots where slot_name = '{slot}' and active)");
    until(&stage.client, &free).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_lost_under_a_reader_ends_it_and_names_the_reason_pg_03_pg_04() {
    for version in PgVersion::tested() {
        let settings = [("max_slot_wal_keep_size", "1MB"), ("max_wal_size", "32MB"), ("min_wal_size", "32MB")];
        let Some(pg) = Pg::private(version, &settings).await else { continue };
        let stage = Stage::set(&pg, "lostunder").await;
        let source = stage.source();
        let reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        let checkpoint = reader.checkpoint.clone();
        // Nothing is acknowledged, as while a long copy runs: the slot stays where it is.
        let ended = tokio::spawn(reader.end());
        let slot = stage.db.slot();
        let lost = format!("select wal_status = 'lost' from pg_replication_slots where slot_name = '{slot}'");
        while !stage.client.query_one(&lost, &[]).await.unwrap().get::<_, Option<bool>>(0).unwrap_or(false) {
            let fill = "select pg_logical_emit_message(false, 'fill', repeat('x', 8000000)); select pg_switch_wal()";
            stage.run(fill).await;
            stage.run("checkpoint").await;
        }
        let fault = within(ended).await.unwrap();
        assert!(matches!(fault.code(), Code::SourceUnreachable | Code::SlotLost), "{fault:?}");
        let fault = refusal(&source, &checkpoint).await;
        assert_eq!(fault.code(), Code::SlotLost);
        assert!(fault.detail().contains("wal_removed"), "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_dropped_and_made_again_under_its_name_is_another_one_pg_19() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "dropped").await;
        let name = format!("{}_again", stage.db.name());
        let url = pg.url(&name);
        let make = || async {
            stage.run(&format!("create database {name} template template0")).await;
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
            let connection = spawn("again", async move { connection.await.is_ok() });
            let publication = stage.db.publication();
            let table = "create table notes (id int primary key, org text not null default 'acme', body text)";
            client.batch_execute(&format!("{table}; create publication {publication} for table notes")).await.unwrap();
            drop(client);
            connection.await.unwrap();
        };
        make().await;
        let source = LogSource::new(stage.config_of(&url)).unwrap();
        let reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        let checkpoint = reader.checkpoint.clone();
        drop(reader);
        released(&stage).await;
        // The server drops the slot along, without a word.
        stage.run(&format!("drop database {name} with (force)")).await;
        make().await;
        let fault = refusal(&LogSource::new(stage.config_of(&url)).unwrap(), &checkpoint).await;
        assert_eq!(fault.code(), Code::SourceReplaced);
        stage.run(&format!("drop database {name} with (force)")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_commit_of_the_application_waits_for_us_as_for_a_standby_pg_60() {
    let settings = [("synchronous_standby_names", "antiphon, walreceiver, pg_receivewal, pg_recvlogical")];
    for version in PgVersion::tested() {
        let Some(pg) = Pg::private(version, &[settings[0], ("synchronous_commit", "local")]).await else { continue };
        let stage = Stage::set(&pg, "standby").await;
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        stage.run("insert into notes (id) values (1)").await;
        reader.changes(1).await;
        let ours = "select count(*) = 1 from pg_stat_replication
                    where application_name = 'antiphon capture' and sync_state = 'async'";
        until(&stage.client, ours).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_changed_while_streaming_is_told_at_the_next_connection_pg_100() {
    for version in PgVersion::tested() {
        let Some(pg) = Pg::private(version, &[]).await else { continue };
        let stage = Stage::set(&pg, "password").await;
        stage.run("create role reader superuser replication login password 'one'").await;
        let hba: String = stage.client.query_one("select current_setting('hba_file')", &[]).await.unwrap().get(0);
        let owner = std::fs::metadata(&hba).unwrap();
        let rules = std::fs::read_to_string(&hba).unwrap();
        std::fs::write(&hba, format!("host all reader 127.0.0.1/32 scram-sha-256\n{rules}")).unwrap();
        std::os::unix::fs::chown(&hba, Some(owner.uid()), Some(owner.gid())).unwrap();
        stage.run("select pg_reload_conf()").await;
        let with = |password: &str| {
            let url = stage.db.url().replace("postgres@", &format!("reader:{password}@"));
            LogSource::new(stage.config_of(&url)).unwrap()
        };
        let wrong = stage.db.url().replace("postgres@", "reader:none@");
        let wrong = ConnectionInfo::parse(&wrong).unwrap();
        let asked = async {
            // The server reads its rules again a moment after it was told.
            while connect_sql(&wrong, "test").await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        within(asked).await;
        let source = with("one");
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        stage.run("alter role reader password 'two'; insert into notes (id) values (1)").await;
        assert_eq!(column(&reader.changes(1).await, 0), ["1"]);
        let checkpoint = reader.checkpoint.clone();
        drop(reader);
        released(&stage).await;
        assert_eq!(refusal(&source, &checkpoint).await.code(), Code::AuthFailed);
        let mut reader = Reader::connect(&with("two"), checkpoint).await.unwrap();
        stage.run("insert into notes (id) values (2)").await;
        assert_eq!(column(&reader.changes(1).await, 0), ["2"]);
    }
}

async fn first_message(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message = vec![0; 4];
    client.read_exact(&mut message).await.ok()?;
    message.resize(u32::from_be_bytes(message[..].try_into().ok()?) as usize, 0);
    client.read_exact(&mut message[4..]).await.ok()?;
    Some(message)
}

/// A pooler of the kind that knows no replication: SQL passes, a replication connection is refused in its words.
async fn pooler(pg: &Pg) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, server) = (listener.local_addr().unwrap(), pg.address());
    spawn("pooler", async move {
        while let Ok((mut client, _)) = listener.accept().await {
            spawn("pooled", async move {
                let mut start = first_message(&mut client).await?;
                if start.len() == 8 {
                    // It was asked for TLS, and has none.
                    client.write_all(b"N").await.ok()?;
                    start = first_message(&mut client).await?;
                }
                if start.windows(11).any(|word| word == b"replication") {
                    let fields = b"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: replication\0\0";
                    let mut refusal = vec![b'E'];
                    refusal.extend(u32::try_from(fields.len() + 4).ok()?.to_be_bytes());
                    refusal.extend(fields);
                    return client.write_all(&refusal).await.ok();
                }
                let mut upstream = TcpStream::connect(server).await.ok()?;
                upstream.write_all(&start).await.ok()?;
                copy_bidirectional(&mut client, &mut upstream).await.ok().map(|_| ())
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_between_is_named_pg_32() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "pooler").await;
        let source = LogSource::new(stage.config_of(&stage.db.url_through(pooler(&pg).await))).unwrap();
        let fault = refusal(&source, &Checkpoint::start()).await;
        assert_eq!(fault.code(), Code::PoolerRefused);
        assert!(fault.code().hint().contains("direct address"), "{}", fault.code().hint());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_number_of_connections_serves_a_source_pg_101_pg_102() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "few").await;
        let source = stage.source();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        for id in 0..20 {
            stage.run(&format!("insert into notes (id) values ({id})")).await;
            reader.changes(1).await;
            within(source.visibility()).await.unwrap();
        }
        let name = stage.db.name();
        // One reads the stream, one the catalogue, one watches, one asks what readers see; now and then one looks at standbys.
        let ours = format!(
            "select count(*) from pg_stat_activity where datname = '{name}' and application_name like 'antiphon%'"
        );
        let count = stage.count(&ours).await;
        assert!((2..=5).contains(&count), "{count} connections");
        let slots = format!("select count(*) from pg_replication_slots where database = '{name}'");
        assert_eq!(stage.count(&slots).await, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_gives_idle_slots_up_is_told_of_before_and_named_after_pg_05() {
    // Older servers keep a slot whether or not anybody reads it.
    if !PgVersion::tested().contains(&PgVersion::V18) {
        return;
    }
    let Some(pg) = Pg::private(PgVersion::V18, &[("idle_replication_slot_timeout", "1s")]).await else { return };
    let stage = Stage::set(&pg, "idle").await;
    let source = stage.source();
    let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
    stage.run("insert into notes (id) values (1)").await;
    reader.changes(1).await;
    let checkpoint = reader.checkpoint.clone();
    drop(reader);
    released(&stage).await;
    let mut health = Health::new(HealthConfig {
        method: antiphon_postgres::CaptureMethod::Log,
        info: ConnectionInfo::parse(&stage.db.url()).unwrap(),
        slot: stage.db.slot(),
        publication: stage.db.publication(),
        entities: Vec::new(),
    });
    let told = health.look().await.unwrap().concerns;
    let limit = told.iter().find(|concern| concern.state == ConcernKind::SlotIdleLimit).expect("told before");
    assert!(limit.detail.contains("1 s"), "{limit:?}");
    let slot = stage.db.slot();
    let lost = format!("select wal_status = 'lost' from pg_replication_slots where slot_name = '{slot}'");
    while !stage.client.query_one(&lost, &[]).await.unwrap().get::<_, Option<bool>>(0).unwrap_or(false) {
        stage.run("checkpoint").await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let fault = refusal(&source, &checkpoint).await;
    assert_eq!(fault.code(), Code::SlotLost, "{fault}");
    assert!(fault.detail().contains("idle_timeout"), "{fault}");
    let told = health.look().await.unwrap().concerns;
    let gone = told.iter().find(|concern| concern.state == ConcernKind::SlotLost).expect("named after");
    assert!(gone.remedy.contains("idle_replication_slot_timeout"), "{gone:?}");
}
