//! Which columns can be a cursor, and what is said of those that cannot.

use antiphon_model::{Checkpoint, Code, EntityType, Polling};
use antiphon_postgres::{CaptureMethod, QueryConfig, QuerySource, entities};
use antiphon_testkit::for_each_postgres;

use crate::stage::{Reader, Stage, brief, entity, notes};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_cursor_is_refused_with_why_pl_09() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "refused").await;
        stage.run("create table bare (id int, org text, at timestamptz)").await;
        let options = entities::AddOptions { method: CaptureMethod::Query, ..entities::AddOptions::default() };
        let polled = |cursor: Option<&str>, soft_delete: Option<&str>, table: &str| EntityType {
            polling: Polling { cursor: cursor.map(str::to_owned), soft_delete: soft_delete.map(str::to_owned) },
            ..(*entity("note", table, "at", None)).clone()
        };
        for (declared, code, says) in [
            (polled(Some("xmin"), None, "notes"), Code::TableUnfit, "wrap around"),
            (polled(Some("changed"), None, "notes"), Code::TableUnfit, "there is no column `changed`"),
            (polled(Some("body"), None, "notes"), Code::TableUnfit, "is text and cannot be a cursor"),
            (polled(None, None, "notes"), Code::ConfigInvalid, "no `cursor` is named"),
            (polled(Some("at"), Some("deleted"), "notes"), Code::TableUnfit, "there is no column `deleted`"),
            (polled(Some("at"), None, "bare"), Code::TableWithoutIdentity, "nothing keeps its key"),
        ] {
            let fault = entities::plan_add(&stage.client, &declared, &options).await.expect_err(says);
            assert!(fault.code() == code && fault.detail().contains(says), "{}: {}", fault.code(), fault.detail());
        }
        // A plan for polling asks for no identity and no publication.
        let plan = entities::plan_add(&stage.client, &notes(), &options).await.unwrap();
        assert!(plan.steps.iter().all(|step| !step.sql.contains("publication") && !step.sql.contains("identity")));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_that_serves_is_polled_to_its_last_digit_pl_05_cap_40() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "types").await;
        for (ty, first, second, third) in [
            ("timestamptz", "'2020-01-01 00:00:00.000001+00'", "now()", "now()"),
            ("timestamptz(0)", "now()", "now()", "now()"),
            ("timestamp", "localtimestamp", "localtimestamp", "localtimestamp"),
            ("int2", "1", "2", "3"),
            ("int4", "1", "2", "2000000000"),
            ("int8", "1", "2", "9000000000000000000"),
            ("numeric", "1.000000000000000000001", "1.000000000000000000002", "12345678901234567890123.5"),
        ] {
            stage
                .run(&format!(
                    "drop table if exists c; create table c (id int primary key, org text not null default 'acme', body text, at {ty});
                     insert into c values (1, default, 'a', {first})"
                ))
                .await;
            let config = QueryConfig { entities: vec![entity("note", "c", "at", None)], ..stage.config() };
            let source = QuerySource::new(config).unwrap();
            let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
            stage.run(&format!("insert into c values (2, default, 'b', {second})")).await;
            assert_eq!(brief(&reader.changes(1).await), ["insert 2,acme,b"], "{ty}");
            stage.run(&format!("update c set body = 'c', at = {third} where id = 1")).await;
            assert_eq!(brief(&reader.changes(1).await), ["update 1,acme,c"], "{ty}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_are_none_hide_nothing_pl_06_pl_12() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "infinite").await;
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        stage.run("insert into notes (id, at) values (1, 'infinity')").await;
        assert_eq!(brief(&reader.changes(1).await), ["insert 1,acme,-"]);
        stage.run("insert into notes (id) values (2)").await;
        assert_eq!(brief(&reader.changes(1).await), ["insert 2,acme,-"]);
        stage.run("insert into notes (id, at) values (3, null); insert into notes (id) values (4)").await;
        assert_eq!(brief(&reader.changes(1).await), ["insert 4,acme,-"], "a row without a value is not polled");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_does_not_see_who_runs_is_refused_cap_40() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "sight").await;
        let role = stage.db.name().to_owned();
        stage
            .run(&format!(
                "create role {role} login; grant create on database {role} to {role}; alter table notes owner to {role}"
            ))
            .await;
        let url = stage.db.url().replace("postgres@", &format!("{role}@"));
        let info = antiphon_postgres::ConnectionInfo::parse(&url).unwrap();
        let source = || QuerySource::new(QueryConfig { info: info.clone(), ..stage.config() }).unwrap();
        let fault = Reader::connect(&source(), Checkpoint::start()).await.err().expect("refused");
        assert!(
            fault.code() == Code::Permission && fault.detail().contains("grant pg_read_all_stats"),
            "{}",
            fault.detail()
        );
        stage.run(&format!("grant pg_read_all_stats to {role}")).await;
        let mut reader = Reader::connect(&source(), Checkpoint::start()).await.unwrap();
        stage.run("insert into notes (id) values (1)").await;
        assert_eq!(brief(&reader.changes(1).await), ["insert 1,acme,-"]);
        drop(reader);
        crate::stage::until(
            &stage.client,
            &format!("select not exists(select from pg_stat_activity where usename = '{role}')"),
        )
        .await;
        stage
            .run(&format!("alter table notes owner to current_user; drop owned by {role} cascade; drop role {role}"))
            .await;
    })
    .await;
}
