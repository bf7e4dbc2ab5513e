//! What triggers record: every way in which rows change, as Postgres prints them, whatever the writer's settings are.

use antiphon_model::{Checkpoint, Code};
use antiphon_postgres::{TriggerConfig, TriggerSource};
use antiphon_testkit::for_each_postgres;

use crate::stage::{Reader, Stage, entity, notes, told, until};

#[tokio::test(flavor = "multi_thread")]
async fn truncate_is_recorded_and_of_one_partition_as_deletes_tg_06() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "emptied").await;
        stage
            .run(
                "create table parts (id int primary key, org text not null) partition by range (id);
                 create table parts_a partition of parts for values from (0) to (10);
                 create table parts_b partition of parts for values from (10) to (20)",
            )
            .await;
        let entities = vec![notes(), entity("part", "parts")];
        let source = TriggerSource::new(TriggerConfig { entities, ..stage.config() }).unwrap();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        stage.run("insert into notes values (1, 'acme'); truncate notes restart identity cascade").await;
        stage.run("insert into parts values (1, 'acme'), (11, 'acme'), (12, 'globex')").await;
        stage.run("truncate parts_b").await;
        stage.run("truncate parts, notes").await;
        let wanted = [
            "insert 1,acme,-",
            "truncate notes",
            "insert 1,acme",
            "insert 11,acme",
            "insert 12,globex",
            "delete 11,acme",
            "delete 12,globex",
            "truncate parts",
            "truncate notes",
        ];
        assert_eq!(told(&reader.changes(9).await), wanted);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_is_recorded_once_as_what_it_did_tg_11() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "statements").await;
        stage
            .run(
                "create table parents (id int primary key, org text not null);
                 create table children (id int primary key, org text not null, parent int references parents
                     on delete cascade on update cascade);
                 create view seen as select * from notes;
                 create function through() returns trigger language plpgsql as $$ begin
                     insert into notes (id, body) values (new.id, new.body); return new; end $$;
                 create trigger through instead of insert on seen for each row execute function through();
                 insert into parents values (1, 'acme'); insert into children values (1, 'acme', 1), (2, 'acme', 1)",
            )
            .await;
        let entities = vec![notes(), entity("parent", "parents"), entity("child", "children")];
        let source = TriggerSource::new(TriggerConfig { entities, ..stage.config() }).unwrap();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        stage.run("insert into notes values (1, 'acme', 'a') on conflict (id) do update set body = 'b'").await;
        stage.run("insert into notes values (1, 'acme', 'a') on conflict (id) do update set body = 'b'").await;
        stage.run("insert into notes values (1, 'acme', 'c') on conflict (id) do nothing").await;
        stage
            .run(
                "merge into notes n using (values (1, 'm'), (2, 'm')) s (id, body) on n.id = s.id
                 when matched then update set body = s.body when not matched then insert values (s.id, 'acme', s.body)",
            )
            .await;
        stage.run("insert into seen (id, body) values (3, 'v')").await;
        stage.run(r#"copy notes from program 'printf "4\\tacme\\tx\\n"'"#).await;
        stage.run("update parents set id = 7").await;
        stage.run("delete from parents").await;
        let wanted = [
            "insert 1,acme,a",
            "update 1,acme,b",
            "update 1,acme,m",
            "insert 2,acme,m",
            "insert 3,acme,v",
            "insert 4,acme,x",
            "update 1,acme -> 7,acme",
            "update 1,acme,7",
            "update 2,acme,7",
            "delete 7,acme",
            "delete 1,acme,-",
            "delete 2,acme,-",
        ];
        assert_eq!(told(&reader.changes(12).await), wanted);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_of_the_application_are_seen_and_kept_in_order_tg_13() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "order").await;
        stage
            .run(
                "create function before_it() returns trigger language plpgsql as $$ begin
                     new.body := new.body || '!'; return new; end $$;
                 create trigger zzz before insert on notes for each row execute function before_it();
                 create function after_it() returns trigger language plpgsql as $$ begin
                     update notes set body = 'nested' where id = 3 - new.id; return null; end $$;
                 create trigger aaa after update of org on notes for each row execute function after_it()",
            )
            .await;
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        stage.run("insert into notes values (1, 'acme', 'a'), (2, 'acme', 'b')").await;
        // After the first row's trigger has run, the second row has its last value: it must come last, too.
        stage.run("update notes set org = 'acme', body = 'outer'; update notes set body = 'end' where id = 1").await;
        let taken = told(&reader.changes(7).await);
        assert_eq!(&taken[..2], ["insert 1,acme,a!", "insert 2,acme,b!"]);
        assert_eq!(&taken[2..4], ["update 1,acme,outer", "update 2,acme,outer"]);
        assert_eq!(&taken[4..6], ["update 2,acme,nested", "update 1,acme,nested"]);
        assert_eq!(&taken[6..], ["update 1,acme,end"]);
        let now = stage.client.query_one("select body from notes where id = 2", &[]).await.unwrap();
        assert_eq!(now.get::<_, &str>(0), "nested");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_altered_loses_nothing_and_is_recorded_anew_tg_10() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "altered").await;
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        stage
            .run(
                "begin; insert into notes values (1, 'acme', 'a'); alter table notes add rank int default 7;
                 update notes set rank = 8; alter table notes rename body to content;
                 update notes set content = 'b'; alter table notes alter rank type text;
                 update notes set rank = 'high', id = 2; alter table notes drop content; delete from notes; commit",
            )
            .await;
        let wanted = [
            "insert 1,acme,a",
            "update 1,acme,a,7 -> 1,acme,a,8",
            "update 1,acme,a,8 -> 1,acme,b,8",
            "update 1,acme,b,8 -> 2,acme,b,high",
            "delete 2,acme,high",
        ];
        let taken = reader.changes(5).await;
        assert_eq!(told(&taken), wanted);
        let anew = "select bool_or(prosrc like '%rank%') from pg_proc where proname like 'audit_notes%'";
        until(&stage.client, anew).await;
        stage.run("insert into notes values (5, 'acme', 'x')").await;
        assert_eq!(told(&reader.changes(1).await), ["insert 5,acme,x"]);
        assert_eq!(stage.count("select count(*) from antiphon.audit where shape is null").await, 4);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_joins_later_is_recorded_tg_10() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "joins").await;
        stage.run("create table parts (id int primary key, org text not null) partition by range (id)").await;
        let entities = vec![entity("part", "parts")];
        let source = TriggerSource::new(TriggerConfig { entities, ..stage.config() }).unwrap();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        stage.run("create table parts_a partition of parts for values from (0) to (10)").await;
        stage.run("set session_replication_role = replica; insert into parts values (1, 'acme'); reset session_replication_role").await;
        stage.run("create table parts_b (org text not null, id int primary key)").await;
        stage.run("alter table parts attach partition parts_b for values from (10) to (20)").await;
        stage.run("insert into parts_b (id, org) values (11, 'acme'); update parts set id = 2 where id = 11").await;
        assert_eq!(told(&reader.changes(4).await), ["insert 1,acme", "insert 11,acme", "delete 11,acme", "insert 2,acme"]);
        let statements = "select count(*) = 2 from pg_trigger where tgrelid = 'parts_a'::regclass and tgenabled = 'A'
            and tgname in ('!antiphon_audit_end', '!antiphon_audit_empties')";
        until(&stage.client, statements).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_printed_alike_whatever_the_writer_prefers_cap_30() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "printed").await;
        stage
            .run(
                "create type mood as enum ('fine, thanks', 'so \"so\"'); create domain short as varchar(9);
                 alter table notes add d date, add i interval, add f float8, add b bytea, add t timestamptz,
                 add a text[], add m mood, add c char(4), add bo bool, add s short, add n numeric(6,2), add e text,
                 add g int generated always as (id * 2) stored",
            )
            .await;
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        stage
            .run(
                r#"set IntervalStyle = sql_standard; set DateStyle = 'German'; set TimeZone = 'Asia/Tokyo';
                set extra_float_digits = -5; set bytea_output = escape; set search_path = '';
                insert into public.notes values (1, 'acme', 'a(b),"c"\', '2026-01-31', '1 day 02:00', 0.1::float8 + 0.2,
                  '\x00ff', '2026-01-31 12:00:00+00', '{"x y",null}', 'so "so"', 'ab', true, 'ö', 1.5, '');
                reset search_path"#,
            )
            .await;
        let taken = told(&reader.changes(1).await);
        let wanted = "insert 1,acme,a(b),\"c\"\\,2026-01-31,P1DT2H,0.30000000000000004,\\x00ff,2026-01-31 12:00:00+00,\
                      {\"x y\",NULL},so \"so\",ab  ,t,ö,1.50,";
        assert_eq!(taken, [wanted]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_values_that_did_not_change_are_left_out_cap_30() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "large").await;
        stage.run("alter table notes alter body set storage external, add title text").await;
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        stage.run("insert into notes values (1, 'acme', repeat('x', 100000), 'a')").await;
        stage.run("update notes set title = 'b'").await;
        stage.run("update notes set body = null").await;
        let taken = told(&reader.changes(3).await);
        assert_eq!(taken[0].len(), "insert 1,acme,,a".len() + 100_000);
        assert_eq!(&taken[1..], ["update 1,acme,=,b", "update 1,acme,-,b"]);
        let bytes = "select coalesce(sum(octet_length(new)), 0)::int8 from antiphon.audit where op = 'U'";
        assert!(stage.count(bytes).await < 100);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_never_failed_by_its_recording_tg_07() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "gap").await;
        stage.run("create type mood as enum ('good', 'bad'); alter table notes add m mood").await;
        let source = stage.source();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        stage.run("insert into notes values (1, 'acme', 'a', 'good'), (2, 'acme', 'b', 'bad')").await;
        reader.changes(2).await;
        // A value that nobody can print any more: the statement passes, and what was not recorded is told of.
        stage.run("delete from pg_enum where enumlabel = 'bad'").await;
        stage.run("update notes set body = 'c'").await;
        let fault = reader.end().await;
        assert_eq!(fault.code(), Code::PublicationChanged);
        assert!(fault.detail().contains("public.notes could not be recorded"), "{}", fault.detail());
        // Nor do the application's statements fail where somebody dropped what records them.
        let reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        stage.run("drop table antiphon.audit; insert into notes values (3, 'acme', 'd')").await;
        stage.run("truncate notes").await;
        assert_eq!(reader.end().await.code(), Code::PublicationChanged);
    })
    .await;
}
