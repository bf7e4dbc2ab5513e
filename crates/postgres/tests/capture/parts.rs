//! What a publication or a partition leaves out: filters, tables of our own, truncates of leaves, partitions that come
//! and go.

use antiphon_model::{Change, Checkpoint, Transaction};
use antiphon_postgres::{
    ConnectionInfo,
    health::{Health, HealthConfig},
};
use antiphon_testkit::for_each_postgres;

use crate::stage::{Reader, Stage};

/// What happened to which key, in order; `commit` ends each transaction.
fn story(transactions: &[Transaction]) -> Vec<String> {
    let key = |tuple: Option<&antiphon_model::Tuple>| match tuple.and_then(|tuple| tuple.cells().next()) {
        Some(antiphon_model::Cell::Text(text)) => String::from_utf8_lossy(text).into_owned(),
        other => format!("{other:?}"),
    };
    let mut told = Vec::new();
    for transaction in transactions {
        for change in &transaction.changes {
            told.push(match change {
                Change::Insert(row) => format!("insert {}", key(row.new.as_ref())),
                Change::Update(row) => format!("update {}", key(row.new.as_ref())),
                Change::Delete(row) => match &row.old {
                    antiphon_model::OldRow::Identity(old) | antiphon_model::OldRow::Full(old) => {
                        format!("delete {}", key(Some(old)))
                    }
                    antiphon_model::OldRow::Absent => "delete of nobody".to_owned(),
                },
                Change::Truncate(_) => "truncate".to_owned(),
                Change::Message { .. } => "message".to_owned(),
            });
        }
        told.push("commit".to_owned());
    }
    told
}

async fn begin(stage: &Stage) -> Reader {
    Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_leaves_a_filter_is_deleted_and_a_truncate_knows_no_filter_pg_56() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "filter").await;
        let publication = stage.db.publication();
        stage.run("create unique index notes_org on notes (id, org); alter table notes replica identity using index notes_org").await;
        stage.run(&format!("alter publication {publication} set table notes where (org = 'in')")).await;
        let mut reader = begin(&stage).await;
        stage.run("insert into notes (id, org) values (1, 'out'), (2, 'in')").await;
        stage.run("update notes set org = 'in' where id = 1; update notes set body = 'b' where id = 1").await;
        stage.run("update notes set org = 'out'").await;
        stage.run("delete from notes where id = 1; insert into notes (id, org) values (3, 'out'); truncate notes").await;
        let taken = reader.changes(6).await;
        let wanted = ["insert 2", "commit", "insert 1", "update 1", "commit", "delete 1", "delete 2", "commit", "truncate"];
        let told = story(&taken);
        let mut told_keys = told.clone();
        // Which of two rows a statement reaches first is the server's.
        told_keys[5..7].sort();
        assert_eq!(told_keys[..wanted.len()], wanted, "{told:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_changes_its_partition_is_deleted_and_made_within_one_transaction_pg_69() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "moves").await;
        let tables = "create table p (id int, day int, body text, primary key (id, day)) partition by list (day);
                      create table p_1 partition of p for values in (1);
                      create table p_2 partition of p for values in (2)";
        stage.run(tables).await;
        stage.run(&format!("alter publication {} add table p", stage.db.publication())).await;
        let mut reader = begin(&stage).await;
        stage.run("insert into p values (1, 1, 'a'), (2, 1, 'b')").await;
        stage.run("update p set day = 2").await;
        let taken = reader.changes(6).await;
        let wanted = ["insert 1", "insert 2", "commit", "delete 1", "insert 1", "delete 2", "insert 2", "commit"];
        assert_eq!(story(&taken), wanted, "each delete stands beside its insert");
    })
    .await;
}

/// The partitions that a look names, each with what happened to it.
async fn told(health: &mut Health) -> Vec<String> {
    // Tables are looked at less often than slots.
    let mut look = health.look().await.unwrap();
    for _ in 0..6 {
        look = health.look().await.unwrap();
    }
    let concerns = look.concerns.iter().filter(|concern| concern.state.as_str() == "partitions_changed");
    let mut told: Vec<String> = concerns
        .map(|concern| {
            assert!(concern.remedy.contains("antiphon resync"), "{concern:?}");
            format!("{}: {}", concern.subject, concern.detail)
        })
        .collect();
    told.sort();
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_emptied_or_comes_or_goes_with_its_rows_is_told_by_its_name_pg_68_pg_70() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "leaves").await;
        let tables = "create table p (id int, org text, primary key (id, org)) partition by list (id);
                      create table p_1 partition of p for values in (1);
                      create table p_2 partition of p for values in (2);
                      create table p_3 partition of p for values in (3);
                      create table p_4 partition of p for values in (4);
                      create table p_9 partition of p for values in (9)";
        stage.run(tables).await;
        stage.run(&format!("alter publication {} add table p", stage.db.publication())).await;
        stage.run("insert into p select i, 'o' from generate_series(1, 4) i").await;
        let mut entity = (*crate::stage::notes()).clone();
        (entity.name, entity.table.name) = ("part".into(), "p".into());
        let mut health = Health::new(HealthConfig {
            method: antiphon_postgres::CaptureMethod::Log,
            info: ConnectionInfo::parse(&stage.db.url()).unwrap(),
            slot: stage.db.slot(),
            publication: stage.db.publication(),
            entities: vec![entity],
        });
        let mut reader = begin(&stage).await;
        assert_eq!(told(&mut health).await, Vec::<String>::new());
        // What takes no captured row along is nobody's concern.
        stage.run("create table p_5 partition of p for values in (5); insert into p values (5, 'o')").await;
        stage.run("alter table p detach partition p_9").await;
        stage.run("vacuum full p_4").await;
        reader.changes(1).await;
        assert_eq!(told(&mut health).await, Vec::<String>::new());
        // None of these reaches the stream.
        stage.run("truncate p_1; alter table p detach partition p_2; drop table p_3").await;
        stage.run("create table p_6 (id int not null, org text not null, primary key (id, org)); insert into p_6 values (6, 'o')").await;
        stage.run("alter table p attach partition p_6 for values in (6)").await;
        stage.run("insert into p values (4, 'after')").await;
        let taken = reader.changes(1).await;
        assert_eq!(story(&taken), ["insert 4", "commit"], "the server tells more than it did");
        let wanted = [
            "public.p: the partition public.p_1 was emptied by itself",
            "public.p: the partition public.p_2 was taken off with its rows",
            "public.p: the partition public.p_3 was taken off with its rows",
            "public.p: the partition public.p_6 was put on with its rows",
        ];
        let found = told(&mut health).await;
        assert_eq!(found.len(), wanted.len(), "{found:?}");
        for (found, wanted) in found.iter().zip(wanted) {
            assert!(found.starts_with(wanted), "{found}");
        }
        // It stays true until the table is copied anew.
        assert_eq!(told(&mut health).await, found);
    })
    .await;
}
