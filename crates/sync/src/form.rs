//! Reading documents: what `#[derive(Form)]` calls, and how plain values are read.
//!
//! A text becomes a document first, and what a type needs is taken out of it: rows move into place without a copy, and
//! every type has one reader, which matters where a page loads the code. Laws: what is read is what serde reads by the
//! same attributes; a member that is missing is an error unless it is an option or has a default; members that no type
//! asks for are left alone, so that a newer peer may say more.

mod document;
mod written;

use std::{collections::VecDeque, fmt};

pub(crate) use self::written::{Parts, Written, write_member, write_name, write_object};
pub(crate) use antiphon_form::{Form, Written};
use antiphon_model::{TransactionId, Visibility, Xid};

use crate::json::{Object, Value};
use crate::ordered::{OrderedMap, OrderedSet};

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

/// Why what is being read is refused: the first reason, once there is one.
pub(crate) type Refused = Option<Unread>;

/// What can be read from a document.
pub(crate) trait Form {
    /// Makes what stands there until it is read.
    fn blank() -> Self
    where
        Self: Sized;

    /// Takes the document's place; where it is refused, what is there now is of no use.
    fn fill(&mut self, document: Value, refused: &mut Refused);

    /// Says whether it may be missing, and is blank then.
    fn may_lack(&self) -> bool {
        false
    }

    /// Reads it.
    fn read(document: Value) -> Result<Self, Unread>
    where
        Self: Sized,
    {
        let (mut read, mut refused) = (Self::blank(), None);
        read.fill(document, &mut refused);
        match refused {
            None => Ok(read),
            Some(why) => Err(why),
        }
    }
}

/// What can be read from members of an object, which may have others.
pub(crate) trait Members {
    /// Takes its members out.
    fn take(&mut self, from: &mut Taken<'_>);
}

/// An object whose members are taken out, and why it is refused.
pub(crate) struct Taken<'a> {
    object: Object,
    refused: &'a mut Refused,
}

/// The names of an enum's variants.
#[derive(Clone, Copy)]
pub(crate) enum Names<'a> {
    /// There are no others.
    Only(&'a [&'a str]),
    /// There is a place for any other.
    OrOther(&'a [&'a str]),
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
    Value::Object(members.into())
}

pub(crate) fn document(text: &str) -> Result<Value, Unread> {
    document::read(text)
}

pub(crate) fn members(into: &mut dyn Members, document: Value, refused: &mut Refused) {
    into.take(&mut object(document, refused));
}

/// Reads an object that has no other members.
pub(crate) fn members_only(into: &mut dyn Members, document: Value, refused: &mut Refused) {
    let mut from = object(document, refused);
    into.take(&mut from);
    if let Some(name) = from.object.keys().next() {
        refuse(from.refused, || format!("unknown field `{name}`"));
    }
}

pub(crate) fn object(document: Value, refused: &mut Refused) -> Taken<'_> {
    let object = match document {
        Value::Object(object) => object,
        other => {
            not(&other, "an object", refused);
            Object::new()
        }
    };
    Taken { object, refused }
}

/// Takes a member that must be there, unless its type says what its absence means.
pub(crate) fn member(from: &mut Taken<'_>, name: &str, into: &mut dyn Form) {
    if from.refused.is_some() {
        return;
    }
    match from.object.remove(name) {
        Some(value) => into.fill(value, from.refused),
        None if into.may_lack() => {}
        None => refuse(from.refused, || format!("missing field `{name}`")),
    }
}

/// Takes a member that stays as it is by default where it is missing.
pub(crate) fn member_or_default(from: &mut Taken<'_>, name: &str, into: &mut dyn Form) {
    if from.refused.is_some() {
        return;
    }
    if let Some(value) = from.object.remove(name) {
        into.fill(value, from.refused);
    }
}

pub(crate) fn member_with<T>(from: &mut Taken<'_>, name: &str, into: &mut T, with: fn(Value) -> T) {
    if let Some(value) = from.object.remove(name) {
        *into = with(value);
    }
}

