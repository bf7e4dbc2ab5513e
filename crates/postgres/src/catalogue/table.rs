//! A table as the catalogue has it: columns, keys, indexes, identity, leaves, foreign keys.
//!
//! Everything is named in full (schema and name), so nothing here depends on the session's `search_path`.

use std::{collections::BTreeMap, sync::Arc};

use antiphon_engine::Fault;
use antiphon_model::{Code, EntityType, RelationName, Type};
use tokio_postgres::{Client, Row};

use super::resolve_types;
use crate::{errors, quote};

/// What a relation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// An ordinary table.
    Plain,
    /// A partitioned table; its rows live in leaves.
    Partitioned,
    /// A view, a foreign table, or whatever else has columns but no log.
    Other,
}

/// Which columns of an old row are logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The primary key, where there is one.
    Default,
    /// None.
    Nothing,
    /// All.
    Full,
    /// Those of the named index; `None` where that index is gone.
    Index(Option<String>),
}

/// A column.
#[derive(Clone, Debug)]
pub struct ColumnInfo {
    /// The name.
    pub name: String,
    /// The position that it was created with.
    pub number: i16,
    /// The type's OID; of a domain, the domain's.
    pub type_oid: u32,
    /// The type modifier, -1 where there is none.
    pub type_modifier: i32,
    /// How its values are written.
    pub ty: Arc<Type>,
    /// The type's name as SQL that means it wherever it stands; of a domain, its base's.
    pub type_sql: String,
    /// Whether the column's type is a domain.
    pub domain: bool,
    /// The function that prints it, as SQL; `None` where it does not take the type as it stands.
    pub output_sql: Option<String>,
    /// Whether values are compared under a collation.
    pub collatable: bool,
    /// Whether comparing them as they are compares bytes already (the column's collation is `C`).
    pub bytewise: bool,
    /// Whether two values are equal exactly where their texts are.
    pub text_equality: bool,
    /// Whether it may not be null.
    pub not_null: bool,
    /// Whether it is computed from other columns.
    pub generated: bool,
    /// Whether it is an identity column.
    pub identity: bool,
    /// The default as SQL.
    pub default: Option<String>,
    /// The greatest length of a varchar or bpchar.
    pub length_max: Option<u32>,
}

/// An index that is unique or otherwise of use for finding rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexInfo {
    /// The name.
    pub name: String,
    /// The key columns in order; `None` for an expression.
    pub columns: Vec<Option<String>>,
    /// For each key column whether it is ordered by bytes.
    pub bytewise: Vec<bool>,
    /// Whether it is unique and checked at once.
    pub unique: bool,
    /// Whether it is the primary key.
    pub primary: bool,
    /// Whether it covers every row.
    pub whole: bool,
    /// Whether it is complete; one left by a failed build is not.
    pub valid: bool,
    /// Whether the table's identity uses it.
    pub identity: bool,
    /// Whether it is part of an index of the table's parent.
    pub attached: bool,
    /// The comment on it.
    pub comment: Option<String>,
}

/// A table that holds rows: the table itself, or a partition of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The OID.
    pub oid: u32,
    /// The name.
    pub name: RelationName,
    /// Whether it is partitioned itself and holds no rows.
    pub partitioned: bool,
    /// How many steps below the root.
    pub level: i32,
    /// The partition's parent.
    pub parent: Option<RelationName>,
    /// Which columns of old rows are logged.
    pub identity: Identity,
    /// Its indexes.
    pub indexes: Vec<IndexInfo>,
    /// `p` permanent, `u` unlogged, `t` temporary.
    pub persistence: char,
    /// Whether it is a foreign table.
    pub foreign: bool,
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// The referring columns.
    pub columns: Vec<String>,
    /// The table referred to.
    pub table: RelationName,
    /// The columns referred to.
    pub target: Vec<String>,
    /// Whether it may be checked as late as the commit.
    pub deferrable: bool,
}

