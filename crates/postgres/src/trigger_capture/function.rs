//! The functions that record a table's changes, generated for one table (CAP-30).
//!
//! Naming the columns lets a row be printed in one step, and tells at once that the table has changed since: then the
//! row is recorded with its columns beside it, so nothing is lost until the function is made anew (TG-10). Laws: the
//! application's statement never fails because a row cannot be printed, a gap is recorded in its place (TG-07); values
//! are printed under the settings that the log is read with, whatever the writer's are; large values that did not
//! change are left out. It runs with its owner's rights, so the application's roles need none on our schema (TG-12).

use antiphon_engine::Fault;
use antiphon_model::{EntityType, RelationName};
use sha2::{Digest, Sha256};

use super::image::RecordedColumn;
use crate::{
    catalogue::{ColumnInfo, TableInfo},
    quote,
    stamp::function::{Function, SCHEMA, fill, function_name},
};

/// Values above this size are left out where they did not change; such values are usually stored beside the row.
const LARGE_BYTES: &str = "2000";
/// Types of `pg_catalog` whose printed values depend on no setting.
const PLAIN: &[&str] = &[
    "pg_catalog.bool",
    "pg_catalog.int2",
    "pg_catalog.int4",
    "pg_catalog.int8",
    "pg_catalog.\"numeric\"",
    "pg_catalog.text",
    "pg_catalog.\"varchar\"",
    "pg_catalog.bpchar",
    "pg_catalog.uuid",
    "pg_catalog.json",
    "pg_catalog.jsonb",
];
/// Types that are never stored beside the row.
const SMALL: &[&str] = &[
    "pg_catalog.bool",
    "pg_catalog.int2",
    "pg_catalog.int4",
    "pg_catalog.int8",
    "pg_catalog.uuid",
    "pg_catalog.date",
    "pg_catalog.\"time\"",
    "pg_catalog.\"timestamp\"",
    "pg_catalog.timestamptz",
    "pg_catalog.float4",
    "pg_catalog.float8",
];
/// With the rights of its owner, and with no schema but the catalogue's in its path.
const DEFINER: &str = " security definer set search_path = pg_catalog, pg_temp";
/// The settings under which the log is read.
const PRINTING: &str = " security definer set search_path = pg_catalog, pg_temp set \"DateStyle\" = 'ISO' \
                        set \"IntervalStyle\" = 'iso_8601' set \"TimeZone\" = 'UTC' set extra_float_digits = '3' \
                        set bytea_output = 'hex'";

/// What is generated for a table.
pub(super) struct Functions {
    /// Records rows.
    pub(super) row: Function,
    /// Records that the table was emptied.
    pub(super) truncate: Function,
}

/// Ends the statement that rows belong to; one for all tables.
pub(super) fn statement_end() -> Function {
    let body = "
declare
    ended pg_catalog.text := pg_catalog.set_config('antiphon.statement_' || pg_catalog.pg_trigger_depth()::pg_catalog.text, '', true);
begin
    return null;
end
";
    let name = RelationName { schema: SCHEMA.to_owned(), name: "audit_statement_end".to_owned() };
    Function { name, body: body.to_owned(), attributes: DEFINER }
}

/// Lists the columns that are recorded: those of the log, with those by which old rows are told apart.
pub(crate) fn recorded(table: &TableInfo, entity: &EntityType) -> Vec<RecordedColumn> {
    let judged = entity.policy_columns();
    let columns = table.columns.iter().filter(|column| !column.generated);
    let recorded = columns.map(|column| {
        let name = column.name.as_str();
        let identity =
            entity.key.iter().any(|key| key == name) || entity.org_column() == Some(name) || judged.contains(name);
        let kind = if identity { "k" } else { "" };
        (name.to_owned(), column.type_oid, column.type_modifier, kind.to_owned())
    });
    recorded.collect()
}

/// Tells recorded columns apart from those of another time.
pub(crate) fn shape_text(columns: &[RecordedColumn]) -> String {
    // Names, numbers and letters cannot fail to be written.
    serde_json::to_string(columns).unwrap_or_default()
}

/// The number under which a function names its shape: a shape that was met again has the same.
pub(crate) fn shape_number(table: &TableInfo, columns: &[RecordedColumn]) -> i64 {
    let text = format!("{}\0{}", table.oid, shape_text(columns));
    let digest = Sha256::digest(text.as_bytes());
    let bytes: [u8; 8] = digest[..8].try_into().unwrap_or_default();
    i64::from_be_bytes(bytes)
}

