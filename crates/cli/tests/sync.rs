//! `antiphon sync` as a person meets it: a server that goes away and comes back, and files that cannot be used.

use std::{net::SocketAddr, path::Path};

use antiphon_testkit::Proxy;
use serde_json::{Value, json};

use crate::{
    dev::Dev,
    run::{Ran, run_in},
};

const PAGE: &str = "00000000-0000-4001-8001-000000000001";

/// Somebody with a replica, behind a line that can be cut.
struct Person<'a> {
    folder: &'a Path,
    url: String,
    token: String,
    file: String,
}

impl<'a> Person<'a> {
    fn new(folder: &'a Path, proxy: &Proxy, token: &str, file: &str) -> Person<'a> {
        let url = format!("http://{}", proxy.address());
        Person { folder, url, token: token.to_owned(), file: file.to_owned() }
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let variables = [
            ("ANTIPHON_SYNC_URL", self.url.as_str()),
            ("ANTIPHON_SYNC_TOKEN", &self.token),
            ("ANTIPHON_SYNC_ORG", "acme"),
            ("ANTIPHON_SYNC_FILE", &self.file),
        ];
        let arguments: Vec<&str> = [&["sync", "--json"], arguments].concat();
        run_in(self.folder, &arguments, &variables)
    }

    fn good(&self, arguments: &[&str]) -> Value {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.stderr);
        ran.json()
    }

    fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let ran = self.run(arguments);
        (ran.code, ran.error()["error"]["code"].as_str().unwrap_or_default().to_owned())
    }

    fn title(&self) -> Value {
        self.good(&["show", "page", PAGE])["data"]["title"].clone()
    }
}

