//! What trigger capture keeps in the database, who may see it, when it goes, and how everything is taken out again.

use antiphon_model::{Checkpoint, Code};
use antiphon_postgres::{
    CaptureMethod, ConnectionInfo,
    doctor::{DoctorConfig, Outcome, doctor},
    entities, plan_uninstall,
};
use antiphon_testkit::{Pg, PgVersion, for_each_postgres};

use crate::stage::{Reader, Stage, told, until};

/// Everything of a database that could be left behind.
const CATALOGUE: &str = "
    select string_agg(what, E'\\n' order by what) from (
        select 'class ' || oid::regclass::text from pg_class where relnamespace::regnamespace::text !~ '^pg_'
            and relnamespace <> 'information_schema'::regnamespace
        union all select 'function ' || oid::regprocedure::text from pg_proc
            where pronamespace::regnamespace::text !~ '^pg_' and pronamespace <> 'information_schema'::regnamespace
        union all select 'trigger ' || tgrelid::regclass::text || ' ' || tgname from pg_trigger
        union all select 'schema ' || nspname from pg_namespace
        union all select 'type ' || oid::regtype::text from pg_type where typnamespace::regnamespace::text !~ '^pg_'
            and typnamespace <> 'information_schema'::regnamespace
    ) as everything (what) where what !~ 'pg_toast|pg_temp'";

