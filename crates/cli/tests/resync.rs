//! Begin anew with people at work: native clients, the real binary, a slot that is gone, and `antiphon resync`.

use std::{path::Path, sync::Arc, time::Duration};

use antiphon_replica::{
    Config, Place, Replica, Stopper,
    client::{Decision, Edit, EntityKey, Object, State},
};
use antiphon_testkit::{Direction, Faults, Proxy, get};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::{dev::Dev, run::run_in};

const SOON: Duration = Duration::from_secs(60);
/// An answer is under way for so long that the network can be stopped before it arrives.
const ANSWER_LATENCY: Duration = Duration::from_millis(400);
const PAGE: &str = "00000000-0000-4001-8001-000000000001";
const OTHER_PAGE: &str = "00000000-0000-4001-8001-000000000002";

#[tokio::test(flavor = "multi_thread")]
async fn outboxes_survive_a_resync_and_nothing_typed_is_lost_or_applied_twice_pg_18_op_21() {
    let Some(dev) = Dev::start(None, &[]).await else { return };
    let client = dev.connect().await;
    let tasks =
        client.query("select id::text from tasks where organization_id = 'acme' order by id limit 4", &[]).await;
    let tasks: Vec<String> = tasks.expect("the tasks").iter().map(|row| row.get(0)).collect();
    client.batch_execute("update tasks set votes = 0").await.expect("counted from nothing");
    let upstream = dev.url("").trim_start_matches("http://").parse().expect("an address");
    let proxy = Arc::new(Proxy::start(upstream).await.expect("a proxy"));
    let files = tempfile::tempdir().expect("a folder");
    let alice = config(&dev, &format!("http://{}", proxy.address()), "alice", files.path());
    let bob = config(&dev, &dev.url(""), "bob", files.path());

    // Alice's first edit is applied, and the answer never arrives; then the device goes out, and she types on.
    let mut replica = Replica::open(alice.clone()).expect("a replica");
    in_step(&mut replica).await;
    add(&mut replica, &tasks[0], 5);
    let replica = sent_and_unanswered(replica, &proxy, &client, &tasks[0]).await;
    drop(replica);
    let mut replica = Replica::open(alice.clone()).expect("it opens again");
    add(&mut replica, &tasks[1], 3);
    set(&mut replica, "page", PAGE, "title", "what alice typed");
    set(&mut replica, "task", &tasks[2], "status", "done");
    set(&mut replica, "page", OTHER_PAGE, "body", "typed on a train");
    assert_eq!(replica.outbox().iter().count(), 5);
    drop(replica);
    let mut other = Replica::open(bob).expect("bob's replica");
    set_when_filled(&mut other, PAGE, "title", "what bob typed").await;

    lose_the_slot(&dev, &client).await;
    // The database lives on; these changes are in nobody's log.
    let gone = format!("delete from tasks where id = '{}'", tasks[3]);
    client.batch_execute(&gone).await.expect("deleted");
    let made = "insert into pages (id, organization_id, title) values (gen_random_uuid(), 'acme', 'in the gap')";
    client.batch_execute(made).await.expect("made");
    // Bob, too, types while nothing flows.
    add(&mut other, &tasks[1], 10);
    let resync = run_in(dev.home(), &["resync", "--yes", "--json"], &[]);
    assert_eq!(resync.code, 0, "{}", resync.stderr);
    assert_eq!((&resync.json()["epoch"], &resync.json()["version"]), (&json!(2), &json!(1)));

    proxy.heal().await.expect("the network is back");
    let mut replica = Replica::open(alice).expect("it opens again");
    in_step(&mut other).await;
    in_step(&mut replica).await;
    let open: Vec<_> = replica.outbox().iter().cloned().collect();
    let [conflict] = open.as_slice() else { panic!("one conflict and nothing else: {open:?}") };
    assert_eq!(conflict.state, State::Conflicted, "{conflict:?}");
    let seen = conflict.theirs.as_ref().and_then(|theirs| theirs.id.clone());
    replica.decide(&conflict.key, seen.as_deref(), Decision::KeepMine).expect("decided");
    in_step(&mut replica).await;
    in_step(&mut other).await;

    converged((&replica, &other), &tasks, &client).await;
    drop((replica, other));
    dev.stop().await;
}