async fn stage() -> Option<(Dev, Proxy, tempfile::TempDir)> {
    let dev = Dev::start(None, &[]).await?;
    let upstream: SocketAddr = dev.url("").trim_start_matches("http://").parse().expect("an address");
    let proxy = Proxy::start(upstream).await.expect("a proxy");
    Some((dev, proxy, tempfile::tempdir().expect("a folder")))
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_made_while_the_server_is_away_are_kept_and_go_out_once_when_it_is_back_core_02_sy_59() {
    let Some((dev, proxy, folder)) = stage().await else { return };
    let alice = Person::new(folder.path(), &proxy, dev.token("alice"), "alice.replica");
    let bob = Person::new(folder.path(), &proxy, dev.token("bob"), "bob.replica");
    assert_eq!(alice.refused(&["list", "page"]), (5, "REPLICA_EMPTY".into()));
    alice.good(&["once"]);
    bob.good(&["once"]);
    proxy.refuse(true).await.expect("a closed door");
    assert_eq!(alice.refused(&["once", "--timeout", "20"]), (7, "SERVER_UNREACHABLE".into()));
    alice.good(&["edit", "page", PAGE, "title=Offline", "archived=true"]);
    bob.good(&["edit", "page", PAGE, "body=Bob was here"]);
    let created = alice.good(&["create", "task", "title=New", &format!("page_id={PAGE}"), "status=todo"]);
    assert_eq!(alice.good(&["status"])["pending"], 3, "one edit of two fields, and a new row");
    // An attempt in between changes nothing.
    assert_eq!(alice.refused(&["once", "--timeout", "20"]), (7, "SERVER_UNREACHABLE".into()));
    assert_eq!(alice.title(), "Offline");
    proxy.refuse(false).await.expect("an open door");
    assert_eq!(alice.good(&["once"])["pending"], 0);
    assert_eq!(bob.good(&["once"])["pending"], 0);
    alice.good(&["once"]);
    assert_eq!(bob.title(), "Offline");
    let task = bob.good(&["show", "task", created["id"].as_str().expect("an id")]);
    assert_eq!((&task["data"]["page_id"], &task["edits"]), (&json!(PAGE), &json!([])));
    for kind in ["page", "task", "attachment"] {
        assert_eq!(alice.good(&["list", kind]), bob.good(&["list", kind]), "{kind}");
    }
    // What was sent long ago is undone by an edit of its own.
    alice.good(&["undo"]);
    alice.good(&["undo"]);
    alice.good(&["once"]);
    bob.good(&["once"]);
    assert_eq!(bob.title(), "Welcome to Acme");
    dev.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_cannot_be_used_is_explained_and_its_outbox_goes_over_to_a_new_one() {
    let Some((dev, proxy, folder)) = stage().await else { return };
    let alice = Person::new(folder.path(), &proxy, dev.token("alice"), "a.replica");
    alice.good(&["once"]);
    alice.good(&["edit", "page", PAGE, "title=Typed"]);
    let path = |name: &str| folder.path().join(name);
    // Another user, a wrong token, a copy, a newer one, a broken one.
    let bob = Person::new(folder.path(), &proxy, dev.token("bob"), "a.replica");
    assert_eq!(bob.refused(&["once"]), (6, "REPLICA_FOREIGN".into()));
    let nobody = Person::new(folder.path(), &proxy, "ant_nobody", "n.replica");
    assert_eq!(nobody.refused(&["once"]), (4, "UNAUTHENTICATED".into()));
    let carol = Person::new(folder.path(), &proxy, dev.token("carol"), "c.replica");
    assert_eq!(carol.refused(&["once"]), (4, "NOT_A_MEMBER".into()));
    std::fs::copy(path("a.replica"), path("copy.replica")).expect("a copy");
    let copy = Person::new(folder.path(), &proxy, dev.token("alice"), "copy.replica");
    assert_eq!(copy.refused(&["once"]), (6, "REPLICA_COPIED".into()));
    assert_eq!(copy.good(&["export", "copy.json"])["edits"], 1);
    let mut bytes = std::fs::read(path("a.replica")).expect("bytes");
    bytes[40..4_000].fill(0);
    std::fs::write(path("a.replica"), bytes).expect("damage");
    assert_eq!(alice.refused(&["once"]), (1, "REPLICA_DAMAGED".into()));
    assert_eq!(alice.good(&["export", "outbox.json"])["edits"], 1);
    std::fs::write(path("half.json"), "{\"format\": 1, \"place\"").expect("a file");
    let new = Person::new(folder.path(), &proxy, dev.token("alice"), "new.replica");
    assert_eq!(new.refused(&["import", "half.json"]), (2, "OUTBOX_FILE_INVALID".into()));
    assert_eq!(new.good(&["import", "outbox.json"])["taken"], 1);
    assert_eq!(new.good(&["once"])["pending"], 0);
    // The copy sends the same edit: it was applied already, and is not applied again.
    let history = "/v1/orgs/acme/entities/page/00000000-0000-4001-8001-000000000001/history";
    let changes = || async {
        let answer = antiphon_testkit::get(&dev.url(history), Some(dev.token("alice")), &[]).await.expect("an answer");
        answer.json().expect("JSON")["items"].as_array().map(Vec::len)
    };
    let before = changes().await;
    assert_eq!(copy.good(&["--adopt", "once"])["pending"], 0);
    assert_eq!((changes().await, copy.title()), (before, "Typed".into()));
    dev.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_one_process_watches_another_is_told_which_one() {
    let Some((dev, proxy, folder)) = stage().await else { return };
    let alice = Person::new(folder.path(), &proxy, dev.token("alice"), "a.replica");
    let bob = Person::new(folder.path(), &proxy, dev.token("bob"), "b.replica");
    let mut watch = crate::run::command(folder.path());
    watch.args(["sync", "--json", "watch", "--url", &alice.url, "--org", "acme", "--file", "a.replica"]);
    watch.env("ANTIPHON_SYNC_TOKEN", dev.token("alice"));
    let mut watch = antiphon_testkit::Process::start(watch.into()).expect("the binary runs");
    let soon = std::time::Duration::from_secs(30);
    let online = |line: &str| line.contains("\"online\"") && line.contains("\"listed\":true");
    watch.wait_for_line(online, soon).await.expect("a replica in step");
    let ran = alice.run(&["edit", "page", PAGE, "title=x"]);
    assert_eq!((ran.code, ran.error()["error"]["code"].as_str()), (6, Some("REPLICA_IN_USE")));
    assert!(ran.stderr.contains(&watch.pid().expect("its number").to_string()), "{}", ran.stderr);
    bob.good(&["once"]);
    bob.good(&["edit", "page", PAGE, "title=Seen live"]);
    bob.good(&["once"]);
    watch.wait_for_line(|line| line.contains("Seen live"), soon).await.expect("the change");
    // Gone without a word, it holds nothing.
    watch.kill9().await.expect("its end");
    assert_eq!(alice.title(), "Seen live");
    dev.stop().await;
}