/// Takes the member that names a variant, and returns its place.
pub(crate) fn tag(from: &mut Taken<'_>, tag: &str, names: Names<'_>) -> usize {
    let mut name = String::new();
    member(from, tag, &mut name);
    which(&name, names, from.refused)
}

/// Splits an enum into its variant's place and what belongs to it, null where it is the name alone.
pub(crate) fn named(document: Value, names: Names<'_>, refused: &mut Refused) -> (usize, Value) {
    let (name, inner) = match document {
        Value::String(name) => (name, Value::Null),
        Value::Object(object) if object.len() == 1 => object.into_iter().next().unwrap_or_default(),
        other => {
            not(&other, "a name, or an object with one", refused);
            Default::default()
        }
    };
    (which(&name, names, refused), inner)
}

/// Returns the place of a variant that is a name alone.
pub(crate) fn name_alone(document: Value, names: Names<'_>, refused: &mut Refused) -> usize {
    let (place, inner) = named(document, names, refused);
    alone(&inner, refused);
    place
}

pub(crate) fn alone(inner: &Value, refused: &mut Refused) {
    if !inner.is_null() {
        not(inner, "nothing", refused);
    }
}

/// Returns the place of a variant's name among all.
fn which(name: &str, names: Names<'_>, refused: &mut Refused) -> usize {
    let (Names::Only(all) | Names::OrOther(all)) = names;
    let place = all.iter().position(|one| *one == name);
    if place.is_none() && matches!(names, Names::Only(_)) {
        refuse(refused, || unknown(name, all));
    }
    place.unwrap_or(usize::MAX)
}

fn unknown(name: &str, names: &[&str]) -> String {
    let mut why = format!("unknown variant `{name}`, expected one of ");
    for (place, name) in names.iter().enumerate() {
        why.push_str(if place == 0 { "`" } else { ", `" });
        why.push_str(name);
        why.push('`');
    }
    why
}

/// Notes why, unless a reason is noted already.
fn refuse(refused: &mut Refused, why: impl FnOnce() -> String) {
    if refused.is_none() {
        *refused = Some(Unread::of(why()));
    }
}

fn not(document: &Value, expected: &str, refused: &mut Refused) {
    refuse(refused, || format!("invalid value: {}, expected {expected}", text(document)));
}

/// Takes what was read, or notes that the document is something else.
fn set<T>(into: &mut T, read: Option<T>, document: &Value, expected: &str, refused: &mut Refused) {
    match read {
        Some(read) => *into = read,
        None => not(document, expected, refused),
    }
}

fn array(document: Value, refused: &mut Refused) -> Vec<Value> {
    match document {
        Value::Array(items) => items,
        other => {
            not(&other, "an array", refused);
            Vec::new()
        }
    }
}

pub(crate) fn pair(document: Value, refused: &mut Refused) -> (Value, Value) {
    match <[Value; 2]>::try_from(array(document, refused)) {
        Ok([one, other]) => (one, other),
        Err(items) => {
            not(&Value::Array(items), "a pair", refused);
            Default::default()
        }
    }
}

impl Form for Value {
    fn blank() -> Value {
        Value::Null
    }

    fn fill(&mut self, document: Value, _: &mut Refused) {
        *self = document;
    }
}

impl Form for Object {
    fn blank() -> Object {
        Object::new()
    }

    fn fill(&mut self, document: Value, refused: &mut Refused) {
        *self = object(document, refused).object;
    }
}

impl Form for String {
    fn blank() -> String {
        String::new()
    }

    fn fill(&mut self, document: Value, refused: &mut Refused) {
        match document {
            Value::String(text) => *self = text,
            other => not(&other, "a string", refused),
        }
    }
}

impl Form for bool {
    fn blank() -> bool {
        false
    }

    fn fill(&mut self, document: Value, refused: &mut Refused) {
        set(self, document.as_bool(), &document, "a boolean", refused);
    }
}

impl Form for i64 {
    fn blank() -> i64 {
        0
    }

