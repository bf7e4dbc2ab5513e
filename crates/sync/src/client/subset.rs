//! A part of a type that somebody wants to see: a filter, an order and a window, as lists of the protocol know them
//! (protocol 4, CORE-12).
//!
//! Law: whether a row belongs is decided here exactly as the database decides it. A comparison that this device cannot
//! make in the same way is refused by name before anything is read, never guessed.

mod compare;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use self::compare::Kind;
use super::{keys::KeyOrder, words::TypeShape};
use crate::{
    form::{Form, Written},
    json::{Object, Value},
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

/// All that a subset's conditions and order take from a shape: looked up once for many rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Measure {
    filters: Vec<Option<Kind>>,
    levels: Vec<Kind>,
    key: KeyOrder,
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
        let mut order = String::new();
        for level in &self.order {
            order.push_str(if order.is_empty() { "" } else { "," });
            order.push_str(if level.descending { "-" } else { "" });
            order.push_str(&level.field);
        }
        if !order.is_empty() {
            parameters.push(("order".into(), order));
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

    /// Returns how its conditions and its order are measured in a shape.
    pub(super) fn measure(&self, shape: &TypeShape) -> Measure {
        let filters = self.filters.iter().map(|filter| Kind::of(shape, &filter.field)).collect();
        let levels = self.order.iter().map(|level| Kind::of(shape, &level.field).unwrap_or(Kind::Text)).collect();
        Measure { filters, levels, key: KeyOrder::of(shape) }
    }

    /// Tells whether a row meets every condition; a field that is not at hand meets none.
    pub fn matches(&self, shape: &TypeShape, data: &Object) -> bool {
        self.holds(&self.measure(shape), data)
    }

    /// The same, measured by what is known of the shape already.
    pub(super) fn holds(&self, measure: &Measure, data: &Object) -> bool {
        self.filters.iter().zip(&measure.filters).all(|(filter, kind)| filter.holds(*kind, data))
    }

    /// Tells whether all that its conditions and its order read is at hand.
    pub fn is_known(&self, data: &Object) -> bool {
        let mut fields =
            self.filters.iter().map(|filter| &filter.field).chain(self.order.iter().map(|level| &level.field));
        fields.all(|field| data.contains_key(field))
    }

    /// Returns where a row stands.
    pub fn place(&self, id: &str, data: &Object) -> Place {
        let values = self.order.iter().map(|level| data.get(&level.field).and_then(compare::text)).collect();
        Place { values, id: id.to_owned() }
    }

    /// Compares two places.
    pub fn order(&self, shape: &TypeShape, one: &Place, other: &Place) -> Ordering {
        self.compare(&self.measure(shape), one, other)
    }

    /// The same, measured by what is known of the shape already.
    pub(super) fn compare(&self, measure: &Measure, one: &Place, other: &Place) -> Ordering {
        let levels = self.order.iter().zip(&measure.levels);
        for ((level, kind), (a, b)) in levels.zip(one.values.iter().zip(&other.values)) {
            let ordering = match (a, b) {
                (None, None) => Ordering::Equal,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some(a), Some(b)) if level.descending => kind.compare(b, a),
                (Some(a), Some(b)) => kind.compare(a, b),
            };
            if ordering.is_ne() {
                return ordering;
            }
        }
        measure.key.order(&one.id, &other.id)
    }
}

impl Place {
    /// Returns the row that stands there.
    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

impl Filter {
    fn holds(&self, kind: Option<Kind>, data: &Object) -> bool {
        let held = data.get(&self.field);
        let Some(value) = &self.value else { return held.is_some_and(Value::is_null) };
        let (Some(held), Some(kind)) = (held.and_then(compare::text), kind) else {
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