/// A table.
#[derive(Clone, Debug)]
pub struct TableInfo {
    /// The OID.
    pub oid: u32,
    /// The name.
    pub name: RelationName,
    /// Changes with every change of its columns.
    pub(crate) stamp: String,
    /// What it is.
    pub kind: TableKind,
    /// The letter of `pg_class.relkind`.
    pub kind_letter: char,
    /// `p` permanent, `u` unlogged, `t` temporary.
    pub persistence: char,
    /// Which columns of old rows are logged.
    pub identity: Identity,
    /// Whether row-level security applies to it.
    pub row_security: bool,
    /// Whether triggers record its rows, the old ones too, so that nothing depends on what the log has of them.
    pub audited: bool,
    /// The columns in the table's order.
    pub columns: Vec<ColumnInfo>,
    /// The indexes.
    pub indexes: Vec<IndexInfo>,
    /// The foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
    /// Every partition, parents before children; empty for a plain table.
    pub partitions: Vec<Leaf>,
    /// The planner's guess of the number of rows; `None` where the table was never analysed.
    pub rows_estimated: Option<u64>,
}

impl TableInfo {
    /// Finds a column.
    pub fn column(&self, name: &str) -> Option<&ColumnInfo> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Returns the primary key's columns; empty where there is none.
    pub fn primary_key(&self) -> Vec<String> {
        let primary = self.indexes.iter().find(|index| index.primary);
        primary.map(|index| index.columns.iter().flatten().cloned().collect()).unwrap_or_default()
    }

    /// Adds a column that a plan is about to add.
    pub(crate) fn plan_column(&mut self, mut column: ColumnInfo) {
        if self.column(&column.name).is_none() {
            column.number = self.number_max().saturating_add(1);
            self.stamp.push_str(&format!(",{}:0", column.number));
            self.columns.push(column);
        }
    }

    /// Returns the greatest number that a column has or had.
    pub(crate) fn number_max(&self) -> i16 {
        let last = self.stamp.rsplit(['/', ',']).next().and_then(|column| column.split(':').next());
        last.and_then(|number| number.parse().ok()).unwrap_or_default()
    }

    /// Says why rows of this relation can never be captured (PG-85); `None` where they can.
    pub fn refusal(&self) -> Option<&'static str> {
        match (self.kind_letter, self.persistence) {
            ('v' | 'm', _) => Some("it is a view; declare the tables behind it"),
            ('f', _) => Some("it is a foreign table, whose changes another server logs"),
            ('S', _) => Some("it is a sequence"),
            (_, 'u') => Some("it is unlogged; run `alter table ... set logged` first"),
            (_, 't') => Some("it is temporary"),
            ('r' | 'p', _) => {
                let bad = self.partitions.iter().find(|leaf| leaf.foreign || leaf.persistence != 'p');
                bad.map(|_| "one of its partitions is foreign or unlogged, so its changes are not logged")
            }
            _ => Some("it is no table"),
        }
    }

    /// Tells whether no two rows agree in `key` and `org`.
    pub(crate) fn unique_within(&self, key: &[String], org: Option<&str>) -> bool {
        let named = |column: &Option<String>| {
            column.as_deref().is_some_and(|name| Some(name) == org || key.iter().any(|key| key == name))
        };
        self.indexes.iter().any(|index| {
            index.unique && index.whole && index.valid && !index.columns.is_empty() && index.columns.iter().all(named)
        })
    }
}

impl ColumnInfo {
    /// Makes a nullable column of a type; the rest is as text has it.
    pub(crate) fn plain(name: &str, ty: Arc<Type>) -> ColumnInfo {
        ColumnInfo {
            name: name.to_owned(),
            number: 1,
            type_oid: 25,
            type_modifier: -1,
            type_sql: "pg_catalog.text".to_owned(),
            domain: false,
            output_sql: Some("pg_catalog.textout".to_owned()),
            collatable: true,
            bytewise: false,
            text_equality: true,
            not_null: false,
            generated: false,
            identity: false,
            default: None,
            length_max: None,
            ty,
        }
    }

