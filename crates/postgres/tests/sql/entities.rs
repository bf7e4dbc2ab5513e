//! Tables are prepared and let go while the application writes (PG-63, house 11).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use antiphon_engine::ports::Catalogue;
use antiphon_model::{Cell, Code, EntityType, RelationName};
use antiphon_postgres::entities::{self, AddOptions, Plan, Progress, RemoveOptions};
use antiphon_testkit::{Pg, TestDb, for_each_postgres};
use antiphon_wire::Message;
use tokio_postgres::Client;

use crate::fixture;

const PLAIN: &str = "
    create table tasks (id int primary key, org text, title text);
    insert into tasks select n, 'acme', 't' || n from generate_series(1, 500) n;
";
const PARTITIONED: &str = "
    create table tasks (id int, day int, org text not null, title text, primary key (id, day)) partition by range (day);
    create table tasks_low partition of tasks for values from (0) to (10);
    create table tasks_high partition of tasks for values from (10) to (100) partition by range (day);
    create table tasks_high_a partition of tasks_high for values from (10) to (50);
    create table \"tasks_High b\" partition of tasks_high for values from (50) to (100);
    insert into tasks select n, n % 100, 'acme', 't' || n from generate_series(1, 500) n;
";

fn partitioned() -> EntityType {
    let mut entity = fixture::entity("task", "tasks");
    entity.key = vec!["id".to_owned(), "day".to_owned()];
    entity
}

fn options(db: &TestDb, identity_full: bool) -> AddOptions {
    AddOptions { publication: db.publication(), identity_full, ..AddOptions::default() }
}

