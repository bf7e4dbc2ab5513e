//! Values of every type: printed for lists exactly as for the stream (protocol 2, PG-74 to PG-77).

use std::{collections::BTreeMap, sync::Arc};

use antiphon_engine::ports::{Field, Rows, Shape};
use antiphon_model::{Type, TypeKind};
use antiphon_postgres::resolve_types;
use antiphon_testkit::for_each_postgres;
use antiphon_wire::{TypeTable, parse_raw_value};
use serde_json::value::RawValue;

use crate::fixture;

const TYPES: &str = r#"
    create domain positive as int check (value > 0);
    create domain small as positive;
    create domain words as text[];
    create domain mood_domain as text;
    create type mood as enum ('sad', 'o''k', 'very "happy"');
    create domain mooddom as mood;
    create type point3 as (x int, "y y" mood, z small, tags text[]);
    create domain compdom as point3;
    create type nested as (p point3, list point3[]);
    create schema other;
    create type other."Odd Name" as enum ('x');
    create type textrange as range (subtype = text);
    create table t (
        id int primary key, org text not null, tx jsonb, b bool, i2 int2, i8 int8, f4 float4, f8 float8, n numeric,
        n2 numeric(20, 4), m money, o oid, t text, v varchar(10), c char(8), c1 "char", nm name, u uuid, by bytea,
        j json, jb jsonb, d date, ti time, tz timetz, ts timestamp, tstz timestamptz, iv interval, ip inet, ci cidr,
        mac macaddr, bi bit(5), vb varbit, tv tsvector, xm xml, pt point, bx box, bxs box[], r int4range, tr textrange,
        mr int4multirange, lsn pg_lsn, snap pg_snapshot, x8 xid8, rc refcursor, reg regclass, v2 int2vector,
        e mood, ea mood[], od other."Odd Name", dom small, doms small[], w words, md mooddom, comp point3,
        cd compdom, ne nested, ta text[], ia int[][], tsa timestamptz[], ja jsonb[], ba bytea[],
        gen int generated always as (id * 2) stored
    );
"#;

const ROWS: &str = r#"
    insert into t (id, org) values (1, 'a');
    insert into t values (2, 'a', '{}', true, -3, 9007199254740993, 'NaN', '-Infinity', 'Infinity', 12.5, 1234.5, 7,
        e'tab\t"quoted" \\ ä漢🦀', 'x', 'ab', 'z', 'name', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '\x00ff10',
        '{"a" : 1, "a": null}', '{"b":[1,2]}', 'infinity', '24:00:00', '04:05:06-08', '0044-03-15 BC', 'infinity',
        '1 year 2 mons -3 days 04:05:06.7', '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', '10101', '1', 'a fat:2 cat',
        '<a>b</a>', '(1,2)', '((1,2),(3,4))', array['((1,2),(3,4))'::box, '((5,6),(7,8))'::box], 'empty', '[a,c)',
        '{[1,3),[5,6)}', '16/B374D848', '10:20:10,14', '18446744073709551615', 'cursor', 'pg_class', '1 2 3',
        'very "happy"', array['sad', null, 'o''k']::mood[], 'x', 5, array[1, 2]::small[], array['a,b', '{c}', null],
        'sad', row(1, 'sad', 2, array['p"q', 'r,s']), row(null, null, null, null),
        row(row(1, 'o''k', 2, null), array[row(1, 'sad', 3, '{}')::point3]), array['', 'NULL', null, '"'],
        '[2:3][0:1]={{1,2},{3,4}}', array['2020-01-01 00:00:00+05:30'::timestamptz], array['{"a": "b,c"}'::jsonb, 'null'],
        array['\x01'::bytea, null]);
"#;

