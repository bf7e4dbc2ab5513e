//! Writers that never stop: many sessions, interleaved, rolled back, with savepoints, large transactions and moves
//! between organisations.
//!
//! Each row carries a version that every change raises by one under the row's lock, so that a lost, doubled or
//! misplaced change is seen in the log by itself. Rows written and rolled back are called `phantom`.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use antiphon_testkit::Pg;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tokio::task::JoinSet;
use tokio_postgres::{Client, Error, NoTls};

/// What the writers share.
#[derive(Default)]
pub struct Workload {
    stop: AtomicBool,
    commits: AtomicU64,
    larges: AtomicU64,
    rows: Mutex<Vec<String>>,
    /// Whether rows get other keys as well.
    keys: bool,
}

/// So many large transactions are enough: each leaves 16,000 rows behind, which every update looks through, and a copy
/// would run after a table that grows faster than it reads.
const LARGES_MAX: u64 = 4;

impl Workload {
    /// Makes a workload that changes these rows too, and gives some of them other keys.
    pub fn of(rows: Vec<String>) -> Workload {
        Workload { rows: Mutex::new(rows), keys: true, ..Workload::default() }
    }

    /// Starts `sessions` writers on a database.
    pub fn start(self: &Arc<Workload>, pg: &Pg, database: &str, sessions: u64, seed: u64) -> JoinSet<()> {
        let mut writers = JoinSet::new();
        for session in 0..sessions {
            let (shared, url) = (Arc::clone(self), pg.url(database));
            let random = StdRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(session));
            writers.spawn(async move { shared.write(&url, random).await });
        }
        writers
    }

    /// Ends the writers after their present transaction.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Returns how many transactions were committed, as far as the writers know.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    async fn write(&self, url: &str, mut random: StdRng) {
        while !self.stop.load(Ordering::Relaxed) {
            let Some(mut client) = connect(url).await else {
                // The server is being killed and started: there is nothing else to wait for.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            while !self.stop.load(Ordering::Relaxed) && !client.is_closed() {
                // Deadlocks are part of the work; a lost connection is found by the loop's condition.
                if let Ok(true) = self.transaction(&mut client, &mut random).await {
                    self.commits.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    async fn transaction(&self, client: &mut Client, random: &mut StdRng) -> Result<bool, Error> {
        let transaction = client.transaction().await?;
        let mut inserted = Vec::new();
        for _ in 0..random.random_range(1..5) {
            match random.random_range(0..100) {
                0..35 => inserted.push(insert(&transaction, random, "row").await?),
                35..80 => self.update(&transaction, random).await?,
                80..85 => self.delete(&transaction, random).await?,
                85..92 => {
                    transaction.batch_execute("savepoint s").await?;
                    insert(&transaction, random, "phantom").await?;
                    self.update(&transaction, random).await?;
                    transaction.batch_execute("rollback to savepoint s").await?;
                }
                92..96 if self.keys => inserted.extend(self.change_key(&transaction, random).await?),
                92..99 => self.change_org(&transaction, random).await?,
                _ if random.random_ratio(1, 4) && self.takes_large() => large(&transaction).await?,
                _ => inserted.push(insert(&transaction, random, "row").await?),
            }
        }
        if random.random_ratio(1, 10) {
            insert(&transaction, random, "phantom").await?;
            transaction.rollback().await?;
            return Ok(false);
        }
        transaction.commit().await?;
        self.lock().extend(inserted);
        Ok(true)
    }

    fn takes_large(&self) -> bool {
        self.larges.fetch_add(1, Ordering::Relaxed) < LARGES_MAX
    }

    async fn update(&self, client: &tokio_postgres::Transaction<'_>, random: &mut StdRng) -> Result<(), Error> {
        let Some(id) = self.pick(random) else { return Ok(()) };
        let payload = payload(random);
        let sql = "update items set version = version + 1, payload = $2 where id::text = $1";
        client.execute(sql, &[&id, &payload]).await.map(drop)
    }

    async fn change_org(&self, client: &tokio_postgres::Transaction<'_>, random: &mut StdRng) -> Result<(), Error> {
        let Some(id) = self.pick(random) else { return Ok(()) };
        let sql = "update items set version = version + 1, \
                   organization_id = case organization_id when 'acme' then 'globex' else 'acme' end where id::text = $1";
        client.execute(sql, &[&id]).await.map(drop)
    }

    /// Moves a row to anywhere in the key's order, so that a copy has passed it or has yet to come to it.
    async fn change_key(
        &self,
        client: &tokio_postgres::Transaction<'_>,
        random: &mut StdRng,
    ) -> Result<Option<String>, Error> {
        let Some(id) = self.pick(random) else { return Ok(None) };
        let sql =
            "update items set version = version + 1, id = gen_random_uuid() where id::text = $1 returning id::text";
        Ok(client.query_opt(sql, &[&id]).await?.map(|row| row.get(0)))
    }

    async fn delete(&self, client: &tokio_postgres::Transaction<'_>, random: &mut StdRng) -> Result<(), Error> {
        let Some(id) = self.pick(random) else { return Ok(()) };
        client.execute("delete from items where id::text = $1", &[&id]).await.map(drop)
    }

    /// Picks a row, often one of the newer, so that sessions meet.
    fn pick(&self, random: &mut StdRng) -> Option<String> {
        let rows = self.lock();
        // Half of them anywhere, so that rows change while they are copied.
        let newest = if random.random_bool(0.5) { rows.len().saturating_sub(200) } else { 0 };
        rows[newest..].choose(random).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn insert(client: &tokio_postgres::Transaction<'_>, random: &mut StdRng, kind: &str) -> Result<String, Error> {
    let org = if random.random_bool(0.5) { "acme" } else { "globex" };
    let payload = if kind == "phantom" { kind.to_owned() } else { payload(random) };
    let sql = "insert into items (organization_id, payload) values ($1, $2) returning id::text";
    Ok(client.query_one(sql, &[&org, &payload]).await?.get(0))
}

/// Enough rows that the server streams the transaction before its end.
async fn large(client: &tokio_postgres::Transaction<'_>) -> Result<(), Error> {
    let sql = "insert into items (organization_id, payload) \
               select case when n % 3 = 0 then 'globex' else 'acme' end, repeat('large', 40) from generate_series(1, 15000) n";
    client.execute(sql, &[]).await.map(drop)
}

/// Mostly short text, sometimes long enough to be stored out of line.
fn payload(random: &mut StdRng) -> String {
    let length = if random.random_ratio(1, 30) { 9_000 } else { random.random_range(10..200) };
    (0..length).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect()
}

async fn connect(url: &str) -> Option<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.ok()?;
    drop(tokio::spawn(connection));
    Some(client)
}
