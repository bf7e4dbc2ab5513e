//! `name=value` on a command line as values of the wire (protocol 2).
//!
//! Law: what a person writes becomes what the field's type takes, or is refused before it is an edit; `:=` takes JSON as it
//! stands, `+=` and `-=` are operations of counters and sets.

use antiphon_replica::client::{
    Edit, EntityKey, Object, Value,
    words::{Strategy, TypeShape},
};

use crate::{
    fault::{Stop, usage},
    nearest::nearest,
};

/// One argument.
#[derive(Debug, PartialEq)]
enum Assignment {
    /// A value.
    Value(String, Value),
    /// An operation: the text, and whether it is added.
    Operation(String, String, bool),
}

/// Reads the fields of a new row.
pub(super) fn fields(shape: &TypeShape, arguments: &[String]) -> Result<Object, Stop> {
    let mut fields = Object::new();
    for argument in arguments {
        match assignment(shape, argument)? {
            Assignment::Value(name, value) => fields.insert(name, value),
            Assignment::Operation(name, ..) => return Err(usage(format!("{name}: a new row takes values only"))),
        }
    }
    Ok(fields)
}

/// Reads what is done to a row: values together, then one operation for each field.
pub(super) fn edits(shape: &TypeShape, entity: &EntityKey, arguments: &[String]) -> Result<Vec<Edit>, Stop> {
    let (mut fields, mut operations) = (Object::new(), Vec::<Edit>::new());
    for argument in arguments {
        match assignment(shape, argument)? {
            Assignment::Value(name, value) => {
                if !shape.can.update.contains(&name) {
                    return Err(usage(format!("{name} may not be changed")));
                }
                fields.insert(name, value);
            }
            Assignment::Operation(name, text, adds) => operate(shape, entity, (name, text, adds), &mut operations)?,
        }
    }
    let mut edits = Vec::new();
    if !fields.is_empty() {
        edits.push(Edit::Set { entity: entity.clone(), fields });
    }
    edits.extend(operations);
    if edits.is_empty() {
        return Err(usage("what is to be changed? name=value"));
    }
    Ok(edits)
}

fn operate(
    shape: &TypeShape,
    entity: &EntityKey,
    (name, text, adds): (String, String, bool),
    edits: &mut Vec<Edit>,
) -> Result<(), Stop> {
    let merge = shape.fields.get(&name).map(|field| field.merge);
    match merge {
        Some(Strategy::Counter) => {
            let signed = if adds { text } else { format!("-{text}") };
            let by = number(&signed).ok_or_else(|| usage(format!("{name}: {signed} is no number")))?;
            edits.push(Edit::Add { entity: entity.clone(), field: name, by });
        }
        Some(Strategy::Set) => {
            let element = Value::String(text);
            let open = edits.iter_mut().find_map(|edit| match edit {
                Edit::Elements { field, add, remove, .. } if *field == name => Some((add, remove)),
                _ => None,
            });
            match (open, adds) {
                (Some((add, _)), true) => add.push(element),
                (Some((_, remove)), false) => remove.push(element),
                (None, _) => {
                    let (add, remove) = if adds { (vec![element], vec![]) } else { (vec![], vec![element]) };
                    edits.push(Edit::Elements { entity: entity.clone(), field: name, add, remove });
                }
            }
        }
        _ => return Err(usage(format!("{name} is neither a counter nor a set: use {name}=value"))),
    }
    Ok(())
}

fn assignment(shape: &TypeShape, argument: &str) -> Result<Assignment, Stop> {
    let (left, right) = argument.split_once('=').ok_or_else(|| usage(format!("{argument} is not name=value")))?;
    let (name, kind) = match left.char_indices().last() {
        Some((at, kind @ ('+' | '-' | ':'))) => (&left[..at], Some(kind)),
        _ => (left, None),
    };
    let Some(field) = shape.fields.get(name) else {
        let near = nearest(name, shape.fields.keys().map(String::as_str));
        let advice = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        return Err(usage(format!("there is no field {name}{advice}")));
    };
    let name = name.to_owned();
    match kind {
        Some(':') => {
            let value = serde_json::from_str(right).map_err(|error| usage(format!("{name}: no JSON: {error}")))?;
            Ok(Assignment::Value(name, value))
        }
        Some(kind) => Ok(Assignment::Operation(name, right.to_owned(), kind == '+')),
        None => match typed(&field.ty, right) {
            Some(value) => Ok(Assignment::Value(name, value)),
            None => Err(usage(format!("{name} is of type {}, which {right} does not fit", field.ty))),
        },
    }
}

