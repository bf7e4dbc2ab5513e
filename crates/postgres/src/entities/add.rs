//! The plan that prepares a table.
//!
//! Locks that stop the application are held for a moment and never wait for more than two seconds; what takes long
//! (building an index, checking for nulls) locks nobody out. On a partitioned table every leaf logs its own old rows,
//! while the stream describes them as the root is: both get the index, joined so that new partitions have it too.

use antiphon_engine::Fault;
use antiphon_model::{Code, EntityType, ORG_COLUMN, Tenancy, TypeKind};
use tokio_postgres::Client;

use super::{
    AddOptions, Membership, Node, Plan, Step, bounded_name, identity_columns, identity_index_name, index_name,
    service_role, stamp_trigger, triggers::Installed,
};
use crate::{
    CaptureMethod,
    catalogue::{self, ColumnInfo, Identity, IndexInfo, TableInfo},
    errors, query_capture, quote, stamp,
    tenancy::Link,
};

/// Plans what a table lacks.
///
/// # Errors
/// Fails with `TABLE_UNFIT` or `TABLE_WITHOUT_IDENTITY` where the table cannot be prepared, with what to do.
pub async fn plan_add(client: &Client, entity: &EntityType, options: &AddOptions) -> Result<Plan, Fault> {
    let found = catalogue::describe(client, entity).await?;
    if let Some(why) = found.refusal() {
        return Err(unfit(&found, why));
    }
    let table = with_our_columns(client, &found, entity).await?;
    let columns = identity_columns(entity);
    let whole = Whole::new(&table, entity, options).filter(|_| options.method.decodes());
    check(&table, entity, &columns)?;
    if options.method == CaptureMethod::Query {
        query_capture::check(&table, entity)?;
    }
    let mut steps = Vec::new();
    tx_column(&found, entity, &mut steps)?;
    if let Some(link) = Link::read(client, entity, &table, &options.declared).await? {
        let there = found.column(ORG_COLUMN).is_some();
        org_column(&found, !there, &mut steps)?;
        link.add(client, there, &mut steps).await?;
    }
    if options.method.decodes() {
        if whole.is_none() {
            org_not_null(client, &table, entity, &mut steps).await?;
        }
        identity(&table, &columns, whole.as_ref(), &mut steps)?;
    }
    stamp(client, &table, entity, options, &mut steps).await?;
    if options.method.decodes() {
        membership(client, &table, options, &mut steps).await?;
    }
    // What the plan will make is taken as made; the rest must fit already.
    let mut prepared = table;
    prepared.columns.iter_mut().for_each(|column| column.not_null |= columns.contains(&column.name));
    // What records the rows is made when capture begins.
    prepared.audited |= !options.method.decodes();
    if whole.is_some() {
        prepared.identity = Identity::Full;
        prepared.partitions.iter_mut().for_each(|leaf| leaf.identity = Identity::Full);
    }
    catalogue::fits(&prepared, entity)?;
    Ok(Plan { steps })
}

/// Why old rows are logged whole.
struct Whole(String);

impl Whole {
    fn new(table: &TableInfo, entity: &EntityType, options: &AddOptions) -> Option<Whole> {
        const COST: &str = "every update and delete writes the whole old row to the server's log, large values too";
        let is_full = |identity: &Identity| *identity == Identity::Full;
        if let [column, ..] = catalogue::judged_beyond_key(entity)[..] {
            let why = format!("the rules read `{column}`: whether a row was seen before is judged by its old value");
            return Some(Whole(format!("{why}; {COST}")));
        }
        let already = is_full(&table.identity) && table.partitions.iter().all(|leaf| is_full(&leaf.identity));
        (options.identity_full || already).then(|| Whole(format!("logs whole old rows; {COST}")))
    }
}

const JSONB_OID: u32 = 3802;
const TEXT_OID: u32 = 25;

/// The table as it will be with the columns that the plan adds.
async fn with_our_columns(client: &Client, found: &TableInfo, entity: &EntityType) -> Result<TableInfo, Fault> {
    let mut table = found.clone();
    for (oid, ty) in catalogue::resolve_types(client, &[JSONB_OID, TEXT_OID]).await? {
        let (name, via) = if oid == JSONB_OID { (entity.tx.as_str(), false) } else { (ORG_COLUMN, true) };
        if !via || matches!(entity.org, Tenancy::Via { .. }) {
            table.plan_column(ColumnInfo { not_null: via, ..ColumnInfo::plain(name, ty) });
        }
    }
    Ok(table)
}

