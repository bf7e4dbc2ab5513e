//! The simulated database keeps the promises that Postgres and our adapter keep.

use std::sync::Arc;

use antiphon_engine::{
    Door, Outcome,
    ports::{Author, ListQuery, Rows},
};
use antiphon_model::{Code, Mutation, MutationAction, Reader, Role, TransactionId};
use serde_json::json;

use super::*;

const DATABASE: ProcessId = ProcessId(1);

fn in_world<F: Future<Output = ()>>(manners: Manners, test: impl Fn(Simulation, Database) -> F) {
    for seed in 0..20 {
        crate::run(seed, |simulation| {
            let database = Database::new(&simulation, DATABASE, manners);
            test(simulation, database)
        })
        .unwrap();
    }
}

fn bob() -> (Author, Reader) {
    let author = Author { org: "acme".into(), subject: "bob".into() };
    (author, Reader { subject: "bob".into(), role: Role::Member })
}

fn id(wall_us: i64, logical: u16) -> TransactionId {
    TransactionId::new((wall_us / 1_000).unsigned_abs(), logical, "n1").unwrap()
}

fn mutation(action: MutationAction, id: TransactionId, expected: Option<&str>) -> Mutation {
    let update = action == MutationAction::Update;
    Mutation {
        entity_type: "page".into(),
        entity_id: Some("p1".into()),
        action,
        data: json!({ "title": id.as_str() }).as_object().unwrap().clone(),
        transaction_id: id,
        source_id: "s".into(),
        changed_field: update.then(|| "title".into()),
        expected: expected.map(str::to_owned),
        operation: None,
        schema: None,
        json_null: false,
    }
}

#[test]
fn the_door_applies_once_and_tells_conflicts_mut_02_mut_03() {
    in_world(Manners::default(), |simulation, database| async move {
        let door = Door::new(Arc::new(database.clone()), database.entities());
        let (author, reader) = bob();
        let now = simulation.clock().now().0;
        let (first, second) = (id(now, 0), id(now, 1));
        let create = mutation(MutationAction::Create, first.clone(), None);
        assert!(matches!(door.one(&author, &reader, &create).await.unwrap(), Outcome::Applied(_)));
        assert!(matches!(door.one(&author, &reader, &create).await.unwrap(), Outcome::Duplicate(_)));
        let update = mutation(MutationAction::Update, second.clone(), Some(first.as_str()));
        assert!(matches!(door.one(&author, &reader, &update).await.unwrap(), Outcome::Applied(_)));
        let late = mutation(MutationAction::Update, id(now, 2), Some(first.as_str()));
        match door.one(&author, &reader, &late).await.unwrap() {
            Outcome::Refused(refusal) => {
                assert_eq!(refusal.code, Code::FieldConflict);
                assert_eq!(refusal.more["serverTransactionId"], second.as_str());
            }
            other => panic!("{other:?}"),
        }
        let edits: Vec<Edit> = database.committed().into_iter().flat_map(|committed| committed.edits).collect();
        assert_eq!(edits.len(), 2);
        assert_eq!(
            (edits[1].expected.as_deref(), edits[1].was.as_deref()),
            (Some(first.as_str()), Some(first.as_str()))
        );
    });
}

#[test]
fn of_two_at_once_with_the_same_id_one_takes_effect_mut_02() {
    in_world(Manners::default(), |simulation, database| async move {
        let door = Arc::new(Door::new(Arc::new(database.clone()), database.entities()));
        let create = Arc::new(mutation(MutationAction::Create, id(simulation.clock().now().0, 0), None));
        let (sender, mut outcomes) = tokio::sync::mpsc::channel(8);
        for client in 0..4 {
            let (door, create, sender) = (Arc::clone(&door), Arc::clone(&create), sender.clone());
            simulation.start(ProcessId(10 + client), async move {
                let (author, reader) = bob();
                let outcome = door.one(&author, &reader, &create).await.unwrap();
                sender.send(matches!(outcome, Outcome::Applied(_))).await.unwrap();
            });
        }
        drop(sender);
        let mut applied = 0;
        while let Some(outcome) = outcomes.recv().await {
            applied += u32::from(outcome);
        }
        assert_eq!((applied, database.committed().len()), (1, 1));
    });
}

#[test]
fn transactions_stay_open_end_out_of_order_and_are_seen_after_the_log_house_6() {
    let manners = Manners { hidden_permille: 1_000, hidden_ms_max: 50, ..Manners::default() };
    in_world(manners, |simulation, database| async move {
        let mut first = database.begin_sql().await.unwrap();
        first.put("page", "a", &[("title", Some("1"))]).await.unwrap();
        let mut second = database.begin_sql().await.unwrap();
        second.put("page", "b", &[("title", Some("2"))]).await.unwrap();
        let (early, late) = (first.xid(), second.xid());
        let other = database.clone();
        simulation.start(ProcessId(9), async move { second.commit().await.unwrap() });
        let list = ListQuery {
            entity: Arc::clone(&database.entities()[1]),
            org: "acme".into(),
            reader: None,
            ids: Vec::new(),
            filters: Vec::new(),
            order: Vec::new(),
            after: None,
            limit: 10,
        };
        while database.committed().is_empty() {
            simulation.clock().sleep_ms(1).await;
        }
        let page = database.list(&list).await.unwrap();
        assert!(page.rows.is_empty() || page.visibility.sees(antiphon_model::Xid::new(late)));
        simulation.clock().sleep_ms(100).await;
        let page = database.list(&list).await.unwrap();
        assert_eq!(page.rows.len(), 1);
        assert!(!page.visibility.sees(antiphon_model::Xid::new(early)));
        first.commit().await.unwrap();
        let xids: Vec<u64> = other.committed().iter().map(|committed| committed.xid.as_u64()).collect();
        assert_eq!(xids, [late, early]);
    });
}

#[test]
fn a_crash_ends_every_session_and_a_commit_that_was_logged_stands_sim_01() {
    in_world(Manners::default(), |simulation, database| async move {
        let mut open = database.begin_sql().await.unwrap();
        open.put("page", "a", &[("title", Some("1"))]).await.unwrap();
        let mut kept = database.begin_sql().await.unwrap();
        kept.put("page", "b", &[("title", Some("2"))]).await.unwrap();
        let logged = database.clone();
        simulation.start(ProcessId(9), async move {
            // The crash may come before the answer.
            kept.commit().await.unwrap_or_default();
        });
        while logged.committed().is_empty() {
            simulation.clock().sleep_ms(1).await;
        }
        database.crash();
        assert!(database.begin_sql().await.is_err());
        assert_eq!(open.put("page", "a", &[]).await, Err(SqlError));
        database.start();
        let ids: Vec<String> = database.rows().into_iter().map(|row| row.entity_id).collect();
        assert_eq!(ids, ["b"]);
    });
}
