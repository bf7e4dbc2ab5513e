//! The text of the stamp function of one table (house 2, MUT-04).
//!
//! Generated per table, because naming the columns is several times faster than walking over a row as JSON. Laws: every
//! name of the application's is quoted, and everything else is named with its schema, so that neither `search_path` nor
//! a hostile name changes what it does. A column that was added, dropped, renamed or retyped since never breaks a write:
//! the function notices and compares the whole row the slow way until it is made anew. It calls nothing of ours, so the
//! application's roles need no right on our schema.

use antiphon_engine::Fault;
use antiphon_model::{EntityType, RelationName, write_string};
use sha2::{Digest, Sha256};

use crate::{
    catalogue::{ColumnInfo, TableInfo, TableKind},
    quote::{self, NAME_BYTES_MAX},
};

/// Our schema in the application's database.
pub(crate) const SCHEMA: &str = "antiphon";
/// A function takes at most 100 arguments.
const ARGUMENTS_MAX: usize = 90;
/// Fields up to this size are put together as text, which is faster for few of them.
const FIELDS_TEXT_BYTES_MAX: &str = "300";
/// Types of `pg_catalog` whose equal values are the same bytes, beside those whose texts tell as much.
const PLAIN: &[&str] = &[
    "pg_catalog.bool",
    "pg_catalog.bytea",
    "pg_catalog.date",
    "pg_catalog.\"time\"",
    "pg_catalog.\"timestamp\"",
    "pg_catalog.timestamptz",
    "pg_catalog.macaddr",
    "pg_catalog.money",
];

/// A function of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its name, in our schema.
    pub(crate) name: RelationName,
    /// Its body.
    pub(crate) body: String,
    /// What stands between its arguments and its body.
    pub(crate) attributes: &'static str,
}

impl Function {
    /// Writes the statement that makes it or makes it anew.
    pub(crate) fn create(&self) -> Result<String, Fault> {
        let tag = (0..).map(|number| format!("$antiphon{number}$")).find(|tag| !self.body.contains(tag));
        // INVARIANT: a text of finite length lacks all but finitely many of the tags.
        let tag = tag.unwrap_or_default();
        let Function { body, attributes, .. } = self;
        let name = quote::qualified(&self.name)?;
        Ok(format!(
            "create or replace function {name}() returns trigger language plpgsql{attributes} as {tag}{body}{tag}"
        ))
    }
}

/// Returns the name of a function for a table; the hash keeps tables of equal or long names apart.
pub(crate) fn function_name(purpose: &str, table: &RelationName) -> RelationName {
    let digest = Sha256::digest(format!("{}\0{}", table.schema, table.name).as_bytes());
    let hash: String = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let room = NAME_BYTES_MAX - purpose.len() - hash.len() - 2;
    let mut end = room.min(table.name.len());
    while !table.name.is_char_boundary(end) {
        end -= 1;
    }
    RelationName { schema: SCHEMA.to_owned(), name: format!("{purpose}_{}_{hash}", &table.name[..end]) }
}

/// Makes the function of a table; `role` is the one whose settings count.
pub(crate) fn stamp(table: &TableInfo, entity: &EntityType, role: &str) -> Result<Function, Fault> {
    let columns: Vec<&ColumnInfo> =
        table.columns.iter().filter(|column| !column.generated && column.name != entity.tx).collect();
    let parts = Parts {
        role: quote::literal(role)?,
        table: quote::literal(&table.name.to_string())?,
        relation: quote::literal(&quote::qualified(&table.name)?)?,
        next_number: table.number_max().saturating_add(1).to_string(),
        changes: changes(&columns)?,
        target: target(&columns, entity)?,
        tx: quote::ident(&entity.tx)?,
        tx_literal: quote::literal(&entity.tx)?,
    };
    let body = parts.body(table.kind == TableKind::Partitioned);
    Ok(Function { name: function_name("stamp", &table.name), body, attributes: "" })
}

/// Writes the fragments of JSON that name the changed fields with their id, as one expression.
fn changes(columns: &[&ColumnInfo]) -> Result<String, Fault> {
    let mut parts = Vec::with_capacity(columns.len());
    for column in columns {
        let name = quote::ident(&column.name)?;
        let differs = if column.text_equality || PLAIN.contains(&column.type_sql.as_str()) {
            format!("new.{name} is distinct from old.{name}")
        } else {
            // Equal values may be printed differently (1.0 and 1.00), and some types have no equality at all.
            format!("pg_catalog.record_image_ne(row(new.{name}), row(old.{name}))")
        };
        let mut fragment = String::from(",");
        write_string(&mut fragment, &column.name);
        fragment.push(':');
        let fragment = quote::literal(&fragment)?;
        parts.push(format!("case when {differs} then {fragment} operator(pg_catalog.||) quoted end"));
    }
    // What the mutation names comes last, because the last of equal names counts.
    parts.push("marks".to_owned());
    let calls = parts.chunks(ARGUMENTS_MAX).map(|some| format!("pg_catalog.concat({})", some.join(",\n        ")));
    Ok(calls.collect::<Vec<_>>().join(" operator(pg_catalog.||) "))
}