fn org_column(table: &TableInfo, needed: bool, steps: &mut Vec<Step>) -> Result<(), Fault> {
    let sql = format!(
        "alter table {} add column if not exists {} text not null default ''",
        quote::qualified(&table.name)?,
        quote::ident(ORG_COLUMN)?
    );
    let why = "holds the organisation of the row referred to; added without rewriting the table";
    steps.push(Step::new(sql, format!("ACCESS EXCLUSIVE on {}", table.name), why, needed));
    Ok(())
}

fn check(table: &TableInfo, entity: &EntityType, columns: &[String]) -> Result<(), Fault> {
    let org = entity.org_column();
    if entity.key.is_empty() || !table.unique_within(&entity.key, org) {
        let key = if entity.key.is_empty() { "none is named".to_owned() } else { entity.key.join(", ") };
        let detail = format!(
            "table {}: nothing keeps its key ({key}) unique, so an old row could not be told from another. Add a \
             primary key, or a unique index on not-null columns and name them in `key`",
            table.name
        );
        return Err(Fault::new(Code::TableWithoutIdentity, detail));
    }
    for name in columns {
        let Some(column) = table.column(name) else {
            return Err(unfit(table, format!("there is no column `{name}`")));
        };
        if !column.not_null && Some(name.as_str()) != org {
            return Err(unfit(table, format!("the key column `{name}` may be null")));
        }
    }
    Ok(())
}

fn tx_column(table: &TableInfo, entity: &EntityType, steps: &mut Vec<Step>) -> Result<(), Fault> {
    let existing = table.column(&entity.tx);
    if let Some(column) = existing
        && column.ty.kind != TypeKind::Jsonb
    {
        return Err(unfit(table, format!("its column `{}` is {} and must be jsonb", entity.tx, column.ty.name)));
    }
    let sql = format!(
        "alter table {} add column if not exists {} jsonb",
        quote::qualified(&table.name)?,
        quote::ident(&entity.tx)?
    );
    let why = "says of each row who wrote it last; added without rewriting the table";
    steps.push(Step::new(sql, format!("ACCESS EXCLUSIVE on {}", table.name), why, existing.is_none()));
    Ok(())
}

const CONSTRAINT: &str = "
    select convalidated from pg_catalog.pg_constraint where conrelid = $1 and conname = $2 and contype = 'c'";

async fn org_not_null(
    client: &Client,
    table: &TableInfo,
    entity: &EntityType,
    steps: &mut Vec<Step>,
) -> Result<(), Fault> {
    let Some(org) = entity.org_column() else { return Ok(()) };
    let name = bounded_name(&table.name.name, "org_not_null");
    let found = client.query_opt(CONSTRAINT, &[&table.oid, &name]).await.map_err(errors::sql)?;
    let validated: Option<bool> = found.map(|row| row.try_get(0)).transpose().map_err(errors::sql)?;
    let nullable = table.column(org).is_some_and(|column| !column.not_null);
    if !nullable && validated.is_none() {
        return Ok(());
    }
    let (quoted, column, constraint) = (quote::qualified(&table.name)?, quote::ident(org)?, quote::ident(&name)?);
    if nullable && validated != Some(true) {
        let nulls = format!("select exists(select from {quoted} where {column} is null)");
        if client.query_one(&nulls, &[]).await.and_then(|row| row.try_get(0)).map_err(errors::sql)? {
            let why = format!(
                "its organisation column `{org}` holds nulls, and rows without organisation are nobody's. Fill them, \
                 or log whole old rows with `--identity full`, which makes every update write the whole old row to the \
                 server's log"
            );
            return Err(unfit(table, why));
        }
    }
    let locks = |lock: &str| format!("{lock} on {}", table.name);
    steps.push(Step::new(
        format!("alter table {quoted} add constraint {constraint} check ({column} is not null) not valid"),
        locks("ACCESS EXCLUSIVE"),
        "from now on every new row has an organisation; rows that are there are not looked at",
        nullable && validated.is_none(),
    ));
    steps.push(Step::new(
        format!("alter table {quoted} validate constraint {constraint}"),
        locks("SHARE UPDATE EXCLUSIVE"),
        "looks at the rows that are there, while the application goes on",
        nullable && validated != Some(true),
    ));
    steps.push(Step::new(
        format!("alter table {quoted} alter column {column} set not null"),
        locks("ACCESS EXCLUSIVE"),
        "an identity's columns must be not null; the checked constraint spares the scan",
        nullable,
    ));
    steps.push(Step::new(
        format!("alter table {quoted} drop constraint if exists {constraint}"),
        locks("ACCESS EXCLUSIVE"),
        "the constraint has served",
        true,
    ));
    Ok(())
}

