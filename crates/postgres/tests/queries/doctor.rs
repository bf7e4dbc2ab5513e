//! What the doctor says of a polled table: what is not seen, the index, how the cursor is written, rows without a value.

use antiphon_postgres::{
    CaptureMethod,
    doctor::{DoctorConfig, Finding, Outcome, doctor},
    entities,
};
use antiphon_testkit::{Pg, PgVersion};

use crate::stage::{Stage, entity};

fn find<'a>(findings: &'a [Finding], check: &str) -> &'a Finding {
    let names = || findings.iter().map(|finding| finding.check.clone()).collect::<Vec<_>>();
    findings.iter().find(|finding| finding.check == check).unwrap_or_else(|| panic!("no {check} in {:?}", names()))
}

async fn examine(stage: &Stage, declared: Vec<antiphon_model::EntityType>) -> Vec<Finding> {
    let config = DoctorConfig {
        slot: "antiphon".into(),
        publication: "antiphon".into(),
        method: CaptureMethod::Query,
        entities: declared,
        log: Some(antiphon_postgres::ConnectionInfo::parse(&stage.db.log_url()).unwrap()),
        standby: None,
    };
    doctor(&stage.info(), &config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_what_is_not_seen_and_how_the_cursor_is_written_pl_01_pl_02_pl_05_pl_07_pl_12() {
    for version in PgVersion::tested() {
        let Some(pg) = Pg::private(version, &[("wal_level", "minimal"), ("max_wal_senders", "0")]).await else {
            continue;
        };
        let stage = Stage::set(&pg, "doctor").await;
        stage
            .run(
                "create table rough (id int primary key, org text not null, at timestamp(0), deleted bool);
                 insert into rough select n, 'acme', localtimestamp from generate_series(1, 100) n;
                 insert into rough values (500, 'acme', null), (501, 'acme', null);
                 create function touch() returns trigger language plpgsql as 'begin new.at := now(); return new; end';
                 create trigger touch before insert or update on notes for each row execute function touch()",
            )
            .await;
        let declared = vec![
            (*entity("note", "notes", "at", None)).clone(),
            (*entity("rough", "rough", "at", Some("deleted"))).clone(),
        ];
        let options = entities::AddOptions { method: CaptureMethod::Query, ..entities::AddOptions::default() };
        for one in &declared {
            let plan = entities::plan_add(&stage.client, one, &options).await.unwrap();
            entities::apply(&stage.client, &plan, &mut |_| {}).await.unwrap();
        }
        let findings = examine(&stage, declared.clone()).await;
        assert_eq!(find(&findings, "wal_level").status, Outcome::Ok);
        let notes = find(&findings, "seen public.notes");
        assert_eq!(notes.status, Outcome::Warning);
        assert!(
            notes.detail.contains("deletes not seen") && notes.detail.contains("state, not history"),
            "{}",
            notes.detail
        );
        let rough = find(&findings, "seen public.rough");
        assert!(rough.status == Outcome::Ok && rough.detail.contains("`deleted`"), "{}", rough.detail);
        assert_eq!(find(&findings, "cursor_index public.notes").status, Outcome::Ok);
        let index = find(&findings, "cursor_index public.rough");
        assert!(index.status == Outcome::Warning && index.detail.contains("Seq Scan on rough"), "{}", index.detail);
        assert_eq!(find(&findings, "cursor_values public.notes").status, Outcome::Ok);
        let values = find(&findings, "cursor_values public.rough");
        for says in ["no time zone", "to the second", "by its own clock"] {
            assert!(values.status == Outcome::Warning && values.detail.contains(says), "{}", values.detail);
        }
        let unpollable = find(&findings, "unpollable public.rough");
        assert!(
            unpollable.status == Outcome::Problem && unpollable.detail.ends_with("500, 501"),
            "{}",
            unpollable.detail
        );
        // The remedies do what they say.
        stage.run(index.remedy.as_deref().unwrap()).await;
        stage.run(unpollable.remedy.as_deref().unwrap()).await;
        let findings = examine(&stage, declared).await;
        assert_eq!(find(&findings, "cursor_index public.rough").status, Outcome::Ok);
        let problems: Vec<_> = findings.iter().filter(|finding| finding.status == Outcome::Problem).collect();
        assert!(problems.is_empty(), "{problems:#?}");
    }
}