/// Makes the functions of a table.
pub(super) fn functions(table: &TableInfo, entity: &EntityType) -> Result<Functions, Fault> {
    let columns: Vec<&ColumnInfo> = table.columns.iter().filter(|column| !column.generated).collect();
    let recorded = recorded(table, entity);
    let identity: Vec<&str> =
        recorded.iter().filter(|(_, _, _, kind)| kind == "k").map(|(name, ..)| name.as_str()).collect();
    let shape = shape_number(table, &recorded);
    let values = [
        ("$shape", format!("({shape})")),
        ("$relation", table.oid.to_string()),
        ("$next_number", table.number_max().saturating_add(1).to_string()),
        ("$drift", drift(&columns)?),
        ("$same", same(&identity)?),
        ("$old", fields("old", &identity)?),
        ("$large", large(&columns)?),
        ("$new_some", some(&columns)?),
        ("$new", fields("new", &columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>())?),
        ("$leaf", quote::literal(&leaf(table, shape, &identity)?)?),
    ];
    let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let plain = columns.iter().all(|column| PLAIN.contains(&column.type_sql.as_str()) && !column.domain);
    let attributes = if plain { DEFINER } else { PRINTING };
    Ok(Functions {
        row: Function { name: function_name("audit", &table.name), body: fill(ROW, &values), attributes },
        truncate: Function {
            name: function_name("audit_truncate", &table.name),
            body: fill(TRUNCATE, &values),
            attributes: PRINTING,
        },
    })
}

/// The statement that records a partition's rows as deleted, up to the partition's name.
fn leaf(table: &TableInfo, shape: i64, identity: &[&str]) -> Result<String, Fault> {
    let (relation, old) = (table.oid, fields("t", identity)?);
    Ok(format!(
        "insert into antiphon.audit (xid, statement, seq, op, relation, shape, old) select pg_current_xact_id(), n.seq, \
         n.seq, 'D', {relation}, {shape}, n.old from (select nextval('antiphon.audit_seq') as seq, ({old})::text as old \
         from only "
    ))
}

/// A row of some columns. A row of one is printed like any other only where it is said to be a row.
fn fields(row: &str, names: &[&str]) -> Result<String, Fault> {
    let names =
        names.iter().map(|name| Ok(format!("{row}.{}", quote::ident(name)?))).collect::<Result<Vec<_>, Fault>>()?;
    Ok(format!("row({})", names.join(", ")))
}

/// As `fields`, without those that did not change and are large.
fn some(columns: &[&ColumnInfo]) -> Result<String, Fault> {
    let mut parts = Vec::with_capacity(columns.len());
    for (index, column) in columns.iter().enumerate() {
        let name = quote::ident(&column.name)?;
        let number = index + 1;
        parts.push(match may_be_large(column) {
            true => format!("case when {number} = any(left_out) then null else new.{name} end"),
            false => format!("new.{name}"),
        });
    }
    Ok(format!("row({})", parts.join(", ")))
}

/// The numbers of large values that did not change, as one expression.
fn large(columns: &[&ColumnInfo]) -> Result<String, Fault> {
    let mut parts = Vec::new();
    for (index, column) in columns.iter().enumerate().filter(|(_, column)| may_be_large(column)) {
        let (name, number) = (quote::ident(&column.name)?, index + 1);
        parts.push(format!(
            "case when pg_catalog.pg_column_size(new.{name}) > {LARGE_BYTES}
            and not pg_catalog.record_image_ne(row(new.{name}), row(old.{name})) then {number} end"
        ));
    }
    Ok(match parts.is_empty() {
        true => "null::pg_catalog.int2[]".to_owned(),
        false => format!("pg_catalog.array_remove(array[{}]::pg_catalog.int2[], null)", parts.join(",\n            ")),
    })
}

fn may_be_large(column: &ColumnInfo) -> bool {
    !SMALL.contains(&column.type_sql.as_str())
}

