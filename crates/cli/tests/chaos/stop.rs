//! Faults that nothing gets over by itself: each is recognised by its code, explained, and stops capture, while every
//! outbox is kept; after the operator's remedy everything is as it should be.

use std::time::Duration;

use antiphon_model::Code;
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::scene::{DEADLINE, Scene};

/// What is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    Publication,
    PublishedTable,
    Slot,
}

/// A loss, the code by which it is known, and what an operator runs to begin again.
pub struct Stop {
    pub name: &'static str,
    pub loss: Loss,
    pub code: Code,
    pub remedy: &'static [&'static [&'static str]],
}

const ADD: &[&str] = &["entities", "add", "note", "--yes"];
const NEW_EPOCH: &[&str] = &["resync", "--yes"];

/// Every stop.
pub const STOPS: &[Stop] = &[
    Stop { name: "table-left", loss: Loss::PublishedTable, code: Code::PublicationChanged, remedy: &[ADD, NEW_EPOCH] },
    Stop {
        name: "publication-dropped",
        loss: Loss::Publication,
        code: Code::PublicationChanged,
        remedy: &[ADD, NEW_EPOCH],
    },
    Stop { name: "slot-dropped", loss: Loss::Slot, code: Code::SlotMissing, remedy: &[NEW_EPOCH] },
];

impl Stop {
    /// Takes it away.
    pub async fn strike(&self, scene: &Scene) {
        let (client, publication) = (scene.client().await, scene.db.publication());
        match self.loss {
            Loss::Publication => run(&client, &format!("drop publication {publication}")).await,
            Loss::PublishedTable => run(&client, &format!("alter publication {publication} drop table notes")).await,
            Loss::Slot => drop_slot(&client, &scene.db.slot()).await,
        }
    }

    /// Returns what is wrong with how the scene shows the loss.
    pub async fn shown(&self, scene: &mut Scene) -> Vec<String> {
        let code = self.code.as_str();
        let said = scene.until_ready(self.name, |said| said["source"]["reason"] == code).await;
        let mut wrong = Vec::new();
        if said["ready"] != false || said["source"]["status"] != "needs you" {
            wrong.push(format!("not shown as something that needs a person: {said}"));
        }
        let explained = scene.ask(&["explain", code]).await;
        if !explained.contains("Who can mend it") {
            wrong.push(format!("{code} is not explained: {explained}"));
        }
        wrong
    }
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.expect("a superuser may");
}

/// Drops a slot that its reader wants back each time.
async fn drop_slot(client: &Client, slot: &str) {
    let deadline = Instant::now() + DEADLINE;
    let end = "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1 and active";
    loop {
        client.execute(end, &[&slot]).await.expect("a superuser may");
        if client.execute("select pg_drop_replication_slot($1)", &[&slot]).await.is_ok() {
            return;
        }
        assert!(Instant::now() < deadline, "the slot is never free");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