/// Writes the condition that the row is the one that the mutation names.
fn target(columns: &[&ColumnInfo], entity: &EntityType) -> Result<String, Fault> {
    let mut parts = Vec::with_capacity(entity.key.len());
    for (index, key) in entity.key.iter().enumerate() {
        let value = format!("old.{}", quote::ident(key)?);
        let cast = columns.iter().any(|column| column.name == *key && column.text_equality);
        // Casting is faster, but not every type is cast to the text that it is printed as.
        let text = if cast { format!("{value}::pg_catalog.text") } else { format!("pg_catalog.format('%s', {value})") };
        let said = qualified_operators(&format!("said -> 'key' ->> {index} = "));
        parts.push(format!("{said}{text}"));
    }
    Ok(parts.join(" and "))
}

/// Names the schema of the operators of a template: they stand between spaces there, and names are put in later.
fn qualified_operators(template: &str) -> String {
    OPERATORS.iter().fold(template.to_owned(), |text, operator| {
        text.replace(&format!(" {operator} "), &format!(" operator(pg_catalog.{operator}) "))
    })
}

/// Puts values in for their placeholders in one pass, so that no value is looked through for placeholders.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        match values.iter().find(|(placeholder, _)| rest.starts_with(placeholder)) {
            Some((placeholder, value)) => {
                text.push_str(value);
                rest = &rest[placeholder.len()..];
            }
            None => {
                text.push('$');
                rest = &rest[1..];
            }
        }
    }
    text.push_str(rest);
    text
}

/// The parts that differ from table to table, as SQL.
struct Parts {
    role: String,
    table: String,
    relation: String,
    next_number: String,
    changes: String,
    target: String,
    tx: String,
    tx_literal: String,
}

/// Operators are written plainly in the templates and named with their schema in the function.
const OPERATORS: &[&str] = &["||", "->>", "->", "=", "<>", "<", "+", "-", "*", "?", "~", "@>", ">="];

const DECLARE: &str = r#"
#variable_conflict use_variable
declare
    said pg_catalog.jsonb;
    id pg_catalog.text;
    quoted pg_catalog.text;
    author pg_catalog.text := ',"sourceId":"sql","actor":null,"changedField":';
    named pg_catalog.text := 'null';
    marks pg_catalog.text;
    changes pg_catalog.text;
    fields pg_catalog.jsonb;
    largest pg_catalog.text;
    ahead pg_catalog.bool;
begin
"#;

/// Who writes; what the service says counts in its own sessions only.
const WHO: &str = r#"begin
    if session_user = $role::pg_catalog.name then
        if pg_catalog.current_setting('antiphon.keep_tx', true) = 'on' then
            return new;
        end if;
        said := nullif(pg_catalog.current_setting('antiphon.tx', true), '')::pg_catalog.jsonb;
    end if;
    if said is null then
        id := pg_catalog.lpad((pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000)::pg_catalog.int8
            ::pg_catalog.text, 13, '0') || '.0000.sql-' || pg_catalog.pg_current_xact_id()::pg_catalog.text;
    else
        id := said ->> 'transactionId';
        author := ',"sourceId":' || coalesce((said -> 'sourceId')::pg_catalog.text, 'null') || ',"actor":'
            || coalesce((said -> 'actor')::pg_catalog.text, 'null') || ',"changedField":';
    end if;
    quoted := '"' || id || '"';
"#;

/// A row that comes into being has one id for every field.
const INSERT: &str = r#"
    if tg_op = 'INSERT' then$moved
        new.$tx := ('{"transactionId":' || quoted || author || 'null,"fields":{"*":' || quoted || '}}')::pg_catalog.jsonb;
        return new;
    end if;
"#;

/// A row that moves between partitions is deleted and inserted, and has been stamped before.
const MOVED: &str = r#"
        if new.$tx ->> 'transactionId' = id or said is null
            and pg_catalog.substr(new.$tx ->> 'transactionId', 19) = pg_catalog.substr(id, 19) then
            return new;
        end if;"#;

