//! An activity: a change made durable in our log, scoped to an organisation and numbered (protocol 4).
//!
//! The log keeps row images already encoded for the wire, hidden columns cut; a frame is put together from the
//! parts below by copying text. `changed: None` means every field of the row, so that a create stores no list.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::{
    ActivityId, Columns, Lsn, Micros, Tx, Xid,
    json::{cut_object, unescape},
    top_level_keys, write_string,
};

/// What an activity does to the reader's copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The row is new to this organisation.
    Create,
    /// The row changed.
    Update,
    /// The row is gone from this organisation.
    Delete,
    /// Every row of the type is gone.
    Truncate,
    /// Nothing to show: the end of a transaction, or a mutation that changed no captured row. Never delivered,
    /// only covered by an `offset`.
    Mark,
}

impl Action {
    /// Returns the word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Update => "update",
            Action::Delete => "delete",
            Action::Truncate => "truncate",
            Action::Mark => "mark",
        }
    }

    /// Returns the number that the log stores.
    pub const fn code(self) -> i16 {
        match self {
            Action::Create => 1,
            Action::Update => 2,
            Action::Delete => 3,
            Action::Truncate => 4,
            Action::Mark => 5,
        }
    }

    /// Reads the number that the log stores.
    pub const fn from_code(code: i16) -> Option<Action> {
        Some(match code {
            1 => Action::Create,
            2 => Action::Update,
            3 => Action::Delete,
            4 => Action::Truncate,
            5 => Action::Mark,
            _ => return None,
        })
    }
}

/// Where in the source an activity comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The end position of the commit record.
    pub lsn: Lsn,
    /// The ordinal of the change in its transaction.
    pub seq: u64,
    /// Whether this is the transaction's last activity in this organisation.
    pub last: bool,
    /// The transaction's number.
    pub xid: Xid,
    /// The commit time by the source's clock.
    pub at: Micros,
}

/// An activity as the log keeps it.
///
/// The texts are JSON fragments written by this project: `image` an object, `changed` an array of names,
/// `details` the inside of an object (`"unchanged":[..],"omitted":{..}` and so on, without braces).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// The number, given by the append; 0 before it.
    pub id: ActivityId,
    /// The organisation.
    pub org: String,
    /// The entity type; empty for a mark.
    pub entity_type: String,
    /// The entity; `None` for a truncate and a mark.
    pub entity_id: Option<String>,
    /// What it does.
    pub action: Action,
    /// The row, where there is one.
    pub image: Option<String>,
    /// The names of the changed fields as a JSON array; `None`: every field of the row.
    pub changed: Option<String>,
    /// `unchanged`, `omitted`, `jsonNulls`, `reason`, where they are not empty.
    pub details: Option<String>,
    /// Who wrote it, as the JSON object of [`Tx`]; `None` where there is no stamp.
    pub tx: Option<String>,
    /// The columns that policies read, as a JSON object `{"new":{..},"old":{..}}` of texts and nulls; never shown.
    ///
    /// `new` is the row after the change, `old` before it; `old` is left out where it is equal. `None` where the type's
    /// rules read no column.
    pub policy: Option<String>,
    /// The number of the type's shape.
    pub schema: u32,
    /// Where it comes from.
    pub commit: Commit,
}

/// How a reader sees an activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View<'a> {
    /// What it is to the reader: a row that enters sight is a create, one that leaves it a delete.
    pub action: Action,
    /// The columns that the reader may see.
    pub columns: &'a Columns,
}

impl Activity {
    /// Returns how many bytes of text it holds; what bounds of rings and batches count.
    pub fn byte_len(&self) -> usize {
        let text = |part: &Option<String>| part.as_ref().map_or(0, String::len);
        self.org.len()
            + self.entity_type.len()
            + text(&self.entity_id)
            + text(&self.image)
            + text(&self.changed)
            + text(&self.details)
            + text(&self.tx)
            + text(&self.policy)
            + size_of::<Activity>()
    }

    /// Reads who wrote it.
    pub fn read_tx(&self) -> Option<Tx> {
        self.tx.as_deref().and_then(Tx::parse)
    }

    /// Tells whether none of the changed fields is among the columns.
    pub fn touches_none(&self, columns: &Columns) -> bool {
        *columns != Columns::All && self.names(|name| columns.contains(name), self.changed.as_deref()) == "[]"
    }

    /// Appends the activity as the JSON object of protocol 4, whole.
    pub fn write_json(&self, out: &mut String) {
        self.write_start(out, self.action);
        out.push_str(self.image.as_deref().unwrap_or("null"));
        out.push_str(",\"changedKeys\":");
        self.write_changed(out);
        self.write_details(out);
        self.write_end(out, self.tx.as_deref());
    }

