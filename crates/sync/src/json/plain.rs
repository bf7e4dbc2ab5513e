//! Documents beside serde_json's, for the worlds that hold those: both ways, comparison, and what a person reads.
//!
//! Law: nothing of this is in what a page loads; the client's code asks for none of it.

use std::{fmt, ops::Index};

use serde_json::{Map, Value as Plain};

use super::{Object, Value};

impl From<Plain> for Value {
    fn from(value: Plain) -> Value {
        match value {
            Plain::Null => Value::Null,
            Plain::Bool(truth) => Value::Bool(truth),
            Plain::Number(number) => Value::Number(number),
            Plain::String(text) => Value::String(text),
            Plain::Array(items) => Value::Array(items.into_iter().map(Value::from).collect()),
            Plain::Object(members) => Value::Object(members.into()),
        }
    }
}

impl From<Map<String, Plain>> for Object {
    fn from(members: Map<String, Plain>) -> Object {
        members.into_iter().map(|(name, value)| (name, value.into())).collect()
    }
}

impl From<Value> for Plain {
    fn from(value: Value) -> Plain {
        match value {
            Value::Null => Plain::Null,
            Value::Bool(truth) => Plain::Bool(truth),
            Value::Number(number) => Plain::Number(number),
            Value::String(text) => Plain::String(text),
            Value::Array(items) => items.into_iter().map(Plain::from).collect(),
            Value::Object(members) => Plain::Object(members.into()),
        }
    }
}

impl From<Object> for Map<String, Plain> {
    fn from(members: Object) -> Map<String, Plain> {
        members.into_iter().map(|(name, value)| (name, value.into())).collect()
    }
}

impl From<Object> for Plain {
    fn from(members: Object) -> Plain {
        Plain::Object(members.into())
    }
}

impl From<Map<String, Plain>> for Value {
    fn from(members: Map<String, Plain>) -> Value {
        Value::Object(members.into())
    }
}

impl PartialEq<Plain> for Value {
    fn eq(&self, other: &Plain) -> bool {
        match (self, other) {
            (Value::Null, Plain::Null) => true,
            (Value::Bool(one), Plain::Bool(other)) => one == other,
            (Value::Number(one), Plain::Number(other)) => one == other,
            (Value::String(one), Plain::String(other)) => one == other,
            (Value::Array(one), Plain::Array(other)) => one == other,
            (Value::Object(one), Plain::Object(other)) => one == other,
            _ => false,
        }
    }
}

impl PartialEq<Value> for Plain {
    fn eq(&self, other: &Value) -> bool {
        other == self
    }
}

impl PartialEq<Map<String, Plain>> for Object {
    fn eq(&self, other: &Map<String, Plain>) -> bool {
        self.len() == other.len() && self.iter().all(|(name, value)| other.get(name).is_some_and(|held| value == held))
    }
}

impl PartialEq<Object> for Map<String, Plain> {
    fn eq(&self, other: &Object) -> bool {
        other == self
    }
}

impl PartialEq<str> for Value {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == Some(other)
    }
}

impl PartialEq<&str> for Value {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&crate::form::text(self))
    }
}

impl Index<&str> for Value {
    type Output = Value;

    /// The member of that name, or null.
    fn index(&self, name: &str) -> &Value {
        self.get(name).unwrap_or(&Value::Null)
    }
}

impl Index<usize> for Value {
    type Output = Value;

    /// The item at that place, or null.
    fn index(&self, place: usize) -> &Value {
        self.as_array().and_then(|items| items.get(place)).unwrap_or(&Value::Null)
    }
}

impl Index<&str> for Object {
    type Output = Value;

    /// The value of that name, or null.
    fn index(&self, name: &str) -> &Value {
        self.get(name).unwrap_or(&Value::Null)
    }
}

/// A document as it is written.
#[cfg(test)]
macro_rules! json {
    ($($written:tt)*) => {
        $crate::json::Value::from(serde_json::json!($($written)*))
    };
}
#[cfg(test)]
pub(crate) use json;
