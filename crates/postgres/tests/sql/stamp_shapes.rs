//! The stamp trigger and tables that change after it was made, with names of every kind (MUT-04, SEC-04).

use antiphon_model::{RelationName, Tx};
use antiphon_postgres::entities::{self, AddOptions, RemoveOptions};
use antiphon_testkit::for_each_postgres;

use crate::{
    fixture,
    stamp::{Stage, by_client, fields},
};

#[tokio::test]
async fn a_changed_table_breaks_no_write_and_no_change_goes_unstamped_mut_04() {
    for_each_postgres(|pg| async move {
        for change in [
            "alter table tasks add column fresh text",
            "alter table tasks drop column body",
            "alter table tasks rename column body to words",
            "alter table tasks alter column n type text",
            "alter table tasks alter column n type point using null",
            "alter table tasks add column made text generated always as (upper(title)) stored",
            "alter table tasks rename to tasks_old; create view tasks as select * from tasks_old",
        ] {
            let stage = Stage::tasks(&pg, "").await;
            stage.run("insert into tasks (id, title) values (1, 'a'); update tasks set n = 1").await;
            let other = stage.db.connect().await;
            other.batch_execute("update tasks set n = 2").await.expect("a session that knows the old shape");
            stage.run(change).await;
            for client in [&stage.client, &other] {
                let sql = "update tasks set title = title || 'b' where id = 1";
                client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{change}: {error:?}"));
                let row = stage.tx(1).await;
                assert_eq!(row.field_id("title"), Some(row.transaction_id.as_str()), "{change}");
                assert_ne!(row.field_id("made"), Some(row.transaction_id.as_str()), "{change}");
            }
            if change.contains("fresh") {
                stage.run("update tasks set fresh = 'x' where id = 1").await;
                assert!(fields(&stage.tx(1).await).contains(&"fresh"));
            }
            let tx = by_client("1500000000000.0000.phone", Some("title"));
            stage.mutate("1", &tx, "update tasks set title = 'm' where id = 1").await;
            assert_eq!(stage.tx(1).await.changed_field.as_deref(), Some("title"), "{change}");
            stage.run("insert into tasks (id) values (2)").await;
            assert_eq!(fields(&stage.tx(2).await), ["*"], "{change}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_metadata_column_that_is_gone_breaks_no_write_mut_04() {
    for_each_postgres(|pg| async move {
        let stage = Stage::tasks(&pg, "").await;
        stage.run("insert into tasks (id) values (1); alter table tasks drop column tx").await;
        stage.run("insert into tasks (id) values (2); update tasks set n = 1").await;
    })
    .await;
}

#[tokio::test]
async fn an_outdated_stamp_is_told_and_made_anew() {
    for_each_postgres(|pg| async move {
        let stage = Stage::tasks(&pg, "").await;
        let list = async || {
            let entities = std::slice::from_ref(&stage.entity);
            entities::list(&stage.client, entities, &stage.db.publication()).await.expect("a list").remove(0)
        };
        assert!(list().await.ready(), "{:?}", list().await);
        for (change, word) in [
            ("alter table tasks add column fresh text", "another shape"),
            ("alter table tasks disable trigger \"~antiphon_stamp\"", "stamp"),
            ("drop trigger \"~antiphon_stamp\" on tasks", "stamp"),
        ] {
            stage.run(change).await;
            let status = list().await;
            assert!(status.problem.as_ref().is_some_and(|problem| problem.contains(word)), "{change}: {status:?}");
            stage.prepare().await;
            assert!(list().await.ready(), "{change}: {:?}", list().await);
        }
        let options = RemoveOptions { publication: stage.db.publication(), drop_tx: false };
        let plan = entities::plan_remove(&stage.client, &stage.entity, &options).await.expect("a plan");
        entities::apply(&stage.client, &plan, &mut |_| {}).await.expect("let go");
        let left = "select count(*)::text from pg_proc where pronamespace = 'antiphon'::regnamespace";
        assert_eq!(stage.text(left).await.as_deref(), Some("0"));
        stage.run("insert into tasks (id) values (1)").await;
        assert_eq!(stage.text("select tx::text from tasks").await, None);
    })
    .await;
}

#[tokio::test]
async fn hostile_names_are_stamped_like_others_sec_04() {
    for_each_postgres(|pg| async move {
        for name in ["a\"b", "o'clock", "b\\s", "$tx", "$changes", "$antiphon0$", "new", "größe 表", &"x".repeat(63), "a = b"] {
            let quoted = format!("\"{}\"", name.replace('"', "\"\""));
            let db_tables = format!(
                "create schema {quoted}; create table {quoted}.{quoted} (id int not null, {quoted} text not null, org text
                    not null default 'acme', n int, primary key ({quoted}, id))"
            );
            let mut entity = fixture::entity("thing", "thing");
            entity.table = RelationName { schema: name.to_owned(), name: name.to_owned() };
            entity.key = vec![name.to_owned(), "id".to_owned()];
            let mut reversed = name.to_owned();
            reversed.pop();
            entity.tx = format!("t{reversed}");
            let stage = Stage::new(&pg, &db_tables, entity).await;
            let tx_column = format!("\"{}\"", stage.entity.tx.replace('"', "\"\""));
            let read = format!("select {tx_column}::text from {quoted}.{quoted}");
            stage.run(&format!("insert into {quoted}.{quoted} (id, {quoted}) values (1, 'k')")).await;
            stage.run(&format!("update {quoted}.{quoted} set {quoted} = 'k2'")).await;
            let row = Tx::parse(&stage.text(&read).await.unwrap()).unwrap();
            let mut expected = vec!["*", name];
            expected.sort_unstable();
            assert_eq!(fields(&row), expected);
            let tx = by_client("1500000000000.0000.phone", Some(name));
            stage.mutate_key(&["k2", "1"], &tx, &format!("update {quoted}.{quoted} set n = 1")).await;
            let row = Tx::parse(&stage.text(&read).await.unwrap()).unwrap();
            assert_eq!((row.changed_field.as_deref(), row.field_id(name)), (Some(name), Some("1500000000000.0000.phone")));
        }
    })
    .await;
}

#[tokio::test]
async fn the_stamp_needs_no_search_path_and_no_right_of_the_applications_house_2() {
    for_each_postgres(|pg| async move {
        let stage = Stage::tasks(&pg, "").await;
        let other = stage.other("applicant").await;
        other
            .batch_execute(
                "set search_path = pg_temp, public; set standard_conforming_strings = off;
                 insert into public.tasks (id, title) values (1, 'a'); update public.tasks set title = 'b'",
            )
            .await
            .expect("an application's writes");
        assert_eq!(fields(&stage.tx(1).await), ["*", "title"]);
    })
    .await;
}

#[tokio::test]
async fn a_table_of_many_columns_is_stamped() {
    for_each_postgres(|pg| async move {
        let columns: Vec<String> = (0..250).map(|number| format!("c{number} int")).collect();
        let tables = format!(
            "create table tasks (id int primary key, org text not null default 'acme', {})",
            columns.join(", ")
        );
        let stage = Stage::new(&pg, &tables, fixture::entity("task", "tasks")).await;
        let all: Vec<String> = (0..250).map(|number| format!("c{number} = 1")).collect();
        stage.run("insert into tasks (id) values (1); update tasks set c249 = 7, c0 = 7").await;
        assert_eq!(fields(&stage.tx(1).await), ["*", "c0", "c249"]);
        stage.run(&format!("update tasks set {}; update tasks set c3 = 9", all.join(", "))).await;
        let row = stage.tx(1).await;
        assert_eq!(row.fields.len(), 251);
        assert!(row.field_id("c3") > row.field_id("c4") || row.field_id("c3") == row.field_id("c4"));
    })
    .await;
}

#[tokio::test]
async fn a_preparing_that_changed_nothing_is_not_needed_again_for_other_options() {
    for_each_postgres(|pg| async move {
        let stage = Stage::tasks(&pg, "create role somebody").await;
        let options = AddOptions {
            publication: stage.db.publication(),
            service_role: Some("somebody".to_owned()),
            ..AddOptions::default()
        };
        let plan = entities::plan_add(&stage.client, &stage.entity, &options).await.expect("a plan");
        let needed: Vec<&str> = plan.steps.iter().filter(|step| step.needed).map(|step| step.sql.as_str()).collect();
        assert!(needed.len() == 1 && needed[0].starts_with("create or replace function"), "{needed:?}");
        stage.run("drop role somebody").await;
    })
    .await;
}
