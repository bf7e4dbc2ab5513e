//! Who wrote what, told by sealed messages over plain SQL: rows, cascades, marks, and what nobody believes (house 12).

use std::collections::BTreeMap;

use antiphon_engine::{Authorship, MESSAGE_PREFIX, SealKey, seal};
use antiphon_model::{EntityType, RelationName, Sync, Tenancy, Tx, Xid};
use antiphon_server::admin::CaptureMethod;
use antiphon_testkit::{Pg, for_each_postgres};
use serde_json::{Value, json};

use crate::{
    stage::{Setup, Stage, usual_method},
    transports::{ALL, Reader, Transport},
};

/// Remarks go with their note; countries are everyone's.
const TABLES: &str = "
create table remarks (id text primary key, org text not null, note text references notes (id) on delete cascade);
create table countries (id text primary key, name text);";

fn entity(name: &str, table: &str, org: Tenancy) -> EntityType {
    EntityType {
        name: name.into(),
        table: RelationName { schema: "public".into(), name: table.into() },
        org,
        key: vec!["id".into()],
        tx: "tx".into(),
        hidden: Vec::new(),
        sync: Sync::All,
        filter: Vec::new(),
        together: Vec::new(),
        refs: BTreeMap::new(),
        fields: BTreeMap::new(),
        rules: Vec::new(),
        polling: Default::default(),
    }
}

async fn open(pg: &Pg) -> Stage {
    let types = vec![
        entity("remark", "remarks", Tenancy::Column("org".into())),
        entity("country", "countries", Tenancy::Everyone),
    ];
    Stage::open_with(pg, Setup { tables: TABLES, types, ..Setup::default() }).await
}

/// Writes as the mutation service does: stamps and messages, in statements of our own.
struct Hand<'a> {
    stage: &'a Stage,
    key: SealKey,
}

impl<'a> Hand<'a> {
    async fn new(stage: &'a Stage) -> Hand<'a> {
        let log = stage.db.connect_log().await;
        let row = log.query_one("select key from antiphon.installation", &[]).await.expect("a key");
        Hand { stage, key: SealKey::new(row.get(0)) }
    }

    /// Begins a transaction and returns its number.
    async fn begin(&self) -> Xid {
        self.stage.run("begin").await;
        let row = self.stage.client.query_one("select pg_current_xact_id()::text", &[]).await.expect("a number");
        Xid::new(row.get::<_, String>(0).parse().expect("a number"))
    }

    async fn write_message(&self, content: &[u8]) {
        let sql = match usual_method() {
            CaptureMethod::Trigger => {
                "insert into antiphon.audit (xid, statement, seq, op, said)
                 select pg_current_xact_id(), n, n, 'M', $2::bytea from nextval('antiphon.audit_seq') n
                 where $1::text is not null"
            }
            CaptureMethod::Log | CaptureMethod::Query => "select pg_logical_emit_message(true, $1, $2::bytea)",
        };
        self.stage.client.execute(sql, &[&MESSAGE_PREFIX, &content]).await.expect("a message");
    }

    fn sealed(&self, xid: Xid, org: &str, id: &str) -> Vec<u8> {
        let tx = Tx {
            transaction_id: id.into(),
            source_id: "test".into(),
            actor: Some("alice".into()),
            changed_field: Some("title".into()),
            ..Tx::default()
        };
        seal(&self.key, xid, Some(&Authorship { org: org.into(), tx }))
    }

    /// Says who writes from now on, and that a note's title is what is written.
    async fn says(&self, xid: Xid, id: &str, note: &str) {
        self.write_message(&self.sealed(xid, "acme", id)).await;
        let setting = json!({
            "table": "public.notes", "key": [note], "transactionId": id, "sourceId": "test", "actor": "alice",
            "changedField": "title",
        });
        self.set(&setting.to_string()).await;
    }

    async fn hush(&self, xid: Xid) {
        self.write_message(&seal(&self.key, xid, None)).await;
        self.set("").await;
    }

    async fn set(&self, setting: &str) {
        let sql = "select set_config('antiphon.tx', $1, true)";
        self.stage.client.execute(sql, &[&setting]).await.expect("a setting");
    }
}

/// What a change says of itself: action, entity, id, actor, whether it is the last.
fn told(change: &Value) -> (String, String, String, Value, bool) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entity = format!("{}/{}", text(&change["entityType"]), text(&change["entityId"]));
    let tx = &change["tx"];
    let last = change["commit"]["last"].as_bool().expect("a last");
    (text(&change["action"]), entity, text(&tx["transactionId"]), tx["actor"].clone(), last)
}