    fn read(row: &Row, ty: Arc<Type>) -> Result<ColumnInfo, tokio_postgres::Error> {
        let type_modifier: i32 = row.try_get(3)?;
        let sized = ["character varying", "character"].contains(&ty.name.as_str()) && type_modifier > 4;
        Ok(ColumnInfo {
            name: row.try_get(0)?,
            number: row.try_get(1)?,
            type_oid: row.try_get(2)?,
            type_modifier,
            type_sql: row.try_get(4)?,
            domain: row.try_get(5)?,
            output_sql: row.try_get(6)?,
            collatable: row.try_get(7)?,
            bytewise: row.try_get(8)?,
            text_equality: row.try_get(9)?,
            not_null: row.try_get(10)?,
            generated: row.try_get(11)?,
            identity: row.try_get(12)?,
            default: row.try_get(13)?,
            // The modifier counts four bytes of header.
            length_max: sized.then(|| type_modifier as u32 - 4),
            ty,
        })
    }
}

const TABLE: &str = "
    select c.oid, c.relkind::text, c.relpersistence::text, c.relreplident::text, c.relrowsecurity,
        (select i.relname::text from pg_catalog.pg_index x join pg_catalog.pg_class i on i.oid = x.indexrelid
            where x.indrelid = c.oid and x.indisreplident),
        (select pg_catalog.sum(l.reltuples)::float8 from pg_catalog.pg_class l
            where l.relkind <> 'p' and l.reltuples >= 0 and (l.oid = c.oid
                or l.oid in (select t.relid from pg_catalog.pg_partition_tree(c.oid) t where t.isleaf))),
        (select pg_catalog.string_agg(a.attnum || ':' || a.xmin::text, ',' order by a.attnum)
            from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0),
        exists(select from pg_catalog.pg_trigger t where t.tgrelid = c.oid and t.tgname = $3)
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')";

/// The recursion follows domains down to what they are made of.
const COLUMNS: &str = "
    with recursive base (oid, base) as (
        select distinct a.atttypid, a.atttypid from pg_catalog.pg_attribute a where a.attrelid = $1 and a.attnum > 0
        union all
        select b.oid, t.typbasetype from base b join pg_catalog.pg_type t on t.oid = b.base where t.typtype = 'd'
    )
    select a.attname::text, a.attnum, a.atttypid, a.atttypmod,
        pg_catalog.quote_ident(bn.nspname) || '.' || pg_catalog.quote_ident(bt.typname),
        t.typtype = 'd',
        case when p.proargtypes[0] = bt.oid or pa.typtype = 'p'
            then pg_catalog.quote_ident(pn.nspname) || '.' || pg_catalog.quote_ident(p.proname) end,
        a.attcollation <> 0,
        coalesce(l.collname in ('C', 'POSIX', 'ucs_basic') and l.collnamespace = 'pg_catalog'::pg_catalog.regnamespace
            or l.oid = 100 and (select d.datcollate in ('C', 'POSIX') and d.datlocprovider::text = 'c'
                from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()), false),
        (bt.typtype = 'e' or bt.oid in (18, 19, 20, 21, 23, 25, 26, 1043, 2950))
            and coalesce(l.collisdeterministic, true),
        a.attnotnull and not exists (select from pg_catalog.pg_constraint k
            where k.conrelid = a.attrelid and k.contype = 'n' and k.conkey = array[a.attnum] and not k.convalidated),
        a.attgenerated <> '', a.attidentity <> '',
        pg_catalog.pg_get_expr(d.adbin, d.adrelid)
    from pg_catalog.pg_attribute a
        join pg_catalog.pg_type t on t.oid = a.atttypid
        join base b on b.oid = a.atttypid
        join pg_catalog.pg_type bt on bt.oid = b.base and bt.typtype <> 'd'
        join pg_catalog.pg_namespace bn on bn.oid = bt.typnamespace
        join pg_catalog.pg_proc p on p.oid = bt.typoutput
        join pg_catalog.pg_namespace pn on pn.oid = p.pronamespace
        join pg_catalog.pg_type pa on pa.oid = p.proargtypes[0]
        left join pg_catalog.pg_collation l on l.oid = a.attcollation
        left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum and a.attgenerated = ''
    where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
    order by a.attnum";