/// An id of the server's is above every id in the row, because a client's clock may be ahead of this one. Where the last
/// writer was such an id, it is the greatest; else all are looked at.
const ABOVE: &str = r#"
    fields := old.$tx -> 'fields';
    ahead := said is null and case when old.$tx @> '{"sourceId":"sql","actor":null}'
        then (old.$tx ->> 'transactionId') collate pg_catalog."C" >= id
        else pg_catalog.jsonb_path_exists(fields, '$.*?(@>=$id)', pg_catalog.jsonb_build_object('id', id)) end;
    if ahead then
        select pg_catalog.max(f.value collate pg_catalog."C") into largest from pg_catalog.jsonb_each_text(fields) f
            where f.value ~ '^[0-9]{13}[.][0-9]{4}[.]';
        if largest is not null then
            largest := pg_catalog.lpad(((pg_catalog.left(largest, 13) || pg_catalog.substr(largest, 15, 4))::pg_catalog.int8 + 1)::pg_catalog.text, 17, '0');
            id := pg_catalog.left(largest, 13) || '.' || pg_catalog.right(largest, 4)
                || '.sql-' || pg_catalog.pg_current_xact_id()::pg_catalog.text;
            quoted := '"' || id || '"';
        end if;
    end if;
"#;

/// What the mutation names is marked on its own row, once, whether it changed or not.
const MARKS: &str = r#"
    if said is not null then
        if said ->> 'table' = $table and $target
            and pg_catalog.current_setting('antiphon.stamped', true) is distinct from id then
            perform pg_catalog.set_config('antiphon.stamped', id, true);
            if said ->> 'changedField' is not null then
                named := (said -> 'changedField')::pg_catalog.text;
                marks := ',' || named || ':' || quoted;
            end if;
            if said -> 'fields' <> '{}' then
                marks := coalesce(marks, '') || ','
                    || pg_catalog.substr(pg_catalog.rtrim((said -> 'fields')::pg_catalog.text, '}'), 2);
            end if;
        end if;
    end if;
"#;

/// Which fields changed. A column younger than this function is told by its number.
const CHANGES: &str = r#"
    if pg_catalog.has_column_privilege($relation::pg_catalog.regclass, $next_number::pg_catalog.int2, 'select') is not null then
        raise undefined_column;
    end if;
    changes := $changes;
"#;

/// The table is not what it was when this was made: whole rows are compared, whatever their columns are by now.
const SLOWLY: &str = r#"
exception when undefined_column or undefined_function or undefined_table or datatype_mismatch then
    if tg_op = 'INSERT' or not pg_catalog.to_jsonb(new) ? $tx_literal then
        return new;
    end if;
    select pg_catalog.concat(
            pg_catalog.string_agg(',' || pg_catalog.to_json(n.key)::pg_catalog.text || ':' || quoted, ''), marks) into changes
        from pg_catalog.jsonb_each_text(pg_catalog.to_jsonb(new)) n
            left join pg_catalog.jsonb_each_text(pg_catalog.to_jsonb(old)) o on o.key = n.key
        where n.key <> $tx_literal and n.value is distinct from o.value
            and not exists (select from pg_catalog.pg_attribute a
                where a.attrelid = tg_relid and a.attname::pg_catalog.text = n.key and a.attgenerated <> '');
end;
"#;

/// The row's new metadata, made of what it was and of what changed.
const WRITE: &str = r#"
    if changes = '' then
        new.$tx := old.$tx;
    elsif (pg_catalog.jsonb_typeof(fields) = 'object' and fields <> '{}') is not true then
        new.$tx := ('{"transactionId":' || quoted || author || named || ',"fields":{' || pg_catalog.substr(changes, 2) || '}}')::pg_catalog.jsonb;
    elsif pg_catalog.pg_column_size(fields) < $text_bytes_max then
        new.$tx := ('{"transactionId":' || quoted || author || named || ',"fields":'
            || pg_catalog.left(fields::pg_catalog.text, -1) || changes || '}}')::pg_catalog.jsonb;
    else
        new.$tx := ('{"transactionId":' || quoted || author || named || '}')::pg_catalog.jsonb
            || pg_catalog.jsonb_build_object('fields', fields || ('{' || pg_catalog.substr(changes, 2) || '}')::pg_catalog.jsonb);
    end if;
    return new;
end
"#;

impl Parts {
    fn body(&self, partitioned: bool) -> String {
        let template = [DECLARE, WHO, INSERT, ABOVE, MARKS, CHANGES, SLOWLY, WRITE].concat();
        let template = template.replace("$moved", if partitioned { MOVED } else { "" });
        let values = [
            // A placeholder that begins like another comes before it.
            ("$text_bytes_max", FIELDS_TEXT_BYTES_MAX),
            ("$tx_literal", &self.tx_literal),
            ("$tx", &self.tx),
            ("$table", &self.table),
            ("$target", &self.target),
            ("$next_number", &self.next_number),
            ("$relation", &self.relation),
            ("$role", &self.role),
            ("$changes", &self.changes),
        ];
        fill(&qualified_operators(&template), &values)
    }
}
