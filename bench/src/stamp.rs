//! The benchmark `stamp`: what the trigger that stamps who wrote each field costs a row (house 2, MUT-04).
//!
//! The same statements run against three equal tables in turn, round by round: without a trigger, with an empty plpgsql
//! trigger (the least that any trigger costs), and prepared as `entities add` does it. The best round of each counts,
//! because whatever else the machine does only ever adds. The disk is out of it: nothing is flushed.

use std::{collections::BTreeMap, time::Instant};

use antiphon_model::{EntityType, RelationName, Sync, Tenancy};
use antiphon_postgres::entities::{self, AddOptions};
use antiphon_testkit::{Pg, PgVersion};
use anyhow::{Context, Result, anyhow};
use serde::Serialize;
use tokio_postgres::Client;

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rows of a table
    #[arg(long, default_value_t = 50_000)]
    rows: u64,
    /// How often the tables take turns
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The server's version: 15 or 18
    #[arg(long, default_value_t = 15)]
    postgres: u32,
}

/// A shape of table and what is written to it.
struct Shape {
    name: &'static str,
    columns: String,
    insert: String,
    update: &'static str,
}

/// A table of a shape, by what fires on it.
const VARIANTS: [&str; 3] = ["none", "empty", "stamp"];

/// Every table's rows come with metadata, so that they are of one size whoever writes it.
const TX: &str = r#"{"fields": {"*": "1769860800123.0000.sql-1234"}, "actor": null, "sourceId": "sql", "changedField": null, "transactionId": "1769860800123.0000.sql-1234"}"#;

const EMPTY: &str = "
    create function empty() returns trigger language plpgsql as $$ begin return new; end $$;
    create function nothing() returns trigger language plpgsql as $$ begin return null; end $$";

/// What is measured of each table; the last one writes nothing, so that the triggers alone are left.
const STATEMENTS: [&str; 3] = ["insert", "update", "update, unwritten"];

#[derive(Serialize)]
struct Line {
    table: &'static str,
    statement: &'static str,
    /// Microseconds a row of the whole statement: without a trigger, with an empty one, with the stamp.
    none_us: f64,
    empty_us: f64,
    stamp_us: f64,
    /// What the trigger adds to a row.
    empty_adds_us: f64,
    stamp_adds_us: f64,
    /// How many empty triggers the stamp costs.
    ratio: f64,
}

#[derive(Serialize)]
struct Report {
    server: String,
    rows: u64,
    lines: Vec<Line>,
}

/// Runs everything and prints the report.
pub(crate) async fn run(options: Options) -> Result<()> {
    let version = if options.postgres == 18 { PgVersion::V18 } else { PgVersion::V15 };
    let settings = [("fsync", "off"), ("shared_buffers", "1GB"), ("max_wal_size", "8GB"), ("autovacuum", "off")];
    let pg = Pg::private(version, &settings).await.context("that version of Postgres is not installed")?;
    pg.admin().await.batch_execute("create database bench_app").await?;
    let (client, connection) = tokio_postgres::connect(&pg.url("bench_app"), tokio_postgres::NoTls).await?;
    drop(antiphon_testkit::spawn("connection", connection));
    client.batch_execute(EMPTY).await?;
    let server = client.query_one("select version()", &[]).await?.get(0);
    let mut report = Report { server, rows: options.rows, lines: Vec::new() };
    for shape in [narrow(), wide()] {
        measure(&client, &shape, &options, &mut report).await?;
    }
    report.print()
}

fn narrow() -> Shape {
    Shape {
        name: "narrow, 6 columns",
        columns: "title text, status text, n int, done bool".to_owned(),
        insert: "'title ' || n, 'todo', n, false".to_owned(),
        update: "n = n + 1",
    }
}

fn wide() -> Shape {
    let columns = (0..38).map(|number| match number % 4 {
        0 => format!("c{number} text"),
        1 => format!("c{number} int"),
        2 => format!("c{number} timestamptz"),
        _ => format!("c{number} numeric"),
    });
    let values = (0..38).map(|number| match number % 4 {
        0 => "'words of a column ' || n".to_owned(),
        1 => "n".to_owned(),
        2 => "now()".to_owned(),
        _ => "n * 1.25".to_owned(),
    });
    Shape {
        name: "wide, 40 columns",
        columns: columns.collect::<Vec<_>>().join(", "),
        insert: values.collect::<Vec<_>>().join(", "),
        update: "c1 = c1 + 1, c4 = c4 || 'x'",
    }
}

