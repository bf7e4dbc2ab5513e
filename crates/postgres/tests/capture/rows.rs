//! What rows look like when they arrive: large values, keys, truncates, partitions, types and tables that change.

use antiphon_model::{Cell, Change, Checkpoint, OldRow, ReplicaIdentity, Transaction};
use antiphon_testkit::for_each_postgres;

use crate::stage::{Reader, Stage, column};

/// The changes of all transactions, in order.
fn changes(transactions: &[Transaction]) -> Vec<&Change> {
    transactions.iter().flat_map(|transaction| &transaction.changes).collect()
}

/// A letter for each change, with the table of each row.
fn shape(transactions: &[Transaction]) -> Vec<String> {
    let shape = |change: &&Change| match change {
        Change::Insert(row) => format!("insert {}", row.relation.name),
        Change::Update(row) => format!("update {}", row.relation.name),
        Change::Delete(row) => format!("delete {}", row.relation.name),
        Change::Truncate(tables) => {
            format!("truncate {}", tables.iter().map(|table| table.name.as_str()).collect::<Vec<_>>().join(" "))
        }
        Change::Message { content, .. } => format!("message {}", String::from_utf8_lossy(content)),
    };
    changes(transactions).iter().map(shape).collect()
}

/// The cells of a row's new tuple, or of its old one for a delete.
fn cells(change: &Change) -> Vec<String> {
    let (Change::Insert(row) | Change::Update(row) | Change::Delete(row)) = change else { panic!("{change:?}") };
    let old = match &row.old {
        OldRow::Absent => None,
        OldRow::Identity(old) | OldRow::Full(old) => Some(old),
    };
    let tuple = row.new.as_ref().or(old).expect("a tuple");
    tuple.cells().map(text).collect()
}

fn text(cell: Cell<'_>) -> String {
    match cell {
        Cell::Null => "null".into(),
        Cell::Unchanged => "unchanged".into(),
        Cell::Text(text) => String::from_utf8_lossy(text).into_owned(),
        Cell::Binary(_) => "binary".into(),
    }
}

