//! Lists: filters, order, pages, the snapshot, and what callers may send.

use antiphon_engine::ports::{Comparison, Filter, Order, Rows};
use antiphon_model::{Code, EntityType, Tenancy, Xid};
use antiphon_postgres::{ConnectionInfo, LiveRows, pool};
use antiphon_testkit::{TestDb, for_each_postgres};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;

use crate::fixture::{self, all_pages, field, query};

const TASKS: &str = "
    create table tasks (id uuid primary key, org text not null, tx jsonb, title text, rank int, score float8,
        due date, state text not null default 'todo', ci text);
    create table pairs (a text, b int, org int not null, v text, primary key (a, b));
";

fn tasks() -> EntityType {
    let mut entity = fixture::entity("task", "tasks");
    entity.filter = ["title", "rank", "score", "due", "state"].map(str::to_owned).to_vec();
    entity
}

fn filter(field: &str, comparison: Comparison, value: Option<&str>) -> Filter {
    Filter { field: field.to_owned(), comparison, value: value.map(str::to_owned) }
}

fn order(field: &str, descending: bool) -> Order {
    Order { field: field.to_owned(), descending }
}

async fn fill(client: &tokio_postgres::Client, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let titles = ["", "a", "B", "ä", "Z", "z", "zz", "漢", "a b", "a\t", "A"];
    for _ in 0..120 {
        let mut maybe = |values: &[&str]| match random.random_range(0..values.len() + 1) {
            0 => "null".to_owned(),
            index => format!("'{}'", values[index - 1]),
        };
        let (title, rank) = (maybe(&titles), maybe(&["0", "1", "2", "-5"]));
        let (score, due) =
            (maybe(&["NaN", "-Infinity", "0.1", "-0"]), maybe(&["2020-01-01", "infinity", "0044-03-15 BC"]));
        let sql = format!(
            "insert into tasks (id, org, title, rank, score, due, state) values (gen_random_uuid(), 'acme', {title}, \
             {rank}, {score}, {due}, {})",
            if random.random_bool(0.5) { "'todo'" } else { "'done'" }
        );
        client.batch_execute(&sql).await.expect("a row");
    }
    client
        .batch_execute("insert into tasks (id, org, title) values (gen_random_uuid(), 'globex', 'theirs')")
        .await
        .expect("a row");
}

#[tokio::test]
async fn prop_pages_joined_equal_the_whole_order_nulls_last_text_by_bytes() {
    for_each_postgres(|pg| async move {
        let db = pg.database("pages").await;
        let client = db.connect().await;
        client.batch_execute(TASKS).await.expect("tables");
        let seed = rand::rng().random::<u64>();
        eprintln!("seed {seed}");
        fill(&client, seed).await;
        let rows = fixture::rows(&db);
        let mut random = StdRng::seed_from_u64(seed ^ 1);
        let columns = ["title", "rank", "score", "due", "state", "id"];
        for _ in 0..60 {
            let mut list = query(&tasks(), "acme");
            list.limit = random.random_range(1..40);
            for _ in 0..random.random_range(0..4) {
                let name = columns[random.random_range(0..columns.len())];
                if !list.order.iter().any(|order| order.field == name) {
                    list.order.push(order(name, random.random_bool(0.5)));
                }
            }
            let collate = |name: &str| if ["title", "state"].contains(&name) { " collate \"C\"" } else { "" };
            let level = |order: &Order| {
                let direction = if order.descending { "desc" } else { "asc" };
                format!("{}{} {direction} nulls last, ", order.field, collate(&order.field))
            };
            let levels: String = list.order.iter().map(level).collect();
            let sql = format!("select id::text from tasks where org = 'acme' order by {levels} id");
            let expected: Vec<String> =
                client.query(&sql, &[]).await.expect("a sort").iter().map(|row| row.get(0)).collect();
            let found = all_pages(&rows, list.clone()).await.expect("pages");
            assert_eq!(field(&found, "id"), expected, "order {:?}, limit {}", list.order, list.limit);
        }
    })
    .await;
}

