//! Capture by triggers through the binary: installed by the first start, and taken out again whole (TG-14).

use antiphon_testkit::{for_each_postgres, get, sse};
use serde_json::Value;
use tokio_postgres::Client;

use crate::own::{Own, SOON, end};

/// Everything that records, by name.
const RECORDING: &str = "
    select string_agg(what, ', ' order by what) from (
        select oid::regclass::text from pg_class where relnamespace::regnamespace::text = 'antiphon' and relname like 'audit%'
        union all select proname::text from pg_proc
            where pronamespace::regnamespace::text = 'antiphon' and proname like 'audit%'
        union all select tgname::text from pg_trigger where tgname like '!antiphon%'
    ) as everything (what)";

async fn recording(client: &Client) -> Option<String> {
    client.query_one(RECORDING, &[]).await.expect("the catalogue").get(0)
}

async fn row_live(own: &Own, api: &str, token: &str, id: i64) {
    let stream = format!("{api}/v1/orgs/north/live?live=sse&offset=now");
    let mut stream = sse(&stream, Some(token), None).await.expect("the stream");
    let insert = format!("insert into invoices values ({id}, 'north', 'customer {id}')");
    own.database.connect().await.batch_execute(&insert).await.expect("the insert");
    while !stream.next(SOON).await.expect("an event").expect("an open stream").data.contains(&format!("customer {id}"))
    {
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstalling_is_refused_while_it_is_configured_and_leaves_nothing_behind_tg_14() {
    for_each_postgres(|pg| async move {
        let mut own = Own::new(&pg, "cliuninstall").await;
        own.set("ANTIPHON_CAPTURE_METHOD", "trigger");
        let client = own.database.connect().await;
        let token = own.init().await.json()["token"].as_str().expect("a token").to_owned();
        assert_eq!(recording(&client).await, None, "preparing a table installs nothing");
        let (serve, api) = own.serving().await;
        own.copied(1).await;
        row_live(&own, &api, &token, 4).await;
        let installed = recording(&client).await.expect("the first start installs it");
        assert!(installed.contains("!antiphon_audit") && installed.contains("antiphon.audit_order"), "{installed}");

        let refused = own.run(&["capture", "uninstall", "--yes", "--json"]).await;
        assert_eq!((refused.code, refused.error()["error"]["code"].clone()), (3, "CONFIG_INVALID".into()));
        let dry = own.good(&["capture", "uninstall", "--dry-run"]).await;
        assert!(
            dry["steps"]
                .as_array()
                .is_some_and(|steps| steps.len() > 5 && steps.iter().any(|step| step["needed"] == true))
        );
        assert_eq!(recording(&client).await.as_ref(), Some(&installed), "neither changes anything");

        // Whoever insists stops a server that reads; the application writes on.
        own.good(&["capture", "uninstall", "--yes", "--force"]).await;
        assert_eq!(recording(&client).await, None);
        client
            .batch_execute("insert into invoices values (5, 'north', 'unseen')")
            .await
            .expect("the application goes on");
        let deadline = tokio::time::Instant::now() + SOON;
        while !get(&format!("{api}/readyz"), None, &[]).await.expect("an answer").text().contains("PUBLICATION_CHANGED")
        {
            assert!(tokio::time::Instant::now() < deadline, "nobody says that recording is gone");
        }
        assert_eq!(recording(&client).await, None, "it is not made again in silence");

        // Begun anew it records again; and is taken out in good order.
        assert_eq!(own.good(&["resync", "--yes"]).await["epoch"], 2);
        end(serve).await;
        let (serve, api) = own.serving().await;
        own.copied(1).await;
        row_live(&own, &api, &token, 6).await;
        end(serve).await;
        own.set("ANTIPHON_CAPTURE_METHOD", "log");
        own.good(&["capture", "uninstall", "--yes"]).await;
        assert_eq!(recording(&client).await, None);
        client.batch_execute("update invoices set customer = 'Eve'; delete from invoices").await.expect("it writes on");
        let again = own.good(&["capture", "uninstall", "--yes"]).await;
        let idle = |step: &Value| step["needed"] == false;
        assert!(again["steps"].as_array().is_some_and(|steps| steps.iter().all(idle)), "{again}");
    })
    .await;
}