    /// Appends the activity as a reader sees it; returns `false`, and appends nothing, where nothing of it is left.
    pub fn write_view(&self, out: &mut String, view: &View<'_>) -> bool {
        if view.action == self.action && *view.columns == Columns::All {
            self.write_json(out);
            return true;
        }
        if view.action == Action::Delete && self.action != Action::Delete {
            self.write_start(out, Action::Delete);
            out.push_str("null,\"changedKeys\":[],\"unchanged\":[],\"omitted\":{},\"reason\":\"access\"");
            self.write_end(out, self.cut_tx(view.columns).as_deref());
            return true;
        }
        let keep = |name: &str| view.columns.contains(name);
        let changed = match view.action {
            Action::Create => self.names(keep, None),
            _ => self.names(keep, self.changed.as_deref()),
        };
        if view.action == Action::Update && changed == "[]" {
            return false;
        }
        self.write_start(out, view.action);
        match &self.image {
            Some(image) => cut_object(out, image, keep),
            None => out.push_str("null"),
        }
        out.push_str(",\"changedKeys\":");
        out.push_str(&changed);
        self.write_cut_details(out, keep);
        self.write_end(out, self.cut_tx(view.columns).as_deref());
        true
    }

    fn write_start(&self, out: &mut String, action: Action) {
        out.push_str("{\"activityId\":");
        push_display(out, self.id);
        out.push_str(",\"entityType\":");
        write_string(out, &self.entity_type);
        out.push_str(",\"entityId\":");
        match &self.entity_id {
            Some(id) => write_string(out, id),
            None => out.push_str("null"),
        }
        out.push_str(",\"action\":\"");
        out.push_str(action.as_str());
        out.push_str("\",\"data\":");
    }

    fn write_end(&self, out: &mut String, tx: Option<&str>) {
        out.push_str(",\"schema\":");
        push_display(out, self.schema);
        out.push_str(",\"tx\":");
        out.push_str(tx.unwrap_or("null"));
        out.push_str(",\"createdAt\":\"");
        write_time(out, self.commit.at);
        out.push_str("\",\"commit\":{\"lsn\":\"");
        push_display(out, self.commit.lsn);
        out.push_str("\",\"seq\":");
        push_display(out, self.commit.seq);
        out.push_str(",\"last\":");
        out.push_str(if self.commit.last { "true" } else { "false" });
        out.push_str(",\"xid\":\"");
        push_display(out, self.commit.xid);
        out.push_str("\"}}");
    }

    /// The metadata without the fields that a reader may not see.
    fn cut_tx(&self, columns: &Columns) -> Option<String> {
        let text = self.tx.as_deref()?;
        if *columns == Columns::All {
            return Some(text.to_owned());
        }
        Some(Tx::parse(text)?.cut(columns).to_json())
    }

    /// The names in a JSON array, or all of the row's, that are kept.
    fn names(&self, keep: impl Fn(&str) -> bool, array: Option<&str>) -> String {
        let names: Vec<String> = match array {
            Some(array) => serde_json::from_str(array).unwrap_or_default(),
            None => {
                let omitted = self.details.as_deref().and_then(omitted_object).unwrap_or("");
                let keys = [self.image.as_deref().unwrap_or(""), omitted].map(top_level_keys).concat();
                keys.into_iter().filter_map(unescape).collect()
            }
        };
        let mut out = String::from("[");
        for name in names.iter().filter(|name| keep(name)) {
            if out.len() > 1 {
                out.push(',');
            }
            write_string(&mut out, name);
        }
        out.push(']');
        out
    }

    fn write_cut_details(&self, out: &mut String, keep: impl Fn(&str) -> bool) {
        let text = format!("{{{}}}", self.details.as_deref().unwrap_or(""));
        let details: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap_or_default();
        for (name, empty) in [("unchanged", "[]"), ("omitted", "{}"), ("jsonNulls", "")] {
            let kept = details.get(name).cloned().map(|mut value| {
                match &mut value {
                    serde_json::Value::Array(names) => names.retain(|name| name.as_str().is_some_and(&keep)),
                    serde_json::Value::Object(fields) => fields.retain(|name, _| keep(name)),
                    _ => {}
                }
                value.to_string()
            });
            let kept = kept.unwrap_or_else(|| empty.to_owned());
            if !kept.is_empty() {
                out.push_str(",\"");
                out.push_str(name);
                out.push_str("\":");
                out.push_str(&kept);
            }
        }
    }

    fn write_changed(&self, out: &mut String) {
        if let Some(changed) = &self.changed {
            out.push_str(changed);
            return;
        }
        out.push('[');
        let omitted = self.details.as_deref().and_then(omitted_object).unwrap_or("");
        let keys = top_level_keys(self.image.as_deref().unwrap_or("")).into_iter().chain(top_level_keys(omitted));
        for (index, key) in keys.enumerate() {
            out.push_str(if index == 0 { "\"" } else { ",\"" });
            out.push_str(key);
            out.push('"');
        }
        out.push(']');
    }