#[tokio::test]
async fn composite_text_keys_page_by_bytes_and_an_id_names_its_row() {
    for_each_postgres(|pg| async move {
        let db = pg.database("pairs").await;
        let client = db.connect().await;
        client.batch_execute(TASKS).await.expect("tables");
        let icu = "select exists(select from pg_collation where collname = 'en-x-icu')";
        if client.query_one(icu, &[]).await.expect("an answer").get(0) {
            let change = "alter table pairs alter column a type text collate \"en-x-icu\"";
            client.batch_execute(change).await.expect("a collation");
        }
        let sql = "insert into pairs select k, n, 7, k || n from unnest(array['a', 'B', 'ä', 'Z', '']) k, \
                   generate_series(-2, 9) n";
        client.batch_execute(sql).await.expect("rows");
        let mut entity = fixture::entity("pair", "pairs");
        entity.key = vec!["a".to_owned(), "b".to_owned()];
        let rows = fixture::rows(&db);
        let mut list = query(&entity, "7");
        list.limit = 7;
        let found = all_pages(&rows, list.clone()).await.expect("pages");
        let sorted = "select a || '/' || b from pairs order by a collate \"C\", b";
        let expected: Vec<String> =
            client.query(sorted, &[]).await.expect("a sort").iter().map(|row| row.get(0)).collect();
        let joined: Vec<String> =
            found.iter().map(|row| format!("{}/{}", row["a"].as_str().unwrap(), row["b"])).collect();
        assert_eq!(joined, expected);
        list.ids = [["ä", "3"], ["", "-2"], ["nobody", "1"], ["a", "no number"]]
            .map(|key| key.map(str::to_owned).to_vec())
            .to_vec();
        let found = rows.list(&list).await.expect("a page");
        assert_eq!((found.rows.len(), found.next), (2, None));
        for org in ["8", "acme", "07", ""] {
            let page = rows.list(&query(&entity, org)).await.expect("a page");
            assert!(page.rows.is_empty(), "{org:?} sees another organisation's rows");
        }
    })
    .await;
}

#[tokio::test]
async fn filters_are_read_by_the_columns_type_and_a_bad_value_is_named() {
    for_each_postgres(|pg| async move {
        let db = pg.database("filters").await;
        let client = db.connect().await;
        client.batch_execute(TASKS).await.expect("tables");
        let sql = "insert into tasks (id, org, title, rank, due) values
            (gen_random_uuid(), 'acme', 'a', 1, '2020-01-01'), (gen_random_uuid(), 'acme', 'B', 2, '2021-01-01'),
            (gen_random_uuid(), 'acme', null, null, null), (gen_random_uuid(), 'globex', 'a', 1, null)";
        client.batch_execute(sql).await.expect("rows");
        let rows = fixture::rows(&db);
        let injection = "1'); drop table tasks; --";
        for (filters, expected) in [
            (vec![filter("rank", Comparison::Equal, Some(" 1 "))], vec!["a"]),
            (vec![filter("rank", Comparison::Greater, Some("1"))], vec!["B"]),
            (vec![filter("rank", Comparison::LessOrEqual, Some("2"))], vec!["B", "a"]),
            (vec![filter("rank", Comparison::Equal, None)], vec!["null"]),
            (vec![filter("due", Comparison::GreaterOrEqual, Some("2020-06-01"))], vec!["B"]),
            (vec![filter("title", Comparison::Less, Some("a"))], vec!["B"]),
            (vec![filter("title", Comparison::Equal, Some(injection))], vec![]),
            (
                vec![
                    filter("rank", Comparison::GreaterOrEqual, Some("1")),
                    filter("title", Comparison::Equal, Some("a")),
                ],
                vec!["a"],
            ),
        ] {
            let mut list = query(&tasks(), "acme");
            list.order = vec![order("title", false)];
            list.filters = filters.clone();
            let found = all_pages(&rows, list).await.expect("a page");
            assert_eq!(field(&found, "title"), expected, "{filters:?}");
        }
        for (filters, after, orders, named) in [
            (vec![filter("rank", Comparison::Equal, Some("one"))], None, vec![], "where[rank]:"),
            (vec![filter("rank", Comparison::Less, Some("99999999999"))], None, vec![], "where[rank][lt]:"),
            (vec![filter("due", Comparison::Greater, Some("2020-99-99"))], None, vec![], "where[due][gt]:"),
            (vec![filter("title", Comparison::Equal, Some("a\0b"))], None, vec![], "where[title]:"),
            (vec![filter("rank", Comparison::Greater, None)], None, vec![], "where[rank][gt]:"),
            (vec![filter("ci", Comparison::Equal, Some("x"))], None, vec![], "where[ci]:"),
            (vec![filter("tx", Comparison::Equal, Some("x"))], None, vec![], "where[tx]:"),
            (vec![filter("no\"body", Comparison::Equal, Some("x"))], None, vec![], "where[no\"body]:"),
            (vec![], Some("rubbish"), vec![], "after:"),
            (vec![], None, vec![order("ci", false)], "order:"),
            (vec![], None, vec![order("rank", false), order("rank", true)], "order:"),
        ] {
            let mut list = query(&tasks(), "acme");
            (list.filters, list.after, list.order) = (filters, after.map(str::to_owned), orders);
            let fault = rows.list(&list).await.expect_err(named);
            assert_eq!(fault.code(), Code::ParameterInvalid, "{named}");
            assert!(fault.detail().starts_with(named), "{named} {}", fault.detail());
        }
        // A cursor whose values do not fit the types any more.
        let mut list = query(&tasks(), "acme");
        list.limit = 1;
        list.order = vec![order("title", false)];
        list.after = rows.list(&list).await.expect("a page").next;
        client
            .batch_execute("update tasks set title = '5'; alter table tasks alter title type int using 5")
            .await
            .expect("a change");
        let fault = rows.list(&list).await.expect_err("an old cursor");
        assert!(fault.detail().starts_with("after:"), "{}", fault.detail());
    })
    .await;
}