fn identity(table: &TableInfo, columns: &[String], whole: Option<&Whole>, steps: &mut Vec<Step>) -> Result<(), Fault> {
    let nodes = Node::all(table);
    if let Some(Whole(why)) = whole {
        // Leaves first: the stream must not be told of whole old rows before they are logged.
        for node in nodes.iter().rev() {
            let sql = format!("alter table {} replica identity full", quote::qualified(node.name)?);
            let needed = *node.identity != Identity::Full;
            steps.push(Step::new(sql, format!("ACCESS EXCLUSIVE on {}", node.name), why.clone(), needed));
        }
        return Ok(());
    }
    let served = |node: &&Node<'_>| !node.partitioned || node.parent.is_none();
    if nodes.iter().filter(served).all(|node| node.identified(columns)) {
        return Ok(());
    }
    for node in &nodes {
        index(node, columns, steps)?;
    }
    // Children before parents: a parent's index is complete when all of its children's are joined to it.
    for node in nodes.iter().rev() {
        attach(node, &nodes, columns, steps)?;
    }
    for node in nodes.iter().rev().filter(served) {
        use_index(node, columns, steps)?;
    }
    Ok(())
}

/// Finds a complete index on exactly these columns: our own, or one that came with the parent's.
fn usable<'a>(node: &Node<'a>, columns: &[String]) -> Option<&'a IndexInfo> {
    let exact = |index: &&IndexInfo| index.unique && index.whole && fits(index, columns);
    node.own_index().filter(exact).or_else(|| node.indexes.iter().find(|index| index.attached && exact(index)))
}

fn fits(index: &IndexInfo, columns: &[String]) -> bool {
    let names: Vec<&String> = index.columns.iter().flatten().collect();
    names.len() == index.columns.len()
        && names.len() == columns.len()
        && columns.iter().all(|name| names.contains(&name))
}

fn index(node: &Node<'_>, columns: &[String], steps: &mut Vec<Step>) -> Result<(), Fault> {
    let name = identity_index_name(&node.name.name);
    let (table, quoted) = (quote::qualified(node.name)?, quote::ident(&name)?);
    let drop = format!("drop index concurrently if exists {}", index_name(node.name, &name)?);
    let existing = node.own_index();
    if let Some(index) = existing
        && !fits(index, columns)
    {
        let detail = format!(
            "table {}: the index `{name}` is on other columns than the declaration's key and organisation; run \
             `antiphon entities remove` first",
            node.name
        );
        return Err(Fault::new(Code::TableUnfit, detail));
    }
    let broken = existing.is_some_and(|index| !index.valid) && !node.partitioned;
    if broken {
        let why = "a build that was broken off has left it incomplete";
        steps.push(Step::new(drop.clone(), format!("SHARE UPDATE EXCLUSIVE on {}", node.name), why, true));
    }
    let list: Vec<String> = columns.iter().map(|column| quote::ident(column)).collect::<Result<_, _>>()?;
    let list = list.join(", ");
    let needed = usable(node, columns).is_none() || broken;
    let step = if node.partitioned {
        let sql = format!("create unique index if not exists {quoted} on only {table} ({list})");
        let why = "the index of the whole table; it holds no rows itself and is joined with those of the leaves";
        Step::new(sql, format!("SHARE on {}", node.name), why, needed)
    } else {
        let sql = format!("create unique index concurrently if not exists {quoted} on {table} ({list})");
        let why = "finds old rows by key and organisation; built while the application goes on";
        let mut step = Step::new(sql, format!("SHARE UPDATE EXCLUSIVE on {}", node.name), why, needed);
        step.clean_up = Some(drop);
        step
    };
    steps.push(step);
    Ok(())
}