    fn write_details(&self, out: &mut String) {
        let details = self.details.as_deref().unwrap_or("");
        if !details.contains("\"unchanged\":") {
            out.push_str(",\"unchanged\":[]");
        }
        if !details.contains("\"omitted\":") {
            out.push_str(",\"omitted\":{}");
        }
        if !details.is_empty() {
            out.push(',');
            out.push_str(details);
        }
    }
}

impl AsRef<Activity> for Activity {
    fn as_ref(&self) -> &Activity {
        self
    }
}

/// Finds the object of omitted values in a detail text; it is always written last.
fn omitted_object(details: &str) -> Option<&str> {
    details.split_once("\"omitted\":").map(|(_, object)| object)
}

fn push_display(out: &mut String, value: impl std::fmt::Display) {
    // Writing into a String cannot fail.
    write!(out, "{value}").unwrap_or_default();
}

/// Appends a time as RFC 3339 in UTC with microseconds (years 0001 to 9999; others are clamped).
pub fn write_time(out: &mut String, at: Micros) {
    let days = at.0.div_euclid(86_400_000_000);
    let micros = at.0.rem_euclid(86_400_000_000);
    let (year, month, day) = civil_from_days(days);
    let seconds = micros / 1_000_000;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = micros % 1_000_000;
    push_display(out, format_args!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z"));
}

/// The proleptic Gregorian date of a day number counted from 1970-01-01 (the days-from-civil algorithm, inverted).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Activity {
        Activity {
            id: ActivityId::new(1042),
            org: "acme".into(),
            entity_type: "page".into(),
            entity_id: Some("7".into()),
            action: Action::Update,
            image: Some(r#"{"id":"7","title":"a"}"#.into()),
            changed: Some(r#"["title"]"#.into()),
            details: None,
            tx: None,
            policy: None,
            schema: 7,
            commit: Commit {
                lsn: "0/16B3748".parse().unwrap(),
                seq: 0,
                last: true,
                xid: Xid::new(752),
                at: Micros(1_769_860_800_123_456),
            },
        }
    }

    #[test]
    fn a_frame_has_the_shape_of_protocol_4() {
        let mut out = String::new();
        sample().write_json(&mut out);
        assert_eq!(
            out,
            r#"{"activityId":1042,"entityType":"page","entityId":"7","action":"update","data":{"id":"7","title":"a"},"changedKeys":["title"],"unchanged":[],"omitted":{},"schema":7,"tx":null,"createdAt":"2026-01-31T12:00:00.123456Z","commit":{"lsn":"0/16B3748","seq":0,"last":true,"xid":"752"}}"#
        );
    }

    #[test]
    fn without_a_list_every_field_of_the_row_and_every_omitted_one_is_changed() {
        let details = r#""unchanged":["x"],"omitted":{"body":{"bytes":9,"checksum":"c"}}"#;
        let activity = Activity { changed: None, details: Some(details.into()), ..sample() };
        let mut out = String::new();
        activity.write_json(&mut out);
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value["changedKeys"], serde_json::json!(["id", "title", "body"]));
        assert_eq!(value["unchanged"], serde_json::json!(["x"]));
        assert_eq!(value["omitted"]["body"]["bytes"], 9);
    }

    #[test]
    fn columns_that_a_reader_may_not_see_are_cut_everywhere_sec_01() {
        let tx =
            r#"{"transactionId":"2","sourceId":"s","actor":"a","changedField":"pay","fields":{"pay":"2","title":"1"}}"#;
        let activity = Activity {
            image: Some(r#"{"id":"7","pay":{"x":[1,"}"]},"title":"a"}"#.into()),
            changed: Some(r#"["pay","title"]"#.into()),
            details: Some(r#""unchanged":["notes","body"],"omitted":{"pay":{"bytes":1},"body":{"bytes":2}}"#.into()),
            tx: Some(tx.into()),
            ..sample()
        };
        let columns = Columns::of(["id", "title", "body"]);
        let mut out = String::new();
        assert!(activity.write_view(&mut out, &View { action: Action::Update, columns: &columns }));
        assert!(!out.contains("pay") && !out.contains("notes"), "{out}");
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value["data"], serde_json::json!({"id": "7", "title": "a"}));
        assert_eq!((&value["changedKeys"][0], &value["tx"]["fields"]["title"]), (&"title".into(), &"1".into()));
        // An update of which nothing is left is not delivered; a row that leaves sight is a delete without its values.
        let none = Columns::of(["id", "body"]);
        out.clear();
        assert!(!activity.write_view(&mut out, &View { action: Action::Update, columns: &none }) && out.is_empty());
        assert!(activity.write_view(&mut out, &View { action: Action::Delete, columns: &none }));
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&value["data"], &value["reason"]), (&serde_json::Value::Null, &"access".into()));
        assert!(!out.contains("pay"), "{out}");
    }

    #[test]
    fn times_are_right_around_leap_days_and_before_1970() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
        ] {
            let mut out = String::new();
            write_time(&mut out, Micros(micros));
            assert_eq!(out, text);
        }
    }
}