/// The application: it updates, inserts and deletes without a pause, and none of it may ever fail.
struct Application {
    stop: Arc<AtomicBool>,
    writes: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Application {
    async fn start(db: &TestDb, insert: &'static str) -> Application {
        let (stop, writes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let client = db.connect().await;
        let (stopped, written) = (Arc::clone(&stop), Arc::clone(&writes));
        let task = antiphon_testkit::spawn("application", async move {
            let mut id = 1_000;
            while !stopped.load(Ordering::Relaxed) {
                id += 1;
                let id_text = id.to_string();
                for sql in [
                    insert.replace("$1", &id_text),
                    format!("update tasks set title = title || 'x' where id in ({id_text}, {})", id % 500),
                    format!("delete from tasks where id = {id_text}"),
                ] {
                    let done = client.batch_execute(&sql).await;
                    assert!(done.is_ok(), "the application's own statement failed: {sql}: {done:?}");
                }
                written.fetch_add(1, Ordering::Relaxed);
            }
        });
        Application { stop, writes, task }
    }

    /// Waits until it has written since now.
    async fn goes_on(&self) {
        let from = self.writes.load(Ordering::Relaxed);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while self.writes.load(Ordering::Relaxed) < from + 2 {
            assert!(!self.task.is_finished(), "the application has failed");
            assert!(tokio::time::Instant::now() < deadline, "the application is stuck");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the application's statements succeed");
    }
}

/// Runs a plan step by step, with the application going on after each.
async fn apply_slowly(client: &Client, plan: &Plan, application: &Application) {
    for step in &plan.steps {
        let one = Plan { steps: vec![step.clone()] };
        entities::apply(client, &one, &mut |_| {}).await.unwrap_or_else(|fault| panic!("{}: {fault:?}", step.sql));
        application.goes_on().await;
    }
}

async fn round_trip(pg: Pg, tables: &str, entity: EntityType, insert: &'static str, identity_full: bool) {
    let db = pg.database("entities").await;
    let client = db.connect().await;
    client.batch_execute(tables).await.expect("tables");
    let before = catalogue_text(&client).await;
    let application = Application::start(&db, insert).await;
    let plan = entities::plan_add(&client, &entity, &options(&db, identity_full)).await.expect("a plan");
    assert!(!plan.done() && plan.steps.iter().all(|step| !step.lock.is_empty() && !step.why.is_empty()));
    assert!(plan.steps.last().expect("steps").sql.contains("add table"), "the publication comes last");
    apply_slowly(&client, &plan, &application).await;
    let again = entities::plan_add(&client, &entity, &options(&db, identity_full)).await.expect("a plan");
    assert!(again.done(), "{:?}", again.steps.iter().filter(|step| step.needed).collect::<Vec<_>>());
    let status = &entities::list(&client, std::slice::from_ref(&entity), &db.publication()).await.expect("a list")[0];
    assert!(status.ready() && status.in_publication && status.tx_column, "{status:?}");
    assert_eq!(status.leaves, status.leaves_ready);
    fixture::catalogue(&db).shape(&entity).await.expect("a shape");
    deletes_tell_key_and_organisation(&db, &client, &entity).await;
    let remove = RemoveOptions { publication: db.publication(), drop_tx: true };
    let plan = entities::plan_remove(&client, &entity, &remove).await.expect("a plan");
    apply_slowly(&client, &plan, &application).await;
    application.end().await;
    let after = catalogue_text(&client).await;
    // NOT NULL stays: rows without organisation never come back by themselves.
    assert_eq!(after.replace("org:t", "org:?"), before.replace("org:f", "org:?").replace("org:t", "org:?"));
    assert!(entities::plan_remove(&client, &entity, &remove).await.expect("a plan").done());
}

/// Everything that preparing may touch.
async fn catalogue_text(client: &Client) -> String {
    let sql = "
        select string_agg(line, e'\\n' order by line) from (
            select c.relname || ' ' || c.relkind::text || ' ' || c.relreplident::text as line
                from pg_class c where c.relnamespace = 'public'::regnamespace
            union all
            select a.attrelid::regclass::text || '.' || a.attname || ':' || left(a.attnotnull::text, 1) from pg_attribute a
                join pg_class c on c.oid = a.attrelid
                where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and a.attnum > 0
                    and not a.attisdropped
            union all
            select conrelid::regclass::text || ' ' || conname from pg_constraint
                where connamespace = 'public'::regnamespace and contype <> 'n'
            union all
            select p.pubname || ' ' || prrelid::regclass::text from pg_publication_rel
                join pg_publication p on p.oid = prpubid
        ) lines";
    client.query_one(sql, &[]).await.expect("a catalogue").get(0)
}

/// Reads what the stream tells of deletes: as which table, with which columns, and whose row it was.
async fn deletes_tell_key_and_organisation(db: &TestDb, client: &Client, entity: &EntityType) {
    let made = "select pg_create_logical_replication_slot($1, 'pgoutput')::text";
    client.query_one(made, &[&db.slot()]).await.expect("a slot");
    client.batch_execute("delete from tasks where id = 7").await.expect("a delete");
    let sql = "select data from pg_logical_slot_get_binary_changes($1, null, null, 'proto_version', '1',
        'publication_names', $2)";
    let mut relations = std::collections::BTreeMap::new();
    let mut found = false;
    for row in client.query(sql, &[&db.slot(), &db.publication()]).await.expect("a stream") {
        let payload: Vec<u8> = row.get(0);
        match antiphon_wire::decode(payload.into(), false).expect("a message") {
            Message::Relation { relation, .. } => {
                relations.insert(relation.oid, relation);
            }
            Message::Delete(row) => {
                let relation = &relations[&row.relation];
                assert_eq!(relation.name, "tasks");
                let mut values = std::collections::BTreeMap::new();
                for (column, cell) in relation.columns.iter().zip(row.old.expect("an old row").1.cells()) {
                    let needed = entity.key.contains(&column.name) || column.name == "org";
                    assert!(column.identity || !needed, "{} is not told as identity", column.name);
                    if let Cell::Text(text) = cell {
                        values.insert(column.name.clone(), String::from_utf8_lossy(text).into_owned());
                    }
                }
                assert_eq!(values["org"], "acme");
                found |= values["id"] == "7";
            }
            _ => {}
        }
    }
    assert!(found, "the delete was not told");
    let dropped = "select pg_drop_replication_slot($1)";
    client.query_one(dropped, &[&db.slot()]).await.expect("no slot");
}

#[tokio::test]
async fn a_plain_table_is_prepared_and_let_go_under_writers_pg_63() {
    let insert = "insert into tasks (id, org, title) values ($1, 'acme', 'n')";
    for_each_postgres(|pg| round_trip(pg, PLAIN, fixture::entity("task", "tasks"), insert, false)).await;
}

#[tokio::test]
async fn a_partitioned_table_is_prepared_and_let_go_under_writers_pg_63() {
    let insert = "insert into tasks (id, day, org, title) values ($1, $1 % 100, 'acme', 'n')";
    for_each_postgres(|pg| round_trip(pg, PARTITIONED, partitioned(), insert, false)).await;
}

#[tokio::test]
async fn full_identity_is_set_and_taken_back() {
    let insert = "insert into tasks (id, day, org, title) values ($1, $1 % 100, 'acme', 'n')";
    for_each_postgres(|pg| round_trip(pg, PARTITIONED, partitioned(), insert, true)).await;
}

#[tokio::test]
async fn a_partition_made_later_is_found_and_prepared_too() {
    for_each_postgres(|pg| async move {
        let db = pg.database("later").await;
        let client = db.connect().await;
        client.batch_execute(PARTITIONED).await.expect("tables");
        let plan = entities::plan_add(&client, &partitioned(), &options(&db, false)).await.expect("a plan");
        entities::apply(&client, &plan, &mut |_| {}).await.expect("prepared");
        client.batch_execute("create table tasks_new partition of tasks for values from (100) to (200)").await.unwrap();
        let status = &entities::list(&client, &[partitioned()], &db.publication()).await.expect("a list")[0];
        assert!(!status.ready() && status.leaves == status.leaves_ready + 1, "{status:?}");
        let plan = entities::plan_add(&client, &partitioned(), &options(&db, false)).await.expect("a plan");
        entities::apply(&client, &plan, &mut |_| {}).await.expect("prepared");
        let status = &entities::list(&client, &[partitioned()], &db.publication()).await.expect("a list")[0];
        assert!(status.ready(), "{status:?}");
    })
    .await;
}

#[tokio::test]
async fn a_plan_broken_off_anywhere_is_made_anew_and_goes_on() {
    for_each_postgres(|pg| async move {
        for (tables, entity) in [(PLAIN, fixture::entity("task", "tasks")), (PARTITIONED, partitioned())] {
            let mut stop_after = 1;
            loop {
                let db = pg.database("broken").await;
                let client = db.connect().await;
                client.batch_execute(tables).await.expect("tables");
                let whole = entities::plan_add(&client, &entity, &options(&db, false)).await.expect("a plan");
                let needed: Vec<_> = whole.steps.iter().filter(|step| step.needed).cloned().collect();
                if stop_after >= needed.len() {
                    break;
                }
                let part = Plan { steps: needed[..stop_after].to_vec() };
                entities::apply(&client, &part, &mut |_| {}).await.expect("a part");
                let rest = entities::plan_add(&client, &entity, &options(&db, false)).await.expect("a plan");
                let left = rest.steps.iter().filter(|step| step.needed).count();
                assert!(left <= needed.len() - stop_after + 1, "step {stop_after} is done again");
                entities::apply(&client, &rest, &mut |_| {}).await.expect("the rest");
                let status = &entities::list(&client, std::slice::from_ref(&entity), &db.publication())
                    .await
                    .expect("a list")[0];
                assert!(status.ready(), "after {stop_after}: {status:?}");
                stop_after += 3;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_index_left_incomplete_is_dropped_first() {
    for_each_postgres(|pg| async move {
        let db = pg.database("invalid").await;
        let client = db.connect().await;
        client.batch_execute(PLAIN).await.expect("tables");
        client.batch_execute("insert into tasks values (-1, 'acme'), (-2, 'acme')").await.expect("rows");
        // A unique build over equal values fails and leaves its index behind.
        let name = entities::identity_index_name("tasks");
        let broken = format!("create unique index concurrently {name} on tasks (org)");
        client.batch_execute(&broken).await.expect_err("two rows agree");
        let entity = fixture::entity("task", "tasks");
        let fault = entities::plan_add(&client, &entity, &options(&db, false)).await.expect_err("other columns");
        assert!(fault.detail().contains("other columns"), "{}", fault.detail());
        client.batch_execute(&format!("drop index {name}")).await.expect("no index");
        let broken = format!("create unique index concurrently {name} on tasks (id, org)");
        client.batch_execute(&broken).await.expect("an index");
        let spoilt = "update pg_index set indisvalid = false where indexrelid = $1::text::regclass";
        client.execute(spoilt, &[&name]).await.expect("spoilt");
        let plan = entities::plan_add(&client, &entity, &options(&db, false)).await.expect("a plan");
        assert!(plan.steps.iter().any(|step| step.needed && step.sql.starts_with("drop index concurrently")));
        entities::apply(&client, &plan, &mut |_| {}).await.expect("prepared");
        // One that was dropped later is missed at once, and made anew (PG-64).
        for expected in [true, false, true] {
            let statuses = entities::list(&client, std::slice::from_ref(&entity), &db.publication()).await;
            assert_eq!(statuses.expect("a list")[0].ready(), expected);
            if expected {
                client.batch_execute(&format!("drop index {name}")).await.expect("no index");
            } else {
                let plan = entities::plan_add(&client, &entity, &options(&db, false)).await.expect("a plan");
                entities::apply(&client, &plan, &mut |_| {}).await.expect("prepared");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_lock_that_is_not_free_is_waited_for_in_short_turns_and_told() {
    for_each_postgres(|pg| async move {
        let db = pg.database("locked").await;
        let (client, mut holder) = (db.connect().await, db.connect().await);
        client.batch_execute("create table tasks (id int primary key, org text not null)").await.expect("a table");
        let entity = fixture::entity("task", "tasks");
        let plan = entities::plan_add(&client, &entity, &options(&db, false)).await.expect("a plan");
        let held = holder.transaction().await.expect("a transaction");
        held.batch_execute("lock table tasks in row exclusive mode").await.expect("a lock");
        let (told, mut retried) = tokio::sync::mpsc::channel(64);
        let mut report = move |progress: Progress<'_>| {
            if let Progress::Retrying { attempt, .. } = progress {
                told.try_send(attempt).unwrap_or_default();
            }
        };
        let apply = entities::apply(&client, &plan, &mut report);
        let release = async {
            assert_eq!(retried.recv().await, Some(1));
            held.commit().await.expect("released");
        };
        let (applied, ()) = tokio::join!(apply, release);
        applied.expect("prepared in the end");
        assert!(entities::list(&client, &[entity], &db.publication()).await.expect("a list")[0].ready());
    })
    .await;
}

#[tokio::test]
async fn tables_that_cannot_be_captured_are_refused_with_what_to_do_pg_63_pg_85() {
    for_each_postgres(|pg| async move {
        let db = pg.database("refused").await;
        let client = db.connect().await;
        client
            .batch_execute(
                "create table keyless (id int not null, org text not null);
                 create table nulls (id int primary key, org text); insert into nulls values (1, null);
                 create unlogged table un (id int primary key, org text not null);
                 create view seen as select * from nulls; create materialized view stored as select * from nulls;
                 create foreign data wrapper w; create server s foreign data wrapper w;
                 create foreign table far (id int, org text) server s;
                 create temp table short (id int primary key, org text not null)",
            )
            .await
            .expect("tables");
        for (table, code, word) in [
            ("keyless", Code::TableWithoutIdentity, "primary key"),
            ("nulls", Code::TableUnfit, "--identity full"),
            ("un", Code::TableUnfit, "unlogged"),
            ("seen", Code::TableUnfit, "view"),
            ("stored", Code::TableUnfit, "view"),
            ("far", Code::TableUnfit, "foreign"),
            ("short", Code::TableUnfit, "no table public.short"),
        ] {
            let entity = fixture::entity("thing", table);
            let fault = entities::plan_add(&client, &entity, &options(&db, false)).await.expect_err(table);
            assert_eq!(fault.code(), code, "{table}");
            assert!(fault.detail().contains(word), "{table}: {}", fault.detail());
        }
        // With whole old rows logged, rows without organisation are nobody's and do no harm.
        let entity = fixture::entity("thing", "nulls");
        let plan = entities::plan_add(&client, &entity, &options(&db, true)).await.expect("a plan");
        entities::apply(&client, &plan, &mut |_| {}).await.expect("prepared");
        assert!(entities::list(&client, &[entity], &db.publication()).await.expect("a list")[0].ready());
    })
    .await;
}

#[tokio::test]
async fn an_identity_that_was_there_before_comes_back() {
    for_each_postgres(|pg| async move {
        let db = pg.database("before").await;
        let client = db.connect().await;
        client
            .batch_execute(
                "create table tasks (id int primary key, org text not null, code int not null unique);
                 alter table tasks replica identity using index tasks_code_key",
            )
            .await
            .expect("a table");
        let before = catalogue_text(&client).await;
        let entity = fixture::entity("task", "tasks");
        let plan = entities::plan_add(&client, &entity, &options(&db, false)).await.expect("a plan");
        entities::apply(&client, &plan, &mut |_| {}).await.expect("prepared");
        let remove = RemoveOptions { publication: db.publication(), drop_tx: true };
        let plan = entities::plan_remove(&client, &entity, &remove).await.expect("a plan");
        entities::apply(&client, &plan, &mut |_| {}).await.expect("let go");
        assert_eq!(catalogue_text(&client).await, before);
        let used = "select indexrelid::regclass::text from pg_index where indisreplident";
        assert_eq!(client.query_one(used, &[]).await.expect("an index").get::<_, String>(0), "tasks_code_key");
    })
    .await;
}

#[tokio::test]
async fn a_declaration_is_proposed_from_keys_references_and_names() {
    for_each_postgres(|pg| async move {
        let db = pg.database("infer").await;
        let client = db.connect().await;
        client
            .batch_execute(
                "create table pages (id uuid primary key, organization_id text not null, team int, search tsvector,
                    api_token text);
                 create table tasks (id uuid primary key, organization_id text not null,
                    page_id uuid references pages, status text);
                 create index on tasks (organization_id, status);
                 create table logs (line text); create view v as select 1 as x",
            )
            .await
            .expect("tables");
        let proposals = entities::tables(&client, &[]).await.expect("proposals");
        let names: Vec<&str> = proposals.iter().map(|proposal| proposal.name.as_str()).collect();
        assert_eq!(names, ["log", "page", "task", "v"]);
        assert!(proposals[0].refusal.is_some() && proposals[3].refusal.is_some());
        let page = &proposals[1];
        assert_eq!(
            (page.org.clone(), page.hidden.clone()),
            (vec!["organization_id".to_owned(), "team".to_owned()], vec!["search".to_owned(), "api_token".to_owned()])
        );
        let page = page.entity("page", "organization_id");
        let table = RelationName::parse("tasks").expect("a name");
        let task = entities::infer(&client, &table, &[page]).await.expect("a proposal");
        assert_eq!(task.refs.get("page_id").map(String::as_str), Some("page"));
        assert_eq!(task.filter, ["status", "page_id"]);
    })
    .await;
}
