//! How the rows of one relation become activities: worked out once for each shape, used for each row.
//!
//! Law: a plan belongs to one `Relation` as it was sent; a new relation message means a new plan. A table whose old rows
//! do not tell key and organisation is refused, because its deletes would be nobody's.

use std::sync::Arc;

use antiphon_model::{Cell, Code, EVERYONE, EntityType, Relation, ReplicaIdentity, Tuple, write_string};

use crate::{Fault, ports::fingerprint};

/// What is done with a relation's rows.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Nothing: the table is not declared.
    Ignored,
    /// Its rows are activities of an entity type.
    Entity(EntityPlan),
}

/// A declared relation's columns, sorted by what they are for.
#[derive(Debug)]
pub(crate) struct EntityPlan {
    /// The declaration.
    pub(crate) entity: Arc<EntityType>,
    /// The shape that this was worked out for.
    pub(crate) relation: Arc<Relation>,
    /// For each column its name as JSON, or `None` where it never leaves the server.
    pub(crate) shown: Vec<Option<String>>,
    /// The organisation column; `None` where everyone reads the type.
    pub(crate) org: Option<usize>,
    /// The key columns in the declaration's order.
    pub(crate) key: Vec<usize>,
    /// The metadata column, where the table has one: then its rows are stamped.
    pub(crate) tx: Option<usize>,
    /// The columns that policies read.
    pub(crate) policy: Vec<usize>,
    /// The number of the shape.
    pub(crate) schema: u32,
}

impl EntityPlan {
    /// Works out the plan of a streamed relation, or says why the table does not fit.
    pub(crate) fn new(entity: &Arc<EntityType>, relation: &Arc<Relation>, schema: u32) -> Result<EntityPlan, Fault> {
        let plan = EntityPlan::of_rows(entity, relation, schema)?;
        let identified = |column: usize| relation.columns[column].identity;
        let found = relation.identity == ReplicaIdentity::Full
            || (plan.org.is_none_or(identified) && plan.key.iter().all(|column| identified(*column)));
        if found {
            return Ok(plan);
        }
        let detail = format!("the replica identity of {} does not hold its key and its organisation", entity.table);
        Err(Fault::new(Code::TableWithoutIdentity, detail))
    }

    /// Works out the plan of whole rows, which need no identity.
    pub(crate) fn of_rows(
        entity: &Arc<EntityType>,
        relation: &Arc<Relation>,
        schema: u32,
    ) -> Result<EntityPlan, Fault> {
        let find = |column: &str| {
            relation.columns.iter().position(|candidate| candidate.name == column).ok_or_else(|| {
                Fault::new(Code::TableUnfit, format!("table {} has no column `{column}` any more", entity.table))
            })
        };
        let org = entity.org_column().map(find).transpose()?;
        let key = entity.key.iter().map(|column| find(column)).collect::<Result<Vec<_>, _>>()?;
        let tx = relation
            .columns
            .iter()
            .position(|column| column.name == entity.tx && column.ty.kind == antiphon_model::TypeKind::Jsonb);
        let policy = entity.policy_columns().into_iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let shown = relation.columns.iter().map(|column| {
            entity.shows(&column.name).then(|| {
                let mut name = String::new();
                write_string(&mut name, &column.name);
                name
            })
        });
        let shown = shown.collect();
        Ok(EntityPlan {
            entity: Arc::clone(entity),
            relation: Arc::clone(relation),
            shown,
            org,
            key,
            tx,
            policy,
            schema,
        })
    }

    /// Names the shape of a relation as the catalogue would.
    pub(crate) fn fingerprint(entity: &EntityType, relation: &Relation) -> String {
        let shown = relation.columns.iter().filter(|column| entity.shows(&column.name));
        fingerprint(shown.map(|column| (column.name.as_str(), &*column.ty)))
    }

    /// Returns organisation and entity id of a row; the organisation is `None` where the row is nobody's.
    ///
    /// `fallback` supplies key and organisation cells that are unchanged in `tuple`.
    pub(crate) fn place(&self, tuple: &Tuple, fallback: Option<&Tuple>) -> Place {
        let text = |index: usize| -> Option<String> {
            let cell = tuple.cells().nth(index);
            let cell = match (cell, fallback) {
                (Some(Cell::Unchanged), Some(old)) => old.cells().nth(index),
                (cell, _) => cell,
            };
            match cell {
                Some(Cell::Text(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
                _ => None,
            }
        };
        let org = match self.org {
            Some(column) => text(column).filter(|org| !org.is_empty()),
            None => Some(EVERYONE.to_owned()),
        };
        let id = match self.key[..] {
            [only] => text(only).unwrap_or_default(),
            _ => {
                let values: Vec<String> = self.key.iter().map(|index| text(*index).unwrap_or_default()).collect();
                EntityType::entity_id(values.iter().map(String::as_str))
            }
        };
        Place { org, id }
    }
}

/// Where a row belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The organisation.
    pub(crate) org: Option<String>,
    /// The entity's id.
    pub(crate) id: String,
}