#[tokio::test]
async fn a_page_knows_what_its_snapshot_saw_even_when_it_is_empty() {
    for_each_postgres(|pg| async move {
        let db = pg.database("snapshot").await;
        let mut client = db.connect().await;
        client.batch_execute(TASKS).await.expect("tables");
        let rows = fixture::rows(&db);
        let running = client.transaction().await.expect("a transaction");
        let sql = "insert into tasks (id, org) values (gen_random_uuid(), 'acme') returning pg_current_xact_id()::text";
        let xid: String = running.query_one(sql, &[]).await.expect("a row").get(0);
        let xid = Xid::new(xid.parse().expect("a number"));
        let page = rows.list(&query(&tasks(), "acme")).await.expect("a page");
        assert!(page.rows.is_empty() && !page.visibility.sees(xid));
        running.commit().await.expect("a commit");
        let page = rows.list(&query(&tasks(), "acme")).await.expect("a page");
        assert!(page.rows.len() == 1 && page.visibility.sees(xid));
        let nobody = ["00000000-0000-0000-0000-000000000000"];
        assert!(rows.field(&fixture::value(&tasks(), "acme", &nobody, "title")).await.expect("an answer").is_none());
        let fault = rows.field(&fixture::value(&tasks(), "acme", &nobody, "tx")).await.expect_err("a hidden field");
        assert_eq!(fault.code(), Code::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_large_value_is_left_out_of_the_list_and_read_whole_by_itself() {
    for_each_postgres(|pg| async move {
        let db = pg.database("large").await;
        let client = db.connect().await;
        client.batch_execute(TASKS).await.expect("tables");
        let id = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        let sql = format!("insert into tasks (id, org, title) values ('{id}', 'acme', repeat('ab\"', 200000))");
        client.batch_execute(&sql).await.expect("a row");
        let rows = fixture::rows(&db);
        let page = rows.list(&query(&tasks(), "acme")).await.expect("a page");
        let image: Value = serde_json::from_str(&page.rows[0].image).expect("JSON");
        assert!(image.get("title").is_none());
        let details: Value =
            serde_json::from_str(&format!("{{{}}}", page.rows[0].details.as_ref().expect("details"))).unwrap();
        let value =
            rows.field(&fixture::value(&tasks(), "acme", &[id], "title")).await.expect("an answer").expect("a row");
        let omitted = &details["omitted"]["title"];
        assert_eq!(omitted["bytes"], value.value.len());
        assert_eq!(omitted["checksum"], antiphon_engine::checksum(&value.value));
        let theirs = rows.field(&fixture::value(&tasks(), "globex", &[id], "title")).await.expect("an answer");
        assert!(theirs.is_none(), "another organisation reads the value");
    })
    .await;
}

#[tokio::test]
async fn a_changed_table_is_described_anew_in_the_same_call() {
    for_each_postgres(|pg| async move {
        let db = pg.database("ddl").await;
        let client = db.connect().await;
        client.batch_execute(TASKS).await.expect("tables");
        client.batch_execute("insert into tasks (id, org) values (gen_random_uuid(), 'acme')").await.expect("a row");
        let rows = fixture::rows(&db);
        let list = query(&tasks(), "acme");
        let mut fingerprint = rows.list(&list).await.expect("a page").fingerprint;
        for (change, present, absent) in [
            ("alter table tasks add column fresh int default 7", "fresh", "nothing"),
            ("alter table tasks drop column fresh", "title", "fresh"),
            ("alter table tasks rename column ci to renamed", "renamed", "ci"),
            ("alter table tasks alter column renamed type jsonb using '{}'", "renamed", "ci"),
            (
                "alter table tasks rename to old; create table tasks (like old including all);
                 alter table tasks add column swapped int;
                 insert into tasks (id, org) values (gen_random_uuid(), 'acme')",
                "swapped",
                "nothing",
            ),
        ] {
            client.batch_execute(change).await.expect(change);
            let page = rows.list(&list).await.expect(change);
            let image: Value = serde_json::from_str(&page.rows[0].image).expect("JSON");
            assert!(image.get(present).is_some() && image.get(absent).is_none(), "{change}: {image}");
            assert_ne!(page.fingerprint, fingerprint, "{change}");
            fingerprint = page.fingerprint;
        }
        client.batch_execute("drop table tasks").await.expect("a drop");
        assert_eq!(rows.list(&list).await.expect_err("no table").code(), Code::TableUnfit);
    })
    .await;
}

#[tokio::test]
async fn row_security_is_an_error_and_never_a_silent_part_pg_94() {
    for_each_postgres(|pg| async move {
        let db = pg.database("rls").await;
        let client = db.connect().await;
        client.batch_execute(TASKS).await.expect("tables");
        let role = format!("{}_role", db.name());
        let sql = format!(
            "create role {role} login; grant select on tasks to {role}; alter table tasks enable row level security;
             create policy part on tasks using (rank = 1);
             insert into tasks (id, org, rank) values (gen_random_uuid(), 'acme', 1), (gen_random_uuid(), 'acme', 2)"
        );
        client.batch_execute(&sql).await.expect("a policy");
        let rows = as_role(&db, &role);
        let fault = rows.list(&query(&tasks(), "acme")).await.expect_err("a policy in the way");
        assert_eq!(fault.code(), Code::Permission);
        client.batch_execute(&format!("drop owned by {role}; drop role {role}")).await.expect("cleaned up");
    })
    .await;
}

#[tokio::test]
async fn an_organisation_column_of_any_exact_type_serves() {
    for_each_postgres(|pg| async move {
        let db = pg.database("orgs").await;
        let client = db.connect().await;
        for (type_name, own, other) in [
            ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"),
            ("int8", "42", "042"),
            ("varchar(20)", "acme", "Acme"),
            ("team", "red", "blue"),
        ] {
            let sql = format!(
                "drop table if exists t; drop type if exists team; create type team as enum ('red', 'blue');
                 create table t (id int primary key, holder {type_name} not null, tx jsonb); insert into t values (1, '{own}')"
            );
            client.batch_execute(&sql).await.expect("a table");
            let mut entity = fixture::entity("thing", "t");
            entity.org = Tenancy::Column("holder".to_owned());
            let rows = fixture::rows(&db);
            assert_eq!(rows.list(&query(&entity, own)).await.expect("a page").rows.len(), 1, "{type_name}");
            for stranger in [other, "no such thing", ""] {
                assert!(rows.list(&query(&entity, stranger)).await.expect("a page").rows.is_empty(), "{type_name}");
            }
        }
    })
    .await;
}

fn as_role(db: &TestDb, role: &str) -> LiveRows {
    let url = db.url().replace("postgres@", &format!("{role}@"));
    LiveRows::new(pool(&ConnectionInfo::parse(&url).expect("a URL"), "antiphon test", 1).expect("a pool"))
}
