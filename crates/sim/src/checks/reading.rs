//! What readers are promised: nothing that they may not see, nothing twice, and in the end the rows themselves.
//!
//! Law: what may be seen is asked of the rules themselves, at the moment of sending, with the two seconds that a server has
//! to hear of a change; it refuses nothing that the protocol allows.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_model::{Activity, Columns, EntityType, Reader, Role, Sync};
use serde_json::Value;

use super::Violation;
use crate::{FinalPart, FinalView, History, Shown};

/// A place that was lost may be seen from for so long.
const REVOKED_US: u64 = 2_000_000;

/// Nobody was sent a row, or a column of it, that the rules forbid, nor anything two seconds after losing the place (SEC-01).
pub fn permitted(history: &History) -> Vec<Violation> {
    let activities: BTreeMap<u64, &Activity> =
        history.former.iter().chain(&history.log).map(|activity| (activity.id.as_u64(), activity)).collect();
    let found = history.shown.iter().find_map(|shown| forbidden(history, &activities, shown));
    found.into_iter().collect()
}

fn forbidden(history: &History, activities: &BTreeMap<u64, &Activity>, shown: &Shown) -> Option<Violation> {
    let promise = "nobody sees what the rules forbid";
    let roles = roles(history, shown);
    if roles.is_empty() {
        return Some(Violation::new(promise, format!("without a place: {shown:?}")));
    }
    let id = shown.activity["activityId"].as_u64().unwrap_or_default();
    let Some(activity) = activities.get(&id) else {
        return Some(Violation::new("what was shown stays in the log", format!("{shown:?}")));
    };
    let data = shown.activity["data"].as_object();
    let entity = history.entities.iter().find(|entity| entity.name == activity.entity_type)?;
    let org = activity.org == shown.org && shown.activity["entityId"].as_str() == activity.entity_id.as_deref();
    let data = data?;
    let may = |role: &Role| {
        let columns = columns(entity, &shown.subject, *role, activity);
        data.keys().all(|name| columns.contains(name))
    };
    let whole: Value = activity.image.as_deref().and_then(|image| serde_json::from_str(image).ok()).unwrap_or_default();
    let true_values = data.iter().all(|(name, value)| whole.get(name) == Some(value));
    let fine = org && true_values && roles.iter().any(may);
    (!fine).then(|| Violation::new(promise, format!("{shown:?} of {activity:?}")))
}

fn columns(entity: &EntityType, subject: &str, role: Role, activity: &Activity) -> Columns {
    let policy: Value = activity.policy.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    entity.rights(&Reader { subject: subject.to_owned(), role }, |column| policy["new"][column].as_str()).read
}

/// The roles that the reader had within the time that a server may take to hear of a change.
fn roles(history: &History, shown: &Shown) -> Vec<Role> {
    let of_reader = history.places.iter().filter(|change| change.org == shown.org && change.subject == shown.subject);
    let from = shown.sent_us.saturating_sub(REVOKED_US);
    let mut roles = Vec::new();
    for change in of_reader {
        if change.at_us > shown.sent_us {
            break;
        }
        if change.at_us <= from {
            roles.clear();
        }
        roles.extend(change.role);
    }
    roles
}

/// Within one stream ids rise: nothing comes twice, and nothing goes back (STR-01).
pub fn rising(history: &History) -> Vec<Violation> {
    let mut last: BTreeMap<(u32, u64), u64> = BTreeMap::new();
    for shown in &history.shown {
        let id = shown.activity["activityId"].as_u64().unwrap_or_default();
        let before = last.insert((shown.reader, shown.stream), id);
        if before.is_some_and(|before| before >= id) {
            return vec![Violation::new("a stream never goes back", format!("{before:?}, then {shown:?}"))];
        }
    }
    Vec::new()
}

/// A reader that is quiet and connected has exactly the rows that it may see (SIM-03).
pub fn views_equal(history: &History) -> Vec<Violation> {
    history.views.iter().filter_map(|view| differs(history, view)).take(1).collect()
}

fn differs(history: &History, view: &FinalView) -> Option<Violation> {
    let role = history.places.iter().rfind(|place| place.org == view.org && place.subject == view.subject)?.role;
    let mut expected: BTreeMap<(String, String), Value> = BTreeMap::new();
    for row in history.rows.iter().filter(|row| row.org == view.org && view.types.contains(&row.entity_type)) {
        let (Some(role), Some(entity)) = (role, history.entities.iter().find(|entity| entity.name == row.entity_type))
        else {
            continue;
        };
        let reader = Reader { subject: view.subject.clone(), role };
        let columns = entity.rights(&reader, |column| row.policy.get(column).and_then(Option::as_deref)).read;
        if columns.is_empty() {
            continue;
        }
        let mut whole: Value = serde_json::from_str(&row.image).unwrap_or_default();
        if let Some(members) = whole.as_object_mut() {
            members.retain(|name, _| columns.contains(name));
        }
        expected.insert((row.entity_type.clone(), row.entity_id.clone()), whole);
    }
    // Of what is kept in parts, rows are missing that nothing keeps; none is there in another form.
    if !view.parts.is_empty() {
        let wanted: BTreeSet<_> = view.parts.iter().flat_map(|part| rows_of(part, &expected)).collect();
        expected.retain(|key, _| !in_parts(history, &key.0) || wanted.contains(key) || view.rows.contains_key(key));
    }
    let mut keys: Vec<_> = expected.keys().chain(view.rows.keys()).collect();
    keys.sort_unstable();
    let key = keys.into_iter().find(|key| expected.get(*key) != view.rows.get(*key))?;
    let found = format!(
        "reader {} ({} in {}) has {:?} of {key:?}, the source {:?}",
        view.reader,
        view.subject,
        view.org,
        view.rows.get(key),
        expected.get(key)
    );
    Some(Violation::new("a quiet reader has the rows that it may see", found))
}

fn in_parts(history: &History, name: &str) -> bool {
    history.entities.iter().any(|entity| entity.name == name && entity.sync == Sync::OnDemand)
}

/// Returns which rows are of a part.
fn rows_of(part: &FinalPart, rows: &BTreeMap<(String, String), Value>) -> Vec<(String, String)> {
    let of_type = rows.iter().filter(|((name, _), _)| *name == part.entity_type);
    let equal = |row: &Value| part.equals.as_ref().is_none_or(|(field, text)| row[field].as_str() == text.as_deref());
    let mut found: Vec<_> = of_type.filter(|(_, row)| equal(row)).collect();
    // Nulls last, then by bytes.
    found.sort_by_key(|(key, row)| (row["title"].is_null(), row["title"].as_str(), *key));
    found.truncate(part.first.unwrap_or(usize::MAX));
    found.into_iter().map(|(key, _)| key.clone()).collect()
}
