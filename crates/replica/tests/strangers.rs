//! What a replica does where the other side is no server of ours, or none at all: nothing that was typed is lost.
//!
//! The other side is a few lines over TCP; how a replica gets on with the real server is tested with the binary.

use std::{sync::Arc, sync::atomic::AtomicBool, sync::atomic::Ordering, time::Duration};

use antiphon_replica::{
    Config, Exported, Place, Replica, Stopper,
    client::{Edit, EntityKey, Told},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};

const SOON: Duration = Duration::from_secs(20);

/// Answers each request with what `answer` makes of its first line; `None` closes the connection without a word.
async fn server(answer: impl Fn(&str) -> Option<(u16, String)> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let answer = Arc::new(answer);
    antiphon_engine::spawn("stranger", async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            antiphon_engine::spawn("stranger's answer", async move {
                let mut head = Vec::new();
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    let mut part = [0; 4_096];
                    match socket.read(&mut part).await {
                        Ok(read) if read > 0 => head.extend_from_slice(&part[..read]),
                        _ => return,
                    }
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let Some((status, body)) = answer(head.lines().next().unwrap_or_default()) else { return };
                let bytes = body.len();
                let whole =
                    format!("HTTP/1.1 {status} x\r\ncontent-length: {bytes}\r\nconnection: close\r\n\r\n{body}");
                // Whoever asked may have gone away.
                socket.write_all(whole.as_bytes()).await.unwrap_or_default();
            });
        }
    });
    format!("http://{address}")
}

fn config(folder: &tempfile::TempDir, server: &str) -> Config {
    let place = Place { application: "test".into(), server: server.into(), user: "alice".into(), org: "acme".into() };
    let file = folder.path().join("a.replica");
    Config { place, token: "ant_test".into(), file, adopt: false, delete_asks: true }
}

fn schema() -> Value {
    json!({"types": {"page": {
        "schema": 1, "key": ["id"], "sync": "all", "create": "offline",
        "fields": {"id": {"type": "text"}, "title": {"type": "text", "merge": "manual"}},
        "can": {"create": true, "update": ["title"], "delete": true}
    }}})
}

fn page(id: &str, title: &str) -> Edit {
    let data = [("id", id.into()), ("title", title.into())].into();
    Edit::Create { entity: EntityKey::new("page", id), data }
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_told_and_changes_nothing_of_what_was_typed() {
    let folder = tempfile::tempdir().expect("a folder");
    let sense = Arc::new(AtomicBool::new(true));
    let speaks = Arc::clone(&sense);
    let server = server(move |line| {
        let sound = speaks.load(Ordering::SeqCst) && line.contains("/schema");
        Some((200, if sound { schema().to_string() } else { "<html>Welcome to the hotel's network</html>".into() }))
    })
    .await;
    let mut replica = Replica::open(config(&folder, &server)).expect("a replica");
    let stop = Stopper::new();
    let known = replica.run(&stop, |moment| moment.client.schema().is_some());
    timeout(SOON, known).await.expect("a schema");
    replica.edit(page("1", "mine")).expect("an edit");
    sense.store(false, Ordering::SeqCst);
    for _ in 0..2 {
        let mut nonsense = 0;
        let run = replica.run(&stop, |moment| {
            nonsense += moment.told.iter().filter(|told| matches!(told, Told::Nonsense(_))).count();
            nonsense > 0
        });
        timeout(SOON, run).await.expect("a complaint");
        drop(replica);
        replica = Replica::open(config(&folder, &server)).expect("the replica");
        let shown = replica.view(&EntityKey::new("page", "1")).expect("the row");
        assert_eq!((shown["title"].as_str(), replica.outbox().len()), (Some("mine"), 1));
    }
    drop(replica);
    let exported = Exported::read(&config(&folder, &server), folder.path()).expect("an export");
    assert_eq!((exported.entries.len(), exported.partial), (1, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_answers_nothing_is_handed_over_and_edits_stay_changeable_core_03() {
    let folder = tempfile::tempdir().expect("a folder");
    let there = Arc::new(AtomicBool::new(true));
    let is_there = Arc::clone(&there);
    let server = server(move |line| {
        let schema = || (200, schema().to_string());
        is_there.load(Ordering::SeqCst).then(|| if line.contains("/schema") { schema() } else { (503, String::new()) })
    })
    .await;
    let mut replica = Replica::open(config(&folder, &server)).expect("a replica");
    let stop = Stopper::new();
    timeout(SOON, replica.run(&stop, |moment| moment.client.schema().is_some())).await.expect("a schema");
    there.store(false, Ordering::SeqCst);
    replica.edit(page("1", "one")).expect("an edit");
    let mut looks = 0;
    let run = replica.run(&stop, |_| {
        looks += 1;
        looks == 2
    });
    timeout(SOON, run).await.expect("two attempts");
    assert!(replica.outbox().iter().all(antiphon_replica::client::Entry::is_untouched));
    let title = [("title", "two".into())].into();
    replica.edit(Edit::Set { entity: EntityKey::new("page", "1"), fields: title }).expect("an edit");
    assert_eq!(replica.outbox().len(), 1, "the edit is part of the create that never left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_edits_while_the_replica_runs_and_what_it_did_is_on_the_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let server =
        server(|line| Some(if line.contains("/schema") { (200, schema().to_string()) } else { (503, String::new()) }))
            .await;
    let mut replica = Replica::open(config(&folder, &server)).expect("a replica");
    let (handle, stop) = (replica.reach(), Stopper::new());
    let ends = stop.clone();
    let person = antiphon_engine::spawn("person", async move {
        let mut made = false;
        while !made {
            let edited = handle.with(|client, now| client.edit(now, page("7", "live")).is_ok()).await;
            made = edited.expect("a replica");
        }
        ends.cancel();
    });
    timeout(SOON, replica.run(&stop, |_| false)).await.expect("its end");
    person.await.expect("the person");
    drop(replica);
    let replica = Replica::open(config(&folder, &server)).expect("the replica");
    assert_eq!(replica.view(&EntityKey::new("page", "7")).expect("the row")["title"], "live");
}