const INDEXES: &str = "
    select x.indrelid, i.relname::text,
        array(select a.attname::text from pg_catalog.generate_series(0, x.indnkeyatts - 1) k
            left join pg_catalog.pg_attribute a on a.attrelid = x.indrelid and a.attnum = x.indkey[k] and a.attnum > 0
            order by k),
        array(select coalesce(l.collname in ('C', 'POSIX', 'ucs_basic'), l.oid is null)
            from pg_catalog.generate_series(0, x.indnkeyatts - 1) k
            left join pg_catalog.pg_collation l on l.oid = x.indcollation[k] order by k),
        x.indisunique and x.indimmediate, x.indisprimary, x.indpred is null and am.amname = 'btree',
        x.indisvalid and x.indisready, x.indisreplident,
        exists(select from pg_catalog.pg_inherits h where h.inhrelid = x.indexrelid),
        pg_catalog.obj_description(x.indexrelid, 'pg_class')
    from pg_catalog.pg_index x
        join pg_catalog.pg_class i on i.oid = x.indexrelid
        join pg_catalog.pg_am am on am.oid = i.relam
    where x.indrelid = any($1)
    order by x.indexrelid";

const PARTITIONS: &str = "
    select c.oid, n.nspname::text, c.relname::text, c.relkind::text, t.level, pn.nspname::text, p.relname::text,
        c.relreplident::text, c.relpersistence::text
    from pg_catalog.pg_partition_tree($1::pg_catalog.oid::pg_catalog.regclass) t
        join pg_catalog.pg_class c on c.oid = t.relid
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        join pg_catalog.pg_class p on p.oid = t.parentrelid
        join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace
    order by t.level, n.nspname, c.relname";

const FOREIGN_KEYS: &str = "
    select array(select a.attname::text from pg_catalog.unnest(k.conkey) with ordinality u (n, o)
            join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.n order by u.o),
        n.nspname::text, c.relname::text,
        array(select a.attname::text from pg_catalog.unnest(k.confkey) with ordinality u (n, o)
            join pg_catalog.pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.n order by u.o),
        k.condeferrable
    from pg_catalog.pg_constraint k
        join pg_catalog.pg_class c on c.oid = k.confrelid
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where k.conrelid = $1 and k.contype = 'f' and k.conparentid = 0
    order by k.conname";

/// Describes the table of an entity type.
///
/// # Errors
/// Fails with `TABLE_UNFIT` where there is no such table.
pub async fn describe(client: &Client, entity: &EntityType) -> Result<TableInfo, Fault> {
    find_table(client, &entity.table)
        .await?
        .ok_or_else(|| Fault::new(Code::TableUnfit, format!("there is no table {}", entity.table)))
}

/// Describes a table by name; `None` where there is none.
///
/// # Errors
/// Fails where the catalogue cannot be read or the name cannot be one.
pub async fn find_table(client: &Client, name: &RelationName) -> Result<Option<TableInfo>, Fault> {
    // A name that Postgres would cut must not find another table.
    quote::qualified(name)?;
    let Some(row) = client
        .query_opt(TABLE, &[&name.schema, &name.name, &crate::trigger_capture::ROW])
        .await
        .map_err(errors::sql)?
    else {
        return Ok(None);
    };
    let oid: u32 = row.try_get(0).map_err(errors::sql)?;
    let columns = columns(client, oid).await?;
    let partitions = client.query(PARTITIONS, &[&oid]).await.map_err(errors::sql)?;
    let mut oids: Vec<u32> =
        partitions.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(errors::sql)?;
    oids.push(oid);
    let mut indexes = indexes(client, &oids).await?;
    let foreign_keys = client.query(FOREIGN_KEYS, &[&oid]).await.map_err(errors::sql)?;
    let foreign_keys = foreign_keys.iter().map(foreign_key).collect::<Result<_, _>>().map_err(errors::sql)?;
    let own = indexes.remove(&oid).unwrap_or_default();
    let leaf = |row: &Row| leaf(row, &mut indexes);
    let partitions = partitions.iter().map(leaf).collect::<Result<_, _>>().map_err(errors::sql)?;
    let read = Read { columns, indexes: own, foreign_keys, partitions };
    table(&row, name, read).map(Some).map_err(errors::sql)
}

/// What was read beside the table's own line.
struct Read {
    columns: Vec<ColumnInfo>,
    indexes: Vec<IndexInfo>,
    foreign_keys: Vec<ForeignKey>,
    partitions: Vec<Leaf>,
}

