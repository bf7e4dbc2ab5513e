//! The order of a list and the condition "after this row", as SQL (keyset paging; never an offset).
//!
//! Nulls come last in both directions and text is ordered by bytes, so that a client can keep the same order by itself.
//! The condition uses the very expressions of the order: whatever Postgres thinks of two values, both agree.

use antiphon_engine::Fault;

use super::select::Parameters;
use crate::{catalogue::ColumnInfo, quote};

/// One level of an order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Level<'a> {
    /// The column.
    pub(crate) column: &'a ColumnInfo,
    /// Whether larger values come first.
    pub(crate) descending: bool,
    /// Whether text is ordered by bytes; otherwise as the column's own collation says.
    pub(crate) bytes: bool,
}

impl Level<'_> {
    /// Returns the expression that is compared.
    fn expression(&self) -> Result<String, Fault> {
        let name = quote::ident(&self.column.name)?;
        if !self.bytes || !self.column.collatable || self.column.bytewise {
            return Ok(format!("t.{name}"));
        }
        Ok(match self.own_comparison() {
            true => format!("t.{name}::pg_catalog.text collate \"C\""),
            false => format!("t.{name} collate \"C\""),
        })
    }

    /// Returns the type that values of the expression are read as.
    fn type_sql(&self) -> &str {
        let cast = self.bytes && self.column.collatable && !self.column.bytewise && self.own_comparison();
        if cast { "pg_catalog.text" } else { &self.column.type_sql }
    }

    /// Types such as citext compare in their own way, whatever the collation.
    fn own_comparison(&self) -> bool {
        !self.column.type_sql.starts_with("pg_catalog.")
            && !matches!(self.column.ty.kind, antiphon_model::TypeKind::Array(..))
    }
}

/// Writes the order of the levels.
pub(crate) fn order_by(levels: &[Level<'_>]) -> Result<String, Fault> {
    let mut parts = Vec::with_capacity(levels.len());
    for level in levels {
        let direction = if level.descending { " desc" } else { "" };
        // Ascending puts nulls last by itself; saying so of a column that has none would only hide its index.
        let nulls = if level.descending && !level.column.not_null { " nulls last" } else { "" };
        parts.push(format!("{}{direction}{nulls}", level.expression()?));
    }
    Ok(parts.join(", "))
}

/// Writes the condition that a row comes after the one at `position`, whose values are named `name` in refusals.
pub(crate) fn after(
    levels: &[Level<'_>],
    position: &[Option<String>],
    name: &str,
    parameters: &mut Parameters,
) -> Result<String, Fault> {
    let mut sides = Vec::with_capacity(levels.len());
    for (level, value) in levels.iter().zip(position) {
        let value = value.as_ref().map(|value| parameters.push_typed(name, level.type_sql(), value));
        sides.push((level, level.expression()?, value));
    }
    let uniform = |(level, _, value): &(&Level<'_>, String, Option<String>)| {
        !level.descending && level.column.not_null && value.is_some()
    };
    if sides.iter().all(uniform) {
        // An index on the columns serves this form best.
        let left: Vec<&str> = sides.iter().map(|(_, expression, _)| expression.as_str()).collect();
        let right: Vec<&str> = sides.iter().filter_map(|(_, _, value)| value.as_deref()).collect();
        return Ok(format!("({}) > ({})", left.join(", "), right.join(", ")));
    }
    let mut alternatives: Vec<String> = Vec::new();
    let mut equal = String::new();
    for (level, expression, value) in &sides {
        if let Some(value) = value {
            let operator = if level.descending { "<" } else { ">" };
            let nulls = match level.column.not_null {
                true => String::new(),
                false => format!(" or {expression} is null"),
            };
            alternatives.push(format!("{equal}({expression} {operator} {value}{nulls})"));
            equal.push_str(&format!("{expression} = {value} and "));
        } else {
            // Nothing comes after null but the rows that are null too.
            equal.push_str(&format!("{expression} is null and "));
        }
    }
    if alternatives.is_empty() {
        return Ok("false".to_owned());
    }
    let condition = alternatives.join(" or ");
    Ok(match &sides[0] {
        // Said once more by itself, so that an index on the first column narrows the scan.
        (level, expression, Some(value)) if level.column.not_null => {
            let operator = if level.descending { "<=" } else { ">=" };
            format!("{expression} {operator} {value} and ({condition})")
        }
        _ => condition,
    })
}
