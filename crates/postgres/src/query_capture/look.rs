//! What is asked of the source before tables are read: its clock, who runs, and how far each table was read.
//!
//! Who runs is asked before the snapshot that reads is taken: whoever is not named then begins later. Refused: a role
//! that may not see when other roles' transactions began, because then no bound can be told (CAP-40).

use std::collections::HashMap;

use antiphon_engine::Fault;
use antiphon_model::{Code, RelationName};
use tokio_postgres::Client;

use super::{
    objects,
    window::{From, Kind, Look, Value, Window},
};
use crate::{errors, quote};

const LOOK: &str = "
    select (extract(epoch from pg_catalog.statement_timestamp()) * 1000000)::int8, pg_catalog.pg_is_in_recovery(),
        (select (extract(epoch from pg_catalog.min(a.xact_start)) * 1000000)::int8 from pg_catalog.pg_stat_activity a
            where a.datname = pg_catalog.current_database() and a.pid <> pg_catalog.pg_backend_pid()
                and a.backend_type is distinct from 'autovacuum worker'),
        exists(select from pg_catalog.pg_prepared_xacts p where p.database = pg_catalog.current_database())";
const SIGHT: &str = "
    select r.rolsuper or pg_catalog.pg_has_role('pg_read_all_stats', 'usage'), current_user::text
    from pg_catalog.pg_roles r where r.rolname = current_user";
const KNOWN: &str = "
    select watermark, from_moment, from_value, clock, asked is not null from antiphon.poll_tables where relation = $1";
const KEEP: &str = "
    insert into antiphon.poll_tables (relation, watermark, from_moment, from_value, clock) values ($1, $2, $3, $4, $5)
    on conflict (relation) do update set watermark = excluded.watermark, from_moment = excluded.from_moment,
        from_value = excluded.from_value, clock = excluded.clock";

const ASK: &str = "
    update antiphon.poll_tables set asked = pg_catalog.clock_timestamp()
    where pg_catalog.cardinality($1::text[]) = 0
        or relation in (select pg_catalog.to_regclass(n.name)::pg_catalog.oid from pg_catalog.unnest($1::text[]) n (name))";

/// Fails with `PERMISSION` where the role may not see when others' transactions began.
pub(crate) async fn check_sight(client: &Client) -> Result<(), Fault> {
    let row = client.query_one(SIGHT, &[]).await.map_err(errors::sql)?;
    if row.get(0) {
        return Ok(());
    }
    let role = quote::ident(row.get(1))?;
    let detail = format!(
        "the role may not see when other roles' transactions began, and a row that commits late could be missed; let an \
         administrator run: grant pg_read_all_stats to {role}"
    );
    Err(Fault::new(Code::Permission, detail))
}

/// Looks at the source.
pub(super) async fn look(client: &Client) -> Result<Look, Fault> {
    let row = client.query_one(LOOK, &[]).await.map_err(errors::sql)?;
    if row.get(1) {
        return Err(Fault::new(Code::InRecovery, ""));
    }
    let clock: i64 = row.get(0);
    let oldest = row.get::<_, Option<i64>>(2).map_or(clock, |oldest| oldest.min(clock));
    Ok(Look { clock, oldest, prepared: row.get(3) })
}

/// Reads how far a table was read, and whether somebody asked for its reconciliation.
pub(super) async fn known(client: &Client, relation: u32, kind: Kind) -> Result<Option<(Window, bool)>, Fault> {
    let Some(row) = client.query_opt(KNOWN, &[&relation]).await.map_err(errors::sql)? else { return Ok(None) };
    let moment: Option<i64> = row.get(1);
    let from = match (moment, row.get::<_, Option<String>>(2)) {
        (Some(moment), _) => From::Moment(moment),
        (None, Some(text)) => From::Value(text),
        (None, None) => From::Beginning,
    };
    let watermark = match (row.get::<_, Option<String>>(0), kind) {
        (Some(text), Kind::Timed) => {
            let statement =
                "select (extract(epoch from $1::pg_catalog.text::pg_catalog.timestamptz) * 1000000)::pg_catalog.int8";
            let micros = client.query_one(statement, &[&text]).await.map_err(errors::sql)?.get(0);
            Some(Value { text, micros })
        }
        (Some(text), Kind::Ranked) => Some(Value { text, micros: 0 }),
        (None, _) => None,
    };
    Ok(Some((Window::new(kind, watermark, from, row.get(3)), row.get(4))))
}

/// Keeps how far a table was read.
pub(super) async fn keep(client: &Client, relation: u32, window: &Window) -> Result<(), Fault> {
    let watermark = window.watermark().map(|value| value.text.clone());
    let (moment, value) = match window.from() {
        From::Beginning => (None, None),
        From::Moment(moment) => (Some(*moment), None),
        From::Value(text) => (None, Some(text.clone())),
    };
    let clock = window.clock();
    client.execute(KEEP, &[&relation, &watermark, &moment, &value, &clock]).await.map(drop).map_err(errors::sql)
}

/// Notes that tables are to be reconciled; returns how many.
pub(super) async fn ask(client: &Client, tables: &[RelationName]) -> Result<u64, Fault> {
    let nothing = || Fault::new(Code::TableUnfit, "no table was polled yet; the first start of the server begins it");
    if objects::find(client).await?.is_none() {
        return Err(nothing());
    }
    let mut names = Vec::with_capacity(tables.len());
    for table in tables {
        names.push(quote::qualified(table)?);
    }
    let asked = client.execute(ASK, &[&names]).await.map_err(errors::sql)?;
    if asked == 0 { Err(nothing()) } else { Ok(asked) }
}

/// Tells how often each table is reconciled, in seconds, by its OID; nothing where none was polled yet.
pub(crate) async fn reconciled(client: &Client) -> Result<HashMap<u32, i64>, Fault> {
    if objects::find(client).await?.is_none() {
        return Ok(HashMap::new());
    }
    let statement = "select relation, every_seconds from antiphon.poll_tables where every_seconds is not null";
    let rows = client.query(statement, &[]).await.map_err(errors::sql)?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
