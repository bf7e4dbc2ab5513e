//! Whether the rows that an edit refers to are there, for the organisation that edits (SEC-01).
//!
//! A foreign key finds rows of every organisation, so it would tell one tenant which keys another one has. So every
//! reference to a declared table is looked up within the organisation, in the same flight as the write and looked at
//! first: a row that is missing and one of another tenant get one and the same answer. Keys of several columns are left to
//! the database: where the organisation is among them they find their own tenant's rows only.

use std::sync::Arc;

use antiphon_engine::{
    Fault,
    ports::{Refusal, WriteError},
};
use antiphon_model::{Code, EntityType, RelationName, Tenancy};
use tokio_postgres::{
    Client,
    types::{ToSql, Type},
};

use super::refusal::refused;
use crate::{catalogue::TableInfo, quote, rows::select::Parameters};

/// The name of the foreign key of a column.
const NAME: &str = "select k.conname::text from pg_catalog.pg_constraint k
    join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and k.conkey = array[a.attnum]
    where k.conrelid = $1 and k.contype = 'f' and a.attname = $2 order by 1 limit 1";

/// The references of one edit.
pub(super) struct References {
    columns: Vec<String>,
    sql: String,
    values: Vec<String>,
    table_oid: u32,
}

impl References {
    /// Finds what is to be looked up for the given columns; `None` where nothing is.
    ///
    /// What the database checks as late as the commit is looked up then: `late`.
    pub(super) fn of(
        table: &TableInfo,
        entity: &EntityType,
        declared: &[Arc<EntityType>],
        (org, parameters): (&str, &Parameters),
        late: bool,
    ) -> Result<Option<References>, Fault> {
        let (mut columns, mut parts, mut values) = (Vec::new(), Vec::new(), vec![org.to_owned()]);
        let given = |column: &str| parameters.iter().find(|(name, ..)| *name == column).map(|(.., value)| value);
        for (name, type_sql, value) in parameters.iter() {
            let Some(Target { table: target, key, org, deferrable }) = target(table, entity, declared, name) else {
                continue;
            };
            let itself = *target == table.name && given(key) == Some(value);
            if itself || deferrable != late {
                continue;
            }
            values.push(value.to_owned());
            // Texts are compared, as lists do: an organisation is its text.
            parts.push(format!(
                "exists(select from {} t where t.{} = ${}::{type_sql} and pg_catalog.format('%s', t.{}) = $1 collate \
                 \"C\")",
                quote::qualified(target)?,
                quote::ident(key)?,
                values.len(),
                quote::ident(org)?,
            ));
            columns.push(name.to_owned());
        }
        if columns.is_empty() {
            return Ok(None);
        }
        let sql = format!("select array[{}]", parts.join(", "));
        Ok(Some(References { columns, sql, values, table_oid: table.oid }))
    }

    /// Looks them up, and returns the first column whose row is not there.
    pub(super) async fn check(&self, client: &Client) -> Result<Option<&str>, tokio_postgres::Error> {
        let values: Vec<(&(dyn ToSql + Sync), Type)> =
            self.values.iter().map(|value| (value as &(dyn ToSql + Sync), Type::TEXT)).collect();
        let rows = client.query_typed(&self.sql, &values).await?;
        let there: Vec<bool> = rows.first().map(|row| row.get(0)).unwrap_or_default();
        Ok(self.columns.iter().zip(there).find(|(_, there)| !there).map(|(column, _)| column.as_str()))
    }

    /// Makes the refusal of a reference that is not there; the transaction is over afterwards.
    pub(super) async fn refusal(&self, client: &Client, column: &str) -> WriteError {
        match self.named(client, column).await {
            Ok(refusal) => refusal.into(),
            Err(error) => refused(error),
        }
    }

    async fn named(&self, client: &Client, column: &str) -> Result<Refusal, tokio_postgres::Error> {
        // The write that followed may have failed, and then nothing more is answered inside the transaction.
        client.batch_execute("rollback").await?;
        let name = client.query_opt(NAME, &[&self.table_oid, &column]).await?;
        let name = name.map(|row| row.get::<_, String>(0));
        let refusal = Refusal::new(Code::Constraint, "the entity that it refers to is not there");
        Ok(refusal.with("name", name).with("field", column))
    }
}

/// What a column refers to.
struct Target<'a> {
    table: &'a RelationName,
    key: &'a str,
    /// The column that holds the organisation there.
    org: &'a str,
    deferrable: bool,
}

fn target<'a>(
    table: &'a TableInfo,
    entity: &'a EntityType,
    declared: &'a [Arc<EntityType>],
    column: &str,
) -> Option<Target<'a>> {
    let of_table = |name: &RelationName| declared.iter().find(|other| other.table == *name);
    let foreign = table.foreign_keys.iter().find_map(|foreign| {
        let ([from], [key]) = (&foreign.columns[..], &foreign.target[..]) else { return None };
        let org = of_table(&foreign.table)?.org_column()?;
        (from == column).then_some(Target { table: &foreign.table, key, org, deferrable: foreign.deferrable })
    });
    foreign.or_else(|| match &entity.org {
        Tenancy::Via { column: referring, table: target } if referring == column => {
            let parent = of_table(target)?;
            let [key] = &parent.key[..] else { return None };
            Some(Target { table: target, key, org: parent.org_column()?, deferrable: false })
        }
        _ => None,
    })
}