    fn fill(&mut self, document: Value, refused: &mut Refused) {
        set(self, document.as_i64(), &document, "i64", refused);
    }
}

/// Numbers that are not negative.
macro_rules! natural {
    ($($number:ident)*) => {$(
        impl Form for $number {
            fn blank() -> $number {
                0
            }

            fn fill(&mut self, document: Value, refused: &mut Refused) {
                let number = document.as_u64().and_then(|number| $number::try_from(number).ok());
                set(self, number, &document, stringify!($number), refused);
            }
        }
    )*};
}

natural!(u16 u32 u64 usize);

impl<T: Form> Form for Option<T> {
    fn blank() -> Option<T> {
        None
    }

    fn fill(&mut self, document: Value, refused: &mut Refused) {
        *self = None;
        if !document.is_null() {
            self.insert(T::blank()).fill(document, refused);
        }
    }

    fn may_lack(&self) -> bool {
        true
    }
}

/// Hands each item of a list on; the loop is compiled once for all types.
fn each(document: Value, refused: &mut Refused, take: &mut dyn FnMut(Value, &mut Refused)) {
    for item in array(document, refused) {
        if refused.is_some() {
            return;
        }
        take(item, refused);
    }
}

impl<T: Form> Form for Vec<T> {
    fn blank() -> Vec<T> {
        Vec::new()
    }

    fn fill(&mut self, document: Value, refused: &mut Refused) {
        each(document, refused, &mut |item, refused| {
            let mut read = T::blank();
            read.fill(item, refused);
            self.push(read);
        });
    }
}

impl<T: Form> Form for VecDeque<T> {
    fn blank() -> VecDeque<T> {
        VecDeque::new()
    }

    fn fill(&mut self, document: Value, refused: &mut Refused) {
        let mut read = Vec::blank();
        read.fill(document, refused);
        *self = read.into();
    }
}

impl<T: Form + Ord> Form for OrderedSet<T> {
    fn blank() -> OrderedSet<T> {
        OrderedSet::new()
    }

    fn fill(&mut self, document: Value, refused: &mut Refused) {
        each(document, refused, &mut |item, refused| {
            let mut read = T::blank();
            read.fill(item, refused);
            self.insert(read);
        });
    }
}

impl<T: Form> Form for OrderedMap<String, T> {
    fn blank() -> OrderedMap<String, T> {
        OrderedMap::new()
    }

    fn fill(&mut self, document: Value, refused: &mut Refused) {
        each_member(document, refused, &mut |name, value, refused| {
            let mut read = T::blank();
            read.fill(value, refused);
            self.insert(name, read);
        });
    }
}

/// Hands each member of an object on.
fn each_member(document: Value, refused: &mut Refused, take: &mut dyn FnMut(String, Value, &mut Refused)) {
    let Taken { object, refused } = object(document, refused);
    for (name, value) in object {
        if refused.is_some() {
            return;
        }
        take(name, value, refused);
    }
}

impl<A: Form, B: Form> Form for (A, B) {
    fn blank() -> (A, B) {
        (A::blank(), B::blank())
    }

    fn fill(&mut self, document: Value, refused: &mut Refused) {
        let (one, other) = pair(document, refused);
        self.0.fill(one, refused);
        self.1.fill(other, refused);
    }
}

/// Words of the model, which are texts.
macro_rules! of_model {
    ($($word:ident by $read:expr, else $blank:expr;)*) => {$(
        impl Form for $word {
            fn blank() -> $word {
                $blank
            }

            fn fill(&mut self, document: Value, refused: &mut Refused) {
                let read = document.as_str().map(|text| $read(text).ok());
                let expected = if read.is_some() { stringify!($word) } else { "a string" };
                set(self, read.flatten(), &document, expected, refused);
            }
        }
    )*};
}

of_model! {
    TransactionId by TransactionId::parse, else TransactionId::least();
    Visibility by str::parse::<Visibility>, else Visibility::of_nothing();
    Xid by |text: &str| text.parse().map(Xid::new), else Xid::new(0);
}
