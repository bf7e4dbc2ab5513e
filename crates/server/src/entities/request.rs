//! What a list asks for: `limit`, `after`, `ids`, `order`, `where[field]`, `where[field][gte]`.
//!
//! Filters and orders are allowed on declared columns and the key only: anything else would be a scan of the table that
//! any member could start.

use std::sync::Arc;

use antiphon_engine::ports::{Comparison, Filter, ListQuery, Order};
use antiphon_model::{Code, EntityType, Reader, Role};

use crate::{
    problem::Problem,
    query::{Query, invalid},
};

/// The parameters of a list.
pub(crate) const PARAMETERS: &[&str] = &["limit", "after", "ids", "order"];

/// At most so many ids at once.
const IDS_MAX: usize = 100;

/// Reads the parameters of a list.
pub(super) fn list(
    query: Option<&str>,
    entity: &Arc<EntityType>,
    org: &str,
    reader: &Reader,
) -> Result<ListQuery, Problem> {
    let query = Query::parse(query, PARAMETERS, &["where"])?;
    let ids = ids(&query, entity)?;
    if !ids.is_empty() && ["after", "order"].iter().any(|name| query.text(name).is_some()) {
        return Err(invalid("ids", "it goes with neither `after` nor `order`"));
    }
    Ok(ListQuery {
        entity: Arc::clone(entity),
        org: org.to_owned(),
        ids,
        reader: Some(reader.clone()),
        filters: filters(&query, entity, reader.role)?,
        order: order(&query, entity, reader.role)?,
        after: query.text("after").filter(|after| !after.is_empty()).map(str::to_owned),
        limit: query.number("limit", 100, 1..=1_000)?,
    })
}

fn ids(query: &Query, entity: &EntityType) -> Result<Vec<Vec<String>>, Problem> {
    let Some(text) = query.text("ids") else { return Ok(Vec::new()) };
    // Ids of several columns are JSON arrays: commas between arrays make one array of all. An id of one column may be
    // written so too, because it may hold a comma.
    let arrays: Option<Vec<Vec<String>>> = serde_json::from_str(&format!("[{text}]")).ok();
    let ids: Vec<String> = match (arrays, entity.key.len()) {
        (Some(all), parts) if all.iter().all(|key| key.len() == parts) => {
            all.iter().map(|key| EntityType::entity_id(key.iter().map(String::as_str))).collect()
        }
        (_, 1) => query.list("ids"),
        _ => return Err(invalid("ids", "JSON arrays of the key's texts are wanted")),
    };
    if ids.is_empty() || ids.len() > IDS_MAX {
        return Err(invalid("ids", &format!("from 1 to {IDS_MAX} ids are wanted")));
    }
    let keys: Option<Vec<Vec<String>>> = ids.iter().map(|id| entity.key_values(id)).collect();
    keys.ok_or_else(|| invalid("ids", &format!("each id has {} parts", entity.key.len())))
}

fn filters(query: &Query, entity: &EntityType, role: Role) -> Result<Vec<Filter>, Problem> {
    let mut filters = Vec::new();
    for (path, value) in query.family("where")? {
        let (field, operator) = match path[..] {
            [field] => (field, "eq"),
            [field, operator] => (field, operator),
            _ => return Err(invalid("where", "`where[field]` or `where[field][operator]` is wanted")),
        };
        let name = format!("where[{field}]");
        allowed(entity, role, field, &name)?;
        let comparison = match operator {
            "eq" | "is" => Comparison::Equal,
            "gt" => Comparison::Greater,
            "gte" => Comparison::GreaterOrEqual,
            "lt" => Comparison::Less,
            "lte" => Comparison::LessOrEqual,
            _ => return Err(invalid(&name, "the operators are eq, gt, gte, lt, lte, and `is` with the value null")),
        };
        let null = operator == "is";
        if null && value != "null" {
            return Err(invalid(&name, "`is` takes the value null only"));
        }
        filters.push(Filter { field: field.to_owned(), comparison, value: (!null).then(|| value.to_owned()) });
    }
    Ok(filters)
}

fn order(query: &Query, entity: &EntityType, role: Role) -> Result<Vec<Order>, Problem> {
    let parts = query.list("order");
    let mut order: Vec<Order> = Vec::new();
    for part in &parts {
        let (field, descending) = part.strip_prefix('-').map_or((part.as_str(), false), |field| (field, true));
        allowed(entity, role, field, "order")?;
        // It would change nothing, and ten thousand of them are a statement that the database refuses.
        if order.iter().any(|other| other.field == field) {
            return Err(invalid("order", &format!("the field {field} is named more than once")));
        }
        order.push(Order { field: field.to_owned(), descending });
    }
    Ok(order)
}

/// Refuses columns that are not declared, and those that the role may not see in every row that it sees: an order or a
/// filter would tell what they hold.
fn allowed(entity: &EntityType, role: Role, field: &str, parameter: &str) -> Result<(), Problem> {
    let declared = |name: &&String| entity.shows(name);
    let known: Vec<&String> = entity.filter.iter().chain(&entity.key).filter(declared).collect();
    if !known.iter().any(|name| *name == field) {
        let readable = known.into_iter().filter(|name| entity.reads_throughout(role, name));
        let known: Vec<&str> = readable.map(String::as_str).collect();
        return Err(invalid(parameter, &format!("lists of this type filter and order by {} only", known.join(", "))));
    }
    match entity.reads_throughout(role, field) {
        true => Ok(()),
        false => {
            let detail = format!("`{parameter}`: the field {field} may not be read in every row");
            Err(Problem::new(Code::FieldForbidden, detail).with("field", field.into()))
        }
    }
}
