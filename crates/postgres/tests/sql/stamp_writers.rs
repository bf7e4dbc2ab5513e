//! The stamp trigger and the writers that applications have: each that could silence it, once (MUT-04).

use antiphon_model::Tx;
use antiphon_testkit::for_each_postgres;

use crate::{
    fixture,
    stamp::{Stage, by_client, fields},
};

const FORGED: &str =
    r#"{"transactionId":"9999999999999.0000.x","sourceId":"x","actor":"x","changedField":null,"fields":{"*":"0"}}"#;

#[tokio::test]
async fn a_loaded_tx_that_is_written_back_is_replaced_mut_04() {
    for_each_postgres(|pg| async move {
        let stage = Stage::tasks(&pg, "insert into tasks (id, title) values (1, 'a')").await;
        // As it was before it was prepared: no stamp, so no field but the changed one has an id.
        stage.run(&format!("update tasks set title = 'b', tx = '{FORGED}'")).await;
        let first = stage.tx(1).await;
        assert_eq!((fields(&first), first.source_id.as_str()), (vec!["title"], "sql"));
        let loaded = stage.text("select tx::text from tasks").await.unwrap();
        stage.run("update tasks set n = 1").await;
        stage.run(&format!("update tasks set body = 'c', n = n, tx = '{loaded}'")).await;
        let last = stage.tx(1).await;
        assert_eq!(fields(&last), ["body", "n", "title"]);
        assert_eq!(last.field_id("title"), first.field_id("title"));
        assert!(last.field_id("n") > last.field_id("title") && last.field_id("body") > last.field_id("n"));
        stage.run(&format!("insert into tasks (id, tx) values (2, '{FORGED}')")).await;
        assert_eq!((stage.tx(2).await.source_id.as_str(), fields(&stage.tx(2).await)), ("sql", vec!["*"]));
    })
    .await;
}