fn table(row: &Row, name: &RelationName, read: Read) -> Result<TableInfo, tokio_postgres::Error> {
    let kind_letter = letter(row, 1)?;
    let estimated: Option<f64> = row.try_get(6)?;
    Ok(TableInfo {
        oid: row.try_get(0)?,
        name: name.clone(),
        // As `rows/select.rs` reads it beside the rows.
        stamp: format!("{}/{}", row.try_get::<_, u32>(0)?, row.try_get::<_, Option<String>>(7)?.unwrap_or_default()),
        kind: match kind_letter {
            'r' => TableKind::Plain,
            'p' => TableKind::Partitioned,
            _ => TableKind::Other,
        },
        kind_letter,
        persistence: letter(row, 2)?,
        identity: identity(letter(row, 3)?, row.try_get(5)?),
        row_security: row.try_get(4)?,
        audited: row.try_get(8)?,
        columns: read.columns,
        indexes: read.indexes,
        foreign_keys: read.foreign_keys,
        partitions: read.partitions.into_iter().filter(|leaf| leaf.level > 0).collect(),
        rows_estimated: estimated.map(|rows| rows.max(0.0) as u64),
    })
}

async fn columns(client: &Client, oid: u32) -> Result<Vec<ColumnInfo>, Fault> {
    let rows = client.query(COLUMNS, &[&oid]).await.map_err(errors::sql)?;
    let oids: Vec<u32> = rows.iter().map(|row| row.try_get(2)).collect::<Result<_, _>>().map_err(errors::sql)?;
    let types = resolve_types(client, &oids).await?;
    let columns = rows.iter().zip(types).map(|(row, (_, ty))| ColumnInfo::read(row, ty));
    columns.collect::<Result<_, _>>().map_err(errors::sql)
}

async fn indexes(client: &Client, oids: &[u32]) -> Result<BTreeMap<u32, Vec<IndexInfo>>, Fault> {
    let mut found: BTreeMap<u32, Vec<IndexInfo>> = BTreeMap::new();
    for row in client.query(INDEXES, &[&oids]).await.map_err(errors::sql)? {
        let (oid, index) = index(&row).map_err(errors::sql)?;
        found.entry(oid).or_default().push(index);
    }
    Ok(found)
}

fn index(row: &Row) -> Result<(u32, IndexInfo), tokio_postgres::Error> {
    let index = IndexInfo {
        name: row.try_get(1)?,
        columns: row.try_get(2)?,
        bytewise: row.try_get(3)?,
        unique: row.try_get(4)?,
        primary: row.try_get(5)?,
        whole: row.try_get(6)?,
        valid: row.try_get(7)?,
        identity: row.try_get(8)?,
        attached: row.try_get(9)?,
        comment: row.try_get(10)?,
    };
    Ok((row.try_get(0)?, index))
}

fn leaf(row: &Row, indexes: &mut BTreeMap<u32, Vec<IndexInfo>>) -> Result<Leaf, tokio_postgres::Error> {
    let oid = row.try_get(0)?;
    let indexes = indexes.remove(&oid).unwrap_or_default();
    let chosen = indexes.iter().find(|index| index.identity).map(|index| index.name.clone());
    let kind = letter(row, 3)?;
    Ok(Leaf {
        oid,
        name: RelationName { schema: row.try_get(1)?, name: row.try_get(2)? },
        partitioned: kind == 'p',
        level: row.try_get(4)?,
        parent: Some(RelationName { schema: row.try_get(5)?, name: row.try_get(6)? }),
        identity: identity(letter(row, 7)?, chosen),
        indexes,
        persistence: letter(row, 8)?,
        foreign: kind == 'f',
    })
}

fn foreign_key(row: &Row) -> Result<ForeignKey, tokio_postgres::Error> {
    let table = RelationName { schema: row.try_get(1)?, name: row.try_get(2)? };
    Ok(ForeignKey { columns: row.try_get(0)?, table, target: row.try_get(3)?, deferrable: row.try_get(4)? })
}

fn identity(letter: char, index: Option<String>) -> Identity {
    match letter {
        'd' => Identity::Default,
        'f' => Identity::Full,
        'i' => Identity::Index(index),
        _ => Identity::Nothing,
    }
}

fn letter(row: &Row, column: usize) -> Result<char, tokio_postgres::Error> {
    Ok(row.try_get::<_, String>(column)?.chars().next().unwrap_or(' '))
}
