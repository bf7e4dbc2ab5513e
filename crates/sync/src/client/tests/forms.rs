//! What `#[derive(Form)]` reads is what serde reads: the attributes are serde's, and both readers are kept to compare.

use std::{collections::BTreeSet, fs, path::Path};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    client::{
        Call, Edit, Entry, Line, Network, Now, Record, Row, Subset, TypeMarks, Write,
        message::Message,
        words::{Activity, Confirm, Listed, Notice, Offset, Problem, Reset, Results, Schema},
    },
    form::{self, Form, Written},
};

/// Every document that the vectors hold anywhere, texts that are documents among them.
fn documents() -> Vec<Value> {
    fn collect(value: Value, all: &mut BTreeSet<String>) {
        match &value {
            Value::String(text) => {
                if let Ok(inner @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text) {
                    collect(inner, all);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item.clone(), all)),
            Value::Object(members) => members.values().for_each(|member| collect(member.clone(), all)),
            _ => {}
        }
        all.insert(value.to_string());
    }
    let mut all = BTreeSet::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")).unwrap() {
        collect(serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap(), &mut all);
    }
    all.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

/// Reads every document both ways; returns how many were of the form.
#[track_caller]
fn agree<T: Form + DeserializeOwned + std::fmt::Debug>(documents: &[Value]) -> usize {
    let both = documents.iter().filter(|document| {
        let ours = T::read((*document).clone().into()).map(|read| format!("{read:?}")).ok();
        let serdes = serde_json::from_value::<T>((*document).clone()).map(|read| format!("{read:?}")).ok();
        assert_eq!(ours, serdes, "{document}");
        ours.is_some()
    });
    both.count()
}

#[test]
fn what_is_read_is_what_serde_reads_of_every_document_of_the_vectors_core_11() {
    let documents: Vec<Value> = documents().into_iter().filter(|document| !document.is_array()).collect();
    let read = [
        agree::<Call>(&documents),
        agree::<Now>(&documents),
        agree::<Edit>(&documents),
        agree::<Entry>(&documents),
        agree::<Line>(&documents),
        agree::<Row>(&documents),
        agree::<Subset>(&documents),
        agree::<Write>(&documents),
        agree::<Schema>(&documents),
        agree::<Message>(&documents),
        agree::<Activity>(&documents),
        agree::<Listed>(&documents),
        agree::<Offset>(&documents),
        agree::<Confirm>(&documents),
        agree::<Reset>(&documents),
        agree::<Notice>(&documents),
        agree::<Results>(&documents),
        agree::<Problem>(&documents),
    ];
    assert!(read.iter().all(|count| *count > 0), "each form is among the documents: {read:?}");
}

/// Reads every document, writes what was read both ways, and returns how many there were.
#[track_caller]
fn agree_in_writing<T: Form + Written + Serialize>(documents: &[Value]) -> usize {
    let read = documents.iter().filter_map(|document| T::read(document.clone().into()).ok());
    read.map(|read| assert_eq!(form::text(&read), serde_json::to_string(&read).unwrap())).count()
}

#[test]
fn what_is_written_is_what_serde_writes_to_the_byte_core_11() {
    let documents = documents();
    let written = [
        agree_in_writing::<crate::json::Value>(&documents),
        agree_in_writing::<Now>(&documents),
        agree_in_writing::<Edit>(&documents),
        agree_in_writing::<Entry>(&documents),
        agree_in_writing::<Line>(&documents),
        agree_in_writing::<Row>(&documents),
        agree_in_writing::<Subset>(&documents),
        agree_in_writing::<Write>(&documents),
        agree_in_writing::<Record>(&documents),
        agree_in_writing::<Schema>(&documents),
        agree_in_writing::<Message>(&documents),
        agree_in_writing::<Network>(&documents),
        agree_in_writing::<TypeMarks>(&documents),
    ];
    assert!(written.iter().all(|count| *count > 0), "each form is among the documents: {written:?}");
}

#[test]
fn what_is_missing_too_much_or_of_another_kind_is_refused_as_by_serde_core_11() {
    let entry = json!({ "wallMs": 1, "tickMs": 2 });
    let mut wrong = vec![json!(null), json!([]), json!("x"), json!({}), json!({ "wallMs": 1, "tickMs": 2, "more": 3 })];
    for name in ["wallMs", "tickMs"] {
        for value in [json!(null), json!("1"), json!(-1), json!(1.0), json!(1e300), json!([1]), json!(u64::MAX)] {
            let mut changed = entry.clone();
            changed[name] = value;
            wrong.push(changed);
        }
    }
    assert!(agree::<Now>(&wrong[1..]) > 0, "the greatest number is one");
    let edits = ["create", "set", "dance", ""]
        .map(|name| json!({ "edit": name, "entityType": "t", "entityId": "1", "data": {}, "fields": {} }));
    assert_eq!(agree::<Edit>(&edits), 2);
}