#[tokio::test]
async fn a_copied_row_is_a_new_row_mut_04() {
    for_each_postgres(|pg| async move {
        let stage = Stage::tasks(&pg, "").await;
        let created = by_client("1500000000000.0000.phone", None);
        stage.mutate("1", &created, "insert into tasks (id, title) values (1, 'a')").await;
        stage.run("insert into tasks select id + 1, org, title, body, n, tx from tasks").await;
        // In the very transaction that wrote the original, too.
        stage
            .run("begin; update tasks set title = 'b' where id = 1; create temp table kept as select * from tasks")
            .await;
        stage.run("insert into tasks select 3, org, title, body, n, tx from kept where id = 1; commit").await;
        for id in [2, 3] {
            let copy = stage.tx(id).await;
            assert_eq!((copy.source_id.as_str(), fields(&copy)), ("sql", vec!["*"]), "{copy:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_upsert_of_all_columns_stamps_what_it_changed_mut_04() {
    for_each_postgres(|pg| async move {
        let stage = Stage::tasks(&pg, "").await;
        stage.run("insert into tasks (id, title, n) values (1, 'a', 1)").await;
        let before = stage.tx(1).await;
        stage
            .run(
                "insert into tasks (id, org, title, body, n) values (1, 'acme', 'b', null, 1) on conflict (id) do update
                 set (org, title, body, n, tx) = (excluded.org, excluded.title, excluded.body, excluded.n, excluded.tx)",
            )
            .await;
        let after = stage.tx(1).await;
        assert_eq!(fields(&after), ["*", "title"]);
        assert_eq!(after.field_id("*"), before.field_id("*"));
    })
    .await;
}

#[tokio::test]
async fn copied_in_rows_are_stamped_and_a_restore_may_keep_theirs_mut_04() {
    for_each_postgres(|pg| async move {
        let stage = Stage::tasks(&pg, "").await;
        let created = by_client("1500000000000.0000.phone", None);
        stage.mutate("1", &created, "insert into tasks (id, title) values (1, 'a')").await;
        stage.run("update tasks set n = 2").await;
        let before = stage.tx(1).await;
        let dump = stage.copy_out("tasks").await;
        stage.run("truncate tasks").await;
        stage.copy_in("tasks", dump.clone()).await;
        assert_eq!(fields(&stage.tx(1).await), ["*"]);
        assert_eq!(stage.tx(1).await.source_id, "sql");
        stage.run("truncate tasks; set antiphon.keep_tx = 'on'").await;
        stage.copy_in("tasks", dump.clone()).await;
        assert_eq!(stage.tx(1).await, before);
        stage.run("update tasks set title = 'z'").await;
        assert_eq!(stage.tx(1).await, before);
        stage.run("reset antiphon.keep_tx; truncate tasks").await;
        // Nobody else may keep what arrives.
        let other = stage.other("keeper").await;
        other.batch_execute("set antiphon.keep_tx = 'on'").await.expect("a setting of anybody's");
        other.execute(&format!("insert into tasks (id, tx) values (1, '{FORGED}')"), &[]).await.expect("a row");
        assert_eq!(stage.tx(1).await.source_id, "sql");
    })
    .await;
}

#[tokio::test]
async fn a_row_that_moves_between_partitions_keeps_its_stamps_mut_04() {
    for_each_postgres(|pg| async move {
        let tables = "create table tasks (id int, org text not null default 'acme', day int, title text, n int,
                primary key (id, day)) partition by range (day);
             create table low partition of tasks for values from (0) to (10);
             create table high (n int, gone int, title text, id int not null, day int not null, org text not null);
             alter table high drop column gone;
             alter table tasks attach partition high for values from (10) to (100)";
        let mut entity = fixture::entity("task", "tasks");
        entity.key = vec!["id".to_owned(), "day".to_owned()];
        let stage = Stage::new(&pg, tables, entity).await;
        stage.run("create table later partition of tasks for values from (100) to (1000)").await;
        stage.run("insert into tasks (id, day, title) values (1, 1, 'a')").await;
        let created = stage.tx(1).await;
        for (day, title) in [(11, "b"), (101, "c"), (2, "d")] {
            let before = stage.tx(1).await;
            stage.run(&format!("update tasks set day = {day}, title = '{title}' where id = 1")).await;
            let moved = stage.tx(1).await;
            assert_eq!(fields(&moved), ["*", "day", "title"], "to {day}");
            assert_eq!(moved.field_id("*"), created.field_id("*"));
            assert!(moved.transaction_id > before.transaction_id);
        }
        let tx = by_client("1500000000000.0000.phone", Some("day"));
        let sql = "update tasks set day = 12 where id = 1";
        stage.mutate_key(&["1", "2"], &tx, sql).await;
        let moved = stage.tx(1).await;
        assert_eq!((moved.source_id.as_str(), moved.changed_field.as_deref()), ("phone", Some("day")));
        assert_eq!(moved.field_id("day"), Some("1500000000000.0000.phone"));
        assert_ne!(moved.field_id("title"), Some("1500000000000.0000.phone"));
        // Straight into a leaf, with a stamp of another transaction: it is a new row.
        stage.run(&format!("insert into later (id, day, tx) values (2, 100, '{FORGED}')")).await;
        assert_eq!(fields(&stage.tx(2).await), ["*"]);
    })
    .await;
}

#[tokio::test]
async fn generated_columns_are_nobodys_writing_mut_04() {
    for_each_postgres(|pg| async move {
        let tables = "create table tasks (id int primary key, org text not null default 'acme', title text,
            loud text generated always as (upper(title)) stored, n int)";
        let stage = Stage::new(&pg, tables, fixture::entity("task", "tasks")).await;
        stage.run("insert into tasks (id, title) values (1, 'a'); update tasks set title = 'b'").await;
        assert_eq!(fields(&stage.tx(1).await), ["*", "title"]);
        let before = stage.tx(1).await;
        stage.run("update tasks set n = n").await;
        assert_eq!(stage.tx(1).await, before);
    })
    .await;
}

#[tokio::test]
async fn columns_without_equality_and_equal_values_of_other_text_are_noticed_mut_04() {
    for_each_postgres(|pg| async move {
        let tables = "create table tasks (id int primary key, org text not null default 'acme', j json, x xml, p point,
            d numeric, b jsonb, a int[], f float8)";
        let stage = Stage::new(&pg, tables, fixture::entity("task", "tasks")).await;
        stage
            .run(r#"insert into tasks (id, j, p, d, b, a, f) values (1, '{"a":1}', '(1,2)', 1.0, '{"a":1.0}', '{1,2}', 0)"#)
            .await;
        let before = stage.tx(1).await;
        stage
            .run(r#"update tasks set j = '{"a":1}', p = '(1,2)', d = 1.0, b = '{"a": 1.0}', a = '{1,2}', f = 0"#)
            .await;
        assert_eq!(stage.tx(1).await, before);
        stage
            .run(r#"update tasks set j = '{"a": 1}', p = '(1,3)', d = 1.00, b = '{"a": 1.00}', a = null, f = '-0'"#)
            .await;
        assert_eq!(fields(&stage.tx(1).await), ["*", "a", "b", "d", "f", "j", "p"]);
    })
    .await;
}

#[tokio::test]
async fn what_the_applications_triggers_change_has_the_mutations_id_mut_04() {
    for_each_postgres(|pg| async move {
        let more = "
            create table other (id int primary key, org text not null default 'acme', title text);
            create function loud() returns trigger language plpgsql as
                $$ begin new.body := upper(new.title); return new; end $$;
            create trigger zz_loud before insert or update on tasks for each row execute function loud();
            create function after() returns trigger language plpgsql as $$ begin
                if pg_trigger_depth() = 1 then
                    update tasks set n = coalesce(n, 0) + 1 where id = new.id;
                    update tasks set n = 100 where id = new.id + 1;
                    update other set title = new.title;
                end if; return null; end $$;
            create trigger after after update on tasks for each row execute function after()";
        let stage = Stage::tasks(&pg, more).await;
        stage.prepare_other("other").await;
        stage.run("insert into tasks (id, title) values (1, 'a'), (2, 'b'); insert into other (id) values (2)").await;
        let tx = by_client("1500000000000.0000.phone", Some("title"));
        stage.mutate("1", &tx, "update tasks set title = 'new' where id = 1").await;
        let own = stage.tx(1).await;
        assert_eq!((own.transaction_id.as_str(), own.source_id.as_str()), (tx.transaction_id.as_str(), "phone"));
        for field in ["title", "body", "n"] {
            assert_eq!(own.field_id(field), Some(tx.transaction_id.as_str()), "{field}");
        }
        // The second stamp of the row is the application's own doing.
        assert_eq!(own.changed_field, None);
        let sibling = stage.tx(2).await;
        assert_eq!((fields(&sibling), sibling.changed_field.as_deref()), (vec!["*", "n"], None));
        assert_eq!((sibling.field_id("n"), &sibling.actor), (Some(tx.transaction_id.as_str()), &tx.actor));
        let other = Tx::parse(&stage.text("select tx::text from other").await.unwrap()).unwrap();
        assert_eq!((fields(&other), other.field_id("title")), (vec!["*", "title"], Some(tx.transaction_id.as_str())));
    })
    .await;
}

#[tokio::test]
async fn a_delete_that_becomes_an_update_has_the_mutations_id_mut_04() {
    for_each_postgres(|pg| async move {
        let more = "
            create function soft() returns trigger language plpgsql as
                $$ begin update tasks set n = -1 where id = old.id; return null; end $$;
            create trigger soft before delete on tasks for each row execute function soft()";
        let stage = Stage::tasks(&pg, more).await;
        stage.run("insert into tasks (id, title) values (1, 'a')").await;
        let tx = by_client("1500000000000.0000.phone", None);
        stage.mutate("1", &tx, "delete from tasks where id = 1").await;
        let row = stage.tx(1).await;
        assert_eq!((fields(&row), row.field_id("n")), (vec!["*", "n"], Some(tx.transaction_id.as_str())));
    })
    .await;
}

#[tokio::test]
async fn plain_sql_after_a_clock_that_is_ahead_gets_a_greater_id_mut_04() {
    for_each_postgres(|pg| async move {
        let stage = Stage::tasks(&pg, "insert into tasks (id, title) values (1, 'a')").await;
        for (ahead, expected) in
            [("9000000000000.0000.zz", "9000000000000.0001.sql-"), ("9000000000000.9999.zz", "9000000000001.0000.sql-")]
        {
            let tx = by_client(ahead, Some("body"));
            stage.mutate("1", &tx, "update tasks set body = 'x' where id = 1").await;
            // A rebase may keep a lower id; the greatest of the row counts, not the last.
            let low = by_client("1500000000000.0000.phone", Some("n"));
            stage.mutate("1", &low, "update tasks set n = 1 where id = 1").await;
            stage.run("begin; update tasks set title = title || 'b'").await;
            let first = stage.tx(1).await;
            assert!(first.transaction_id.starts_with(expected), "{first:?}");
            stage.run("update tasks set title = title || 'c'; commit").await;
            assert!(stage.tx(1).await.transaction_id >= first.transaction_id);
        }
    })
    .await;
}

#[tokio::test]
async fn another_role_is_not_believed_house_2() {
    for_each_postgres(|pg| async move {
        let stage = Stage::tasks(&pg, "insert into tasks (id, title) values (1, 'a')").await;
        let other = stage.other("stranger").await;
        let forged = r#"{"table":"public.tasks","key":["1"],"transactionId":"9999999999999.0000.x","sourceId":"x","actor":"al","changedField":"title"}"#;
        for sql in ["insert into tasks (id) values (2)", "update tasks set title = 'b'"] {
            other.execute("select set_config('antiphon.tx', $1, false)", &[&forged]).await.expect("a setting");
            other.execute(sql, &[]).await.expect(sql);
        }
        for id in [1, 2] {
            let row = stage.tx(id).await;
            assert_eq!((row.source_id.as_str(), row.actor, row.changed_field), ("sql", None, None));
            assert!(row.transaction_id < "9".to_owned());
        }
    })
    .await;
}

#[tokio::test]
async fn several_patches_of_one_row_have_their_own_ids() {
    for_each_postgres(|pg| async move {
        let stage = Stage::tasks(&pg, "insert into tasks (id, title) values (1, 'a'), (2, 'a')").await;
        let mut tx = by_client("1500000000000.0002.phone", None);
        tx.fields.insert("title".to_owned(), "1500000000000.0001.phone".to_owned());
        tx.fields.insert("n".to_owned(), "1500000000000.0002.phone".to_owned());
        stage.mutate("1", &tx, "update tasks set title = 'b', n = 3, body = 'c'").await;
        let row = stage.tx(1).await;
        assert_eq!(fields(&row), ["body", "n", "title"]);
        assert_eq!(row.field_id("title"), Some("1500000000000.0001.phone"));
        for field in ["n", "body"] {
            assert_eq!(row.field_id(field), Some("1500000000000.0002.phone"));
        }
        // They are of the row that is named, and of no other.
        assert_eq!(stage.tx(2).await.field_id("title"), Some("1500000000000.0002.phone"));
    })
    .await;
}