async fn measure(client: &Client, shape: &Shape, options: &Options, report: &mut Report) -> Result<()> {
    for variant in VARIANTS {
        create(client, shape, variant).await?;
    }
    let mut best: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for _ in 0..options.rounds {
        for variant in VARIANTS {
            let insert = format!(
                "insert into {variant} select n, 'acme', {}, '{TX}'::jsonb from generate_series(1, {}) n",
                shape.insert, options.rows
            );
            let update = format!("update {variant} set {}", shape.update);
            client.batch_execute(&format!("truncate {variant}")).await?;
            for (statement, sql) in STATEMENTS.into_iter().zip([insert, update.clone(), update]) {
                if statement == STATEMENTS[2] {
                    // Sorts behind the stamp, which it must not keep from running.
                    let sql = format!(
                        "create trigger \"~~nothing\" before update on {variant} for each row execute function nothing()"
                    );
                    client.batch_execute(&sql).await?;
                }
                client.batch_execute(&format!("vacuum {variant}")).await?;
                client.batch_execute("checkpoint").await?;
                let started = Instant::now();
                client.batch_execute(&sql).await?;
                let us = started.elapsed().as_secs_f64() * 1e6 / options.rows as f64;
                let known = best.entry((statement, variant)).or_insert(us);
                *known = known.min(us);
            }
            client.batch_execute(&format!("drop trigger \"~~nothing\" on {variant}")).await?;
        }
    }
    for statement in STATEMENTS {
        let us = |variant: &str| best.get(&(statement, variant)).copied().unwrap_or(f64::NAN);
        let (none, empty, stamp) = (us("none"), us("empty"), us("stamp"));
        report.lines.push(Line {
            table: shape.name,
            statement,
            none_us: none,
            empty_us: empty,
            stamp_us: stamp,
            empty_adds_us: empty - none,
            stamp_adds_us: stamp - none,
            ratio: (stamp - none) / (empty - none),
        });
    }
    Ok(())
}

/// Makes a table; the one that is stamped is prepared as an operator would.
async fn create(client: &Client, shape: &Shape, variant: &str) -> Result<()> {
    let columns = format!("id int primary key, org text not null, {}, tx jsonb", shape.columns);
    client.batch_execute(&format!("drop table if exists {variant}; create table {variant} ({columns})")).await?;
    match variant {
        "empty" => {
            let sql = "create trigger empty before insert or update on empty for each row execute function empty()";
            client.batch_execute(sql).await?;
        }
        "stamp" => {
            let options = AddOptions { publication: "bench".to_owned(), ..AddOptions::default() };
            let fault = |fault: antiphon_engine::Fault| anyhow!("{}", fault.chain());
            let plan = entities::plan_add(client, &entity(variant), &options).await.map_err(fault)?;
            entities::apply(client, &plan, &mut |_| {}).await.map_err(fault)?;
        }
        _ => {}
    }
    Ok(())
}

fn entity(table: &str) -> EntityType {
    EntityType {
        name: table.to_owned(),
        table: RelationName { schema: "public".to_owned(), name: table.to_owned() },
        org: Tenancy::Column("org".to_owned()),
        key: vec!["id".to_owned()],
        tx: "tx".to_owned(),
        hidden: Vec::new(),
        sync: Sync::All,
        filter: Vec::new(),
        together: Vec::new(),
        refs: BTreeMap::new(),
        fields: BTreeMap::new(),
        rules: Vec::new(),
        polling: Default::default(),
    }
}

impl Report {
    fn print(&self) -> Result<()> {
        let mut text = format!("\n{}\nmicroseconds a row, best of all rounds\n", self.server);
        text.push_str(&format!(
            "{:<20} {:<18} {:>8} {:>8} {:>8} {:>12} {:>12} {:>8}\n",
            "table", "statement", "none", "empty", "stamp", "empty adds", "stamp adds", "ratio"
        ));
        for line in &self.lines {
            text.push_str(&format!(
                "{:<20} {:<18} {:>8.2} {:>8.2} {:>8.2} {:>12.2} {:>12.2} {:>8.1}\n",
                line.table,
                line.statement,
                line.none_us,
                line.empty_us,
                line.stamp_us,
                line.empty_adds_us,
                line.stamp_adds_us,
                line.ratio
            ));
        }
        eprintln!("{text}");
        serde_json::to_writer_pretty(std::io::stdout(), self)?;
        Ok(())
    }
}
