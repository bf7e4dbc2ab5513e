//! A JSON document as a client holds it.
//!
//! serde_json's objects are hash tables, and with them come the table, its hash and an order beside it: three kilobytes
//! of what a page loads. Here an object is the list of its members, in their order, and a name is looked for from the
//! first on: rows have tens of columns. Laws: names are there once, and what is written is what serde_json writes;
//! reading and comparing take no longer than sorting does, so that a document with many thousand members is no danger.

mod object;
mod plain;
mod serde;

#[cfg(test)]
pub(crate) use self::plain::json;
use serde_json::Number;

pub use self::object::Object;

/// A document, or a part of one.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// Whether something is so.
    Bool(bool),
    /// A number, as it was written: an integer is none with a fraction.
    Number(Number),
    /// A text.
    String(String),
    /// A list.
    Array(Vec<Value>),
    /// Values by name.
    Object(Object),
}

impl Value {
    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Whether it is a text.
    pub fn is_string(&self) -> bool {
        matches!(self, Value::String(_))
    }

    /// Whether it is a number.
    pub fn is_number(&self) -> bool {
        matches!(self, Value::Number(_))
    }

    /// Whether it is a list.
    pub fn is_array(&self) -> bool {
        matches!(self, Value::Array(_))
    }

    /// Whether it is an object.
    pub fn is_object(&self) -> bool {
        matches!(self, Value::Object(_))
    }

    /// The truth that it says.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    fn as_number(&self) -> Option<&Number> {
        match self {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The integer, if it has at most 63 bits.
    pub fn as_i64(&self) -> Option<i64> {
        self.as_number()?.as_i64()
    }

    /// The integer, if it is not negative and has at most 64 bits.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_number()?.as_u64()
    }

    /// The number, or the nearest one.
    pub fn as_f64(&self) -> Option<f64> {
        self.as_number()?.as_f64()
    }

    /// The text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The list.
    pub fn as_array(&self) -> Option<&Vec<Value>> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The object.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The member of that name, if it is an object.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.as_object()?.get(name)
    }
}

/// What becomes a document by being put into one.
macro_rules! from {
    ($($plain:ty as $value:ident = $form:path;)*) => {$(
        impl From<$plain> for Value {
            fn from(plain: $plain) -> Value {
                Value::$value($form(plain))
            }
        }
    )*};
}

from! {
    bool as Bool = bool::from;
    Number as Number = Number::from;
    u32 as Number = Number::from;
    i32 as Number = Number::from;
    u64 as Number = Number::from;
    i64 as Number = Number::from;
    &str as String = String::from;
    String as String = String::from;
    Vec<Value> as Array = Vec::from;
    Object as Object = Object::from;
}

impl From<f64> for Value {
    /// What is no number in JSON is null.
    fn from(float: f64) -> Value {
        Number::from_f64(float).map_or(Value::Null, Value::Number)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(plain: Option<T>) -> Value {
        plain.map_or(Value::Null, Into::into)
    }
}
