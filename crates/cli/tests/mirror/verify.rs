//! Compares source, mirror and replica, table by table: how many rows, and a hash of all they hold.

use tokio_postgres::Client;

use crate::{
    pgbench,
    scene::{Scene, connect},
    zoo,
};

/// What was found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// One line for each table.
    pub lines: Vec<String>,
    /// What differs; none is the claim.
    pub differences: Vec<String>,
    /// Rows compared.
    pub rows: i64,
}

/// Compares every declared table.
pub async fn compare(scene: &Scene) -> Verdict {
    let source = connect(&scene.source.url()).await;
    let (mirror, replica) = (connect(&scene.target.url()).await, connect(&scene.replica.url()).await);
    let mut verdict = Verdict::default();
    for (_, table, _) in pgbench::ENTITIES.iter().chain(zoo::ENTITIES) {
        let columns = columns(&source, table).await;
        let (of_source, of_mirror) = (hash(&source, table, &columns).await, hash(&mirror, table, &columns).await);
        let of_replica = hash(&replica, table, &columns).await;
        verdict.rows += of_source.0;
        verdict.lines.push(format!("{table}: {} rows, hash {}", of_source.0, of_source.1));
        for (name, client, found) in [("mirror", &mirror, &of_mirror), ("replica", &replica, &of_replica)] {
            if *found != of_source {
                let examples = examples((&source, client), table, &columns).await;
                verdict
                    .differences
                    .push(format!("{table}: {of_source:?} in the source, {found:?} in the {name}\n{examples}"));
            }
        }
    }
    verdict
}

/// Every column but generated ones and our metadata, which is not mirrored; what the source calls them, all must have.
async fn columns(client: &Client, table: &str) -> String {
    let sql = "select string_agg(format('%I::text', attname), ', ' order by attname) from pg_attribute
               where attrelid = $1::text::regclass and attnum > 0 and not attisdropped and attgenerated = ''
               and attname <> 'tx'";
    client.query_one(sql, &[&table]).await.expect("the columns are read").get(0)
}

async fn hash(client: &Client, table: &str, columns: &str) -> (i64, String) {
    let sql = format!(
        "select count(*), coalesce(sum(hashtextextended(row({columns})::text, 0)::numeric), 0)::text from {table}"
    );
    let row = client.query_one(&sql, &[]).await.expect("the table is hashed");
    (row.get(0), row.get(1))
}

async fn examples((one, other): (&Client, &Client), table: &str, columns: &str) -> String {
    let sql = format!("select row({columns})::text from {table}");
    let mut rows = Vec::new();
    for client in [one, other] {
        let found = client.query(&sql, &[]).await.expect("the rows are read");
        rows.push(found.iter().map(|row| row.get::<_, String>(0)).collect::<std::collections::BTreeSet<_>>());
    }
    let cut = |row: &String| row.chars().take(300).collect::<String>();
    let lacks: Vec<String> = rows[0].difference(&rows[1]).take(4).map(|row| format!("  lacks {}", cut(row))).collect();
    let has: Vec<String> = rows[1].difference(&rows[0]).take(4).map(|row| format!("  has   {}", cut(row))).collect();
    [lacks, has].concat().join("\n")
}
