//! Every checker bites: an honest history passes, and each broken promise is found by name.

use std::sync::{Arc, OnceLock};

use antiphon_model::{ActivityId, Lsn};
use serde_json::json;

use super::*;
use crate::{Edit, Outcome, Refused, Shown, Told, simulate};

/// A run that has something of everything and broke no promise.
fn honest() -> History {
    static OUTCOME: OnceLock<Outcome> = OnceLock::new();
    let outcome = OUTCOME.get_or_init(|| {
        let seeds = 1..50;
        let runs = seeds.map(|seed| simulate(seed, |profile| profile).unwrap());
        let rich = |outcome: &Outcome| {
            let sizes = &outcome.sizes;
            sizes[1] > 100 && sizes[2] > 100 && sizes[3] > 20 && outcome.history.views.len() > 1
        };
        runs.into_iter().find(rich).unwrap()
    });
    assert_eq!(all(&outcome.history), []);
    outcome.history.clone()
}

/// Checks that one checker finds what was done, and that no other one is needed for it.
fn bites(checker: Checker, harm: impl FnOnce(&mut History)) {
    let mut history = honest();
    harm(&mut history);
    assert!(!checker(&history).is_empty());
}

fn told_applied(history: &History) -> Edit {
    let mut edits = history.committed.iter().flat_map(|committed| &committed.edits);
    edits.find(|edit| edit.transaction_id.is_some() && edit.field.is_some() && !edit.operation).unwrap().clone()
}

#[test]
fn a_lost_or_doubled_or_altered_activity_is_found_sim_04() {
    bites(complete, |history| drop(history.log.remove(history.log.len() / 2)));
    bites(complete, |history| drop(history.log.pop()));
    bites(complete, |history| history.log.push(history.log.last().unwrap().clone()));
    bites(complete, |history| {
        let changed = history.log.iter_mut().rev().find(|activity| activity.image.is_some()).unwrap();
        changed.image = Some("{}".into());
    });
}

#[test]
fn activities_out_of_order_are_found_sim_04() {
    bites(in_order, |history| history.log.swap(10, 11));
    bites(in_order, |history| history.log[5].id = ActivityId::new(1));
    bites(ends_marked, |history| {
        history.log.iter_mut().for_each(|activity| activity.commit.last = false);
    });
}

#[test]
fn an_early_acknowledgement_is_found_sim_04() {
    bites(acknowledged_is_durable, |history| history.acknowledged[0].lsn = Lsn::new(u64::MAX));
    bites(acknowledged_is_durable, |history| history.durable.clear());
}

#[test]
fn a_log_that_is_not_the_rows_is_found_sim_04() {
    bites(replays_to_rows, |history| drop(history.rows.pop()));
    bites(replays_to_rows, |history| history.rows[0].image.push(' '));
}

#[test]
fn an_edit_with_two_effects_is_found_sim_04() {
    bites(once, |history| {
        let edit = told_applied(history);
        history.committed.last_mut().unwrap().edits.push(edit);
    });
}

#[test]
fn a_lost_update_is_found_sim_04() {
    bites(no_lost_update, |history| {
        let edit = Edit { was: Some("9999999999999.0000.x".into()), ..told_applied(history) };
        history.committed.last_mut().unwrap().edits.push(edit);
    });
}

#[test]
fn an_answer_that_lies_is_found_sim_04() {
    let told = |edit: &Edit, status: &str, code: Option<&str>| Told {
        org: edit.org.clone(),
        transaction_id: edit.transaction_id.clone().unwrap(),
        status: status.into(),
        code: code.map(str::to_owned),
    };
    bites(told_what_happened, |history| {
        let edit = told_applied(history);
        history.told.push(told(&edit, "conflict", Some("FIELD_CONFLICT")));
    });
    bites(told_what_happened, |history| {
        let edit = Edit { transaction_id: Some("never".into()), ..told_applied(history) };
        history.told.push(told(&edit, "applied", None));
    });
}

#[test]
fn a_refusal_of_what_was_applied_before_it_was_asked_is_found_sim_04() {
    let refused = |history: &History, came_us: u64| {
        let edit = told_applied(history);
        let transaction_id = edit.transaction_id.unwrap();
        Refused { org: edit.org, transaction_id, code: "FORBIDDEN", came_us }
    };
    bites(refuses_nothing_applied, |history| history.refused.push(refused(history, u64::MAX)));
    // One that came before may be a copy that was slower.
    let mut history = honest();
    history.refused.push(refused(&history, 0));
    assert_eq!(refuses_nothing_applied(&history), []);
}

#[test]
fn a_reader_that_is_shown_too_much_is_found_sim_04() {
    let with_data = |shown: &&mut Shown| shown.activity["data"].is_object();
    bites(permitted, |history| history.places.clear());
    bites(permitted, |history| history.shown[0].org = "globex2".into());
    bites(permitted, |history| {
        let shown = history.shown.iter_mut().find(with_data).unwrap();
        shown.activity["data"]["id"] = json!("another");
    });
    bites(permitted, |history| {
        // The rules forbid the note of somebody else to everybody but its owner.
        let note = history.entities.iter_mut().find(|entity| entity.name == "note").unwrap();
        let mut strict = (**note).clone();
        strict.rules.truncate(1);
        strict.rules[0].roles = Vec::new();
        strict.rules[0].when = Some(antiphon_model::Condition::Owner { column: "id".into() });
        *note = Arc::new(strict);
    });
}

#[test]
fn a_stream_that_goes_back_and_a_view_that_differs_are_found_sim_04() {
    bites(rising, |history| {
        let again = history.shown[0].clone();
        history.shown.push(again);
    });
    bites(views_equal, |history| {
        let view = history.views.iter_mut().find(|view| !view.rows.is_empty()).unwrap();
        view.rows.pop_first();
    });
    bites(no_complaints, |history| history.complaints.push("stuck".into()));
}
