//! A type zoo and everything that can happen to a row: every kind of value, long ones that stay unchanged, keys and
//! organisations that change, deletes, truncates, rollbacks, savepoints, and transactions that are streamed for their size.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::scene::Scene;

/// Tables and types, the same in source and replica.
pub const TABLES: &str = "
    create type mood as enum ('sad', 'ok', 'happy');
    create type pair as (number int, word text);
    create table zoo (id bigint primary key, b bool, i2 int2, i4 int4, f4 float4, f8 float8, n numeric, n2 numeric(12,3),
        t text, v varchar(60), c char(7), nm name, bin bytea, d date, tm time, tmz timetz, ts timestamp, tz timestamptz,
        iv interval, u uuid, j json, jb jsonb, ia int4[], ta text[], ma mood[], m mood, p pair, ip inet, mac macaddr,
        bits bit(5), vb varbit, r int4range, mr int4multirange, pt point, one \"char\",
        sum int8 generated always as (i4 * 2::int8) stored);
    create table docs (id text primary key, org text not null, title text, body text, blob text);
    create table pairs (a int, \"B b\" text, note text, primary key (a, \"B b\"));
    create table small (id int primary key, note text);";

/// The first rows, for the source alone.
pub const FIRST_ROWS: &str = "
    insert into zoo (id, t) select n, 'first ' || n from generate_series(1, 50) n;
    insert into docs (id, org, title, body) select 'd' || n, 'acme', 'first', repeat(md5(n::text), 300)
        from generate_series(1, 50) n;";

/// Its tables as entity types.
pub const ENTITIES: &[(&str, &str, &str)] = &[
    ("animal", "public.zoo", "*"),
    ("doc", "public.docs", "org"),
    ("pair", "public.pairs", "*"),
    ("small", "public.small", "*"),
];

/// A keeper rests so long after each transaction.
const PACE: Duration = Duration::from_millis(40);

/// For each column of the zoo some values worth trying.
const VALUES: &[(&str, &[&str])] = &[
    ("b", &["true", "false", "null"]),
    ("i2", &["-32768", "32767", "0"]),
    ("i4", &["-2147483648", "2147483647", "7", "null"]),
    ("f4", &["'NaN'", "'Infinity'", "'-Infinity'", "1.1", "-0.0", "1e-37"]),
    ("f8", &["'NaN'", "'-Infinity'", "0.1", "1e308", "5e-324", "-0.0"]),
    ("n", &["'NaN'", "'Infinity'", "1.500", "0.000", "-123456789012345678901234567890.123456789", "1e100"]),
    ("n2", &["1.5", "'NaN'", "-999999999.999"]),
    (
        "t",
        &[
            "''",
            "'null'",
            "E'\\\\N'",
            "E'tab\\t line\\n return\\r back\\\\ quote\" '",
            "'\u{1F600} \u{4E16}\u{754C} e\u{301}'",
            "E'\\x01\\x7f'",
            "repeat(md5(random()::text), 400)",
        ],
    ),
    ("v", &["'  spaces  '", "'{}'", "'\u{FEFF}bom'"]),
    ("c", &["'ab'", "''", "'1234567'"]),
    ("nm", &["'a name'", "null"]),
    ("bin", &["'\\x'", "'\\x00ff0a5c'", "decode(repeat(md5(random()::text), 300), 'hex')"]),
    ("d", &["'infinity'", "'-infinity'", "'0044-03-15 BC'", "'2024-02-29'", "'5874897-12-31'"]),
    ("tm", &["'24:00:00'", "'00:00:00.000001'"]),
    ("tmz", &["'12:00:00+05:30'", "'23:59:59.999999-15:59'"]),
    ("ts", &["'infinity'", "'0001-01-01 00:00:00 BC'", "'294276-12-31 23:59:59.999999'", "'2024-01-01 12:00:00.5'"]),
    (
        "tz",
        &[
            "'-infinity'",
            "'4713-01-01 00:00:00+00 BC'",
            "'294276-12-31 23:59:59.999999+00'",
            "'2024-06-01 12:00:00.000001+02'",
        ],
    ),
    ("iv", &["'1 year -2 mons 3 days -04:05:06.789'", "'-178000000 years'", "'0'"]),
    ("u", &["gen_random_uuid()", "null"]),
    ("j", &["'{\"a\" : [1, 2.50], \"a\":null}'", "'null'", "null", "'\"\\u0000 stays an escape\"'"]),
    ("jb", &["'{\"n\": 1.50, \"x\": \"\u{1F600}\"}'", "'null'", "null", "'[1e3, -0.0, \"\"]'"]),
    ("ia", &["'{}'", "'{1,NULL,3}'", "'{{1,2},{3,4}}'", "null"]),
    ("ta", &["'{a,\"b,c\",NULL,\"NULL\",\"\",\"q\\\"\\\\\"}'", "array[E'\\n', '{}']"]),
    ("ma", &["'{sad,happy}'", "'{}'"]),
    ("m", &["'sad'", "'happy'", "null"]),
    ("p", &["row(1, 'a \"b\", (c)')", "row(null, '')", "null"]),
    ("ip", &["'10.0.0.0/8'", "'::1'"]),
    ("mac", &["'08:00:2b:01:02:03'"]),
    ("bits", &["b'10101'"]),
    ("vb", &["b''", "b'1'"]),
    ("r", &["'[1,5)'", "'empty'", "'(,)'"]),
    ("mr", &["'{[1,2),[5,9)}'", "'{}'"]),
    ("pt", &["'(1.5,-0)'", "'(Infinity,NaN)'"]),
    ("one", &["'x'", "''"]),
];

/// Who keeps the zoo.
#[derive(Clone, Default)]
pub struct Zoo {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    commits: AtomicU64,
    rollbacks: AtomicU64,
}

impl Zoo {
    /// Starts sessions that write until they are stopped.
    pub fn start(&self, scene: &Scene, keepers: u64, seed: u64) -> JoinSet<()> {
        let mut set = JoinSet::new();
        for keeper in 0..keepers {
            let (shared, url) = (Arc::clone(&self.shared), scene.source.url());
            set.spawn(async move {
                let client = crate::scene::connect(&url).await;
                let mut random = StdRng::seed_from_u64(seed.wrapping_add(keeper));
                while !shared.stop.load(Ordering::Relaxed) {
                    act(&client, &mut random, keeper, &shared).await;
                    // A pace, not a condition: what the test is about is what they do, not how often.
                    tokio::time::sleep(PACE).await;
                }
            });
        }
        set
    }

    /// Lets them end.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Returns how many transactions were committed.
    pub fn commits(&self) -> u64 {
        self.shared.commits.load(Ordering::Relaxed)
    }

    /// Returns how many were rolled back.
    pub fn rollbacks(&self) -> u64 {
        self.shared.rollbacks.load(Ordering::Relaxed)
    }
}

/// One transaction of several statements.
async fn act(client: &Client, random: &mut StdRng, keeper: u64, shared: &Shared) {
    let mut sql = String::from("begin;");
    for _ in 0..random.random_range(1..8) {
        let statement = statement(random, keeper);
        match random.random_range(0..12) {
            0 => {
                write!(sql, "savepoint s; {statement}; rollback to s; {}; release s;", self::statement(random, keeper))
            }
            1 => write!(sql, "savepoint s; {statement}; release s;"),
            _ => write!(sql, "{statement};"),
        }
        .expect("a string takes it");
    }
    let abandoned = random.random_range(0..10) == 0;
    sql.push_str(if abandoned { "rollback" } else { "commit" });
    // Two keepers may want one key, or wait for each other: that transaction did not happen.
    let done = client.batch_execute(&sql).await;
    if done.is_err() {
        client.batch_execute("rollback").await.expect("a transaction can be given up");
    }
    let counter = if abandoned || done.is_err() { &shared.rollbacks } else { &shared.commits };
    counter.fetch_add(1, Ordering::Relaxed);
}

fn statement(random: &mut StdRng, keeper: u64) -> String {
    let id = random.random_range(1..120);
    let doc = format!("d{}", random.random_range(1..120));
    let other = format!("d{}", random.random_range(1..120));
    match random.random_range(0..40) {
        0..8 => insert(random),
        8..16 => update(random),
        16 | 17 => format!("delete from zoo where id = {id}"),
        // A key that changes while long values stay as they are.
        18 => format!("update zoo set id = {} where id = {id}", random.random_range(1..120)),
        19..22 => format!(
            "insert into docs (id, org, title, body) values ('{doc}', '{}', 't', repeat(md5(random()::text), {}))
             on conflict (id) do update set title = excluded.title",
            org(random),
            random.random_range(1..600),
        ),
        22..25 => format!("update docs set title = md5(random()::text) where id = '{doc}'"),
        25 => format!("update docs set body = repeat(md5(random()::text), 300) where id = '{doc}'"),
        26 => format!("update docs set id = '{other}' where id = '{doc}'"),
        27 => format!("update docs set org = '{}' where id = '{doc}'", org(random)),
        28 => format!("update docs set org = '{}', id = '{other}', title = 'moved' where id = '{doc}'", org(random)),
        29 => format!("delete from docs where id = '{doc}'"),
        // Longer than the log takes.
        30 => format!("update docs set blob = repeat(md5(random()::text), 9000) where id = '{doc}'"),
        31 => format!("update docs set blob = null where id = '{doc}'"),
        32..35 => format!(
            "insert into pairs values ({}, '{}', md5(random()::text)) on conflict (a, \"B b\") do update set note = excluded.note",
            random.random_range(1..9),
            ["x", "it''s", "[\"1\"]", ""].choose(random).expect("one"),
        ),
        35 => format!("update pairs set a = a + 1 where a = {}", random.random_range(1..9)),
        36 => format!("delete from pairs where a = {}", random.random_range(1..9)),
        37 if random.random_range(0..3) == 0 => "truncate small".to_owned(),
        // Streamed for its size.
        38 if random.random_range(0..4) == 0 => {
            let first = keeper * 100_000 + random.random_range(0..50_000);
            format!(
                "insert into small select n, md5(n::text) from generate_series({first}, {first} + 3000) n
                 on conflict (id) do update set note = excluded.note || small.id"
            )
        }
        _ => format!(
            "insert into small values ({}, 'by {keeper}') on conflict (id) do update set note = excluded.note",
            keeper * 100_000 + random.random_range(0..50),
        ),
    }
}

fn org(random: &mut StdRng) -> &'static str {
    ["acme", "globex", "o'brien"]
        .map(|org| if org == "o'brien" { "o''brien" } else { org })
        .choose(random)
        .expect("one")
}

fn value(random: &mut StdRng, values: &'static [&'static str]) -> &'static str {
    values.choose(random).expect("one")
}

fn insert(random: &mut StdRng) -> String {
    let (mut names, mut values) = (String::from("id"), random.random_range(1..120).to_string());
    let mut set = String::from("b = excluded.b");
    for (name, choices) in VALUES {
        write!(names, ", {name}").expect("a string takes it");
        write!(values, ", {}", value(random, choices)).expect("a string takes it");
        if random.random_range(0..3) == 0 {
            write!(set, ", {name} = excluded.{name}").expect("a string takes it");
        }
    }
    let set = set.replacen("b = excluded.b, b = excluded.b", "b = excluded.b", 1);
    format!("insert into zoo ({names}) values ({values}) on conflict (id) do update set {set}")
}

fn update(random: &mut StdRng) -> String {
    let (name, choices) = VALUES.choose(random).expect("one");
    format!("update zoo set {name} = {} where id = {}", value(random, choices), random.random_range(1..120))
}
