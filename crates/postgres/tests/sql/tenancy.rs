//! Rows whose organisation comes from another row, and rows that are everyone's (MUT-09).

use antiphon_engine::ports::{Catalogue, Rows};
use antiphon_model::{Code, EntityType, ORG_COLUMN, RelationName, Tenancy, Tx};
use antiphon_postgres::entities::{self, AddOptions, Plan, RemoveOptions};
use antiphon_testkit::{Pg, TestDb, for_each_postgres};
use tokio_postgres::Client;

use crate::fixture;

const TABLES: &str = "
    create table pages (id int primary key, org text, title text);
    create table tasks (id int primary key, page_id int references pages on delete cascade, title text);
    create table notes (id int primary key, task_id int references tasks on delete set null, words text);
    create index on tasks (page_id); create index on notes (task_id);
    insert into pages values (1, 'acme'), (2, 'globex'), (3, null);
    insert into tasks values (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c'), (4, null, 'd');
    insert into notes values (1, 1, 'a'), (2, 2, 'b'), (4, 4, 'd')";

fn via(name: &str, table: &str, column: &str, parent: &str) -> EntityType {
    let table_of = |name: &str| RelationName { schema: "public".to_owned(), name: name.to_owned() };
    EntityType {
        org: Tenancy::Via { column: column.to_owned(), table: table_of(parent) },
        ..fixture::entity(name, table)
    }
}

fn types() -> Vec<EntityType> {
    let page = fixture::entity("page", "pages");
    vec![page, via("task", "tasks", "page_id", "pages"), via("note", "notes", "task_id", "tasks")]
}

struct Stage {
    db: TestDb,
    client: Client,
    types: Vec<EntityType>,
}

impl Stage {
    async fn new(pg: &Pg, tables: &str, types: Vec<EntityType>) -> Stage {
        let db = pg.database("tenancy").await;
        let client = db.connect().await;
        client.batch_execute(tables).await.expect("tables");
        let stage = Stage { db, client, types };
        for entity in &stage.types {
            let plan = stage.plan(entity).await;
            entities::apply(&stage.client, &plan, &mut |_| {}).await.expect("prepared");
            let left: Vec<_> = stage.plan(entity).await.steps.into_iter().filter(|step| step.needed).collect();
            assert!(left.is_empty(), "{left:?}");
        }
        stage
    }

    async fn plan(&self, entity: &EntityType) -> Plan {
        entities::plan_add(&self.client, entity, &self.options()).await.expect("a plan")
    }

    fn options(&self) -> AddOptions {
        // The page's nulls are nobody's, which takes whole old rows.
        AddOptions {
            publication: self.db.publication(),
            identity_full: true,
            method: Default::default(),
            service_role: None,
            declared: self.types.clone(),
        }
    }

    async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Every row's organisation, as `table id=org`.
    async fn orgs(&self, table: &str) -> String {
        let sql = format!("select coalesce(string_agg(id || '=' || {ORG_COLUMN}, ' ' order by id), '') from {table}");
        self.client.query_one(&sql, &[]).await.expect("organisations").get(0)
    }

    async fn listed(&self, index: usize, org: &str) -> Vec<String> {
        let query = fixture::query(&self.types[index], org);
        let images = fixture::all_pages(&fixture::rows(&self.db), query).await.expect("a list");
        assert!(images.iter().all(|image| image.get(ORG_COLUMN).is_none()), "our column is shown");
        fixture::field(&images, "id")
    }
}

#[tokio::test]
async fn rows_follow_the_row_they_refer_to_through_levels_mut_09() {
    for_each_postgres(|pg| async move {
        let stage = Stage::new(&pg, TABLES, types()).await;
        assert_eq!(stage.orgs("tasks").await, "1=acme 2=globex 3= 4=");
        assert_eq!(stage.orgs("notes").await, "1=acme 2=globex 4=");
        // A parent moves.
        stage.run("update pages set org = 'globex' where id = 1").await;
        assert_eq!(
            (stage.orgs("tasks").await, stage.orgs("notes").await),
            ("1=globex 2=globex 3= 4=".into(), "1=globex 2=globex 4=".into())
        );
        // A child is given another parent, and takes its own along.
        stage.run("update pages set org = 'acme' where id = 1; update tasks set page_id = 1 where id in (2, 4)").await;
        assert_eq!(
            (stage.orgs("tasks").await, stage.orgs("notes").await),
            ("1=acme 2=acme 3= 4=acme".into(), "1=acme 2=acme 4=acme".into())
        );
        // Nobody's parent becomes somebody's, and somebody's nobody's.
        stage.run("update pages set org = 'acme' where id = 3; update pages set org = null where id = 1").await;
        assert_eq!(
            (stage.orgs("tasks").await, stage.orgs("notes").await),
            ("1= 2= 3=acme 4=".into(), "1= 2= 4=".into())
        );
        // A parent that goes takes its children along or lets them go.
        stage
            .run(
                "insert into notes values (3, 3, 'c'); delete from tasks where id = 3; insert into tasks values (5, 2)",
            )
            .await;
        assert_eq!(
            (stage.orgs("tasks").await, stage.orgs("notes").await),
            ("1= 2= 4= 5=globex".into(), "1= 2= 3= 4=".into())
        );
        // Nobody writes the column by hand.
        stage.run("update tasks set antiphon_org = 'evil'; insert into tasks values (6, 2, 'x', null, 'evil')").await;
        assert_eq!(stage.orgs("tasks").await, "1= 2= 4= 5=globex 6=globex");
    })
    .await;
}

#[tokio::test]
async fn a_move_is_stamped_with_the_mutation_that_moved_house_2() {
    for_each_postgres(|pg| async move {
        let stage = Stage::new(&pg, TABLES, types()).await;
        let setting = r#"{"table":"public.pages","key":["1"],"transactionId":"1500000000000.0000.phone","sourceId":"phone","actor":"al","changedField":"org"}"#;
        stage.run(&format!("begin; set local antiphon.tx = '{setting}'; update pages set org = 'globex' where id = 1; commit")).await;
        for table in ["pages", "tasks", "notes"] {
            let text: String = stage.client.query_one(&format!("select tx::text from {table} where id = 1"), &[]).await.expect("a row").get(0);
            let tx = Tx::parse(&text).expect("a stamp");
            assert_eq!((tx.transaction_id.as_str(), tx.actor.as_deref()), ("1500000000000.0000.phone", Some("al")), "{table}");
            assert_eq!(tx.changed_field.as_deref(), (table == "pages").then_some("org"), "{table}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_role_that_may_write_one_table_only_moves_rows_all_the_same_mut_09() {
    for_each_postgres(|pg| async move {
        let stage = Stage::new(&pg, TABLES, types()).await;
        for (table, sql, expected) in [
            ("pages", "update pages set org = 'globex' where id = 1", "1=globex 2=globex 3= 4="),
            ("tasks", "insert into tasks values (5, 1)", "1=globex 2=globex 3= 4= 5=globex"),
        ] {
            let role = format!("only_{table}_{}", stage.db.slot());
            stage.run(&format!("create role \"{role}\"; grant select, insert, update on {table} to \"{role}\"")).await;
            stage
                .run(&format!(
                    "set role \"{role}\"; set search_path = pg_temp, public; {sql}; reset role; reset search_path"
                ))
                .await;
            assert_eq!(stage.orgs("tasks").await, expected);
        }
    })
    .await;
}

#[tokio::test]
async fn without_a_foreign_key_the_child_may_come_first_and_stay_last_mut_09() {
    for_each_postgres(|pg| async move {
        let tables = "create table pages (id int primary key, org text not null);
            create table tasks (id int primary key, page_id int, title text);
            insert into tasks values (1, 7)";
        let types = vec![fixture::entity("page", "pages"), via("task", "tasks", "page_id", "pages")];
        let stage = Stage::new(&pg, tables, types).await;
        stage.run("insert into tasks values (2, 7)").await;
        assert_eq!(stage.orgs("tasks").await, "1= 2=");
        stage.run("insert into pages values (7, 'acme')").await;
        assert_eq!(stage.orgs("tasks").await, "1=acme 2=acme");
        stage.run("update pages set id = 8").await;
        assert_eq!(stage.orgs("tasks").await, "1= 2=");
        stage.run("update pages set id = 7; delete from pages").await;
        assert_eq!(stage.orgs("tasks").await, "1= 2=");
    })
    .await;
}

#[tokio::test]
async fn a_child_written_while_its_parent_moves_is_not_left_behind_mut_09() {
    for_each_postgres(|pg| async move {
        let stage = Stage::new(&pg, TABLES, types()).await;
        let other = stage.db.connect().await;
        // The child comes first and is not committed when the parent moves.
        stage.run("begin; insert into tasks values (10, 1)").await;
        let moving = other.batch_execute("update pages set org = 'globex' where id = 1");
        let commit = async {
            stage.waits_for_a_lock().await;
            stage.run("commit").await;
        };
        let (moved, ()) = tokio::join!(moving, commit);
        moved.expect("moved");
        // The parent moves first and is not committed when the child comes.
        other.batch_execute("begin; update pages set org = 'acme' where id = 1").await.expect("moving");
        let insert = stage.client.batch_execute("insert into tasks values (11, 1)");
        let watcher = Stage { db: stage.db, client: other, types: Vec::new() };
        let commit = async {
            let client = watcher.db.connect().await;
            lock_is_waited_for(&client).await;
            watcher.run("commit").await;
        };
        let (inserted, ()) = tokio::join!(insert, commit);
        inserted.expect("inserted");
        assert_eq!(watcher.orgs("tasks").await, "1=acme 2=globex 3= 4= 10=acme 11=acme");
    })
    .await;
}

impl Stage {
    async fn waits_for_a_lock(&self) {
        let client = self.db.connect().await;
        lock_is_waited_for(&client).await;
    }
}

async fn lock_is_waited_for(client: &Client) {
    let sql = "select exists(select from pg_stat_activity where datname = current_database()
        and wait_event_type = 'Lock')";
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while !client.query_one(sql, &[]).await.expect("activity").get::<_, bool>(0) {
        assert!(tokio::time::Instant::now() < deadline, "nobody waits");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn filling_is_done_in_batches_and_goes_on_where_it_was_broken_off_mut_09() {
    for_each_postgres(|pg| async move {
        let tables = "create table pages (id int primary key, org text not null);
            create table tasks (id int, page_id int references pages, title text, primary key (id)) partition by range (id);
            create table low partition of tasks for values from (0) to (20000);
            create table high partition of tasks for values from (20000) to (100000);
            insert into pages values (1, 'acme'), (2, 'globex');
            insert into tasks select n, 1 + n % 2, repeat('x', 100) from generate_series(1, 40000) n";
        let types = vec![fixture::entity("page", "pages"), via("task", "tasks", "page_id", "pages")];
        let db = pg.database("filling").await;
        let client = db.connect().await;
        client.batch_execute(tables).await.expect("tables");
        let mut stage = Stage { db, client, types: types[..1].to_vec() };
        let page = stage.plan(&types[0]).await;
        entities::apply(&stage.client, &page, &mut |_| {}).await.expect("prepared");
        stage.types = types;
        let plan = stage.plan(&stage.types[1]).await;
        let fill = plan.steps.iter().position(|step| step.sql.starts_with("do ")).expect("a step that fills");
        entities::apply(&stage.client, &Plan { steps: plan.steps[..fill].to_vec() }, &mut |_| {}).await.expect("before");
        // A row in the middle is locked, so the fill gives up there; what it filled before stays.
        let holder = stage.db.connect().await;
        holder.batch_execute("begin; select from tasks where id = 30000 for update").await.expect("a lock");
        stage.run("set lock_timeout = '100ms'").await;
        stage.client.batch_execute(&plan.steps[fill].sql).await.expect_err("a lock that is not free");
        let filled = "select count(*) filter (where antiphon_org <> ''), count(*) from tasks";
        let part: i64 = stage.client.query_one(filled, &[]).await.expect("rows").get(0);
        assert!((1_000..40_000).contains(&part), "{part}");
        holder.batch_execute("rollback").await.expect("released");
        let plan = stage.plan(&stage.types[1]).await;
        entities::apply(&stage.client, &plan, &mut |_| {}).await.expect("the rest");
        let sql = "select count(*) from tasks t join pages p on p.id = t.page_id where t.antiphon_org = p.org and t.tx is null";
        assert_eq!(stage.client.query_one(sql, &[]).await.expect("rows").get::<_, i64>(0), 40_000);
    })
    .await;
}

#[tokio::test]
async fn lists_of_via_are_of_one_organisation_and_lists_of_everyone_of_all_mut_09() {
    for_each_postgres(|pg| async move {
        let tables = format!("{TABLES}; create table countries (id text primary key, name text); insert into countries values ('de'), ('fr')");
        let mut types = types();
        types.push(EntityType { org: Tenancy::Everyone, ..fixture::entity("country", "countries") });
        let stage = Stage::new(&pg, &tables, types).await;
        assert_eq!(stage.listed(1, "acme").await, ["1"]);
        assert_eq!(stage.listed(2, "globex").await, ["2"]);
        assert_eq!(stage.listed(1, "initech").await, Vec::<String>::new());
        for org in ["acme", "globex"] {
            assert_eq!(stage.listed(3, org).await, ["de", "fr"]);
        }
        let mut one = fixture::query(&stage.types[3], "acme");
        one.ids = vec![vec!["fr".to_owned()]];
        assert_eq!(fixture::rows(&stage.db).list(&one).await.expect("a list").rows.len(), 1);
        let shape = fixture::catalogue(&stage.db).shape(&stage.types[1]).await.expect("a shape");
        assert!(shape.fields.iter().all(|field| field.name != ORG_COLUMN));
        let statuses = entities::list(&stage.client, &stage.types, &stage.db.publication()).await.expect("a list");
        assert!(statuses.iter().all(|status| status.ready()), "{statuses:?}");
    })
    .await;
}

#[tokio::test]
async fn everyones_identity_is_the_key_alone_mut_09() {
    for_each_postgres(|pg| async move {
        let db = pg.database("everyone").await;
        let client = db.connect().await;
        client.batch_execute("create table countries (id text primary key, name text)").await.expect("a table");
        let entity = EntityType { org: Tenancy::Everyone, ..fixture::entity("country", "countries") };
        let options = AddOptions { publication: db.publication(), ..AddOptions::default() };
        let plan = entities::plan_add(&client, &entity, &options).await.expect("a plan");
        assert!(plan.steps.iter().all(|step| !step.sql.contains("index")), "{plan:?}");
        entities::apply(&client, &plan, &mut |_| {}).await.expect("prepared");
        let status = entities::list(&client, &[entity], &db.publication()).await.expect("a list").remove(0);
        assert!(status.ready() && status.identity == "default", "{status:?}");
    })
    .await;
}

#[tokio::test]
async fn what_leads_nowhere_is_refused_in_words_mut_09() {
    for_each_postgres(|pg| async move {
        let db = pg.database("nowhere").await;
        let client = db.connect().await;
        client
            .batch_execute(&format!(
                "{TABLES}; create table countries (id int primary key, a int, b int, unique (a, b))"
            ))
            .await
            .expect("tables");
        let (task, note) = (via("task", "tasks", "page_id", "pages"), via("note", "notes", "task_id", "tasks"));
        let everyone = EntityType { org: Tenancy::Everyone, ..fixture::entity("page", "pages") };
        let back = via("page", "pages", "id", "tasks");
        let missing = via("task", "tasks", "nothing", "pages");
        let page = fixture::entity("page", "pages");
        for (entity, declared, word) in [
            (&task, vec![task.clone()], "not declared"),
            (&task, vec![task.clone(), everyone], "everyone's"),
            (&task, vec![task.clone(), back], "from here again"),
            (&note, vec![task.clone(), note.clone(), page.clone()], "antiphon entities add task"),
            (&missing, vec![page], "no column `nothing`"),
        ] {
            let options = AddOptions { publication: db.publication(), declared, ..AddOptions::default() };
            let fault = entities::plan_add(&client, entity, &options).await.expect_err(word);
            assert_eq!(fault.code(), Code::TableUnfit);
            assert!(fault.detail().contains(word), "{word}: {}", fault.detail());
        }
    })
    .await;
}

#[tokio::test]
async fn letting_go_takes_column_and_triggers_away_children_first_mut_09() {
    for_each_postgres(|pg| async move {
        let stage = Stage::new(&pg, TABLES, types()).await;
        let options = RemoveOptions { publication: stage.db.publication(), drop_tx: true };
        let fault = entities::plan_remove(&stage.client, &stage.types[1], &options).await.expect_err("notes follow it");
        assert!(fault.detail().contains("remove that one first"), "{}", fault.detail());
        for entity in stage.types.iter().rev() {
            let plan = entities::plan_remove(&stage.client, entity, &options).await.expect("a plan");
            entities::apply(&stage.client, &plan, &mut |_| {}).await.expect("let go");
            assert!(entities::plan_remove(&stage.client, entity, &options).await.expect("a plan").done());
        }
        let left = "select (select count(*) from pg_trigger where tgname like '~antiphon%')
            + (select count(*) from pg_proc where pronamespace = 'antiphon'::regnamespace)
            + (select count(*) from pg_attribute where attname in ('antiphon_org', 'tx') and attrelid > 16384)";
        assert_eq!(stage.client.query_one(left, &[]).await.expect("a count").get::<_, i64>(0), 0);
    })
    .await;
}

#[tokio::test]
async fn rules_that_read_a_column_take_whole_old_rows_and_say_why_mut_05() {
    for_each_postgres(|pg| async move {
        let db = pg.database("rules").await;
        let client = db.connect().await;
        client
            .batch_execute("create table tasks (id int primary key, org text not null, owner text)")
            .await
            .expect("a table");
        let mut entity = fixture::entity("task", "tasks");
        let rule = |column: &str| antiphon_model::Rule {
            when: Some(antiphon_model::Condition::Owner { column: column.to_owned() }),
            ..antiphon_model::Rule::default()
        };
        let options = AddOptions { publication: db.publication(), ..AddOptions::default() };
        // Key and organisation are in the index anyway.
        entity.rules = vec![rule("org")];
        let plan = entities::plan_add(&client, &entity, &options).await.expect("a plan");
        entities::apply(&client, &plan, &mut |_| {}).await.expect("prepared");
        fixture::catalogue(&db).shape(&entity).await.expect("a shape");
        entity.rules = vec![rule("owner")];
        let fault = fixture::catalogue(&db).shape(&entity).await.expect_err("old rows lack the owner");
        assert!(fault.detail().contains("`owner`"), "{}", fault.detail());
        let status = entities::list(&client, std::slice::from_ref(&entity), &db.publication()).await.expect("a list");
        assert!(status[0].problem.as_ref().is_some_and(|problem| problem.contains("`owner`")), "{status:?}");
        let plan = entities::plan_add(&client, &entity, &options).await.expect("a plan");
        let full = plan.steps.iter().find(|step| step.sql.ends_with("replica identity full")).expect("a step");
        assert!(full.needed && full.why.contains("`owner`"), "{full:?}");
        entities::apply(&client, &plan, &mut |_| {}).await.expect("prepared");
        fixture::catalogue(&db).shape(&entity).await.expect("a shape");
    })
    .await;
}