#[tokio::test(flavor = "multi_thread")]
async fn one_command_leaves_nothing_behind_tg_14() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "leaves").await;
        stage.run("create table parts (id int primary key, org text not null) partition by range (id)").await;
        stage.run("create table parts_a partition of parts for values from (0) to (10)").await;
        let before: String = stage.client.query_one(CATALOGUE, &[]).await.unwrap().get(0);
        let entities = vec![crate::stage::notes(), crate::stage::entity("part", "parts")];
        let config = antiphon_postgres::TriggerConfig { entities, ..stage.config() };
        let source = antiphon_postgres::TriggerSource::new(config).unwrap();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        stage.run("insert into notes (id) values (1); insert into parts values (1, 'acme')").await;
        reader.changes(2).await;
        drop(reader);
        let between: String = stage.client.query_one(CATALOGUE, &[]).await.unwrap().get(0);
        assert!(between.contains("trigger parts_a !antiphon_audit") && between.len() > before.len());
        let plan = plan_uninstall(&stage.client).await.unwrap();
        entities::apply(&stage.client, &plan, &mut |_| {}).await.unwrap();
        let after: String = stage.client.query_one(CATALOGUE, &[]).await.unwrap().get(0);
        assert_eq!(after, before);
        assert!(plan_uninstall(&stage.client).await.unwrap().done());
        stage.run("insert into notes (id) values (2); truncate parts, notes").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_reads_or_forges_what_is_recorded_tg_12() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "nobody").await;
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        let role = stage.db.name().to_owned();
        stage
            .run(&format!(
                "create role {role} login; grant all on notes to {role}; grant usage, create on schema public to {role};
                 alter table notes enable row level security; create policy own on notes using (org = 'acme')"
            ))
            .await;
        stage.run(&format!("set role {role}; insert into notes (id) values (1); reset role")).await;
        assert_eq!(told(&reader.changes(1).await), ["insert 1,acme,-"]);
        for refused in [
            "select * from antiphon.audit",
            "insert into antiphon.audit (xid, statement, seq, op) values ('9', 1, 1, 'M')",
            "select nextval('antiphon.audit_seq')",
            "select * from antiphon.audit_order",
            "create table mine (id int, org text, body text);
             create trigger forged after insert on mine for each row execute function antiphon.audit_statement_end()",
        ] {
            stage.run(&format!("set role {role}")).await;
            let error = stage.client.batch_execute(refused).await.unwrap_err();
            assert_eq!(error.code().unwrap().code(), "42501", "{refused}");
            stage.run("reset role").await;
        }
        stage.run(&format!("drop owned by {role}; drop role {role}")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_is_bypassed_is_told_of_and_replicas_are_not_tg_05() {
    for_each_postgres(|pg| async move {
        for (wrong, right) in [
            ("alter table notes disable trigger all", "alter table notes enable trigger all"),
            ("alter table notes disable trigger \"!antiphon_audit\"", "select 1"),
            ("drop trigger \"!antiphon_audit\" on notes", "select 1"),
            ("drop table notes; create table notes (id int primary key, org text, body text)", "select 1"),
        ] {
            let stage = Stage::set(&pg, "bypassed").await;
            let source = stage.source();
            let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
            stage.run("set session_replication_role = replica; insert into notes (id) values (1)").await;
            stage.run("reset session_replication_role").await;
            assert_eq!(told(&reader.changes(1).await), ["insert 1,acme,-"]);
            let checkpoint = reader.checkpoint.clone();
            // What happens between two looks is seen, too.
            stage.run(&format!("begin; {wrong}; {right}; commit")).await;
            let fault = reader.end().await;
            assert_eq!(fault.code(), Code::PublicationChanged, "{wrong}");
            // It is not healed by a restart, and is by another epoch.
            let fault = Reader::connect(&source, checkpoint).await.err().unwrap();
            assert_eq!(fault.code(), Code::PublicationChanged, "{wrong}");
            let mut anew = Reader::connect(&source, Checkpoint::start()).await.unwrap();
            stage.run("insert into notes (id, org) values (2, 'acme')").await;
            assert_eq!(told(&anew.changes(1).await), ["insert 2,acme,-"]);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_consumed_goes_whatever_its_age_tg_03_tg_09() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "reaped").await;
        let source = stage.source();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        let names = "select count(*) from pg_inherits where inhparent = 'antiphon.audit'::regclass";
        assert_eq!(stage.count(names).await, 5, "today, three days ahead, and the rest");
        // A day of long ago, with rows of a transaction that is still open and of one that nobody has read durably.
        stage
            .run(
                "create table antiphon.audit_20200101 (like antiphon.audit including defaults including indexes);
                 alter table antiphon.audit attach partition antiphon.audit_20200101 for values from ('2020-01-01 00:00+00')
                     to ('2020-01-02 00:00+00')",
            )
            .await;
        let old = "insert into notes (id) values (1); update antiphon.audit set at = '2020-01-01 12:00+00'
            where xid = pg_current_xact_id()";
        stage.run(&format!("begin; {old}; commit")).await;
        let writer = stage.db.connect().await;
        writer.batch_execute(&format!("begin; {}", old.replace("(1)", "(2)"))).await.unwrap();
        reader.changes(1).await;
        let there = "select to_regclass('antiphon.audit_20200101') is not null";
        // Several looks pass; nothing is durable yet.
        let looks = "select count(*) > 0 from pg_stat_activity where application_name = 'antiphon trigger watch'";
        until(&stage.client, looks).await;
        reader.next().await.unwrap();
        assert!(stage.client.query_one(there, &[]).await.unwrap().get::<_, bool>(0));
        reader.acknowledge();
        reader.next().await.unwrap();
        assert!(stage.client.query_one(there, &[]).await.unwrap().get::<_, bool>(0), "a row of it is not even visible");
        writer.batch_execute("commit").await.unwrap();
        assert_eq!(told(&reader.changes(1).await), ["insert 2,acme,-"]);
        reader.acknowledge();
        until(&stage.client, "select to_regclass('antiphon.audit_20200101') is null").await;
        assert_eq!(stage.count(names).await, 5);
        until(&stage.client, "select count(*) = 1 from antiphon.audit_order").await;
        // The checkpoint is still proved by what is left.
        let checkpoint = reader.checkpoint.clone();
        drop(reader);
        Reader::connect(&source, checkpoint).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_another_method_is_not_continued_cap_01() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "method").await;
        let reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        let mut checkpoint = reader.checkpoint.clone();
        drop(reader);
        let mark = checkpoint.identity.as_mut().unwrap().publication.as_mut().unwrap();
        mark.tables.retain(|table, _| table.starts_with("public."));
        let fault = Reader::connect(&stage.source(), checkpoint).await.err().unwrap();
        assert_eq!(fault.code(), Code::PublicationChanged);
        assert!(fault.detail().contains("another method"), "{}", fault.detail());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_of_the_tables_needs_no_more_than_that_cap_30() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "owner").await;
        let role = stage.db.name().to_owned();
        stage
            .run(&format!(
                "create role {role} login; grant create on database {role} to {role}; alter table notes owner to {role};
                 grant all on schema public to {role}"
            ))
            .await;
        let url = stage.db.url().replace("postgres@", &format!("{role}@"));
        assert!(url.contains(&role));
        let info = ConnectionInfo::parse(&url).unwrap();
        let config = antiphon_postgres::TriggerConfig { info, ..stage.config() };
        let source = antiphon_postgres::TriggerSource::new(config).unwrap();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        stage
            .run("insert into notes (id) values (1); alter table notes add more int; insert into notes (id) values (2)")
            .await;
        assert_eq!(told(&reader.changes(2).await), ["insert 1,acme,-", "insert 2,acme,-,-"]);
        let anew = "select bool_or(prosrc like '%more%') from pg_proc where proname like 'audit_notes%'";
        until(&stage.client, anew).await;
        drop(reader);
        let info = ConnectionInfo::parse(&url).unwrap();
        let client = antiphon_postgres::connect_sql(&info, "test").await.unwrap();
        let plan = plan_uninstall(&client).await.unwrap();
        entities::apply(&client, &plan, &mut |_| {}).await.unwrap();
        assert!(plan_uninstall(&client).await.unwrap().done());
        stage.run(&format!("alter table notes owner to postgres; drop owned by {role}; drop role {role}")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_asks_for_no_log_and_tells_what_recording_costs_cap_32() {
    for version in PgVersion::tested() {
        let Some(pg) = Pg::private(version, &[("wal_level", "replica")]).await else { continue };
        let stage = Stage::set(&pg, "doctor").await;
        stage.run("alter table notes add tx jsonb").await;
        let config = DoctorConfig {
            slot: "antiphon".into(),
            publication: "antiphon".into(),
            method: CaptureMethod::Trigger,
            entities: vec![(*crate::stage::notes()).clone()],
            log: Some(ConnectionInfo::parse(&stage.db.log_url()).unwrap()),
            standby: None,
        };
        let options = entities::AddOptions { method: CaptureMethod::Trigger, ..entities::AddOptions::default() };
        let plan = entities::plan_add(&stage.client, &config.entities[0], &options).await.unwrap();
        assert!(
            plan.steps.iter().all(|step| !step.sql.contains("publication") && !step.sql.contains("replica identity"))
        );
        entities::apply(&stage.client, &plan, &mut |_| {}).await.unwrap();
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        stage.run("insert into notes select n, 'acme' from generate_series(1, 400) n").await;
        reader.changes(400).await;
        let told = "select sum(n_tup_ins) >= 401 from pg_stat_user_tables where schemaname = 'antiphon'";
        until(&stage.client, told).await;
        let findings = doctor(&ConnectionInfo::parse(&stage.db.url()).unwrap(), &config).await;
        let problems: Vec<_> = findings.iter().filter(|finding| finding.status == Outcome::Problem).collect();
        assert!(problems.is_empty(), "{problems:#?}");
        assert!(findings.iter().all(|finding| !["slot", "publication"].contains(&&*finding.check)));
        let cost = findings.iter().find(|finding| finding.check == "write_amplification").unwrap();
        assert!(cost.detail.starts_with("2.0"), "one row recorded for each, and one a transaction: {}", cost.detail);
    }
}