#[tokio::test]
async fn every_type_is_listed_as_the_stream_prints_it_pg_74_pg_75_pg_76_pg_77() {
    for_each_postgres(|pg| async move {
        let db = pg.database("values").await;
        let client = db.connect().await;
        client.batch_execute(TYPES).await.expect("types");
        // A server may be built without XML.
        let xml = client.query_one("select '<a/>'::xml::text", &[]).await.is_ok();
        let rows = if xml { ROWS.to_owned() } else { ROWS.replace("'<a>b</a>'", "null") };
        client.batch_execute(&rows).await.expect("rows");
        // Sessions of ours pin how values are printed, whatever role and database say.
        let hostile = format!(
            "alter database {} set DateStyle = 'SQL, DMY'; alter database {0} set IntervalStyle = postgres;
             alter database {0} set bytea_output = escape; alter database {0} set extra_float_digits = -5;
             alter database {0} set TimeZone = 'Asia/Kolkata'; alter database {0} set search_path = other",
            db.name()
        );
        client.batch_execute(&hostile).await.expect("settings");
        let rows = fixture::rows(&db);
        let mut entity = fixture::entity("thing", "t");
        entity.hidden = vec!["nm".to_owned()];
        let page = rows.list(&fixture::query(&entity, "a")).await.expect("a page");
        assert_eq!(page.rows.len(), 2);
        let (expected, shape) = streamed(&db, &client).await;
        // The stream and the catalogue call one shape by one name, so it has one number.
        assert_eq!(page.fingerprint, shape.fingerprint());
        for (row, expected) in page.rows.iter().zip(&expected) {
            assert_eq!(row.image, *expected);
        }
        let image: serde_json::Value = serde_json::from_str(&page.rows[1].image).expect("JSON");
        assert!(image.get("gen").is_none() && image.get("nm").is_none() && image.get("tx").is_none());
        assert_eq!(image["c"], "ab      ");
        assert_eq!(image["b"], true);
        assert_eq!(image["by"], "AP8Q");
        assert_eq!(image["ip"], "10.0.0.1/8");
        assert_eq!(image["iv"], "P1Y2M-3DT4H5M6.7S");
        assert_eq!(image["tsa"], serde_json::json!(["2019-12-31T18:30:00.000000Z"]));
        assert_eq!(image["dom"], 5);
        assert_eq!(image["comp"], serde_json::json!({"x": 1, "y y": "sad", "z": 2, "tags": ["p\"q", "r,s"]}));
        assert_eq!(image["ne"]["list"][0]["tags"], serde_json::json!([]));
        assert_eq!(image["bxs"].as_array().map(Vec::len), Some(2));
        assert_eq!(image["ja"][1], serde_json::Value::Null);
    })
    .await;
}

/// What a client reads and writes back unchanged is read by Postgres as the value that it was.
#[tokio::test]
async fn every_listed_value_written_back_is_the_same_value_pg_74_pg_75() {
    for_each_postgres(|pg| async move {
        let db = pg.database("values_back").await;
        let client = db.connect().await;
        client.batch_execute(TYPES).await.expect("types");
        let xml = client.query_one("select '<a/>'::xml::text", &[]).await.is_ok();
        client
            .batch_execute(&if xml { ROWS.to_owned() } else { ROWS.replace("'<a>b</a>'", "null") })
            .await
            .expect("rows");
        let rows = fixture::rows(&db);
        let entity = fixture::entity("thing", "t");
        let page = rows.list(&fixture::query(&entity, "a")).await.expect("a page");
        let image: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&page.rows[1].image).expect("JSON");
        let columns = "select attname::text, atttypid from pg_attribute where attrelid = 't'::regclass and attnum > 0 \
                       and attgenerated = '' and attname not in ('id', 'tx')";
        let columns = client.query(columns, &[]).await.expect("columns");
        let oids: Vec<u32> = columns.iter().map(|column| column.get(1)).collect();
        let types: BTreeMap<u32, Arc<Type>> = resolve_types(&client, &oids).await.expect("types").into_iter().collect();
        let (mut names, mut values) = (vec!["id".to_owned()], vec!["3".to_owned()]);
        for column in &columns {
            let (name, oid): (String, u32) = (column.get(0), column.get(1));
            let ty = types.get(&oid).cloned().or_else(|| TypeTable::new().resolve(oid)).expect("a type");
            let text = parse_raw_value(&ty, &image[&name], false).unwrap_or_else(|error| panic!("{name}: {error}"));
            values.push(text.map_or("null".to_owned(), |text| quoted(&text)));
            names.push(name);
        }
        assert!(names.len() > 50);
        let insert = format!("insert into t ({}) values ({})", names.join(", "), values.join(", "));
        client.batch_execute(&insert).await.expect("every text is read");
        let page = rows.list(&fixture::query(&entity, "a")).await.expect("a page");
        let written: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&page.rows[2].image).expect("JSON");
        for name in &names[1..] {
            assert_eq!(written[name].get(), image[name].get(), "{name}");
        }
    })
    .await;
}