async fn refused(stage: &Stage) -> f64 {
    let metrics = stage.ask_as(&stage.admin, "/metrics").await.text();
    let line = metrics.lines().find_map(|line| line.strip_prefix("antiphon_capture_messages_refused_total "));
    line.map_or(0.0, |value| value.trim().parse().expect("a number"))
}

/// Reads so many changes, and what is confirmed besides.
async fn changes_and_confirms(reader: &mut Reader, count: usize) -> (Vec<Value>, Vec<Value>) {
    let (mut changes, mut confirmed) = (Vec::new(), Vec::new());
    while changes.len() < count || confirmed.is_empty() {
        match reader.next().await.expect("an open stream") {
            (kind, change) if kind == "change" => changes.push(change),
            (kind, body) if kind == "confirm" => {
                confirmed.extend(body["transactionIds"].as_array().expect("ids").clone());
            }
            _ => {}
        }
    }
    (changes, confirmed)
}

fn are_plain_sqls(seen: &[(String, String, String, Value, bool)], sql: &str) {
    let wanted = [("delete", "note/4", false), ("create", "country/at", true)];
    for (change, (action, entity, last)) in seen.iter().zip(wanted) {
        assert_eq!((&*change.0, &*change.1, &change.3, change.4), (action, entity, &Value::Null, last));
        assert!(change.2.ends_with(sql), "{} is plain SQL's", change.2);
    }
}

#[tokio::test]
async fn messages_tell_who_wrote_deleted_and_changed_nothing_and_forged_ones_count_for_nothing_house_12() {
    for_each_postgres(|pg| async move {
        let stage = open(&pg).await;
        stage.run("insert into notes (id, org, title) select n::text, 'acme', 'a' from generate_series(1, 4) n").await;
        stage.run("insert into remarks values ('r1', 'acme', '3'), ('r2', 'acme', '3')").await;
        let hand = Hand::new(&stage).await;
        let ids: Vec<String> = (0..4).map(|number| format!("9000000000000.{number:04}.test")).collect();
        // A true message of a transaction that never was committed, to be copied.
        let other = hand.begin().await;
        let copied = hand.sealed(other, "acme", &ids[0]);
        stage.run("rollback").await;

        let mut readers = Vec::new();
        for transport in ALL {
            let mut reader = Reader::open(&stage, transport, &stage.alice, "acme", "offset=now").await;
            reader.until("offset").await;
            readers.push((transport, reader));
        }
        let mut carol = Reader::open(&stage, Transport::Sse, &stage.carol, "globex", "offset=now").await;
        carol.until("offset").await;
        let refused_before = refused(&stage).await;

        let xid = hand.begin().await;
        for (id, note) in [(&ids[0], "1"), (&ids[1], "2")] {
            hand.says(xid, id, note).await;
            stage.run(&format!("update notes set title = 'b' where id = '{note}'")).await;
        }
        hand.says(xid, &ids[2], "3").await;
        stage.run("delete from notes where id = '3'").await;
        hand.says(xid, &ids[3], "none").await;
        stage.run("update notes set title = 'b' where id = 'none'").await;
        hand.hush(xid).await;
        hand.write_message(&copied).await;
        let mut forged = hand.sealed(xid, "acme", &ids[3]);
        *forged.last_mut().expect("content") = b' ';
        hand.write_message(&forged).await;
        stage.run("delete from notes where id = '4'; insert into countries values ('at', 'Austria'); commit").await;

        for (transport, mut reader) in readers {
            let (changes, confirmed) = changes_and_confirms(&mut reader, 7).await;
            assert_eq!(confirmed, [json!(ids[3])], "{transport:?}: what changed nothing is confirmed");
            let mut seen: Vec<_> = changes.iter().map(told).collect();
            // Which of the cascade's rows goes first is Postgres's affair, and whether before or after the note.
            seen[2..5].sort_by(|a, b| a.1.cmp(&b.1));
            let alices = |action: &str, entity: &str, id: &str| {
                (action.to_owned(), entity.to_owned(), id.to_owned(), json!("alice"), false)
            };
            assert_eq!(
                seen[..5],
                [
                    alices("update", "note/1", &ids[0]),
                    alices("update", "note/2", &ids[1]),
                    alices("delete", "note/3", &ids[2]),
                    alices("delete", "remark/r1", &ids[2]),
                    alices("delete", "remark/r2", &ids[2]),
                ],
                "{transport:?}"
            );
            assert_eq!(changes[0]["changedKeys"], json!(["title"]));
            are_plain_sqls(&seen[5..], &format!(".sql-{xid}"));
        }
        let country = carol.change().await;
        assert_eq!((told(&country).1, told(&country).4), ("country/at".to_owned(), true));
        // Counters are the process's: others may have counted, too.
        assert!(refused(&stage).await >= refused_before + 2.0, "two messages were not believed");
    })
    .await;
}

