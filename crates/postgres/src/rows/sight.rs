//! What a reader may see, as a condition on rows: the rules in SQL, so that pages stay exact (MUT-05).
//!
//! Law: it picks the rows that `EntityType::rights` picks for the same reader, by the texts that the stream judges by;
//! subjects and values are parameters. Where a column's type allows it the value itself is compared too, which an index
//! serves.

use antiphon_engine::Fault;
use antiphon_model::{Condition, EntityType, Reader, Sight};

use super::{
    column,
    select::{self, Parameters, Select},
};
use crate::{catalogue::TableInfo, quote};

/// What refusals of these values are named; a caller never gives one.
const NAME: &str = "policy";

/// Adds the condition that a reader may see something of a row, or one column where it is named.
pub(super) fn within_sight(
    select: &mut Select,
    table: &TableInfo,
    entity: &EntityType,
    sought: (Option<&Reader>, Option<&str>),
    unreadable: &[String],
) -> Result<(), Fault> {
    let (Some(reader), field) = sought else { return Ok(()) };
    let Sight::Where(conditions) = entity.sight(reader.role, field) else { return Ok(()) };
    let mut alternatives = Vec::new();
    for (index, condition) in conditions.into_iter().enumerate() {
        let texts = match condition {
            Condition::Owner { .. } => std::slice::from_ref(&reader.subject),
            Condition::OneOf { values, .. } => values.as_slice(),
        };
        for (value, text) in texts.iter().enumerate() {
            let name = format!("{NAME} {index} {value}");
            // What is no value of the column's type stands in no row.
            if unreadable.contains(&name) || text.contains('\0') {
                continue;
            }
            alternatives.push(equal(table, condition.column(), (&name, text), &mut select.parameters)?);
        }
    }
    let none = alternatives.is_empty();
    select.conditions.push(if none { "false".to_owned() } else { alternatives.join(" or ") });
    Ok(())
}

fn equal(
    table: &TableInfo,
    name: &str,
    (parameter, text): (&str, &str),
    parameters: &mut Parameters,
) -> Result<String, Fault> {
    let column = column(table, name)?;
    let as_text = parameters.push_typed(parameter, "pg_catalog.text", text);
    let same_text = format!("{} = {as_text} collate \"C\"", select::printed(column)?);
    if !column.text_equality {
        return Ok(format!("({same_text})"));
    }
    let value = parameters.push(parameter, column, text);
    Ok(format!("(t.{} = {value} and {same_text})", quote::ident(name)?))
}
