//! Copies of several tables under load, interrupted at each moment of a chunk, by kills and by cut connections: nothing
//! is missing and nothing comes twice (CAP-20, PG-88, PG-91).
//!
//! `ANTIPHON_KILLS` sets how many interruptions there are (20 by default: each moment by each means once), `ANTIPHON_SEED`
//! the seed.

mod load;
mod stops;
mod verdict;

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError},
    time::Duration,
};

use antiphon_engine::{
    Bus, CaptureConfig, CaptureService, Fault, SealKey,
    ports::{ActivityLog, Heard, LocalNotices},
};
use antiphon_model::{EntityType, Micros, RelationName, Sync, Tenancy};
use antiphon_postgres::{ConnectionInfo, LogSource, SourceConfig};
use antiphon_store::{Connect, Store};
use antiphon_testkit::{PgVersion, Proxy, TestDb, for_each_postgres};
use async_trait::async_trait;
use load::Load;
use rand::{Rng, SeedableRng, rngs::StdRng};
use stops::{Blow, Point, StoppingLog, StoppingSource, Trap};
use tokio::{runtime::Runtime, time::Instant};
use tokio_util::sync::CancellationToken;

/// Whatever is waited for comes within this time.
const SOON: Duration = Duration::from_secs(60);
/// So many interruptions are one round.
const ROUND: u64 = 2 * Point::ALL.len() as u64;

struct Connector(ConnectionInfo);

#[async_trait]
impl Connect for Connector {
    async fn connect(&self) -> Result<tokio_postgres::Client, Fault> {
        antiphon_postgres::connect_sql(&self.0, "antiphon log").await
    }

