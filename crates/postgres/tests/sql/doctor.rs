//! The doctor finds what is wrong, says how to put it right, and the remedy does.

use antiphon_model::Code;
use antiphon_postgres::{
    ConnectionInfo,
    doctor::{DoctorConfig, Finding, Outcome, doctor},
    entities::{self, AddOptions},
};
use antiphon_testkit::{Pg, PgVersion, TestDb, for_each_postgres};

use crate::fixture;

fn config(db: &TestDb) -> DoctorConfig {
    let log = ConnectionInfo::parse(&db.log_url()).expect("a URL");
    DoctorConfig {
        slot: db.slot(),
        publication: db.publication(),
        entities: Vec::new(),
        log: Some(log),
        standby: None,
        method: Default::default(),
    }
}

fn find<'a>(findings: &'a [Finding], check: &str) -> &'a Finding {
    let found = findings.iter().find(|finding| finding.check == check && finding.status != Outcome::Ok);
    found.or_else(|| findings.iter().find(|finding| finding.check == check)).unwrap_or_else(|| {
        panic!("no finding `{check}` among {:?}", findings.iter().map(|finding| &finding.check).collect::<Vec<_>>())
    })
}

fn all_were_made(findings: &[Finding]) {
    let unmade = findings.iter().find(|finding| finding.detail.contains("could not be checked"));
    assert!(unmade.is_none(), "{unmade:?}");
}

fn problems(findings: &[Finding]) -> Vec<&Finding> {
    findings.iter().filter(|finding| finding.status == Outcome::Problem).collect()
}

