//! Reading documents: what `#[derive(Form)]` calls, and how plain values are read.
//!
//! A text becomes a document first, and what a type needs is taken out of it: rows move into place without a copy, and
//! every type has one reader, which matters where a page loads the code. Laws: what is read is what serde reads by the
//! same attributes; a member that is missing is an error unless it is an option or has a default; members that no type
//! asks for are left alone, so that a newer peer may say more.

mod written;

use std::{collections::VecDeque, fmt};

pub(crate) use self::written::{Parts, Written, write_member, write_name, write_object};
pub(crate) use antiphon_form::{Form, Written};
use antiphon_model::{TransactionId, Visibility, Xid};
use serde_json::{Map, Value};

use crate::ordered::{OrderedMap, OrderedSet};

/// An object's members.
pub(crate) type Object = Map<String, Value>;

/// Why a document is not of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unread(
    #[expect(clippy::box_collection, reason = "one word in each result that may be a refusal: 3,000 bytes less")]
    Box<String>,
);

impl Unread {
    fn of(why: String) -> Unread {
        Unread(Box::new(why))
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// What can be read from a document.
pub(crate) trait Form: Sized {
    /// Reads it.
    fn read(document: Value) -> Result<Self, Unread>;

    /// What it is where nothing is said.
    fn absent() -> Option<Self> {
        None
    }
}

/// What can be read from members of an object, which may have others.
pub(crate) trait Members: Sized {
    /// Takes its members out.
    fn take(from: &mut Object) -> Result<Self, Unread>;
}

/// Reads a text.
pub(crate) fn from_text<T: Form>(text: &str) -> Result<T, Unread> {
    T::read(document(text)?)
}

/// Writes a value as text.
pub(crate) fn text(value: &(impl Written + ?Sized)) -> String {
    let mut out = String::new();
    value.write(&mut out);
    out
}

/// Makes an object.
pub(crate) fn of<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn document(text: &str) -> Result<Value, Unread> {
    serde_json::from_str(text).map_err(|error| Unread::of(error.to_string()))
}

pub(crate) fn members<T: Members>(document: Value) -> Result<T, Unread> {
    T::take(&mut object(document)?)
}

/// Reads an object that has no other members.
pub(crate) fn members_only<T: Members>(document: Value) -> Result<T, Unread> {
    let mut from = object(document)?;
    let read = T::take(&mut from)?;
    match from.keys().next() {
        None => Ok(read),
        Some(name) => Err(Unread::of(format!("unknown field `{name}`"))),
    }
}

pub(crate) fn object(document: Value) -> Result<Object, Unread> {
    match document {
        Value::Object(object) => Ok(object),
        other => not(&other, "an object"),
    }
}

/// Takes a member that must be there, unless its type says what its absence means.
pub(crate) fn member<T: Form>(from: &mut Object, name: &str) -> Result<T, Unread> {
    match from.remove(name) {
        Some(value) => T::read(value),
        None => T::absent().ok_or_else(|| missing(name)),
    }
}

pub(crate) fn member_or_default<T: Form + Default>(from: &mut Object, name: &str) -> Result<T, Unread> {
    from.remove(name).map_or_else(|| Ok(T::default()), T::read)
}

pub(crate) fn member_with<T: Default>(from: &mut Object, name: &str, with: fn(Value) -> T) -> Result<T, Unread> {
    Ok(from.remove(name).map_or_else(T::default, with))
}

/// Splits an enum into its variant's name and what belongs to it, null where it is the name alone.
pub(crate) fn named(document: Value) -> Result<(String, Value), Unread> {
    match document {
        Value::String(name) => Ok((name, Value::Null)),
        Value::Object(object) if object.len() == 1 => object.into_iter().next().ok_or_else(|| missing("a name")),
        other => not(&other, "a name, or an object with one"),
    }
}

pub(crate) fn alone(inner: Value) -> Result<(), Unread> {
    if inner.is_null() { Ok(()) } else { not(&inner, "nothing") }
}

/// Returns the place of a variant's name among all, for enums that have no place for others.
pub(crate) fn which(name: &str, names: &[&str]) -> Result<usize, Unread> {
    let unknown = || Unread::of(format!("unknown variant `{name}`, expected one of `{}`", names.join("`, `")));
    place(name, names).ok_or_else(unknown)
}

/// Returns the place of a variant's name among all.
pub(crate) fn place(name: &str, names: &[&str]) -> Option<usize> {
    names.iter().position(|one| *one == name)
}

fn missing(name: &str) -> Unread {
    Unread::of(format!("missing field `{name}`"))
}

fn not<T>(document: &Value, expected: &str) -> Result<T, Unread> {
    Err(Unread::of(format!("invalid value: {}, expected {expected}", text(document))))
}

fn array(document: Value) -> Result<Vec<Value>, Unread> {
    match document {
        Value::Array(items) => Ok(items),
        other => not(&other, "an array"),
    }
}

impl Form for Value {
    fn read(document: Value) -> Result<Value, Unread> {
        Ok(document)
    }
}

impl Form for Object {
    fn read(document: Value) -> Result<Object, Unread> {
        object(document)
    }
}

impl Form for String {
    fn read(document: Value) -> Result<String, Unread> {
        match document {
            Value::String(text) => Ok(text),
            other => not(&other, "a string"),
        }
    }
}

impl Form for bool {
    fn read(document: Value) -> Result<bool, Unread> {
        document.as_bool().map_or_else(|| not(&document, "a boolean"), Ok)
    }
}

impl Form for u64 {
    fn read(document: Value) -> Result<u64, Unread> {
        document.as_u64().map_or_else(|| not(&document, "u64"), Ok)
    }
}

impl Form for i64 {
    fn read(document: Value) -> Result<i64, Unread> {
        document.as_i64().map_or_else(|| not(&document, "i64"), Ok)
    }
}

/// Numbers that are narrower than those of JSON.
macro_rules! narrower {
    ($($number:ident)*) => {$(
        impl Form for $number {
            fn read(document: Value) -> Result<$number, Unread> {
                let number = document.as_u64().and_then(|number| $number::try_from(number).ok());
                number.map_or_else(|| not(&document, stringify!($number)), Ok)
            }
        }
    )*};
}

narrower!(u16 u32 usize);

impl<T: Form> Form for Option<T> {
    fn read(document: Value) -> Result<Option<T>, Unread> {
        if document.is_null() { Ok(None) } else { T::read(document).map(Some) }
    }

    fn absent() -> Option<Option<T>> {
        Some(None)
    }
}

// Loops and no `collect`, here and for maps: for a list of each type that would weigh three times as much.
impl<T: Form> Form for Vec<T> {
    fn read(document: Value) -> Result<Vec<T>, Unread> {
        let items = array(document)?;
        let mut read = Vec::with_capacity(items.len());
        for item in items {
            read.push(T::read(item)?);
        }
        Ok(read)
    }
}

impl<T: Form> Form for VecDeque<T> {
    fn read(document: Value) -> Result<VecDeque<T>, Unread> {
        Vec::read(document).map(VecDeque::from)
    }
}

impl<T: Form + Ord> Form for OrderedSet<T> {
    fn read(document: Value) -> Result<OrderedSet<T>, Unread> {
        let mut read = OrderedSet::new();
        for item in array(document)? {
            read.insert(T::read(item)?);
        }
        Ok(read)
    }
}

impl<T: Form> Form for OrderedMap<String, T> {
    fn read(document: Value) -> Result<OrderedMap<String, T>, Unread> {
        let mut read = OrderedMap::new();
        for (name, value) in object(document)? {
            read.insert(name, T::read(value)?);
        }
        Ok(read)
    }
}

impl<A: Form, B: Form> Form for (A, B) {
    fn read(document: Value) -> Result<(A, B), Unread> {
        match <[Value; 2]>::try_from(array(document)?) {
            Ok([a, b]) => Ok((A::read(a)?, B::read(b)?)),
            Err(items) => not(&Value::Array(items), "a pair"),
        }
    }
}

/// Words of the model, which are texts.
macro_rules! of_model {
    ($($word:ident by $read:expr;)*) => {$(
        impl Form for $word {
            fn read(document: Value) -> Result<$word, Unread> {
                let text = String::read(document)?;
                $read(&text).or_else(|_| not(&text.into(), stringify!($word)))
            }
        }
    )*};
}

of_model! {
    TransactionId by TransactionId::parse;
    Visibility by str::parse::<Visibility>;
    Xid by |text: &str| text.parse().map(Xid::new);
}
