//! A row image read back: for each field the text that Postgres reads, for whoever writes rows into a database.
//!
//! The other direction of [`super::ImageWriter`]. A value whose type has changed since the activity was written comes as
//! the text that it was: the database that takes it judges, not this file. Fields without a type are left out: their
//! columns are gone. What is not in the image is named and never guessed.

use std::collections::BTreeMap;

use antiphon_model::{Activity, Code, Type, TypeKind};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::Fault;

/// The row of an activity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadImage {
    /// The fields that are at hand, each with its text; `None` is SQL NULL.
    pub values: Vec<(String, Option<String>)>,
    /// Fields that did not change and are not at hand.
    pub unchanged: Vec<String>,
    /// Fields that are too long for the log: the source has them.
    pub omitted: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Details {
    unchanged: Vec<String>,
    omitted: BTreeMap<String, IgnoredAny>,
    json_nulls: Vec<String>,
}

/// Reads the row of an activity; empty where it has none.
///
/// # Errors
/// Fails with `LOG_CORRUPT` where the log's text is not what this project writes.
pub fn read_image<'t>(activity: &Activity, type_of: impl Fn(&str) -> Option<&'t Type>) -> Result<ReadImage, Fault> {
    let Some(image) = activity.image.as_deref() else { return Ok(ReadImage::default()) };
    let corrupt = |error: serde_json::Error| {
        let detail = format!("activity {} holds no row image", activity.id);
        Fault::new(Code::LogCorrupt, detail).with_source(error)
    };
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(image).map_err(corrupt)?;
    let details: Details = match activity.details.as_deref() {
        Some(details) => serde_json::from_str(&format!("{{{details}}}")).map_err(corrupt)?,
        None => Details::default(),
    };
    let mut values = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        let Some(ty) = type_of(&name) else { continue };
        let json_null = details.json_nulls.contains(&name);
        let text = text_of(ty, value, json_null)
            .ok_or_else(|| Fault::new(Code::LogCorrupt, format!("activity {}: field `{name}`", activity.id)))?;
        values.push((name, text));
    }
    Ok(ReadImage { values, unchanged: details.unchanged, omitted: details.omitted.into_keys().collect() })
}

/// Returns the text of a value; `None` where it has none.
fn text_of(ty: &Type, value: &RawValue, json_null: bool) -> Option<Option<String>> {
    // A label that was renamed since is still the label that was written.
    let labelled = matches!(ty.kind, TypeKind::Enum(_));
    if !labelled && let Ok(text) = antiphon_wire::parse_raw_value(ty, value, json_null) {
        return Some(text);
    }
    match serde_json::from_str(value.get()).ok()? {
        serde_json::Value::Null => Some(None),
        serde_json::Value::String(text) => Some(Some(text)),
        // As it was written: digits stay what they are.
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) => Some(Some(value.get().to_owned())),
        serde_json::Value::Array(_) | serde_json::Value::Object(_) => Some(Some(value.get().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use antiphon_model::{Action, ActivityId, Cell, Commit, Lsn, Micros, Xid};

    use super::*;
    use crate::ImageWriter;

    fn ty(name: &str, kind: TypeKind) -> Type {
        Type { name: name.into(), kind }
    }

    fn activity(image: String, details: Option<String>) -> Activity {
        Activity {
            id: ActivityId::new(1),
            org: "*".into(),
            entity_type: "t".into(),
            entity_id: Some("1".into()),
            action: Action::Create,
            image: Some(image),
            changed: None,
            details,
            tx: None,
            policy: None,
            schema: 1,
            commit: Commit { lsn: Lsn::new(1), seq: 0, last: true, xid: Xid::new(1), at: Micros(0) },
        }
    }

    #[test]
    fn every_kind_of_value_reads_back_as_what_was_printed_pip_01() {
        let text_array = TypeKind::Array(Arc::new(Type::text("text")), b',');
        let pair: Arc<[(String, Arc<Type>)]> = vec![
            ("a".to_owned(), Arc::new(ty("integer", TypeKind::Integer))),
            ("b".into(), Arc::new(Type::text("text"))),
        ]
        .into();
        let cases = [
            ("bool", TypeKind::Bool, "true"),
            ("integer", TypeKind::Integer, "-42"),
            ("double precision", TypeKind::Float, "NaN"),
            ("double precision", TypeKind::Float, "1e-300"),
            ("numeric", TypeKind::Text, "NaN"),
            ("numeric", TypeKind::Text, "1.500"),
            ("bigint", TypeKind::Text, "9223372036854775807"),
            ("text", TypeKind::Text, "tab\t\"quote\" \u{1F600} \\ end"),
            ("json", TypeKind::Json, "{\"a\" : [1, 2.50]}"),
            ("jsonb", TypeKind::Jsonb, "{\"n\": 1.50}"),
            ("jsonb", TypeKind::Jsonb, "null"),
            ("bytea", TypeKind::Bytea, "\\x00ff10"),
            ("timestamp with time zone", TypeKind::Timestamptz, "infinity"),
            ("text[]", text_array, "{a,\"b,c\",NULL,\"NULL\",\"\"}"),
            ("pair", TypeKind::Composite(pair), "(1,\"x y\")"),
            ("mood", TypeKind::Enum(vec!["old".to_owned()].into()), "renamed"),
        ];
        for (name, kind, printed) in cases {
            let ty = ty(name, kind);
            let mut writer = ImageWriter::default();
            writer.start();
            writer.push("\"v\"", &ty, Cell::Text(printed.as_bytes()));
            let (image, details) = writer.finish(None);
            let read = read_image(&activity(image, details), |_| Some(&ty)).expect("it reads");
            assert_eq!(read.values, [("v".to_owned(), Some(printed.to_owned()))], "{name}");
        }
    }

    #[test]
    fn what_is_not_in_the_image_is_named_and_what_changed_its_type_comes_as_it_was_pip_01() {
        let details = r#""unchanged":["body"],"omitted":{"blob":{"bytes":9,"checksum":"c"}}"#;
        let image = r#"{"id":7,"gone":1,"was_text":"x","nothing":null}"#;
        let integer = ty("integer", TypeKind::Integer);
        let type_of = |name: &str| (name != "gone").then_some(&integer);
        let read = read_image(&activity(image.into(), Some(details.into())), type_of).expect("it reads");
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            read.values,
            [("id".to_owned(), text("7")), ("nothing".into(), None), ("was_text".into(), text("x"))]
        );
        assert_eq!((read.unchanged, read.omitted), (vec!["body".to_owned()], vec!["blob".to_owned()]));
        assert!(read_image(&activity("{".into(), None), |_| Some(&integer)).is_err());
    }
}