fn attach(node: &Node<'_>, nodes: &[Node<'_>], columns: &[String], steps: &mut Vec<Step>) -> Result<(), Fault> {
    let Some(parent) = node.parent else { return Ok(()) };
    let own = used_name(node, columns);
    let joined = usable(node, columns).is_some_and(|index| index.attached);
    let of_parent = nodes.iter().find(|candidate| candidate.name == parent).map(|parent| used_name(parent, columns));
    let of_parent = of_parent.unwrap_or_else(|| identity_index_name(&parent.name));
    let sql =
        format!("alter index {} attach partition {}", index_name(parent, &of_parent)?, index_name(node.name, &own)?);
    let lock = format!("SHARE UPDATE EXCLUSIVE on {}, ACCESS EXCLUSIVE on the index `{own}`", parent);
    steps.push(Step::new(sql, lock, "joins the leaf's index to the whole table's", !joined));
    Ok(())
}

fn use_index(node: &Node<'_>, columns: &[String], steps: &mut Vec<Step>) -> Result<(), Fault> {
    let name = used_name(node, columns);
    let needed = !node.identified(columns);
    if needed && let Some(before) = remembered(node) {
        let sql = format!("comment on index {} is {}", index_name(node.name, &name)?, quote::literal(&before)?);
        let why = "remembers the identity that the table had";
        steps.push(Step::new(sql, format!("SHARE UPDATE EXCLUSIVE on the index `{name}`"), why, true));
    }
    let table = quote::qualified(node.name)?;
    let sql = format!("alter table {table} replica identity using index {}", quote::ident(&name)?);
    let why = "logs key and organisation of old rows, so that updates and deletes can be told whose they are";
    steps.push(Step::new(sql, format!("ACCESS EXCLUSIVE on {}", node.name), why, needed));
    Ok(())
}

fn used_name(node: &Node<'_>, columns: &[String]) -> String {
    usable(node, columns).map_or_else(|| identity_index_name(&node.name.name), |index| index.name.clone())
}

/// What `plan_remove` puts back; the default needs no memory.
fn remembered(node: &Node<'_>) -> Option<String> {
    match node.identity {
        Identity::Default | Identity::Full => None,
        Identity::Nothing => Some("antiphon: identity before: nothing".to_owned()),
        Identity::Index(name) => name.as_ref().map(|name| format!("antiphon: identity before: index {name}")),
    }
}

async fn stamp(
    client: &Client,
    table: &TableInfo,
    entity: &EntityType,
    options: &AddOptions,
    steps: &mut Vec<Step>,
) -> Result<(), Fault> {
    let role = match &options.service_role {
        Some(role) => role.clone(),
        None => service_role(client).await?,
    };
    let function = stamp::function::stamp(table, entity, &role)?;
    let installed = Installed::read(client, &[table]).await?;
    installed.add(&stamp_trigger(table, &function), steps)
}

async fn membership(
    client: &Client,
    table: &TableInfo,
    options: &AddOptions,
    steps: &mut Vec<Step>,
) -> Result<(), Fault> {
    let found = Membership::read(client, &options.publication, table.oid).await?;
    let publication = quote::ident(&options.publication)?;
    if found.partial {
        let why = format!("the publication `{}` has only some of its rows or columns", options.publication);
        return Err(unfit(table, why));
    }
    steps.push(Step::new(
        format!("create publication {publication} with (publish_via_partition_root = true)"),
        "none".to_owned(),
        "says which tables the stream carries",
        !found.exists,
    ));
    if found.exists && !found.complete {
        steps.push(Step::new(
            format!("alter publication {publication} set (publish = 'insert, update, delete, truncate')"),
            "none".to_owned(),
            "the stream must carry every kind of change",
            true,
        ));
    }
    if found.exists && !found.via_root && !table.partitions.is_empty() {
        steps.push(Step::new(
            format!("alter publication {publication} set (publish_via_partition_root = true)"),
            "none".to_owned(),
            "rows of partitions are told as rows of the table",
            true,
        ));
    }
    steps.push(Step::new(
        format!("alter publication {publication} add table {}", quote::qualified(&table.name)?),
        format!("SHARE UPDATE EXCLUSIVE on {}", table.name),
        "last of all: from now on the stream carries the table",
        !found.member,
    ));
    Ok(())
}

fn unfit(table: &TableInfo, why: impl AsRef<str>) -> Fault {
    Fault::new(Code::TableUnfit, format!("table {}: {}", table.name, why.as_ref()))
}