async fn begin(stage: &Stage) -> Reader {
    Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_that_did_not_change_is_never_null_whatever_the_identity_pg_61_pg_66() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "toast").await;
        stage.run("alter table notes alter body set storage external").await;
        let mut reader = begin(&stage).await;
        stage.run("insert into notes (id, body) values (1, repeat('x', 20000))").await;
        stage.run("update notes set org = 'one' where id = 1").await;
        // Both shapes in one transaction, changed in between by another session: each row is read by its own.
        stage.run("alter table notes replica identity full").await;
        stage.run("update notes set org = 'two' where id = 1").await;
        stage.run("alter table notes replica identity default; update notes set org = 'three' where id = 1").await;
        let taken = reader.changes(4).await;
        let taken = changes(&taken);
        for (index, identity, whole) in [
            (1, ReplicaIdentity::Default, false),
            (2, ReplicaIdentity::Full, true),
            (3, ReplicaIdentity::Default, false),
        ] {
            let Change::Update(row) = taken[index] else { panic!("{:?}", taken[index]) };
            assert_eq!(row.relation.identity, identity, "{index}");
            assert_eq!(cells(taken[index])[2], "unchanged", "{index}");
            match &row.old {
                OldRow::Full(old) => assert!(whole && text(old.cells().nth(2).unwrap()).len() == 20_000),
                _ => assert!(!whole, "{index}: the old row is not whole"),
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_changes_comes_with_the_old_one_and_truncates_come_in_order_pg_62_pg_67() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "keys").await;
        let parts = "create table parts (id int primary key, note int references notes)";
        stage.run(&format!("{parts}; alter publication {} add table parts", stage.db.publication())).await;
        let mut reader = begin(&stage).await;
        stage.run("insert into notes (id) values (1); update notes set id = 2 where id = 1").await;
        stage.run("begin; insert into notes (id) values (3); truncate notes cascade; insert into notes (id) values (4); commit").await;
        let taken = reader.changes(5).await;
        let wanted = ["insert notes", "update notes", "insert notes", "truncate notes parts", "insert notes"];
        assert_eq!(shape(&taken), wanted);
        let Change::Update(row) = changes(&taken)[1] else { panic!("an update was made") };
        let OldRow::Identity(old) = &row.old else { panic!("the old key is missing") };
        assert_eq!((text(old.cells().next().unwrap()), &*cells(changes(&taken)[1])[0]), ("1".into(), "2"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_arrives_once_when_it_is_committed_pg_42() {
    for version in antiphon_testkit::PgVersion::tested() {
        let Some(pg) = antiphon_testkit::Pg::private(version, &[("max_prepared_transactions", "5")]).await else {
            continue;
        };
        let stage = Stage::set(&pg, "prepared").await;
        let mut reader = begin(&stage).await;
        stage.run("begin; insert into notes (id) values (1); prepare transaction 'kept'").await;
        stage.run("begin; insert into notes (id) values (2); prepare transaction 'dropped'").await;
        stage.run("insert into notes (id) values (3)").await;
        stage.run("rollback prepared 'dropped'").await;
        // A connection that begins while it is prepared brings it all the same.
        assert_eq!(column(&reader.changes(1).await, 0), ["3"]);
        let checkpoint = reader.checkpoint.clone();
        reader.acknowledge();
        drop(reader);
        let slot = stage.db.slot();
        let free = format!("select not active from pg_replication_slots where slot_name = '{slot}'");
        crate::stage::until(&stage.client, &free).await;
        let mut reader = Reader::connect(&stage.source(), checkpoint).await.unwrap();
        stage.run("commit prepared 'kept'").await;
        stage.run("insert into notes (id) values (4)").await;
        assert_eq!(column(&reader.changes(2).await, 0), ["1", "4"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_rise_though_rows_of_several_transactions_lie_mixed_pg_43_pg_87() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "mixed").await;
        stage.run("create sequence numbers; alter table notes alter id set default nextval('numbers')").await;
        let mut reader = begin(&stage).await;
        let (first, second) = (stage.db.connect().await, stage.db.connect().await);
        let insert = "insert into notes (body) values ('x')";
        first.batch_execute(&format!("begin; {insert}")).await.unwrap();
        second.batch_execute(&format!("begin; {insert}; {insert}; rollback; begin; {insert}")).await.unwrap();
        first.batch_execute(insert).await.unwrap();
        second.batch_execute("commit").await.unwrap();
        first.batch_execute("commit").await.unwrap();
        let taken = reader.changes(3).await;
        // In the order of commits; numbers that a rollback used up are nobody's loss.
        assert_eq!(column(&taken, 0), ["4", "1", "5"]);
        let places: Vec<_> = taken.iter().map(|transaction| transaction.commit_lsn).collect();
        assert!(places.is_sorted_by(|before, after| before < after), "{places:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_is_read_by_the_shape_that_it_was_written_with_pg_46_pg_72_pg_73() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "shapes").await;
        let mut reader = begin(&stage).await;
        stage
            .run(
                "insert into notes (id) values (1);
                 begin; insert into notes (id) values (2); alter table notes add extra int default 7;
                 insert into notes (id) values (3); alter table notes rename body to text;
                 insert into notes (id, text) values (4, 'four'); alter table notes drop extra;
                 alter table notes add extra text; insert into notes (id, extra) values (5, 'five'); commit;
                 alter table notes alter id type bigint; insert into notes (id) values (6000000000)",
            )
            .await;
        let taken = reader.changes(6).await;
        let names = |change: &&Change| match change {
            Change::Insert(row) => {
                row.relation.columns.iter().map(|column| format!("{}:{}", column.name, column.ty.name)).collect()
            }
            _ => Vec::new(),
        };
        let names: Vec<Vec<String>> = changes(&taken).iter().map(names).collect();
        let wanted: [&[&str]; 6] = [
            &["id:integer", "org:text", "body:text"],
            &["id:integer", "org:text", "body:text"],
            &["id:integer", "org:text", "body:text", "extra:integer"],
            &["id:integer", "org:text", "text:text", "extra:integer"],
            &["id:integer", "org:text", "text:text", "extra:text"],
            &["id:bigint", "org:text", "text:text", "extra:text"],
        ];
        assert_eq!(names, wanted);
        assert_eq!(column(&taken, 0), ["1", "2", "3", "4", "5", "6000000000"]);
        assert_eq!(cells(changes(&taken)[4])[3], "five");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_partitions_come_under_their_root_and_a_move_is_a_delete_and_an_insert_pg_47() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "parts").await;
        let tables = "create table p (id int, org text, primary key (id, org)) partition by list (org);
                      create table p_a partition of p for values in ('a');
                      create table p_b (extra int, org text not null, id int not null);
                      alter table p_b drop extra; alter table p attach partition p_b for values in ('b')";
        stage.run(tables).await;
        stage.run(&format!("alter publication {} add table p", stage.db.publication())).await;
        let mut reader = begin(&stage).await;
        // The second partition has its columns in another order.
        stage.run("insert into p values (1, 'a'); insert into p_b (id, org) values (2, 'b')").await;
        stage.run("update p set org = 'b' where id = 1; create table p_c partition of p for values in ('c')").await;
        stage.run("insert into p values (3, 'c'); truncate p").await;
        let taken = reader.changes(6).await;
        assert_eq!(shape(&taken), ["insert p", "insert p", "delete p", "insert p", "insert p", "truncate p"]);
        let rows: Vec<_> = changes(&taken)[..5].iter().map(|change| cells(change).join(" ")).collect();
        assert_eq!(rows, ["1 a", "2 b", "1 a", "1 b", "3 c"]);
        assert_eq!(taken[2].changes.len(), 2, "a move is one transaction");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_outside_a_transaction_or_was_rolled_back_changes_nothing_pg_51() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "messages").await;
        let mut reader = begin(&stage).await;
        stage
            .run(
                "begin; select pg_logical_emit_message(false, 'antiphon', 'outside'); insert into notes (id) values (1);
                 select pg_logical_emit_message(true, 'antiphon', 'undone'); rollback;
                 begin; select pg_logical_emit_message(true, 'antiphon', 'inside'); insert into notes (id) values (2);
                 commit",
            )
            .await;
        let taken = reader.changes(2).await;
        assert_eq!(shape(&taken), ["message inside", "insert notes"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_extensions_and_types_unknown_to_us_keep_their_text_pg_49_pg_78_pg_79() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "types").await;
        let types = "create extension citext; create extension hstore; create type mood as enum ('sad', 'ok');
                     create domain small as int check (value < 10); create type pair as (a int, b text);
                     create type span as range (subtype = time)";
        stage.run(types).await;
        stage
            .run("alter table notes add c citext, add h hstore, add m mood, add d small, add p pair, add s span")
            .await;
        let mut reader = begin(&stage).await;
        let row = "'MiXed', 'a=>1,b=>null', 'ok', 7, row(1, 'x,\"y'), '[10:00,12:00)'";
        stage.run(&format!("insert into notes (id, c, h, m, d, p, s) values (1, {row})")).await;
        stage.run("alter type mood rename value 'ok' to 'fine'").await;
        stage.run("insert into notes (id, m) values (2, 'fine')").await;
        let taken = reader.changes(2).await;
        let wanted = ["MiXed", r#""a"=>"1", "b"=>NULL"#, "ok", "7", r#"(1,"x,""y")"#, "[10:00:00,12:00:00)"];
        assert_eq!(cells(changes(&taken)[0])[3..], wanted);
        assert_eq!(cells(changes(&taken)[1])[5], "fine");
        let Change::Insert(row) = changes(&taken)[0] else { panic!("an insert was made") };
        // A domain is read as what it stands for.
        let names: Vec<_> = row.relation.columns[3..].iter().map(|column| column.ty.name.as_str()).collect();
        assert_eq!(names, ["citext", "hstore", "mood", "integer", "pair", "span"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_as_wide_as_postgres_allows_is_read_pg_81() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "wide").await;
        let columns: Vec<String> = (0..1_597).map(|n| format!("add c{n} int2 default {n}")).collect();
        stage.run(&format!("alter table notes {}", columns.join(", "))).await;
        let mut reader = begin(&stage).await;
        stage.run("insert into notes (id) values (1)").await;
        let taken = reader.changes(1).await;
        let cells = cells(changes(&taken)[0]);
        assert_eq!((cells.len(), cells[1_599].as_str()), (1_600, "1596"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_columns_are_absent_and_never_null_pg_71() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "generated").await;
        stage.run("alter table notes add twice int generated always as (id * 2) stored, add after int default 5").await;
        let mut reader = begin(&stage).await;
        stage.run("insert into notes (id) values (1); update notes set body = 'b'").await;
        let taken = reader.changes(2).await;
        for change in changes(&taken) {
            let (Change::Insert(row) | Change::Update(row)) = change else { panic!("{change:?}") };
            let names: Vec<_> = row.relation.columns.iter().map(|column| column.name.as_str()).collect();
            assert_eq!(names, ["id", "org", "body", "after"]);
            assert_eq!(cells(change)[3], "5");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_text_arrive_as_they_are_and_the_stream_goes_on_pg_84() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "ascii").await;
        let name = format!("{}_ascii", stage.db.name());
        let made = format!("create database {name} template template0 encoding 'SQL_ASCII' locale 'C'");
        stage.run(&made).await;
        let url = pg.url(&name);
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        let connection = antiphon_testkit::spawn("ascii", async move { connection.await.is_ok() });
        let publication = stage.db.publication();
        let table = "create table notes (id int primary key, org text not null default 'acme', body text)";
        client.batch_execute(&format!("{table}; create publication {publication} for table notes")).await.unwrap();
        let source = antiphon_postgres::LogSource::new(stage.config_of(&url)).unwrap();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        client.batch_execute(r"insert into notes (id, body) values (1, E'caf\xe9'), (2, 'plain')").await.unwrap();
        let taken = reader.changes(2).await;
        let Change::Insert(row) = changes(&taken)[0] else { panic!("an insert was made") };
        assert_eq!(row.new.as_ref().unwrap().cells().nth(2), Some(Cell::Text(b"caf\xe9")));
        assert_eq!(cells(changes(&taken)[1])[2], "plain");
        let mut copy = antiphon_engine::ports::Source::snapshot_table(&source, "note").await.unwrap();
        let start = antiphon_engine::ports::SnapshotProgress::fresh("note");
        let copied = copy.chunk(&start, 10).await.unwrap();
        assert_eq!(copied.rows[0].cells().nth(2), Some(Cell::Text(b"caf\xe9")));
        drop(copy);
        drop(reader);
        drop(client);
        connection.await.unwrap();
        let free = format!("select count(*) = 0 from pg_replication_slots where database = '{name}' and active");
        crate::stage::until(&stage.client, &free).await;
        stage.run(&format!("select pg_drop_replication_slot('{}')", stage.db.slot())).await;
        stage.run(&format!("drop database {name} with (force)")).await;
    })
    .await;
}
