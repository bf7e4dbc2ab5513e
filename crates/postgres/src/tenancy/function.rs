//! The functions that keep `antiphon_org`, and the statement that fills it.
//!
//! All names are quoted and `search_path` is pinned: the functions run with the rights of their owner.

use antiphon_engine::Fault;
use antiphon_model::{ORG_COLUMN, RelationName};
use sha2::{Digest, Sha256};

use super::Link;
use crate::{
    quote,
    stamp::{
        KEEP_SETTING,
        function::{Function, function_name},
    },
};

/// The owner's rights, and no name that the caller could slip in.
const ATTRIBUTES: &str = " security definer set search_path = pg_catalog, pg_temp";
/// Pages of a table that are filled in one transaction: about 2,000 to 10,000 rows.
const BATCH_PAGES: u32 = 100;
/// Rows that were moved aside meanwhile are filled in transactions of this size.
const BATCH_ROWS: u32 = 5_000;

/// Tells referring tables apart in names of triggers.
pub(super) fn hash(table: &RelationName) -> String {
    let digest = Sha256::digest(format!("{}\0{}", table.schema, table.name).as_bytes());
    digest[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The quoted names of a link.
struct Quoted {
    child: String,
    parent: String,
    column: String,
    key: String,
    org: String,
    own: String,
}

impl Quoted {
    fn new(link: &Link) -> Result<Quoted, Fault> {
        Ok(Quoted {
            child: quote::qualified(&link.child.name)?,
            parent: quote::qualified(&link.parent.name)?,
            column: quote::ident(&link.column)?,
            key: quote::ident(&link.key)?,
            org: quote::ident(&link.org)?,
            own: quote::ident(ORG_COLUMN)?,
        })
    }

    /// The organisation that a row of the child ought to have.
    fn right(&self, row: &str) -> String {
        let Quoted { parent, column, key, org, .. } = self;
        format!("coalesce((select p.{org}::pg_catalog.text from {parent} p where p.{key} = {row}.{column}), '')")
    }
}

/// Sets the column of one row; a row that is being moved is waited for.
pub(super) fn own(link: &Link) -> Result<Function, Fault> {
    let Quoted { parent, column, key, org, own, .. } = Quoted::new(link)?;
    let body = format!(
        "
begin
    new.{own} := '';
    if new.{column} is not null then
        select coalesce(p.{org}::pg_catalog.text, '') into new.{own} from {parent} p where p.{key} = new.{column}
            for key share;
        new.{own} := coalesce(new.{own}, '');
    end if;
    return new;
end
"
    );
    Ok(Function { name: function_name("org", &link.child.name), body, attributes: ATTRIBUTES })
}

/// Locks a row that moves against rows that begin to refer to it.
pub(super) fn lock(link: &Link) -> Result<Function, Fault> {
    let Quoted { parent, key, .. } = Quoted::new(link)?;
    let body = format!(
        "
begin
    perform from {parent} p where p.{key} = old.{key} for update;
    return new;
end
"
    );
    Ok(Function { name: function_name("parent", &link.child.name), body, attributes: ATTRIBUTES })
}

/// Takes along the rows that refer to a row which moved, came or went.
pub(super) fn take_along(link: &Link) -> Result<Function, Fault> {
    let quoted = Quoted::new(link)?;
    let right = quoted.right("c");
    let Quoted { child, column, key, own, .. } = quoted;
    let update = |which: &str| {
        format!("update {child} c set {own} = {right} where c.{column} = {which}.{key} and c.{own} <> {right};")
    };
    let (new, old) = (update("new"), update("old"));
    let body = format!(
        "
begin
    if tg_op <> 'DELETE' then
        {new}
    end if;
    if tg_op = 'DELETE' or tg_op = 'UPDATE' and old.{key} is distinct from new.{key} then
        {old}
    end if;
    return null;
end
"
    );
    Ok(Function { name: function_name("to", &link.child.name), body, attributes: ATTRIBUTES })
}

/// Selects the rows whose column is not what it ought to be.
pub(super) fn wrong(link: &Link) -> Result<String, Fault> {
    let quoted = Quoted::new(link)?;
    Ok(format!("select from {} c where c.{} <> {}", quoted.child, quoted.own, quoted.right("c")))
}

/// Fills the column: page by page, then what was moved aside by the application meanwhile.
pub(super) fn fill(link: &Link) -> Result<String, Fault> {
    let quoted = Quoted::new(link)?;
    let right = quoted.right("c");
    let Quoted { child, own, .. } = &quoted;
    let keep = quote::literal(KEEP_SETTING)?;
    let leaves: Vec<_> = link.child.partitions.iter().filter(|leaf| !leaf.partitioned).map(|leaf| &leaf.name).collect();
    let leaves = if leaves.is_empty() { vec![&link.child.name] } else { leaves };
    let leaves: Vec<String> =
        leaves.into_iter().map(|leaf| quote::literal(&quote::qualified(leaf)?)).collect::<Result<_, _>>()?;
    let leaves = leaves.join(", ");
    let statement = quote::literal(&format!(" c set {own} = {right} where c.{own} <> {right}"))?;
    let body = format!(
        "
declare
    leaf pg_catalog.text;
    page pg_catalog.int8;
begin
    foreach leaf in array array[{leaves}]::pg_catalog.text[] loop
        page := 0;
        while page * pg_catalog.current_setting('block_size')::pg_catalog.int8 < pg_catalog.pg_relation_size(leaf::pg_catalog.regclass) loop
            perform pg_catalog.set_config({keep}, 'on', true);
            execute pg_catalog.concat('update ', leaf, {statement}, ' and c.ctid >= ''(', page, ',0)'' and c.ctid < ''(', page + {BATCH_PAGES}, ',0)''');
            commit;
            page := page + {BATCH_PAGES};
        end loop;
    end loop;
    loop
        perform pg_catalog.set_config({keep}, 'on', true);
        update {child} c set {own} = {right} from (select d.ctid, d.tableoid from {child} d
            where d.{own} <> {} limit {BATCH_ROWS}) b where b.ctid = c.ctid and b.tableoid = c.tableoid;
        exit when not found;
        commit;
    end loop;
end
",
        quoted.right("d")
    );
    let tag = (0..).map(|number| format!("$antiphon{number}$")).find(|tag| !body.contains(tag)).unwrap_or_default();
    Ok(format!("do {tag}{body}{tag}"))
}
