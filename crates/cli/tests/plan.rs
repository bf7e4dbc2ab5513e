//! `antiphon config plan`: what a changed configuration would do, before a server is started with it (OP-17).

use antiphon_testkit::{for_each_postgres, sse};
use serde_json::Value;

use crate::own::{Own, SOON, end};

const ORDERS: &str =
    "create table orders (id int8 primary key, tenant_id text not null); insert into orders values (1, 'north')";
const ADD_ORDER: [&str; 8] = ["entities", "add", "order", "--table", "orders", "--org", "tenant_id", "--yes"];

/// Asks for the plan; returns its exit code, whether it is safe, and what it says of each table.
async fn planned(own: &Own) -> (i32, Value, Vec<String>) {
    let ran = own.run(&["config", "plan", "--json"]).await;
    let document = ran.json();
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let line = |line: &Value| format!("{} {} {}", text(line, "table"), text(line, "prospect"), text(line, "code"));
    let lines =
        document["types"].as_array().expect("types").iter().map(|found| line(found).trim().to_owned()).collect();
    (ran.code, document["safe"].clone(), lines)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_rolled_back_is_planned_refused_where_it_is_unsafe_and_what_runs_goes_on_op_17() {
    for_each_postgres(|pg| async move {
        let own = Own::new(&pg, "cliplan").await;
        let client = own.database.connect().await;
        let token = own.init().await.json()["token"].as_str().expect("a token").to_owned();
        let file = own.path().join("antiphon.toml");
        let write = |text: &str| std::fs::write(&file, text).expect("written");
        let first = std::fs::read_to_string(&file).expect("the configuration");
        assert_eq!(planned(&own).await, (0, true.into(), vec!["public.invoices copied".to_owned()]));
        let (serve, _) = own.serving().await;
        own.copied(1).await;
        assert_eq!(planned(&own).await.2, ["public.invoices goes_on"]);

        client.batch_execute(ORDERS).await.expect("another table");
        own.good(&ADD_ORDER).await;
        let second = std::fs::read_to_string(&file).expect("the configuration");
        assert_eq!(
            planned(&own).await,
            (0, true.into(), vec!["public.invoices goes_on".into(), "public.orders copied".into()])
        );
        end(serve).await;
        let (serve, _) = own.serving().await;
        own.copied(2).await;
        assert_eq!(planned(&own).await.2, ["public.invoices goes_on", "public.orders goes_on"]);

        // Back to the first: allowed, and said what it costs.
        write(&first);
        assert_eq!(
            planned(&own).await,
            (0, true.into(), vec!["public.invoices goes_on".into(), "public.orders left".into()])
        );
        end(serve).await;
        let (serve, api) = own.serving().await;
        let stream = format!("{api}/v1/orgs/north/live?live=sse&offset=now");
        let mut stream = sse(&stream, Some(&token), None).await.expect("the stream");
        client.batch_execute("insert into orders values (2, 'north')").await.expect("nobody captures it");
        client.batch_execute("insert into invoices values (4, 'north', 'Dee')").await.expect("an invoice");
        while !stream.next(SOON).await.expect("an event").expect("an open stream").data.contains("Dee") {}

        // Forth again: the second order is in nobody's log.
        write(&second);
        let gone = |order: &str| vec!["public.invoices goes_on".to_owned(), format!("public.orders {order}")];
        assert_eq!(planned(&own).await, (6, false.into(), gone("unsafe PUBLICATION_CHANGED")));
        // A table that readers have rows of would become another one.
        write(&first.replace("public.invoices", "public.orders"));
        assert_eq!(planned(&own).await.2[0], "public.orders unsafe PUBLICATION_CHANGED");
        client
            .batch_execute("create table bills (id int8 primary key, tenant_id text not null)")
            .await
            .expect("a table");
        write(&first);
        own.good(&["entities", "add", "bill", "--table", "bills", "--org", "tenant_id", "--yes"]).await;
        write(&first.replace("public.invoices", "public.bills"));
        let (code, _, lines) = planned(&own).await;
        assert_eq!(
            (code, lines),
            (3, vec!["public.bills unsafe CONFIG_INVALID".into(), "public.invoices left".into()])
        );
        // A role that is gone by now, as after a secret that was taken back.
        write(&first.replace("postgres://postgres@", "postgres://nobody_of_that_name@"));
        let refused = own.run(&["config", "plan", "--json"]).await;
        assert_eq!((refused.code, refused.error()["error"]["code"].clone()), (4, "AUTH_FAILED".into()));

        // Through all of it the server goes on with what it has read.
        client.batch_execute("insert into invoices values (5, 'north', 'Eve')").await.expect("an invoice");
        while !stream.next(SOON).await.expect("an event").expect("an open stream").data.contains("Eve") {}
        end(serve).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_names_a_captured_table_that_was_dropped_since_op_17() {
    for_each_postgres(|pg| async move {
        let own = Own::new(&pg, "clidropped").await;
        assert_eq!(own.init().await.code, 0);
        let (serve, _) = own.serving().await;
        own.copied(1).await;
        end(serve).await;
        own.database.connect().await.batch_execute("drop table invoices").await.expect("dropped");
        let (code, safe, lines) = planned(&own).await;
        assert_eq!((code, safe, lines), (6, false.into(), vec!["public.invoices unsafe PUBLICATION_CHANGED".into()]));
        let shown = own.run(&["config", "plan"]).await;
        assert!(
            shown.stdout.contains("invoice, public.invoices") && shown.stderr.contains("unsafe"),
            "{}",
            shown.stdout
        );
    })
    .await;
}
