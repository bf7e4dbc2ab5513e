//! Rules in SQL pick the rows that the one policy function picks, page by page (MUT-05).

use std::collections::BTreeMap;

use antiphon_engine::ports::{FieldQuery, ListQuery, Rows};
use antiphon_model::{Columns, Condition, EntityType, Reader, Role, Rule};
use antiphon_testkit::for_each_postgres;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::fixture;

/// Columns of types whose equal values differ in text, or whose values are no texts, among them.
const TABLE: &str = "
create type state as enum ('public', 'draft');
create table papers (id int4 primary key, org text not null, who text, boss uuid, state state, amount numeric,
  chars char(5), flag bool, tags text[], title text);
create unique index papers_identity on papers (id, org);
alter table papers replica identity full;
insert into papers select n, case when n % 7 = 0 then 'globex' else 'acme' end, (array['bob', 'Bob', 'alice', null, 'bob '])[1 + n % 5],
  (array['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', null]::uuid[])[1 + n % 2], (array['public', 'draft', null]::state[])[1 + n % 3],
  (array[1.0, 1.00, 2])[1 + n % 3], (array['x', 'xy'])[1 + n % 2], n % 2 = 0, (array['{a}', '{b,c}'])[1 + n % 2]::text[], 't' || n
from generate_series(1, 60) n;";
const SUBJECTS: [&str; 4] =
    ["bob", "alice", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"];
/// Values that rules may name: fitting, unfitting, and equal to what is there in another way of writing.
const VALUES: [(&str, &[&str]); 6] = [
    ("state", &["public", "draft", "gone"]),
    ("amount", &["1.0", "1.00", "1", "two"]),
    ("chars", &["x", "x    ", "xy   "]),
    ("flag", &["t", "true", "f"]),
    ("tags", &["{a}", "{b,c}", "a"]),
    ("who", &["bob", "", "' or true --"]),
];
const ROLES: [Role; 3] = [Role::Viewer, Role::Member, Role::Owner];

fn rule(random: &mut StdRng) -> Rule {
    let when = match random.random_range(0..5) {
        0 => None,
        1 => Some(Condition::Owner { column: "who".into() }),
        2 => Some(Condition::Owner { column: "boss".into() }),
        _ => {
            let (column, values) = VALUES.choose(random).expect("some");
            let values = values.iter().filter(|_| random.random_bool(0.6)).map(|value| (*value).to_owned());
            Some(Condition::OneOf { column: (*column).to_owned(), values: values.collect() })
        }
    };
    let read = match random.random_range(0..4) {
        0 => Columns::none(),
        1 => Columns::All,
        2 => Columns::of(["title"]),
        _ => Columns::of(["who", "title"]),
    };
    let roles = ROLES.into_iter().filter(|_| random.random_bool(0.5)).collect();
    Rule { roles, when, read, write: Columns::All, ..Rule::default() }
}

fn papers(random: &mut StdRng) -> EntityType {
    let rules = (0..random.random_range(1..4)).map(|_| rule(random)).collect();
    EntityType { rules, ..fixture::entity("paper", "papers") }
}

#[tokio::test]
async fn prop_rules_in_sql_pick_what_the_policy_function_picks_mut_05() {
    let seed: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("SEED={seed}");
    for_each_postgres(|pg| async move {
        let mut random = StdRng::seed_from_u64(seed);
        let db = pg.database("sight").await;
        let client = db.connect().await;
        client.batch_execute(TABLE).await.expect("the table");
        let rows = fixture::rows(&db);
        let (mut seen, mut hidden) = (0, 0);
        for _ in 0..60 {
            let entity = papers(&mut random);
            let subject = (*SUBJECTS.choose(&mut random).expect("some")).to_owned();
            let reader = Reader { subject, role: *ROLES.choose(&mut random).expect("some") };
            let whole = rows.list(&fixture::query(&entity, "acme")).await.expect("all rows");
            let rights = |policy: &BTreeMap<String, Option<String>>| {
                entity.rights(&reader, |column| policy.get(column).and_then(Option::as_deref)).read
            };
            let expected: Vec<&str> =
                whole.rows.iter().filter(|row| !rights(&row.policy).is_empty()).map(|row| row.image.as_str()).collect();
            let limit = random.random_range(1..20);
            let mut query = ListQuery { reader: Some(reader.clone()), limit, ..fixture::query(&entity, "acme") };
            let mut found = Vec::new();
            loop {
                let page = rows.list(&query).await.expect("a page");
                let full = page.rows.len() == limit;
                found.extend(page.rows.into_iter().map(|row| row.image));
                match page.next {
                    Some(next) => query.after = Some(next),
                    None => break,
                }
                assert!(full, "a page that goes on is full: rows that are not seen take no place");
            }
            assert_eq!(found, expected, "SEED={seed} {reader:?} {:?}", entity.rules);
            (seen, hidden) = (seen + found.len(), hidden + whole.rows.len() - found.len());
            let row = whole.rows.choose(&mut random).expect("a row");
            let image: serde_json::Value = serde_json::from_str(&row.image).expect("JSON");
            for field in ["id", "title", "who", "state"] {
                let query = FieldQuery {
                    reader: Some(reader.clone()),
                    ..fixture::value(&entity, "acme", &[&image["id"].to_string()], field)
                };
                let value = rows.field(&query).await.expect("an answer");
                assert_eq!(
                    value.is_some(),
                    rights(&row.policy).contains(field),
                    "SEED={seed} {field} {reader:?} {:?}",
                    entity.rules
                );
            }
        }
        assert!(seen > 100 && hidden > 100, "{seen} seen, {hidden} not: the cases prove little");
    })
    .await;
}
