//! Rows cut to what a reader may see (SEC-01, MUT-05).
//!
//! Law: nothing of a column that may not be seen is left: not its value, nor its name among what is omitted or a JSON
//! null, nor its id in the metadata.

use antiphon_engine::ports::RowImage;
use antiphon_model::{Columns, EntityType, Reader, Tx, cut_object};
use serde_json::{Map, Value};

/// Appends the members of an item: `data`, `tx`, and what is said beside them.
pub(super) fn write_item(out: &mut String, entity: &EntityType, reader: &Reader, row: &RowImage) {
    let columns = entity.rights(reader, |column| row.policy.get(column).and_then(Option::as_deref)).read;
    write_cut(out, entity, &columns, row);
}

/// Appends the same members for a reader who may see these columns.
pub(crate) fn write_cut(out: &mut String, entity: &EntityType, columns: &Columns, row: &RowImage) {
    out.push_str("\"data\":");
    match columns {
        Columns::All => out.push_str(&row.image),
        Columns::Some(_) => cut_object(out, &row.image, |name| columns.contains(name)),
    }
    out.push_str(",\"tx\":");
    match row.tx.as_deref() {
        Some(tx) if *columns == Columns::All && entity.hidden.is_empty() => out.push_str(tx),
        Some(tx) => match Tx::parse(tx) {
            Some(tx) => out.push_str(&cut_tx(tx, entity, columns).to_json()),
            // What cannot be read cannot be cut.
            None => out.push_str("null"),
        },
        None => out.push_str("null"),
    }
    if let Some(details) = row.details.as_deref() {
        write_details(out, details, columns);
    }
}

/// Cuts a row's metadata to these columns, and by those that never leave the server.
pub(crate) fn cut_tx(tx: Tx, entity: &EntityType, columns: &Columns) -> Tx {
    let mut tx = tx.cut(columns);
    tx.changed_field = tx.changed_field.filter(|field| entity.shows(field));
    tx.fields.retain(|field, _| entity.shows(field));
    tx
}

fn write_details(out: &mut String, details: &str, columns: &Columns) {
    if *columns == Columns::All {
        out.push(',');
        out.push_str(details);
        return;
    }
    let details: Map<String, Value> = serde_json::from_str(&format!("{{{details}}}")).unwrap_or_default();
    for (name, mut value) in details {
        let empty = match &mut value {
            Value::Array(names) => {
                names.retain(|name| name.as_str().is_some_and(|name| columns.contains(name)));
                names.is_empty()
            }
            Value::Object(fields) => {
                fields.retain(|name, _| columns.contains(name));
                fields.is_empty()
            }
            _ => false,
        };
        if !empty {
            out.push_str(&format!(",\"{name}\":{value}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use antiphon_model::{Condition, RelationName, Role, Rule, Sync, Tenancy};

    use super::*;

    #[test]
    fn nothing_of_a_column_that_may_not_be_seen_is_left_sec_01() {
        let owner =
            Rule { when: Some(Condition::Owner { column: "owner".into() }), read: Columns::All, ..Rule::default() };
        let titles = Rule { read: Columns::of(["title", "doc"]), ..Rule::default() };
        let entity = EntityType {
            name: "note".into(),
            table: RelationName { schema: "public".into(), name: "notes".into() },
            org: Tenancy::Column("org".into()),
            key: vec!["id".into()],
            tx: "tx".into(),
            hidden: vec!["secret".into()],
            sync: Sync::All,
            filter: Vec::new(),
            together: Vec::new(),
            refs: BTreeMap::new(),
            fields: BTreeMap::new(),
            rules: vec![owner, titles],
            polling: Default::default(),
        };
        let row = RowImage {
            image: r#"{"id":"1","title":"t","salary":7,"doc":null,"meta":null}"#.into(),
            details: Some(r#""jsonNulls":["doc","meta"],"omitted":{"salary":{"bytes":1}}"#.into()),
            tx: Some(r#"{"transactionId":"2","sourceId":"s","actor":null,"changedField":"salary","fields":{"*":"1","salary":"2","secret":"2","title":"2"}}"#.into()),
            policy: BTreeMap::from([("owner".to_owned(), Some("bob".to_owned()))]),
        };
        let shown = |subject: &str| {
            let mut out = String::new();
            write_item(&mut out, &entity, &Reader { subject: subject.into(), role: Role::Member }, &row);
            serde_json::from_str::<Value>(&format!("{{{out}}}")).unwrap()
        };
        assert_eq!(
            shown("alice").to_string(),
            r#"{"data":{"id":"1","title":"t","doc":null},"tx":{"transactionId":"2","sourceId":"s","actor":null,"changedField":null,"fields":{"*":"1","title":"2"}},"jsonNulls":["doc"]}"#
        );
        let own = shown("bob");
        assert_eq!(own["data"]["salary"], 7);
        assert_eq!(
            (own["omitted"]["salary"]["bytes"].as_u64(), &own["tx"]["changedField"]),
            (Some(1), &"salary".into())
        );
        assert!(!own.to_string().contains("secret"), "{own}");
    }
}