/// Makes of a text what a type takes.
fn typed(ty: &str, text: &str) -> Option<Value> {
    if ty.ends_with("[]") {
        return match text.starts_with('[') {
            true => serde_json::from_str(text).ok().filter(Value::is_array),
            false => {
                let parts = text.split(',').filter(|part| !part.is_empty());
                parts
                    .map(|part| typed(ty.trim_end_matches("[]"), part))
                    .collect::<Option<Vec<Value>>>()
                    .map(Value::Array)
            }
        };
    }
    match ty {
        "boolean" => text.parse().ok().map(Value::Bool),
        "smallint" | "integer" | "real" | "double precision" => number(text),
        "json" | "jsonb" => serde_json::from_str(text).ok(),
        _ => Some(Value::String(text.to_owned())),
    }
}

fn number(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().filter(Value::is_number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shape() -> TypeShape {
        let fields = json!({
            "id": {"type": "uuid"}, "title": {"type": "text"}, "done": {"type": "boolean"}, "rank": {"type": "integer"},
            "size": {"type": "bigint"}, "extra": {"type": "jsonb"}, "tags": {"type": "text[]", "merge": "set"},
            "votes": {"type": "integer", "merge": "counter"}, "marks": {"type": "integer[]"}
        });
        let update: Vec<&str> = vec!["title", "done", "rank", "size", "extra", "tags", "votes", "marks"];
        let shape = json!({"schema": 1, "key": ["id"], "fields": fields, "can": {"update": update}});
        serde_json::from_value(shape).expect("a shape")
    }

    fn owned(arguments: &[&str]) -> Vec<String> {
        arguments.iter().map(|argument| (*argument).to_owned()).collect()
    }

    #[test]
    fn a_text_becomes_what_the_fields_type_takes() {
        let arguments =
            ["title=a=b", "done=true", "rank=-3", "size=9007199254740993", "extra={\"a\":[1]}", "marks=1,2"];
        let expected = json!({
            "title": "a=b", "done": true, "rank": -3, "size": "9007199254740993", "extra": {"a": [1]}, "marks": [1, 2]
        });
        assert_eq!(Value::Object(fields(&shape(), &owned(&arguments)).expect("fields")), expected);
        let raw = fields(&shape(), &owned(&["title:=null", "tags=[\"a,b\"]"])).expect("fields");
        assert_eq!(Value::Object(raw), json!({"title": null, "tags": ["a,b"]}));
        for wrong in ["title", "titel=x", "done=yes", "rank=x", "rank=1e", "extra={", "title:=x", "votes+=1"] {
            assert!(fields(&shape(), &owned(&[wrong])).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_go_together_and_operations_of_a_field_are_one() {
        let entity = EntityKey::new("task", "1");
        let arguments = owned(&["title=x", "votes+=2", "tags+=red", "rank=1", "tags-=blue", "votes-=5"]);
        let edits = edits(&shape(), &entity, &arguments).expect("edits");
        let values = [("title", "x".into()), ("rank", 1.into())].into();
        let elements = Edit::Elements {
            entity: entity.clone(),
            field: "tags".into(),
            add: vec!["red".into()],
            remove: vec!["blue".into()],
        };
        let add = |by: i64| Edit::Add { entity: entity.clone(), field: "votes".into(), by: by.into() };
        assert_eq!(edits, [Edit::Set { entity: entity.clone(), fields: values }, add(2), elements, add(-5)]);
    }

    #[test]
    fn what_may_not_be_changed_is_refused_before_it_is_an_edit() {
        let entity = EntityKey::new("task", "1");
        for wrong in [&["id=x"][..], &["title+=x"], &["votes+=many"], &[]] {
            assert!(edits(&shape(), &entity, &owned(wrong)).is_err(), "{wrong:?}");
        }
    }
}