/// Tells whether the columns are of other types than they were.
fn drift(columns: &[&ColumnInfo]) -> Result<String, Fault> {
    let mut parts = Vec::with_capacity(columns.len());
    for column in columns {
        let name = quote::ident(&column.name)?;
        parts.push(format!("pg_catalog.pg_typeof(new.{name}) <> {}::pg_catalog.oid", column.type_oid));
    }
    Ok(parts.join(" or "))
}

/// Tells whether key, organisation and what rules read are as they were.
fn same(identity: &[&str]) -> Result<String, Fault> {
    Ok(format!("not pg_catalog.record_image_ne({}, {})", fields("new", identity)?, fields("old", identity)?))
}

/// Records a row. What stands before the insert may fail; it writes nothing, so its block costs no transaction number.
const ROW: &str = "
declare
    number pg_catalog.int8;
    level pg_catalog.text;
    statement pg_catalog.text;
    how pg_catalog.text := pg_catalog.left(tg_op, 1);
    shape pg_catalog.int8 := $shape;
    columns pg_catalog.text;
    left_out pg_catalog.int2[];
    before pg_catalog.text;
    after pg_catalog.text;
begin
    if pg_catalog.to_regclass('antiphon.audit') is null then
        return null;
    end if;
    number := pg_catalog.nextval('antiphon.audit_seq');
    begin
        level := 'antiphon.statement_' || pg_catalog.pg_trigger_depth()::pg_catalog.text;
        statement := pg_catalog.current_setting(level, true);
        if statement is null or statement = '' then
            statement := pg_catalog.set_config(level, number::pg_catalog.text, true);
        end if;
        if statement::pg_catalog.int8 > number then
            statement := number::pg_catalog.text;
        end if;
    exception when others then
        statement := number::pg_catalog.text;
    end;
    begin
        if pg_catalog.has_column_privilege($relation::pg_catalog.oid, $next_number::pg_catalog.int2, 'select') is not null
            or $drift then
            raise undefined_column;
        end if;
        if tg_op = 'DELETE' then
            before := ($old)::pg_catalog.text;
        elsif tg_op = 'INSERT' then
            after := ($new)::pg_catalog.text;
        else
            if not ($same) then
                before := ($old)::pg_catalog.text;
            end if;
            left_out := $large;
            if left_out <> '{}' then
                after := ($new_some)::pg_catalog.text;
            else
                after := ($new)::pg_catalog.text;
            end if;
        end if;
    exception when others then
        begin
            shape := null;
            left_out := null;
            columns := (select pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(a.attname, a.atttypid::pg_catalog.int8,
                    a.atttypmod, case when a.attgenerated <> '' then 'g' else '' end)
                    order by a.attnum)::pg_catalog.text
                from pg_catalog.pg_attribute a
                where a.attrelid = tg_relid and a.attnum > 0 and not a.attisdropped);
            before := case when tg_op <> 'INSERT' then old::pg_catalog.text end;
            after := case when tg_op <> 'DELETE' then new::pg_catalog.text end;
        exception when others then
            how := 'G';
            columns := sqlerrm;
            before := null;
            after := null;
        end;
    end;
    insert into antiphon.audit (xid, statement, seq, op, relation, shape, columns, kept, old, new)
    values (pg_catalog.pg_current_xact_id(), statement::pg_catalog.int8, number, how::pg_catalog.\"char\", $relation, shape,
        columns, left_out, before, after);
    return null;
end
";

/// Records that the table was emptied. A partition that is emptied alone is as many deletes as it had rows.
const TRUNCATE: &str = "
declare
    number pg_catalog.int8;
    emptied pg_catalog.text;
begin
    if pg_catalog.to_regclass('antiphon.audit') is null then
        return null;
    end if;
    if tg_relid <> $relation::pg_catalog.oid then
        if pg_catalog.current_setting('antiphon.truncating_$relation', true) is distinct from 'on' then
            execute $leaf || tg_relid::pg_catalog.regclass::pg_catalog.text || ' t) n';
        end if;
    elsif tg_when = 'BEFORE' then
        emptied := pg_catalog.set_config('antiphon.truncating_$relation', 'on', true);
    else
        emptied := pg_catalog.set_config('antiphon.truncating_$relation', '', true);
        number := pg_catalog.nextval('antiphon.audit_seq');
        insert into antiphon.audit (xid, statement, seq, op, relation, shape)
        values (pg_catalog.pg_current_xact_id(), number, number, 'T', $relation, $shape);
    end if;
    return null;
end
";
