//! A part of a type that somebody wants to see: a filter, an order and a window, as lists of the protocol know them
//! (protocol 4, CORE-12).
//!
//! Law: whether a row belongs is decided here exactly as the database decides it. A comparison that this device cannot
//! make in the same way is refused by name before anything is read, never guessed.

mod compare;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::compare::Kind;
use super::{keys, words::TypeShape};
use crate::{
    form::{Form, Written},
    ordered::OrderedSet,
};

/// How a field is compared with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Form, Written)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// Equal; without a value: null.
    Eq,
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
    /// Less.
    Lt,
    /// Less or equal.
    Lte,
}

/// A condition on a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Form, Written)]
pub struct Filter {
    /// The field.
    pub field: String,
    /// How it is compared.
    pub test: Test,
    /// With what, written as lists and the stream write it; `None` is null.
    pub value: Option<String>,
}

/// A level of an order; nulls come last, texts by bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Form, Written)]
pub struct Level {
    /// The field.
    pub field: String,
    /// Whether larger values come first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub descending: bool,
}

/// A part of a type.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Form, Written)]
#[serde(rename_all = "camelCase")]
pub struct Subset {
    /// The type.
    pub entity_type: String,
    /// Conditions, all of which must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Filter>,
    /// The order before the key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<Level>,
    /// The first so many rows; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_rows: Option<usize>,
}

/// Where a row stands in the order of a subset: what it is ordered by, then its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Form, Written)]
pub struct Place {
    values: Vec<Option<String>>,
    id: String,
}

impl Subset {
    /// Puts what means the same into the same form, so that equal subsets are kept once.
    pub fn normal(mut self) -> Subset {
        self.filters = self.filters.into_iter().collect::<OrderedSet<_>>().into_iter().collect();
        self
    }

    /// Returns the parameters of its list.
    pub fn parameters(&self) -> Vec<(String, String)> {
        let mut parameters = Vec::new();
        for Filter { field, test, value } in &self.filters {
            let (suffix, value) = match (test, value) {
                (Test::Eq, None) => ("[is]", "null"),
                (Test::Eq, Some(value)) => ("", value.as_str()),
                (Test::Gt, value) => ("[gt]", value.as_deref().unwrap_or_default()),
                (Test::Gte, value) => ("[gte]", value.as_deref().unwrap_or_default()),
                (Test::Lt, value) => ("[lt]", value.as_deref().unwrap_or_default()),
                (Test::Lte, value) => ("[lte]", value.as_deref().unwrap_or_default()),
            };
            parameters.push((format!("where[{field}]{suffix}"), value.to_owned()));
        }
        let sign = |level: &Level| if level.descending { "-" } else { "" };
        let order: Vec<String> = self.order.iter().map(|level| format!("{}{}", sign(level), level.field)).collect();
        if !order.is_empty() {
            parameters.push(("order".into(), order.join(",")));
        }
        parameters
    }

    /// Returns the field that cannot be compared here as the database does; `None` where all can.
    pub fn incomparable(&self, shape: &TypeShape) -> Option<&str> {
        let filters = self.filters.iter().find(|filter| {
            let Some(kind) = Kind::of(shape, &filter.field) else { return true };
            match (&filter.value, filter.test) {
                (None, test) => test != Test::Eq,
                (Some(value), Test::Eq) => kind.read(value).is_none(),
                (Some(value), _) => !kind.has_order() || kind.read(value).is_none(),
            }
        });
        let ordered = |level: &&Level| !Kind::of(shape, &level.field).is_some_and(Kind::has_order);
        let order = self.order.iter().find(ordered).map(|level| level.field.as_str());
        filters.map(|filter| filter.field.as_str()).or(order)
    }

    /// Tells whether a row meets every condition; a field that is not at hand meets none.
    pub fn matches(&self, shape: &TypeShape, data: &Map<String, Value>) -> bool {
        self.filters.iter().all(|filter| filter.holds(shape, data))
    }

    /// Tells whether all that its conditions and its order read is at hand.
    pub fn is_known(&self, data: &Map<String, Value>) -> bool {
        let mut fields =
            self.filters.iter().map(|filter| &filter.field).chain(self.order.iter().map(|level| &level.field));
        fields.all(|field| data.contains_key(field))
    }

    /// Returns where a row stands.
    pub fn place(&self, id: &str, data: &Map<String, Value>) -> Place {
        let values = self.order.iter().map(|level| data.get(&level.field).and_then(compare::text)).collect();
        Place { values, id: id.to_owned() }
    }

    /// Compares two places.
    pub fn order(&self, shape: &TypeShape, one: &Place, other: &Place) -> Ordering {
        for (level, (a, b)) in self.order.iter().zip(one.values.iter().zip(&other.values)) {
            let ordering = match (a, b) {
                (None, None) => Ordering::Equal,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some(a), Some(b)) => {
                    let kind = Kind::of(shape, &level.field).unwrap_or(Kind::Text);
                    let ordering = kind.compare(a, b);
                    if level.descending { ordering.reverse() } else { ordering }
                }
            };
            if ordering.is_ne() {
                return ordering;
            }
        }
        keys::order(shape, &one.id, &other.id)
    }
}

impl Filter {
    fn holds(&self, shape: &TypeShape, data: &Map<String, Value>) -> bool {
        let held = data.get(&self.field);
        let Some(value) = &self.value else { return held.is_some_and(Value::is_null) };
        let (Some(held), Some(kind)) = (held.and_then(compare::text), Kind::of(shape, &self.field)) else {
            return false;
        };
        let ordering = kind.compare(&held, value);
        match self.test {
            Test::Eq => ordering.is_eq(),
            Test::Gt => ordering.is_gt(),
            Test::Gte => ordering.is_ge(),
            Test::Lt => ordering.is_lt(),
            Test::Lte => ordering.is_le(),
        }
    }
}