#[tokio::test]
async fn a_prepared_database_has_no_problems() {
    for_each_postgres(|pg| async move {
        let db = pg.database("healthy").await;
        let client = db.connect().await;
        client.batch_execute("create table tasks (id int primary key, org text not null)").await.expect("a table");
        let entity = fixture::entity("task", "tasks");
        let options = AddOptions { publication: db.publication(), identity_full: false, ..AddOptions::default() };
        let plan = entities::plan_add(&client, &entity, &options).await.expect("a plan");
        entities::apply(&client, &plan, &mut |_| {}).await.expect("prepared");
        let findings = doctor(&fixture::info(&db), &DoctorConfig { entities: vec![entity], ..config(&db) }).await;
        assert!(problems(&findings).is_empty(), "{:#?}", problems(&findings));
        all_were_made(&findings);
        for check in [
            "connection",
            "version",
            "wal_level",
            "recovery",
            "replication_role",
            "replication_connection",
            "slots_free",
            "senders_free",
            "slot",
            "publication",
            "table public.tasks",
            "clock",
            "session_settings",
            "log_database",
        ] {
            assert_eq!(find(&findings, check).status, Outcome::Ok, "{check}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_transaction_that_the_beginning_of_capture_would_wait_for_is_named_with_its_remedy_pg_20() {
    for_each_postgres(|pg| async move {
        let db = pg.database("open").await;
        let holder = db.connect().await;
        holder.batch_execute("begin; select pg_current_xact_id()").await.expect("a transaction");
        let pid: i32 = holder.query_one("select pg_backend_pid()", &[]).await.expect("a number").get(0);
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        let remedy = format!("select pg_terminate_backend({pid});");
        loop {
            let findings = doctor(&fixture::info(&db), &config(&db)).await;
            let finding = find(&findings, "open_transactions");
            if finding.remedy.as_ref().is_some_and(|text| text.ends_with(&remedy)) {
                assert_eq!(finding.status, Outcome::Warning);
                assert!(finding.detail.contains(&format!("process {pid} ")), "{finding:?}");
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{finding:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn each_problem_of_a_table_is_found_and_one_hinders_no_other_pg_95() {
    for_each_postgres(|pg| async move {
        let db = pg.database("tables").await;
        let client = db.connect().await;
        client
            .batch_execute(
                "create table raw (id text primary key, org text not null, state text);
                 create table secret (id int primary key, org text not null, tx jsonb);
                 create table fine (id int primary key, org text not null, tx jsonb);
                 alter table secret enable row level security",
            )
            .await
            .expect("tables");
        let role = format!("{}_role", db.name());
        let sql = format!("create role {role} login replication; grant select on raw, fine to {role}");
        client.batch_execute(&sql).await.expect("a role");
        let mut raw = fixture::entity("raw", "raw");
        raw.filter = vec!["state".to_owned()];
        let entities = vec![
            raw,
            fixture::entity("gone", "gone"),
            fixture::entity("secret", "secret"),
            fixture::entity("fine", "fine"),
        ];
        let url = db.url().replace("postgres@", &format!("{role}@"));
        let info = ConnectionInfo::parse(&url).expect("a URL");
        let findings = doctor(&info, &DoctorConfig { entities, ..config(&db) }).await;
        all_were_made(&findings);
        for (check, code, remedy) in [
            ("create_privilege", Code::Permission, "grant create on database"),
            ("table public.raw", Code::TableWithoutIdentity, "antiphon entities add raw --table public.raw --org org"),
            ("table public.gone", Code::TableUnfit, "antiphon.toml"),
            ("select public.secret", Code::Permission, "grant select on \"public\".\"secret\""),
            ("row_security public.secret", Code::Permission, "bypassrls"),
            ("table public.fine", Code::TableWithoutIdentity, "entities add fine"),
        ] {
            let finding = find(&findings, check);
            assert_eq!((finding.status, finding.code), (Outcome::Problem, Some(code)), "{finding:?}");
            assert!(finding.remedy.as_deref().unwrap_or("").contains(remedy), "{finding:?}");
        }
        let index = find(&findings, "indexes public.raw");
        let remedy = index.remedy.as_deref().expect("a statement");
        assert!(remedy.contains("collate \"C\"") && index.status == Outcome::Warning, "{index:?}");
        for finding in findings.iter().filter(|finding| finding.check == "indexes public.raw") {
            client.batch_execute(finding.remedy.as_deref().expect("a statement")).await.expect("the remedy runs");
        }
        let grants = ["create_privilege", "select public.secret", "row_security public.secret"];
        for check in grants {
            let remedy = find(&findings, check).remedy.clone().expect("a statement");
            client.batch_execute(&remedy).await.unwrap_or_else(|error| panic!("{remedy}: {error:?}"));
        }
        let mut raw = fixture::entity("raw", "raw");
        raw.filter = vec!["state".to_owned()];
        let entities = vec![raw, fixture::entity("secret", "secret")];
        let findings = doctor(&info, &DoctorConfig { entities, ..config(&db) }).await;
        assert_eq!(find(&findings, "indexes public.raw").status, Outcome::Ok);
        assert_eq!(find(&findings, "create_privilege").status, Outcome::Ok);
        assert!(
            !findings.iter().any(|finding| finding.check.starts_with("select ") || finding.check.starts_with("row_"))
        );
        client.batch_execute(&format!("drop owned by {role}; drop role {role}")).await.expect("cleaned up");
    })
    .await;
}

#[tokio::test]
async fn early_failures_do_not_keep_later_checks_from_being_made() {
    for_each_postgres(|pg| async move {
        let db = pg.database("early").await;
        let nowhere = ConnectionInfo::parse("postgres://nobody@127.0.0.1:1/none?connect_timeout=2").expect("a URL");
        let findings = doctor(&nowhere, &DoctorConfig { slot: "Bad Name".to_owned(), ..config(&db) }).await;
        assert_eq!(find(&findings, "names").code, Some(Code::ConfigInvalid));
        assert_eq!(find(&findings, "connection").code, Some(Code::SourceUnreachable));
        assert_eq!(find(&findings, "log_database").status, Outcome::Ok);
        let missing = fixture::info(&db).with_database("no_such_log");
        let findings = doctor(&fixture::info(&db), &DoctorConfig { log: Some(missing), ..config(&db) }).await;
        let log = find(&findings, "log_database");
        assert!(log.status == Outcome::Ok && log.detail.contains("first start creates it"), "{log:?}");
        let text = format!("{findings:?}");
        assert!(!text.contains("127.0.0.1") && !text.contains(&pg.port().to_string()), "{text}");
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_a_server_is_found_with_its_remedy() {
    for version in PgVersion::tested() {
        let settings = [
            ("wal_level", "replica"),
            ("max_replication_slots", "1"),
            ("max_slot_wal_keep_size", "64MB"),
            ("max_prepared_transactions", "2"),
        ];
        let Some(pg) = Pg::private(version, &settings).await else { continue };
        let db = pg.database("server").await;
        let client = db.connect().await;
        client.batch_execute("select pg_create_physical_replication_slot('other', true)").await.expect("a slot");
        let role = "plain_role";
        client.batch_execute(&format!("create role {role} login")).await.expect("a role");
        let url = db.url().replace("postgres@", &format!("{role}@"));
        let findings = doctor(&ConnectionInfo::parse(&url).expect("a URL"), &config(&db)).await;
        for (check, code, remedy) in [
            ("wal_level", Code::WalLevel, "alter system set wal_level = logical"),
            ("replication_role", Code::Permission, "alter role \"plain_role\" with replication"),
            ("replication_connection", Code::Permission, ""),
            ("slots_free", Code::SlotsExhausted, "max_replication_slots"),
        ] {
            let finding = find(&findings, check);
            assert_eq!((finding.status, finding.code), (Outcome::Problem, Some(code)), "{finding:?}");
            assert!(finding.remedy.as_deref().unwrap_or("").contains(remedy), "{finding:?}");
        }
        assert!(find(&findings, "slots_free").detail.contains("other"));
        assert_eq!(find(&findings, "slot_limit").status, Outcome::Ok);
        let remedy = find(&findings, "replication_role").remedy.clone().expect("a statement");
        client.batch_execute(&remedy).await.expect("the remedy runs");
        let findings = doctor(&ConnectionInfo::parse(&url).expect("a URL"), &config(&db)).await;
        assert_eq!(find(&findings, "replication_role").status, Outcome::Ok);
    }
}

#[tokio::test]
async fn a_lost_a_foreign_and_a_lagging_slot_are_told_apart() {
    for_each_postgres(|pg| async move {
        let db = pg.database("slots").await;
        let client = db.connect().await;
        let made = "select pg_create_logical_replication_slot($1, 'test_decoding')::text";
        client.query_one(made, &[&db.slot()]).await.expect("a slot");
        let findings = doctor(&fixture::info(&db), &config(&db)).await;
        assert_eq!(find(&findings, "slot").code, Some(Code::SlotForeign));
        client.query_one("select pg_drop_replication_slot($1)", &[&db.slot()]).await.expect("no slot");
        let made = "select pg_create_logical_replication_slot($1, 'pgoutput')::text";
        client.query_one(made, &[&db.slot()]).await.expect("a slot");
        let findings = doctor(&fixture::info(&db), &config(&db)).await;
        let slot = find(&findings, "slot");
        assert!(slot.status == Outcome::Ok && slot.detail.contains("nobody reads it"), "{slot:?}");
        client
            .batch_execute(&format!("create publication {} with (publish = 'insert')", db.publication()))
            .await
            .unwrap();
        let findings = doctor(&fixture::info(&db), &config(&db)).await;
        let publication = find(&findings, "publication");
        assert_eq!(publication.code, Some(Code::PublicationChanged));
        let remedy = publication.remedy.clone().expect("a statement");
        client.batch_execute(&remedy).await.expect("the remedy runs");
        let findings = doctor(&fixture::info(&db), &config(&db)).await;
        assert_ne!(find(&findings, "publication").status, Outcome::Problem);
    })
    .await;
}