/// Everything that was typed is there once, on both devices and in the database.
async fn converged((replica, other): (&Replica, &Replica), tasks: &[String], client: &Client) {
    for (device, name) in [(replica, "alice"), (other, "bob")] {
        assert_eq!(device.outbox().iter().count(), 0, "{name}");
        assert_eq!(value(device, "task", &tasks[0], "votes"), json!(5), "{name}: lost or applied twice");
        assert_eq!(value(device, "task", &tasks[1], "votes"), json!(13), "{name}");
        assert_eq!(value(device, "page", PAGE, "title"), json!("what alice typed"), "{name}");
        assert_eq!(value(device, "task", &tasks[2], "status"), json!("done"), "{name}");
        assert!(
            value(device, "page", OTHER_PAGE, "body").as_str().is_some_and(|body| body.contains("train")),
            "{name}"
        );
        assert_eq!(device.view(&EntityKey::new("task", &tasks[3])), None, "{name} kept a row that is gone");
    }
    for entity_type in ["page", "task"] {
        assert_eq!(rows(replica, entity_type), rows(other, entity_type), "{entity_type}");
        let sql = format!("select count(*) from {entity_type}s where organization_id = 'acme'");
        let count: i64 = client.query_one(&sql, &[]).await.expect("a count").get(0);
        assert_eq!(rows(replica, entity_type).len() as i64, count, "{entity_type}");
    }
}

fn config(dev: &Dev, server: &str, user: &str, folder: &Path) -> Config {
    let place = Place {
        application: "resync".to_owned(),
        server: server.to_owned(),
        user: user.to_owned(),
        org: "acme".to_owned(),
    };
    let file = folder.join(format!("{user}.db"));
    Config { place, token: dev.token(user).to_owned(), file, adopt: false, delete_asks: false }
}

fn add(replica: &mut Replica, task: &str, by: i64) {
    let entity = EntityKey::new("task", task);
    replica.edit(Edit::Add { entity, field: "votes".to_owned(), by: by.into() }).expect("taken");
}

fn set(replica: &mut Replica, entity_type: &str, id: &str, field: &str, value: &str) {
    let fields = [(field, value.into())].into();
    replica.edit(Edit::Set { entity: EntityKey::new(entity_type, id), fields }).expect("taken");
}

async fn set_when_filled(replica: &mut Replica, page: &str, field: &str, value: &str) {
    in_step(replica).await;
    set(replica, "page", page, field, value);
    in_step(replica).await;
    assert_eq!(replica.outbox().iter().count(), 0);
}

/// Uses the network until all is settled but what a person must decide.
async fn in_step(replica: &mut Replica) {
    let stop = Stopper::new();
    let timer = stop.clone();
    let timer = antiphon_testkit::spawn("deadline", async move {
        tokio::time::sleep(SOON).await;
        timer.cancel();
    });
    let mut settled = false;
    replica
        .run(&stop, |moment| {
            settled = moment.in_step;
            settled
        })
        .await;
    timer.abort();
    assert!(settled, "not in step in time: {:?}, {:?}", replica.status(), replica.outbox());
}

/// Sends what waits, and stops the network between its effect and the answer.
async fn sent_and_unanswered(mut replica: Replica, proxy: &Arc<Proxy>, client: &Client, task: &str) -> Replica {
    proxy.set(Direction::Down, Faults { latency: ANSWER_LATENCY, ..Faults::default() });
    let stop = Stopper::new();
    let (ending, holding) = (stop.clone(), Arc::clone(proxy));
    let running = tokio::spawn(async move {
        replica
            .run(&ending, |moment| {
                if moment.client.outbox().iter().any(|entry| entry.state == State::Sent) {
                    holding.set(Direction::Down, Faults { hold: true, ..Faults::default() });
                }
                false
            })
            .await;
        replica
    });
    let sql = format!("select votes from tasks where id = '{task}'");
    let applied = async {
        while client.query_one(&sql, &[]).await.expect("the row").get::<_, i32>(0) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, applied).await.expect("the edit is never applied");
    stop.cancel();
    let replica = running.await.expect("it ran");
    let waits: Vec<_> = replica.outbox().iter().map(|entry| entry.state).collect();
    assert_eq!(waits.len(), 1, "the answer arrived: {waits:?}");
    proxy.reset();
    replica
}

/// Drops the slot under its reader, and waits until the server has said so.
async fn lose_the_slot(dev: &Dev, client: &Client) {
    let end = "select pg_terminate_backend(active_pid) from pg_replication_slots where active";
    let drop = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database is not null";
    let lost = async {
        loop {
            client.execute(end, &[]).await.expect("ended");
            if client.execute(drop, &[]).await.is_ok_and(|dropped| dropped > 0) {
                break;
            }
        }
        loop {
            let ready = get(&dev.url("/readyz"), None, &[]).await.expect("an answer");
            if ready.text().contains("SLOT_MISSING") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, lost).await.expect("the loss is never told");
}

fn value(replica: &Replica, entity_type: &str, id: &str, field: &str) -> Value {
    let row = replica.view(&EntityKey::new(entity_type, id)).unwrap_or_else(|| panic!("no {entity_type} {id}"));
    row[field].clone().into()
}

fn rows(replica: &Replica, entity_type: &str) -> Vec<Object> {
    let mut ids: Vec<String> = replica.client().ids(entity_type).into_iter().collect();
    ids.sort();
    ids.iter().filter_map(|id| replica.view(&EntityKey::new(entity_type, id))).collect()
}
