//! An own database through the binary: from `init` to the first row live, and what goes wrong told with its remedy.

use antiphon_testkit::{Pg, PgVersion, Signal, for_each_postgres, get, sse};
use serde_json::Value;

use crate::own::{Own, SOON};

#[tokio::test(flavor = "multi_thread")]
async fn from_init_to_the_first_row_live_and_back() {
    for_each_postgres(|pg| async move {
        let own = Own::new(&pg, "cliinit").await;
        let made = own.init().await;
        assert_eq!(made.code, 0, "{}", made.stderr);
        let document = made.json();
        // The organisation that most rows have, so that the first stream shows something.
        assert_eq!((&document["org"], &document["entities"][0]["type"]), (&"north".into(), &"invoice".into()));
        let token = document["token"].as_str().expect("a token").to_owned();

        let again = own.init().await;
        assert_eq!((again.code, again.error()["error"]["code"].clone()), (3, "CONFIG_INVALID".into()));
        let listed = own.run(&["entities", "list", "--json"]).await.json();
        assert_eq!(listed["entities"][0]["identityFits"], true, "{listed}");
        assert_eq!(listed["entities"][0]["problem"], Value::Null, "{listed}");

        let (mut serve, api) = own.serving().await;
        let mut stream =
            sse(&format!("{api}/v1/orgs/north/live?live=sse&offset=-1"), Some(&token), None).await.expect("the stream");
        let client = own.database.connect().await;
        client.execute("insert into invoices values (4, 'north', 'Dee')", &[]).await.expect("the insert");
        loop {
            let event = stream.next(SOON).await.expect("an event").expect("an open stream");
            if event.event == "change" && event.data.contains("Dee") {
                break;
            }
        }
        let tail = own.run(&["tail", "--org", "north", "--from", "-1", "--limit", "3", "--json"]).await;
        assert_eq!((tail.code, tail.stdout.lines().count()), (0, 3), "{}", tail.stderr);
        let in_use = own.run(&["slots", "drop", &own.database.slot(), "--yes", "--json"]).await;
        assert_eq!((in_use.code, in_use.error()["error"]["code"].clone()), (6, "SLOT_IN_USE".into()));
        let types = own.run(&["types", "--out", "entities.ts"]).await;
        assert_eq!(types.code, 0, "{}", types.stderr);
        let text = std::fs::read_to_string(own.path().join("entities.ts")).expect("the types");
        assert!(text.contains("export interface Invoice {") && text.contains("  id: string;"), "{text}");

        serve.signal(Signal::Term).expect("SIGTERM");
        assert!(serve.wait(SOON).await.expect("its end").success(), "{}", serve.lines().join("\n"));
        let removed = own.run(&["entities", "remove", "invoice", "--yes", "--json"]).await;
        assert_eq!(removed.code, 0, "{}", removed.stderr);
        client
            .execute("update invoices set customer = 'Eve' where id = 4", &[])
            .await
            .expect("the application goes on");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_prints_the_statements_with_their_locks_and_changes_nothing() {
    for_each_postgres(|pg| async move {
        let own = Own::new(&pg, "clidry").await;
        let url = own.database.url();
        let add = ["entities", "add", "invoice", "--table", "invoices", "--org", "tenant_id", "--database-url", &url];
        let dry = own.run(&[&add[..], &["--dry-run"]].concat()).await;
        assert_eq!(dry.code, 0, "{}", dry.stderr);
        assert!(dry.stdout.contains("-- lock: ACCESS EXCLUSIVE on public.invoices"), "{}", dry.stdout);
        assert!(dry.stdout.contains("replica identity using index"), "{}", dry.stdout);
        let client = own.database.connect().await;
        let count = "select count(*) from information_schema.columns where table_name = 'invoices'";
        assert_eq!(client.query_one(count, &[]).await.expect("a row").get::<_, i64>(0), 3);
        let unasked = own.run(&add).await;
        assert_eq!(unasked.code, 2, "without a terminal nothing is asked: {}", unasked.stderr);
        assert_eq!(client.query_one(count, &[]).await.expect("a row").get::<_, i64>(0), 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn serving_older_tables_is_refused_until_they_are_migrated() {
    for_each_postgres(|pg| async move {
        let own = Own::new(&pg, "cliold").await;
        let (url, log_url) = (own.database.url(), own.database.log_url());
        let connection = ["--database-url", url.as_str(), "--log-url", log_url.as_str()];
        let refused = own.run(&[&["serve", "--json", "--listen", "127.0.0.1:0"][..], &connection].concat()).await;
        assert_eq!((refused.code, refused.error()["error"]["code"].clone()), (3, "LOG_OLDER".into()));
        let pending = own.run(&[&["migrate", "--dry-run", "--json"][..], &connection].concat()).await.json();
        assert!(pending["migrations"].as_array().is_some_and(|list| !list.is_empty()), "{pending}");
        let done = own.run(&[&["migrate", "--json"][..], &connection].concat()).await.json();
        assert_eq!(done["migrations"], pending["migrations"]);
        let rest = own.run(&[&["migrate", "--dry-run", "--json"][..], &connection].concat()).await.json();
        assert_eq!(rest["migrations"], serde_json::json!([]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_made_once_and_a_revoked_token_opens_nothing() {
    for_each_postgres(|pg| async move {
        let own = Own::new(&pg, "clipeople").await;
        assert_eq!(own.init().await.code, 0);
        assert_eq!(own.run(&["orgs", "create", "south"]).await.code, 0);
        let twice = own.run(&["orgs", "create", "south", "--name", "Other"]).await;
        assert_eq!(twice.code, 2, "{}", twice.stderr);
        assert_eq!(own.run(&["users", "create", "sue"]).await.code, 0);
        let unknown = own.run(&["users", "join", "sue", "--org", "nowhere"]).await;
        assert_eq!(unknown.code, 5, "{}", unknown.stderr);
        assert_eq!(own.run(&["users", "join", "sue", "--org", "south", "--role", "viewer"]).await.code, 0);
        let token = own.run(&["tokens", "create", "sue", "--json"]).await.json()["token"].clone();
        let token = token.as_str().expect("a token").to_owned();
        let listed = own.run(&["tokens", "list", "--user", "sue", "--json"]).await;
        assert!(!listed.stdout.contains(&token), "only the beginning is shown");
        let id = listed.json()["tokens"][0]["id"].as_str().expect("an id").to_owned();

        let (_serve, api) = own.serving().await;
        let members = format!("{api}/v1/orgs/south/members");
        assert_eq!(get(&members, Some(&token), &[]).await.expect("an answer").status, 200);
        assert_eq!(own.run(&["tokens", "revoke", &id]).await.code, 0);
        let deadline = tokio::time::Instant::now() + SOON;
        while get(&members, Some(&token), &[]).await.expect("an answer").status != 401 {
            assert!(tokio::time::Instant::now() < deadline, "the revoked token still opens");
        }
        assert_eq!(own.run(&["tokens", "revoke", &id]).await.code, 5);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_the_remedy_and_ends_with_the_problems_exit_code() {
    let Some(pg) = Pg::private(PgVersion::V15, &[("wal_level", "replica")]).await else { return };
    let own = Own::new(&pg, "clidoctor").await;
    let url = own.database.url();
    let doctor = own.run(&["doctor", "--json", "--database-url", &url]).await;
    assert_eq!(doctor.code, 3, "{}", doctor.stdout);
    let findings = doctor.json()["findings"].clone();
    let list = findings.as_array().expect("findings");
    let finding = list.iter().find(|finding| finding["check"] == "wal_level").expect("the finding");
    assert_eq!((finding["status"].as_str(), finding["code"].as_str()), (Some("problem"), Some("WAL_LEVEL")));
    assert!(finding["remedy"].as_str().is_some_and(|text| text.contains("alter system set wal_level")), "{finding}");
    let nobody = url.replacen("postgres://postgres", "postgres://nobody_of_that_name", 1);
    let login = own.run(&["slots", "list", "--json", "--database-url", &nobody]).await;
    assert_eq!((login.code, login.error()["error"]["code"].clone()), (4, "AUTH_FAILED".into()), "{}", login.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_cannot_steer_the_terminal_of_who_watches_it_se_13() {
    let Some(pg) = Pg::shared(PgVersion::V15).await else { return };
    let own = Own::new(&pg, "cliansi").await;
    let client = own.database.connect().await;
    client.execute("alter table invoices rename customer to title", &[]).await.expect("renamed");
    client
        .execute("update invoices set title = E'\\x1b[2J\\x1b]0;owned\\x07\\u202e' where id = 1", &[])
        .await
        .expect("hostile");
    assert_eq!(own.init().await.code, 0);
    let (_serve, _) = own.serving().await;
    let tail = own.run(&["tail", "--from", "-1", "--limit", "3"]).await;
    assert!(tail.stdout.contains("\\u{1b}[2J") && tail.stdout.contains("\\u{202e}"), "{:?}", tail.stdout);
    assert!(!tail.stdout.chars().any(|c| c.is_control() && c != '\n'), "{:?}", tail.stdout);
}
