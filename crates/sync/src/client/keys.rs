//! The order in which a list gives its rows, as far as a client can know it (protocol 4: by key, text by bytes).
//!
//! It says which page of a list speaks for a row that is not there. Numbers are compared as numbers, all else by bytes;
//! where the database orders a type otherwise, the worst is that a page more is believed to have seen a change.

use std::cmp::Ordering;

use super::words::TypeShape;
use crate::{float::float, form};

/// Tells whether the database orders a type as numbers, by the name that the schema gives it (`format_type`'s) or the
/// short one.
pub fn is_number(ty: &str) -> bool {
    const NAMES: [&str; 7] = ["smallint", "integer", "bigint", "numeric", "real", "double precision", "oid"];
    const SHORT: [&str; 5] = ["int2", "int4", "int8", "float4", "float8"];
    NAMES.contains(&ty) || SHORT.contains(&ty)
}

/// Which columns of a key are ordered as numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyOrder(Vec<bool>);

impl KeyOrder {
    /// Returns that of a type.
    pub fn of(shape: &TypeShape) -> KeyOrder {
        let is_number = |column: &String| shape.fields.get(column).is_some_and(|field| is_number(&field.ty));
        KeyOrder(shape.key.iter().map(is_number).collect())
    }

    /// Compares two ids.
    pub fn order(&self, one: &str, other: &str) -> Ordering {
        match self.0.as_slice() {
            [is_number] => part(*is_number, one, other),
            columns => {
                let parts = |id: &str| form::from_text::<Vec<String>>(id).unwrap_or_default();
                let (one, other) = (parts(one), parts(other));
                let pairs = columns.iter().zip(one.iter().zip(&other));
                let mut orders = pairs.map(|(is_number, (one, other))| part(*is_number, one, other));
                orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
            }
        }
    }
}

/// Compares two ids of a type.
pub fn order(shape: &TypeShape, one: &str, other: &str) -> Ordering {
    KeyOrder::of(shape).order(one, other)
}

fn part(is_number: bool, one: &str, other: &str) -> Ordering {
    if !is_number {
        return one.cmp(other);
    }
    match (one.parse::<i128>(), other.parse::<i128>()) {
        (Ok(one), Ok(other)) => one.cmp(&other),
        _ => match (float(one), float(other)) {
            (Some(one), Some(other)) => one.total_cmp(&other),
            _ => one.cmp(other),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::words::FieldShape;

    fn shape(columns: &[(&str, &str)]) -> TypeShape {
        let field = |ty: &str| FieldShape { ty: ty.into(), ..FieldShape::default() };
        TypeShape {
            key: columns.iter().map(|(name, _)| (*name).to_owned()).collect(),
            fields: columns.iter().map(|(name, ty)| ((*name).to_owned(), field(ty))).collect(),
            ..TypeShape::default()
        }
    }

    #[test]
    fn numbers_are_ordered_as_numbers_and_texts_by_bytes() {
        assert_eq!(order(&shape(&[("id", "int8")]), "9", "10"), Ordering::Less);
        assert_eq!(order(&shape(&[("id", "bigint")]), "9", "10"), Ordering::Less);
        assert_eq!(order(&shape(&[("id", "text")]), "9", "10"), Ordering::Greater);
        assert_eq!(order(&shape(&[("id", "numeric")]), "-1.5", "-1"), Ordering::Less);
        let both = shape(&[("a", "text"), ("b", "int4")]);
        assert_eq!(order(&both, r#"["x","9"]"#, r#"["x","10"]"#), Ordering::Less);
    }
}
