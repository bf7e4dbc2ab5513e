//! Types that are not built in, read from `pg_type` and closed over what they are made of.
//!
//! A domain is its base type; arrays and composites are resolved with their parts. Nesting is bounded: below the bound
//! a part passes as text, as every type does that nobody knows. A name is `format_type`'s for a session whose
//! `search_path` is `public`, whatever the session's is, so that equal tables have equal fingerprints everywhere.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use antiphon_engine::Fault;
use antiphon_model::{Type, TypeKind};
use antiphon_wire::TypeTable;
use tokio_postgres::{Client, Row};

use crate::errors;

/// Composites and arrays nested deeper than this pass as text.
const NESTING_MAX: usize = 16;

const TYPES: &str = "
    select t.oid, t.typtype::text, t.typbasetype,
        case n.nspname
            when 'pg_catalog' then pg_catalog.format_type(t.oid, null)
            when 'public' then pg_catalog.quote_ident(t.typname)
            else pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(t.typname)
        end,
        case when t.typsubscript = 'pg_catalog.array_subscript_handler'::pg_catalog.regproc and t.typlen = -1
            then t.typelem else 0::pg_catalog.oid end,
        (select e.typdelim::text from pg_catalog.pg_type e where e.oid = t.typelem),
        (select pg_catalog.array_agg(l.enumlabel::text order by l.enumsortorder)
            from pg_catalog.pg_enum l where l.enumtypid = t.oid),
        (select pg_catalog.array_agg(a.attname::text order by a.attnum)
            from pg_catalog.pg_attribute a
            where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped),
        (select pg_catalog.array_agg(a.atttypid order by a.attnum)
            from pg_catalog.pg_attribute a
            where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped)
    from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
    where t.oid = any($1)";

/// Resolves types by OID, one answer for each; one that does not exist any more passes as text.
///
/// # Errors
/// Fails where the catalogue cannot be read.
pub async fn resolve_types(client: &Client, oids: &[u32]) -> Result<Vec<(u32, Arc<Type>)>, Fault> {
    let mut found = Described { built_in: TypeTable::new(), entries: HashMap::new() };
    let mut wanted: Vec<u32> = oids.iter().copied().filter(|oid| !found.built_in.knows(*oid)).collect();
    // Each round goes one level deeper; a level that is not fetched passes as text.
    for _ in 0..NESTING_MAX {
        if wanted.is_empty() {
            break;
        }
        let rows = client.query(TYPES, &[&wanted]).await.map_err(errors::sql)?;
        for row in &rows {
            let (oid, entry) = Entry::read(row).map_err(errors::sql)?;
            found.entries.insert(oid, entry);
        }
        let parts: HashSet<u32> = found.entries.values().flat_map(Entry::parts).collect();
        wanted = parts.into_iter().filter(|oid| !found.knows(*oid)).collect();
    }
    Ok(oids.iter().map(|oid| (*oid, found.build(*oid, NESTING_MAX))).collect())
}

/// What the catalogue says of a type.
struct Entry {
    name: String,
    form: Form,
}

enum Form {
    Domain(u32),
    Array(u32, u8),
    Enum(Arc<[String]>),
    Composite(Vec<(String, u32)>),
    Text,
}

impl Entry {
    fn read(row: &Row) -> Result<(u32, Entry), tokio_postgres::Error> {
        let kind: String = row.try_get(1)?;
        let element: u32 = row.try_get(4)?;
        let form = match kind.as_str() {
            "d" => Form::Domain(row.try_get(2)?),
            "e" => Form::Enum(row.try_get::<_, Option<Vec<String>>>(6)?.unwrap_or_default().into()),
            "c" => {
                let names: Vec<String> = row.try_get::<_, Option<_>>(7)?.unwrap_or_default();
                let types: Vec<u32> = row.try_get::<_, Option<_>>(8)?.unwrap_or_default();
                Form::Composite(names.into_iter().zip(types).collect())
            }
            _ if element != 0 => {
                let delimiter: Option<String> = row.try_get(5)?;
                Form::Array(element, delimiter.and_then(|text| text.bytes().next()).unwrap_or(b','))
            }
            _ => Form::Text,
        };
        Ok((row.try_get(0)?, Entry { name: row.try_get(3)?, form }))
    }

    fn parts(&self) -> Vec<u32> {
        match &self.form {
            Form::Domain(base) => vec![*base],
            Form::Array(element, _) => vec![*element],
            Form::Composite(attributes) => attributes.iter().map(|(_, oid)| *oid).collect(),
            Form::Enum(_) | Form::Text => Vec::new(),
        }
    }
}

struct Described {
    built_in: TypeTable,
    entries: HashMap<u32, Entry>,
}

impl Described {
    fn knows(&self, oid: u32) -> bool {
        self.built_in.knows(oid) || self.entries.contains_key(&oid)
    }

    fn name(&self, oid: u32) -> String {
        let own = self.entries.get(&oid).map(|entry| match entry.form {
            Form::Array(element, _) => format!("{}[]", self.name(element)),
            _ => entry.name.clone(),
        });
        own.or_else(|| self.built_in.resolve(oid).map(|ty| ty.name.clone())).unwrap_or_else(|| format!("type {oid}"))
    }

    fn build(&self, oid: u32, levels_left: usize) -> Arc<Type> {
        if let Some(ty) = self.built_in.resolve(oid) {
            return ty;
        }
        let kind = match self.entries.get(&oid).map(|entry| &entry.form) {
            _ if levels_left == 0 => TypeKind::Text,
            None | Some(Form::Text) => TypeKind::Text,
            Some(Form::Domain(base)) => return self.build(*base, levels_left - 1),
            Some(Form::Enum(labels)) => TypeKind::Enum(labels.clone()),
            Some(Form::Array(element, delimiter)) => TypeKind::Array(self.build(*element, levels_left - 1), *delimiter),
            Some(Form::Composite(attributes)) => {
                let attribute = |(name, oid): &(String, u32)| (name.clone(), self.build(*oid, levels_left - 1));
                TypeKind::Composite(attributes.iter().map(attribute).collect())
            }
        };
        Arc::new(Type { name: self.name(oid), kind })
    }
}
