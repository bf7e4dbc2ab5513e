//! Tables that change under their readers: the schema has a number, and a new one says that rows of before may differ.

use antiphon_testkit::for_each_postgres;
use serde_json::{Value, json};

use crate::stage::{Stage, next};

async fn shape(stage: &Stage) -> Value {
    stage.json("/v1/orgs/acme/schema").await["types"]["note"].clone()
}

#[tokio::test]
async fn a_new_default_raises_the_number_of_the_shape_and_lists_have_it_in_rows_of_before_pg_72() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut stream = stage.stream("offset=-1", None).await;
        stage.run("insert into notes (id, org) values ('1', 'acme'), ('2', 'acme')").await;
        let before = next(&mut stream, "change").await.1["schema"].as_u64().expect("a number");
        assert_eq!(next(&mut stream, "change").await.1["schema"], before);
        stage.run("alter table notes add extra text default 'given'").await;
        stage.run("update notes set rank = 1 where id = '2'").await;
        let (_, change) = next(&mut stream, "change").await;
        let number = change["schema"].as_u64().expect("a number");
        assert!(number > before && change["data"]["extra"] == "given", "{change}");
        let shape = shape(&stage).await;
        assert_eq!((&shape["schema"], shape["fields"].get("extra").is_some()), (&json!(number), true), "{shape}");
        // No change tells of the first row; whoever lists again, as a new number asks for, has it.
        let list = stage.json("/v1/orgs/acme/entities/note").await;
        assert_eq!((&list["items"][0]["data"]["extra"], &list["schema"]), (&json!("given"), &json!(number)), "{list}");
    })
    .await;
}

#[tokio::test]
async fn a_column_that_was_renamed_or_made_anew_is_another_one_and_a_declared_one_is_asked_for_pg_73() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut stream = stage.stream("offset=-1", None).await;
        stage.run("insert into notes (id, org, body, flag) values ('1', 'acme', 'b', true)").await;
        let mut number = next(&mut stream, "change").await.1["schema"].as_u64().expect("a number");
        for (sql, field, value, gone) in [
            ("alter table notes rename body to content; update notes set rank = 1", "content", json!("b"), "body"),
            ("alter table notes drop flag, add flag int; update notes set flag = 3", "flag", json!(3), "body"),
        ] {
            stage.run(sql).await;
            let (_, change) = next(&mut stream, "change").await;
            let later = change["schema"].as_u64().expect("a number");
            assert!(later > number, "{change}");
            number = later;
            assert_eq!((&change["data"][field], change["data"].get(gone)), (&value, None), "{change}");
            let shape = shape(&stage).await;
            assert_eq!(shape["schema"], number);
            assert!(shape["fields"].get(field).is_some() && shape["fields"].get(gone).is_none(), "{shape}");
        }
        // A column that the declaration names is not looked for under another name.
        stage.run("alter table notes rename title to heading").await;
        let refused = stage.get("/v1/orgs/acme/entities/note").await;
        assert!(refused.status >= 400, "{}", refused.text());
        let doctor = stage.operator.doctor().await;
        let told = doctor.iter().find(|finding| finding.check == "table public.notes").expect("checked");
        assert!(told.detail.contains("there is no column `title`"), "{told:?}");
    })
    .await;
}
