//! Tables that look as if they could be captured and could not: no key, a key that does not tell rows apart.

use std::sync::Arc;

use antiphon_engine::ports::SnapshotProgress;
use antiphon_model::Code;
use antiphon_postgres::{
    doctor::{DoctorConfig, Outcome, doctor},
    entities::{self, AddOptions},
    snapshot,
};
use antiphon_testkit::{TestDb, for_each_postgres};

use crate::fixture;

fn options(db: &TestDb) -> AddOptions {
    AddOptions { publication: db.publication(), identity_full: true, ..AddOptions::default() }
}

#[tokio::test]
async fn equal_rows_without_a_key_are_no_entities_whatever_their_identity_pg_65() {
    for_each_postgres(|pg| async move {
        let db = pg.database("equal").await;
        let client = db.connect().await;
        let table =
            "create table t (id int not null, org text not null, tx jsonb); alter table t replica identity full;
                     insert into t (id, org) values (1, 'o'), (1, 'o')";
        client.batch_execute(table).await.expect("a table");
        let entity = fixture::entity("thing", "t");
        let fault = entities::plan_add(&client, &entity, &options(&db)).await.expect_err("equal rows");
        assert_eq!(fault.code(), Code::TableWithoutIdentity);
        assert!(fault.detail().contains("an old row could not be told from another"), "{fault}");
        let start = SnapshotProgress {
            entity_type: "thing".into(),
            last_key: None,
            rows_done: 0,
            rows_estimated: 0,
            rows_per_second: 0,
            complete: false,
            failure: None,
        };
        let copy = async {
            let mut table = snapshot::open(
                &fixture::info(&db),
                Arc::new(entity.clone()),
                snapshot::Mark::Message,
                snapshot::Earlier::default(),
            )
            .await?;
            table.chunk(&start, 10).await
        };
        assert_eq!(copy.await.expect_err("equal rows").code(), Code::TableUnfit);
        // A table that was fit once, and lost what kept its key unique, is told by doctor and watch.
        client
            .batch_execute("delete from t; alter table t add constraint t_key primary key (id)")
            .await
            .expect("a key");
        let plan = entities::plan_add(&client, &entity, &options(&db)).await.expect("a plan");
        entities::apply(&client, &plan, &mut |_| {}).await.expect("prepared");
        client.batch_execute("alter table t drop constraint t_key").await.expect("no key");
        let config = DoctorConfig {
            method: antiphon_postgres::CaptureMethod::Log,
            slot: db.slot(),
            publication: db.publication(),
            entities: vec![entity.clone()],
            log: None,
            standby: None,
        };
        let findings = doctor(&fixture::info(&db), &config).await;
        let finding = findings.iter().find(|finding| finding.check == "table public.t").expect("checked");
        assert_eq!(finding.status, Outcome::Problem, "{finding:?}");
        assert!(finding.detail.contains("nothing keeps its key (id) unique"), "{finding:?}");
    })
    .await;
}

#[tokio::test]
async fn a_row_cannot_change_its_partition_and_keep_both_key_and_organisation_pg_69() {
    for_each_postgres(|pg| async move {
        let db = pg.database("movable").await;
        let client = db.connect().await;
        // What keeps rows of partitions unique holds the partitions' column; without it the key is not unique.
        let tables =
            "create table t (id int, day int, org text not null, primary key (id, day)) partition by list (day);
                      create table t_1 partition of t for values in (1);
                      create table u (id int, org text, primary key (id, org)) partition by list (org);
                      create table u_1 partition of u for values in ('o')";
        client.batch_execute(tables).await.expect("tables");
        let mut entity = fixture::entity("thing", "t");
        let fault = entities::plan_add(&client, &entity, &options(&db)).await.expect_err("no key");
        assert_eq!(fault.code(), Code::TableWithoutIdentity, "{fault}");
        entity.key.push("day".into());
        entities::plan_add(&client, &entity, &options(&db)).await.expect("a row that moves is another row");
        let entity = fixture::entity("other", "u");
        entities::plan_add(&client, &entity, &options(&db)).await.expect("a row that moves is another organisation's");
    })
    .await;
}