fn quoted(text: &str) -> String {
    format!("e'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The rows as the stream has them: decoded by the server's own plugin from the log, encoded by the shared rules.
async fn streamed(db: &antiphon_testkit::TestDb, client: &tokio_postgres::Client) -> (Vec<String>, Shape) {
    use antiphon_engine::ImageWriter;
    use antiphon_model::{Change, Tuple};
    use antiphon_wire::{Assembler, AssemblerOutput, Limits, TypeTable};

    client.batch_execute("create publication p for table t").await.expect("a publication");
    let slot = "select pg_create_logical_replication_slot($1, 'pgoutput')::text";
    client.query_one(slot, &[&db.slot()]).await.expect("a slot");
    client.batch_execute("update t set id = id + 100; update t set id = id - 100").await.expect("changes");
    // A walsender of ours prints under pinned settings; so must this session.
    let pinned = "set DateStyle = ISO; set IntervalStyle = iso_8601; set TimeZone = UTC; set extra_float_digits = 3;
                  set bytea_output = hex";
    client.batch_execute(pinned).await.expect("settings");
    let sql = "select data from pg_logical_slot_get_binary_changes($1, null, null, 'proto_version', '1', \
               'publication_names', 'p')";
    let payloads = client.query(sql, &[&db.slot()]).await.expect("a stream");
    let mut assembler = Assembler::new(Limits::default(), TypeTable::new(), antiphon_model::Xid::new(1));
    let mut last = std::collections::BTreeMap::new();
    let mut shape = Shape { fields: Vec::new() };
    for payload in payloads {
        let bytes: Vec<u8> = payload.get(0);
        assembler.handle(bytes.into()).expect("a message");
        while let Some(output) = assembler.poll() {
            match output {
                AssemblerOutput::ResolveTypes(oids) => {
                    for (oid, ty) in resolve_types(client, &oids).await.expect("types") {
                        assembler.types_mut().insert(oid, ty);
                    }
                    assembler.resume().expect("goes on");
                }
                AssemblerOutput::Transaction(transaction) => {
                    for change in transaction.changes {
                        let Change::Update(row) = change else { continue };
                        let new: &Tuple = row.new.as_ref().expect("a row");
                        let mut image = ImageWriter::default();
                        image.start();
                        let mut id = String::new();
                        let shown = row.relation.columns.iter().filter(|column| !["tx", "nm"].contains(&&*column.name));
                        let field = |column: &antiphon_model::Column| Field {
                            name: column.name.clone(),
                            ty: column.ty.clone(),
                            nullable: true,
                            default: None,
                            length_max: None,
                        };
                        shape.fields = shown.map(field).collect();
                        for (column, cell) in row.relation.columns.iter().zip(new.cells()) {
                            if column.name == "id"
                                && let antiphon_model::Cell::Text(text) = cell
                            {
                                id = String::from_utf8_lossy(text).into_owned();
                            }
                            if !["tx", "nm"].contains(&column.name.as_str()) {
                                image.push(
                                    &serde_json::Value::from(column.name.as_str()).to_string(),
                                    &column.ty,
                                    cell,
                                );
                            }
                        }
                        last.insert(id, image.finish(None).0);
                    }
                }
                _ => {}
            }
        }
    }
    (vec![last.remove("1").expect("row 1"), last.remove("2").expect("row 2")], shape)
}

#[tokio::test]
async fn types_have_one_name_whatever_the_search_path() {
    for_each_postgres(|pg| async move {
        let db = pg.database("types").await;
        let client = db.connect().await;
        client.batch_execute(TYPES).await.expect("types");
        let oids = "select array['mood'::regtype, 'mood[]'::regtype, 'other.\"Odd Name\"'::regtype, 'other.\"Odd Name\"[]'::regtype, 'small'::regtype,
                    'words'::regtype, 'point3'::regtype, 'nested'::regtype, 'textrange'::regtype, 'mooddom'::regtype, 'compdom'::regtype]::oid[]";
        let oids: Vec<u32> = client.query_one(oids, &[]).await.expect("oids").get(0);
        let mut seen = Vec::new();
        for path in ["public", "other", "''", "pg_catalog, public"] {
            client.batch_execute(&format!("set search_path = {path}")).await.expect("a path");
            seen.push(resolve_types(&client, &oids).await.expect("types"));
        }
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
        let types: Vec<&Arc<Type>> = seen[0].iter().map(|(_, ty)| ty).collect();
        let names: Vec<&str> = types.iter().map(|ty| ty.name.as_str()).collect();
        assert_eq!(
            names,
            ["mood", "mood[]", "other.\"Odd Name\"", "other.\"Odd Name\"[]", "integer", "text[]", "point3", "nested",
             "textrange", "mood", "point3"]
        );
        assert!(matches!(&types[0].kind, TypeKind::Enum(labels) if labels.len() == 3 && labels[1] == "o'k"));
        assert!(matches!(&types[6].kind, TypeKind::Composite(attributes) if attributes[1].0 == "y y"));
        let gone = resolve_types(&client, &[4_000_000_000, 23]).await.expect("types");
        assert_eq!((&*gone[0].1.name, &*gone[1].1.name), ("type 4000000000", "integer"));
    })
    .await;
}
