//! What polling tells: states, once each, in pages without gaps, and never beside itself.

use antiphon_engine::ports::{Captured, Source};
use antiphon_model::{Checkpoint, Code, EntityType};
use antiphon_postgres::{QueryConfig, QuerySource, entities, plan_uninstall};
use antiphon_testkit::for_each_postgres;

use crate::stage::{Folded, Reader, Stage, brief, entity, until, within};

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_told_once_and_as_what_they_are_cap_40_pl_02() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "once").await;
        stage.run("insert into notes (id, body) values (1, 'copied')").await;
        let source = stage.source();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        stage.run("insert into notes (id, body) values (2, 'a')").await;
        assert_eq!(brief(&reader.changes(1).await), ["insert 2,acme,a"]);
        // What was told before, by the copy too, is an update; what moves to another organisation says from where.
        stage.run("update notes set body = 'b', at = now() where id = 1").await;
        assert_eq!(brief(&reader.changes(1).await), ["update 1,acme,b"]);
        stage.run("update notes set org = 'globex', at = now() where id = 2").await;
        assert_eq!(brief(&reader.changes(1).await), ["update 2,acme,- -> 2,globex,a"]);
        // Two states between two polls are one: state, not history.
        stage
            .run(
                "begin; insert into notes (id, body) values (3, 'x'); update notes set body = 'y' where id = 3; commit",
            )
            .await;
        let taken = reader.changes(1).await;
        assert_eq!(brief(&taken), ["insert 3,acme,y"]);
        let seen = within(source.visibility()).await.unwrap();
        assert!(
            taken.iter().all(|transaction| seen.sees(transaction.xid)),
            "a reader that sees the poll sees its rows"
        );
        // A write that changes nothing is nothing, although its row is read again.
        stage.run("update notes set body = body where id = 3; insert into notes (id, body) values (4, 'z')").await;
        assert_eq!(brief(&reader.changes(1).await), ["insert 4,acme,z"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_deletes_are_not_seen_and_marked_ones_are_pl_01_cap_40() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "marked").await;
        stage.run("insert into notes (id) values (1), (2), (3)").await;
        let entities = vec![entity("note", "notes", "at", Some("gone"))];
        let source = QuerySource::new(QueryConfig { entities, ..stage.config() }).unwrap();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        stage.run("delete from notes where id = 1; update notes set gone = now(), at = now() where id = 2").await;
        assert_eq!(brief(&reader.changes(1).await), ["delete 2,acme,-"]);
        stage
            .run(
                "insert into notes (id, gone) values (4, now()); update notes set gone = null, at = now() where id = 2",
            )
            .await;
        assert_eq!(brief(&reader.changes(1).await), ["insert 2,acme,-"], "what was never told is not deleted");
        let left = "select count(*) = 3 from antiphon.poll_told";
        until(&stage.client, left).await;
        // A copy leaves the marked ones out as well.
        let mut copy = within(source.snapshot_table("note")).await.unwrap();
        let progress = antiphon_engine::ports::SnapshotProgress::fresh("note");
        let chunk = within(copy.chunk(&progress, 10)).await.unwrap();
        assert_eq!(chunk.rows.len(), 2, "2 and 3; 1 is gone and 4 is marked");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_one_moment_are_read_once_each_across_pages_pl_03_pl_11() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "ties").await;
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        // Three pages and a part of one moment, while rows that were read move to the end.
        stage.run("insert into notes (id, body) select n, 'a' from generate_series(1, 3500) n").await;
        let mut folded = Folded::default();
        folded.apply(&reader.changes(3_500).await);
        stage.run("update notes set at = now(), body = 'b' where id % 2 = 0").await;
        folded.apply(&reader.changes(1_750).await);
        assert_eq!((folded.creates, folded.updates), (3_500, 1_750));
        assert_eq!(folded.rows, stage.rows().await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_reading_and_appending_tells_everything_once_cap_40() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "killed").await;
        let reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        let mut checkpoint = reader.checkpoint.clone();
        let mut folded = Folded::default();
        drop(reader);
        for round in 0..6 {
            stage
                .run(&format!(
                    "insert into notes (id, body) values ({round}, 'a'); update notes set body = '{round}', at = now()"
                ))
                .await;
            let lost = Reader::connect(&stage.source(), checkpoint.clone()).await.unwrap();
            // Recorded with what was told, read, and lost before it was appended anywhere.
            until(&stage.client, "select count(*) = (select count(*) from notes) from antiphon.poll_told").await;
            let mut lost = lost;
            if round % 2 == 0 {
                lost.changes(round + 1).await;
            }
            drop(lost);
            let mut reader = Reader::connect(&stage.source(), checkpoint.clone()).await.unwrap();
            folded.apply(&reader.changes(round + 1).await);
            checkpoint = reader.checkpoint.clone();
            reader.acknowledge();
        }
        assert_eq!(folded.rows, stage.rows().await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_takes_longer_than_its_interval_is_followed_and_not_overtaken_pl_10() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "slow").await;
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        // Every poll waits behind this lock, for many intervals.
        let locker = stage.db.connect().await;
        locker.batch_execute("begin; lock table notes in access exclusive mode").await.unwrap();
        let waits = "select count(*) = 1 from pg_stat_activity where application_name = 'antiphon capture'
            and wait_event_type = 'Lock' and clock_timestamp() - query_start > interval '400 ms'";
        until(&stage.client, waits).await;
        let polls = "select count(*) from pg_stat_activity where application_name like 'antiphon capture%'
            and state <> 'idle' and datname = current_database()";
        let running: i64 = stage.client.query_one(polls, &[]).await.unwrap().get(0);
        assert_eq!(running, 1, "one poll waits, and no other has begun");
        locker.batch_execute("insert into notes (id) values (1); commit").await.unwrap();
        assert_eq!(brief(&reader.changes(1).await), ["insert 1,acme,-"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_come_and_go_are_told_from_the_next_poll_on_cap_40() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "columns").await;
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        stage.run("insert into notes (id) values (1)").await;
        reader.changes(1).await;
        stage.run("alter table notes drop gone, add more text default 'm'; insert into notes (id) values (2)").await;
        let taken = reader.changes(2).await;
        let lines: Vec<String> =
            crate::stage::told(&taken).iter().map(|line| line.rsplit(',').next().unwrap().into()).collect();
        assert_eq!(lines, ["m", "m"], "the row in the window has the new column too");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_database_table_or_method_is_never_taken_for_the_same_cap_40() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "same").await;
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        stage.run("insert into notes (id) values (1)").await;
        reader.changes(1).await;
        let checkpoint = reader.checkpoint.clone();
        drop(reader);
        let refused = |checkpoint: Checkpoint| {
            let source = stage.source();
            async move {
                Reader::connect(&source, checkpoint).await.err().map(|fault| (fault.code(), fault.detail().to_owned()))
            }
        };
        let mut other = checkpoint.clone();
        let mark = other.identity.as_mut().unwrap().publication.as_mut().unwrap();
        mark.tables.insert("(method)".into(), "trigger".into());
        assert_eq!(refused(other).await.map(|(code, _)| code), Some(Code::PublicationChanged));
        let mut other = checkpoint.clone();
        other.xid = antiphon_model::Xid::new(checkpoint.xid.as_u64() + 1);
        assert_eq!(refused(other).await.map(|(code, _)| code), Some(Code::SourceRestored));
        // A table that is made anew under a running capture ends it as well.
        let mut running = Reader::connect(&stage.source(), checkpoint.clone()).await.unwrap();
        running.next().await.unwrap();
        stage
            .run("create table other (like notes including all); drop table notes; alter table other rename to notes")
            .await;
        assert_eq!(running.end().await.code(), Code::PublicationChanged);
        let (code, detail) = refused(checkpoint).await.expect("refused");
        assert!(code == Code::PublicationChanged && detail.contains("made anew"), "{code} {detail}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told_while_nothing_changes_and_one_command_takes_everything_out_cap_40() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "idle").await;
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        let first = loop {
            if let Captured::Progress { at, .. } = reader.next().await.unwrap() {
                break at;
            }
        };
        let next = loop {
            if let Captured::Progress { at, .. } = reader.next().await.unwrap() {
                break at;
            }
        };
        assert!(next > first);
        drop(reader);
        let plan = plan_uninstall(&stage.client).await.unwrap();
        entities::apply(&stage.client, &plan, &mut |_| {}).await.unwrap();
        assert!(plan_uninstall(&stage.client).await.unwrap().done());
        let left: bool =
            stage.client.query_one("select to_regnamespace('antiphon') is null", &[]).await.unwrap().get(0);
        assert!(left);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_somebody_works_on_alone_keeps_no_other_waiting_cap_40() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "alone").await;
        stage.run("create table parts (like notes including all) partition by range (id); create table parts_a partition of parts default").await;
        let entities = vec![entity("note", "notes", "at", None), entity("part", "parts", "at", None)];
        let source = QuerySource::new(QueryConfig { entities, ..stage.config() }).unwrap();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        let locker = stage.db.connect().await;
        locker.batch_execute("begin; lock table notes in access exclusive mode").await.unwrap();
        stage.run("insert into parts (id, body) values (1, 'meanwhile')").await;
        assert_eq!(brief(&reader.changes(1).await), ["insert 1,acme,meanwhile"]);
        locker.batch_execute("insert into notes (id) values (2); commit").await.unwrap();
        assert_eq!(brief(&reader.changes(1).await), ["insert 2,acme,-"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_read_another_column_from_now_on_lose_nothing_cap_40_str_05() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "rules").await;
        stage.run("insert into notes (id, body) values (1, 'a'), (2, 'b'), (3, 'c')").await;
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        stage.run("update notes set body = 'a2', at = now() where id = 1").await;
        reader.changes(1).await;
        let checkpoint = reader.checkpoint.clone();
        drop(reader);
        stage.run("update notes set org = 'globex', at = now() where id = 2; update notes set gone = now(), at = now() where id = 3").await;
        let owner = antiphon_model::Rule {
            roles: Vec::new(),
            when: Some(antiphon_model::Condition::Owner { column: "body".into() }),
            read: antiphon_model::Columns::All,
            write: antiphon_model::Columns::All,
            create: true,
            delete: true,
        };
        let judged = EntityType { rules: vec![owner], ..(*entity("note", "notes", "at", Some("gone"))).clone() };
        let config = QueryConfig { entities: vec![std::sync::Arc::new(judged)], ..stage.config() };
        let source = QuerySource::new(config).unwrap();
        let mut reader = Reader::connect(&source, checkpoint).await.unwrap();
        let mut told = brief(&reader.changes(3).await);
        told.sort();
        assert_eq!(told, ["delete 2,acme,-", "delete 3,acme,-", "insert 2,globex,b"], "what was noted of 2 says less now");
        stage.run("update notes set body = 'b2', at = now() where id = 2; update notes set body = 'a3', at = now() where id = 1").await;
        let mut told = brief(&reader.changes(2).await);
        told.sort();
        assert_eq!(told, ["update 1,acme,a2 -> 1,acme,a3", "update 2,globex,b -> 2,globex,b2"]);
    })
    .await;
}
