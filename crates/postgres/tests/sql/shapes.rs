//! Shapes of declared tables, and tables that do not fit their declaration.

use antiphon_engine::ports::{Catalogue, FieldDefault};
use antiphon_model::{Code, Tenancy};
use antiphon_testkit::for_each_postgres;

use crate::fixture;

#[tokio::test]
async fn a_shape_tells_what_a_client_can_know_and_no_generated_column_pg_71() {
    for_each_postgres(|pg| async move {
        let db = pg.database("shape").await;
        let client = db.connect().await;
        client
            .batch_execute(
                "create type state as enum ('todo', 'done');
                 create table t (id uuid primary key default gen_random_uuid(), org text not null, tx jsonb,
                    secret text, title varchar(80) default 'new', state state not null default 'todo',
                    n int default 0, big int8 default 9007199254740993, labels text[] default '{}',
                    at timestamptz default now(), serial_no int generated always as identity,
                    twice int generated always as (n * 2) stored)",
            )
            .await
            .expect("a table");
        let catalogue = fixture::catalogue(&db);
        let mut entity = fixture::entity("thing", "t");
        entity.hidden = vec!["secret".to_owned()];
        let shape = catalogue.shape(&entity).await.expect("a shape");
        let names: Vec<&str> = shape.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["id", "org", "title", "state", "n", "big", "labels", "at", "serial_no"]);
        let literal = |json: &str| Some(FieldDefault::Literal(json.to_owned()));
        let defaults: Vec<Option<FieldDefault>> = shape.fields.iter().map(|field| field.default.clone()).collect();
        assert_eq!(
            defaults,
            [
                Some(FieldDefault::Database),
                None,
                literal("\"new\""),
                literal("\"todo\""),
                literal("0"),
                literal("\"9007199254740993\""),
                literal("[]"),
                Some(FieldDefault::Now),
                Some(FieldDefault::Database),
            ]
        );
        assert_eq!((shape.fields[2].length_max, shape.fields[2].nullable), (Some(80), true));
        assert!(!shape.fields[3].nullable);
        let before = shape.fingerprint();
        client.batch_execute("alter table t alter column title type varchar(90)").await.expect("a change");
        assert_eq!(catalogue.shape(&entity).await.expect("a shape").fingerprint(), before);
        client.batch_execute("alter table t add column more int").await.expect("a change");
        assert_ne!(catalogue.shape(&entity).await.expect("a shape").fingerprint(), before);
    })
    .await;
}

#[tokio::test]
async fn a_table_that_does_not_fit_says_what_is_wrong() {
    for_each_postgres(|pg| async move {
        let db = pg.database("unfit").await;
        let client = db.connect().await;
        client
            .batch_execute(
                "create table fine (id int primary key, org text not null, tx jsonb);
                 create table nullable (id int primary key, org text, tx jsonb);
                 create table keyless (id int not null, org text not null, tx jsonb);
                 create table keynull (id int unique, org text not null);
                 create table oddorg (id int primary key, org numeric not null);
                 create table oddtx (id int primary key, org text not null, tx text);
                 create unlogged table un (id int primary key, org text not null);
                 create view seen as select 1 as id, 'a' as org;
                 create table pairs (id int, org text, primary key (org, id));
                 create extension if not exists citext;
                 create table ci (id int primary key, org citext not null)",
            )
            .await
            .expect("tables");
        let catalogue = fixture::catalogue(&db);
        for table in ["fine", "pairs"] {
            catalogue.shape(&fixture::entity("thing", table)).await.expect(table);
        }
        for (table, word) in [
            ("nullable", "`org` may be null"),
            ("keyless", "unique"),
            ("keynull", "`id` may be null"),
            ("oddorg", "numeric"),
            ("ci", "citext"),
            ("oddtx", "must be jsonb"),
            ("un", "unlogged"),
            ("seen", "view"),
            ("gone", "no table public.gone"),
        ] {
            let fault = catalogue.shape(&fixture::entity("thing", table)).await.expect_err(table);
            assert_eq!(fault.code(), Code::TableUnfit, "{table}");
            assert!(fault.detail().contains(word), "{table}: {}", fault.detail());
        }
        let mut entity = fixture::entity("thing", "fine");
        entity.hidden = vec!["pasword".to_owned()];
        let fault = catalogue.shape(&entity).await.expect_err("a hidden column that is not there");
        assert!(fault.detail().contains("`pasword`"), "{}", fault.detail());
        entity.hidden.clear();
        entity.org = Tenancy::Column("nowhere".to_owned());
        let fault = catalogue.shape(&entity).await.expect_err("an organisation column that is not there");
        assert!(fault.detail().contains("`nowhere`"), "{}", fault.detail());
    })
    .await;
}
