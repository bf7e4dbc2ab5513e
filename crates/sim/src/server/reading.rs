//! Lists, rows by id, and the schema (protocol 3, 4).
//!
//! Law: the mark is taken before the rows are read, never after; what the rules hide is not told apart from what is not there.

use std::sync::Arc;

use antiphon_engine::ports::{Comparison, Filter, ListQuery, Order, RowImage, Rows};
use antiphon_model::{Code, Columns, EntityType, Merge, Reader, Sync, Tx, cut_object, write_string};
use serde_json::{Map, Value, json};

use super::{App, caller::Caller, problem::Problem};

/// Which rows are wanted.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) ids: Vec<String>,
    pub(super) filters: Vec<Filter>,
    pub(super) order: Vec<Order>,
    pub(super) after: Option<String>,
    pub(super) limit: usize,
}

/// Reads the parameters of a subset, as far as devices here ask for any: equal, null, and an order.
pub(super) fn subset(parameters: &[(String, String)]) -> Result<(Vec<Filter>, Vec<Order>), Problem> {
    let (mut filters, mut order) = (Vec::new(), Vec::new());
    for (name, value) in parameters {
        if name == "order" {
            order.extend(value.split(',').map(|level| match level.strip_prefix('-') {
                Some(field) => Order { field: field.to_owned(), descending: true },
                None => Order { field: level.to_owned(), descending: false },
            }));
            continue;
        }
        let field = name.strip_prefix("where[").and_then(|rest| rest.split_once(']'));
        let (field, test) = field.ok_or_else(|| Problem::new(Code::ParameterUnknown, name.as_str()))?;
        let value = match test {
            "" => Some(value.clone()),
            "[is]" => None,
            _ => return Err(Problem::new(Code::ParameterInvalid, name.as_str())),
        };
        filters.push(Filter { field: field.to_owned(), comparison: Comparison::Equal, value });
    }
    Ok((filters, order))
}

impl App {
    pub(super) async fn list(&self, caller: &Caller, name: &str, wanted: Wanted) -> Result<String, Problem> {
        let entity = self.entities.get(name).ok_or_else(|| Problem::new(Code::EntityTypeUnknown, ""))?;
        let reader = caller.reader();
        let query = ListQuery {
            entity: Arc::clone(entity),
            org: caller.place.org.clone(),
            reader: Some(reader.clone()),
            ids: wanted.ids.into_iter().map(|id| vec![id]).collect(),
            filters: wanted.filters,
            order: wanted.order,
            after: wanted.after,
            limit: wanted.limit,
        };
        let before = self.bus.before_list().await?;
        let page = self.parts.database.list(&query).await?;
        let (offset, epoch) = before.vouch(&page.visibility).await?;
        let mut body = String::from("{\"items\":[");
        for (index, row) in page.rows.iter().enumerate() {
            body.push_str(if index > 0 { ",{" } else { "{" });
            write_item(&mut body, entity, &reader, row);
            body.push('}');
        }
        body.push_str("],\"next\":");
        match &page.next {
            Some(next) => write_string(&mut body, next),
            None => body.push_str("null"),
        }
        let (visibility, access) = (&page.visibility, &caller.access);
        body.push_str(&format!(
            ",\"offset\":{offset},\"epoch\":{epoch},\"snapshot\":\"{visibility}\",\"access\":\"{access}\",\"schema\":1}}"
        ));
        Ok(body)
    }

    pub(super) fn schema(&self, caller: &Caller) -> Result<String, Problem> {
        let types: Map<String, Value> =
            self.entities.values().map(|entity| (entity.name.clone(), self.describe(entity, caller))).collect();
        Ok(json!({ "types": types, "access": caller.access }).to_string())
    }

    fn describe(&self, entity: &EntityType, caller: &Caller) -> Value {
        let rights = entity.rights_at_most(caller.place.role);
        let shape = self.parts.database.shape_of(&entity.name);
        let known =
            shape.fields.iter().filter(|field| rights.read.contains(&field.name) || rights.write.contains(&field.name));
        let fixed = |name: &str| Some(name) == entity.org_column() || entity.key.iter().any(|key| key == name);
        let update: Vec<&str> = known
            .clone()
            .map(|field| field.name.as_str())
            .filter(|name| rights.write.contains(name) && !fixed(name))
            .collect();
        let fields: Map<String, Value> = known
            .map(|field| {
                let merge = match entity.fields.get(&field.name).copied().unwrap_or_default() {
                    Merge::Lww => "lww",
                    Merge::Manual => "manual",
                    Merge::Text => "text",
                    Merge::Counter => "counter",
                    Merge::Set => "set",
                };
                let (ty, nullable) = (&field.ty, field.nullable);
                let described =
                    json!({ "type": ty.name, "json": ty.json_name(), "nullable": nullable, "merge": merge });
                (field.name.clone(), described)
            })
            .collect();
        let sync = match entity.sync {
            Sync::All => "all",
            Sync::OnDemand => "on_demand",
        };
        json!({
            "schema": 1, "key": entity.key, "org": entity.org_column(), "fields": fields, "refs": {}, "sync": sync,
            "filter": entity.filter, "together": entity.together, "create": "offline",
            "can": { "create": rights.create, "update": update, "delete": rights.delete },
        })
    }
}

/// Appends the members of an item, cut to what the reader may see.
fn write_item(out: &mut String, entity: &EntityType, reader: &Reader, row: &RowImage) {
    let columns = entity.rights(reader, |column| row.policy.get(column).and_then(Option::as_deref)).read;
    out.push_str("\"data\":");
    match &columns {
        Columns::All => out.push_str(&row.image),
        Columns::Some(_) => cut_object(out, &row.image, |name| columns.contains(name)),
    }
    out.push_str(",\"tx\":");
    let tx = row.tx.as_deref().and_then(Tx::parse).map(|tx| tx.cut(&columns).to_json());
    out.push_str(tx.as_deref().unwrap_or("null"));
}
