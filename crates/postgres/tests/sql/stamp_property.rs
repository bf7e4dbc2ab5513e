//! The stamp's law over random statements: a field's id changes exactly when its value does, or its mutation names it.

use std::collections::BTreeMap;

use antiphon_model::Tx;
use antiphon_testkit::for_each_postgres;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::stamp::{Stage, by_client};

/// Statements of one run; `ANTIPHON_STAMP_STEPS` makes it longer.
const STEPS: usize = 150;
const FIELDS: [&str; 3] = ["title", "body", "n"];

type Row = (BTreeMap<&'static str, Option<String>>, Tx);

async fn read(stage: &Stage) -> BTreeMap<i32, Row> {
    let rows = stage.client.query("select id, title, body, n::text, tx::text from tasks", &[]).await.expect("rows");
    let row = |row: &tokio_postgres::Row| {
        let values = FIELDS.iter().enumerate().map(|(index, field)| (*field, row.get(index + 1))).collect();
        (row.get(0), (values, Tx::parse(row.get(4)).expect("a stamp")))
    };
    rows.iter().map(row).collect()
}

fn value(random: &mut StdRng, field: &str) -> String {
    match (field, random.random_range(0..4)) {
        (_, 0) => "null".to_owned(),
        ("n", number) => number.to_string(),
        (_, number) => format!("'{number}'"),
    }
}

fn assignments(random: &mut StdRng) -> String {
    let chosen: Vec<&str> = FIELDS.into_iter().filter(|_| random.random_bool(0.5)).collect();
    let all: Vec<String> = chosen.into_iter().map(|field| format!("{field} = {}", value(random, field))).collect();
    if all.is_empty() { "tx = null".to_owned() } else { all.join(", ") }
}

#[tokio::test]
async fn prop_an_id_changes_with_its_value_and_only_then_mut_04() {
    let seed: u64 = std::env::var("ANTIPHON_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    let steps = std::env::var("ANTIPHON_STAMP_STEPS").ok().and_then(|steps| steps.parse().ok()).unwrap_or(STEPS);
    println!("ANTIPHON_SEED={seed}");
    for_each_postgres(|pg| async move {
        let mut random = StdRng::seed_from_u64(seed);
        let stage = Stage::tasks(&pg, "").await;
        for step in 0..steps {
            let before = read(&stage).await;
            let id = random.random_range(1..4);
            let mutation = format!("15000000{:05}.0000.phone", random.random_range(0..99_999));
            let mut named = None;
            let sql = match random.random_range(0..5) {
                0 => format!(
                    "insert into tasks (id, title) values ({id}, {}) on conflict do nothing",
                    value(&mut random, "title")
                ),
                1 => format!(
                    "insert into tasks (id, title, n) values ({id}, {}, 1) on conflict (id) do update
                     set title = excluded.title, n = excluded.n, tx = excluded.tx",
                    value(&mut random, "title")
                ),
                2 => format!("update tasks set {}", assignments(&mut random)),
                3 if random.random_bool(0.2) => format!("delete from tasks where id = {id}"),
                _ => {
                    let field = FIELDS.choose(&mut random).expect("a field");
                    named = Some(*field);
                    format!("update tasks set {field} = {} where id = {id}", value(&mut random, field))
                }
            };
            match named {
                Some(field) => stage.mutate(&id.to_string(), &by_client(&mutation, Some(field)), &sql).await,
                None => stage.run(&sql).await,
            }
            let after = read(&stage).await;
            for (id, (values, tx)) in &after {
                let Some((old, old_tx)) = before.get(id) else {
                    assert_eq!(tx.fields.len(), 1, "seed {seed}, step {step}: {sql}: {tx:?}");
                    continue;
                };
                for field in FIELDS {
                    let told = format!("seed {seed}, step {step}: {sql}: {field} of {id}: {old_tx:?} -> {tx:?}");
                    let is_named = named == Some(field) && sql.ends_with(&format!("where id = {id}"));
                    let marked = tx.field_id(field) == Some(tx.transaction_id.as_str());
                    match values[field] != old[field] || is_named {
                        true => assert!(marked && tx != old_tx, "{told}"),
                        false => assert_eq!(tx.field_id(field), old_tx.field_id(field), "{told}"),
                    }
                }
                if values == old && named.is_none() {
                    assert_eq!(tx, old_tx, "seed {seed}, step {step}: {sql}");
                }
                if tx != old_tx && tx.source_id == "sql" {
                    let newest = old_tx.ids().into_iter().max().unwrap_or_default();
                    assert!(
                        tx.transaction_id.as_str() > newest,
                        "seed {seed}, step {step}: {sql}: {old_tx:?} -> {tx:?}"
                    );
                }
            }
        }
    })
    .await;
}