    async fn connect_listening(&self, heard: Heard) -> Result<tokio_postgres::Client, Fault> {
        antiphon_postgres::connect_listening(&self.0, "antiphon notices", heard).await
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn entity(name: &str, key: &[&str]) -> Arc<EntityType> {
    Arc::new(EntityType {
        name: name.into(),
        table: RelationName { schema: "public".into(), name: name.into() },
        org: Tenancy::Column("org".into()),
        key: key.iter().map(|key| (*key).into()).collect(),
        tx: "tx".into(),
        hidden: Vec::new(),
        sync: Sync::All,
        filter: Vec::new(),
        together: Vec::new(),
        refs: Default::default(),
        fields: Default::default(),
        rules: Vec::new(),
        polling: Default::default(),
    })
}

/// One process that captures; dropping its runtime is its sudden end.
struct Process(Option<Runtime>);

impl Process {
    fn start(db: &TestDb, proxy: std::net::SocketAddr, trap: &Arc<Trap>, life: u64) -> Process {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let trap = Arc::clone(trap);
        let (url, log_url) = (db.url_through(proxy), db.log_url());
        let spool = db.spool();
        let (slot, publication) = (db.slot(), db.publication());
        runtime.spawn(async move {
            let entities = vec![entity("plain", &["id"]), entity("wide", &["id"]), entity("pairs", &["list", "n"])];
            let info = ConnectionInfo::parse(&url).expect("a URL");
            let source =
                LogSource::new(SourceConfig::new(info, slot, publication, entities.clone(), spool)).expect("a source");
            let log = ConnectionInfo::parse(&log_url).expect("a URL");
            let pool = antiphon_postgres::pool(&log, "antiphon readers", 4).expect("a pool");
            let store = Store::new(pool, Arc::new(Connector(log)));
            let bus = Bus::new(Arc::new(store.clone()), store.head().await.expect("the log"));
            let (service, _handle) = CaptureService::new(CaptureConfig {
                source_name: "main".into(),
                holder: format!("life {life}"),
                entities,
                source: Arc::new(StoppingSource(source, Arc::clone(&trap))),
                leadership: Arc::new(StoppingLog(store.clone(), trap)),
                schemas: Arc::new(store),
                seal_key: SealKey::new(vec![7; 32]),
                copies_at_once: 2,
                bus,
                notices: Arc::new(LocalNotices::default()),
                clock: Arc::new(now),
            });
            service.run(CancellationToken::new()).await;
        });
        Process(Some(runtime))
    }

    fn kill(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn now() -> Micros {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

async fn until(db: &TestDb, what: &str, sql: &str) {
    let (log, deadline) = (db.connect_log().await, Instant::now() + SOON);
    while !log.query_one(sql, &[]).await.expect("the log").get::<_, bool>(0) {
        assert!(Instant::now() < deadline, "{what} never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_on_from_its_last_chunk_wherever_it_is_cut_off_under_load_cap_20_pg_88_pg_91() {
    let seed = number("ANTIPHON_SEED", u64::from(std::process::id()));
    let rounds = number("ANTIPHON_KILLS", ROUND).div_ceil(ROUND);
    eprintln!("seed {seed}, {rounds} rounds");
    for_each_postgres(|pg| async move {
        let mut random = StdRng::seed_from_u64(seed);
        let rows = 2_000 * i32::try_from(rounds).expect("a few");
        let db = pg.database("copies").await;
        let client = db.connect().await;
        client.batch_execute(&load::TABLES.replace("{rows}", &rows.to_string())).await.expect("the tables");
        let publish = format!("create publication {} for table plain, wide, pairs", db.publication());
        client.batch_execute(&publish).await.expect("published");
        antiphon_store::migrate(&mut db.connect_log().await).await.expect("our tables");
        let proxy = Proxy::with_seed(pg.address(), seed).await.expect("a proxy");
        let address = proxy.address();
        let trap = Trap::new(proxy, db.connect().await);
        let load = Arc::new(Load::default());
        let mut writers = load.start(&db, rows, seed).await;
        let mut process = Process::start(&db, address, &trap, 0);
        let mut life = 0;
        for _ in 0..rounds {
            for (blow, point) in
                [Blow::Kill, Blow::Reset].into_iter().flat_map(|blow| Point::ALL.map(|point| (blow, point)))
            {
                trap.arm(point, blow, random.random_range(0..3));
                let hit = tokio::time::timeout(SOON, trap.hit.notified()).await;
                assert!(hit.is_ok(), "the copy never came to {point:?} ({blow:?}), seed {seed}");
                if blow == Blow::Kill {
                    life += 1;
                    process.kill();
                    process = Process::start(&db, address, &trap, life);
                }
            }
        }
        until(&db, "the end of the copies", "select count(*) = 3 from log.snapshots where complete").await;
        load.stop();
        let mut commits = 0;
        while let Some(writer) = writers.join_next().await {
            commits += writer.expect("a writer");
        }
        client.batch_execute("insert into plain values (2000000000, 'acme', 'end')").await.expect("the end");
        until(
            &db,
            "the last row",
            "select exists (select from log.activities where type = 'plain' and entity = '2000000000')",
        )
        .await;
        let (log, table) = (verdict::replayed(&db).await, verdict::present(&db).await);
        let copied = trap.copied.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut seen = BTreeSet::new();
        let twice: Vec<_> = copied.iter().filter(|row| !seen.insert(*row)).collect();
        eprintln!("{commits} commits, {} rows, {} copied, {} again", table.len(), copied.len(), twice.len());
        assert!(commits > 100 && copied.len() > 1_000, "too little happened to prove anything");
        // A chunk of which rows must be read again, for values out of line, is in the log by halves: cut off in between,
        // its first half is repeated. No other row is copied twice.
        let halves = |(entity_type, _): &&&(String, String)| entity_type == "wide";
        assert_eq!(twice.iter().filter(halves).count(), twice.len(), "rows came twice, seed {seed}: {twice:?}");
        assert_eq!(verdict::differences(&log, &table), Vec::<String>::new(), "seed {seed}");
        assert_eq!(verdict::hash(&log), verdict::hash(&table), "seed {seed}");
        process.kill();
        let free =
            format!("select count(*) = 0 from pg_replication_slots where slot_name = '{}' and active", db.slot());
        until(&db, "the slot", &free).await;
    })
    .await;
    assert!(!PgVersion::tested().is_empty());
}