#[tokio::test]
async fn a_row_that_nothing_changed_keeps_its_stamp_and_its_mutation_is_confirmed_all_the_same_house_12() {
    for_each_postgres(|pg| async move {
        let stage = open(&pg).await;
        stage.run("insert into notes (id, org, title) values ('1', 'acme', 'a')").await;
        let hand = Hand::new(&stage).await;
        let mut reader = Reader::open(&stage, Transport::Sse, &stage.alice, "acme", "offset=now").await;
        reader.until("offset").await;
        let xid = hand.begin().await;
        let id = "9000000000000.0000.test";
        hand.says(xid, id, "gone").await;
        // The row that was meant is not there; a trigger, say, writes another one as it was.
        stage.run("update notes set title = title where id = '1'; commit").await;
        let (mut confirmed, mut changed) = (Value::Null, Value::Null);
        while confirmed.is_null() || changed.is_null() {
            match reader.next().await.expect("an open stream") {
                (kind, body) if kind == "confirm" => confirmed = body["transactionIds"].clone(),
                (kind, body) if kind == "change" => changed = body["tx"]["sourceId"].clone(),
                _ => {}
            }
        }
        assert_eq!((confirmed, changed), (json!([id]), json!("sql")));
    })
    .await;
}

#[tokio::test]
async fn everyones_rows_reach_every_organisation_once_in_order_from_memory_and_from_the_log_mut_09() {
    for_each_postgres(|pg| async move {
        let stage = open(&pg).await;
        let mut live = Reader::open(&stage, Transport::Sse, &stage.alice, "acme", "offset=now").await;
        live.until("offset").await;
        // Everyone's row comes first, so the transaction's end is nobody's activity.
        stage.run("begin; insert into countries values ('at', 'Austria'); insert into notes (id, org) values ('1', 'acme'); commit").await;
        stage.run("insert into notes (id, org) values ('2', 'globex')").await;
        stage.run("truncate countries").await;
        stage.run("insert into notes (id, org) values ('3', 'acme')").await;
        let expected = [
            ("create", "country/at", false),
            ("create", "note/1", false),
            ("truncate", "country/", true),
            ("create", "note/3", true),
        ];
        let mut seen = Vec::new();
        while seen.len() < expected.len() {
            seen.push(told(&live.change().await));
        }
        let seen: Vec<_> = seen.iter().map(|change| (&*change.0, &*change.1, change.4)).collect();
        assert_eq!(seen, expected);
        // Whoever begins anew reads the log, in pages as small as they get.
        let (mut offset, mut again, mut end) = (json!(-1), Vec::new(), false);
        while !end {
            let page = stage.json(&format!("/v1/orgs/acme/live?offset={offset}&limit=1")).await;
            again.extend(page["activities"].as_array().expect("activities").iter().map(told));
            (offset, end) = (page["offset"].clone(), page["upToDate"] == true);
        }
        let again: Vec<_> = again.iter().map(|change| (&*change.0, &*change.1, change.4)).collect();
        assert_eq!(again, expected);
    })
    .await;
}
