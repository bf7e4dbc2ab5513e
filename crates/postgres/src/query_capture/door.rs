//! Edits through the door, told in their order: who made each, then the row that it names, as it is by now.
//!
//! The door leaves a sealed message in the transaction of each edit, as it does for the log, with the key that it wrote.
//! So an edit is found even where it leaves the cursor alone or deletes the row, and is confirmed after its row was told
//! and never before. Law: a message is believed by the transaction that it was sealed for, and sealed anew for the one
//! that tells it; one that nobody sealed is told to nobody (house 12).

use std::collections::BTreeMap;

use antiphon_engine::{Fault, SealKey, open, seal};
use antiphon_model::Xid;
use tokio_postgres::{Client, Transaction};

use super::{
    page::{self, Candidates, Found, Refused},
    table::Polled,
};
use crate::errors;

/// So many edits are told at once.
const EDITS_MAX: i64 = 500;
/// Whether edits of known rows wait, and which wait whose rows the database named.
const WAITING: &str = "
    select exists(select from antiphon.poll_said where pg_catalog.cardinality(key) > 0),
        array(select seq from antiphon.poll_said where pg_catalog.cardinality(key) = 0 order by seq limit $1)";
/// Whoever edits commits in any order; what one page does not see yet, the next one does.
const SAID: &str = "
    with said as (
        delete from antiphon.poll_said where seq in (select seq from antiphon.poll_said
            where case when $2::int8[] is null then pg_catalog.cardinality(key) > 0 else seq = any($2) end
            order by seq limit $1)
        returning seq, xid, relation, key, org, deletes, said
    )
    select s.deletes, s.xid::text, s.relation, s.key, s.org, s.said, pg_catalog.pg_current_xact_id()::text
    from said s order by s.seq";
const SAY: &str = "
    insert into antiphon.audit (xid, statement, seq, op, said)
    select pg_catalog.pg_current_xact_id(), 1, 4 * m.n, 'M', m.said
    from rows from (pg_catalog.unnest($1::int8[]), pg_catalog.unnest($2::bytea[])) m (n, said)";

/// One edit.
struct Edit {
    xid: Xid,
    relation: u32,
    key: Vec<String>,
    org: String,
    deletes: bool,
    said: Vec<u8>,
}

/// Tells whether edits of known rows wait, and which wait whose rows only the cursor shows: those are to be told after
/// the tables were polled, so that none is confirmed before its row.
pub(super) async fn waiting(client: &Client) -> Result<(bool, Vec<i64>), Fault> {
    let row = client.query_one(WAITING, &[&EDITS_MAX]).await.map_err(errors::sql)?;
    Ok((row.get(0), row.get(1)))
}

/// Tells a number of edits, those of known rows or the named ones; returns what was found of their rows, and whether more may wait.
pub(super) async fn tell(
    client: &mut Client,
    tables: &[&Polled],
    named_only: Option<&[i64]>,
    seal_key: Option<&SealKey>,
) -> Result<(Found, bool), Refused> {
    let transaction = page::begin(client).await?;
    let rows = transaction.query(SAID, &[&EDITS_MAX, &named_only]).await.map_err(errors::sql)?;
    let xid = |text: &str| Xid::new(text.parse().unwrap_or_default());
    let Some(now) = rows.first().map(|row| xid(row.get(6))) else {
        page::end(transaction, false).await?;
        return Ok((Found::default(), false));
    };
    let edit = |row: &tokio_postgres::Row| Edit {
        xid: xid(row.get(1)),
        relation: row.get(2),
        key: row.get(3),
        org: row.get(4),
        deletes: row.get(0),
        said: row.get(5),
    };
    let edits: Vec<Edit> = rows.iter().map(edit).collect();
    let mut sum = Found::default();
    for polled in tables {
        let Some(named) = named(polled, &edits) else { continue };
        let found = page::look(&transaction, polled, &Candidates::Named(named), None).await?;
        sum.creates += found.creates;
        sum.updates += found.updates;
        sum.deletes += found.deletes;
    }
    let said = say(&transaction, &edits, now, seal_key).await?;
    page::end(transaction, said || sum.changes() > 0).await?;
    Ok((sum, edits.len() as i64 == EDITS_MAX))
}

/// The rows of a table that edits name, each with its first edit and the last one that deletes it; `None` where there are
/// none. A row that is gone though no edit deleted it was deleted by nobody whom we know.
fn named(polled: &Polled, edits: &[Edit]) -> Option<String> {
    let with_org = polled.key().ok()?.len() > polled.entity.key.len();
    let mut rows: BTreeMap<Vec<&str>, (i64, i64)> = BTreeMap::new();
    for (number, edit) in (0..).zip(edits).filter(|(_, edit)| edit.relation == polled.table.oid) {
        if edit.key.len() == polled.entity.key.len() {
            let key = edit.key.iter().map(String::as_str).chain(with_org.then_some(edit.org.as_str()));
            let (_, gone) = rows.entry(key.collect()).or_insert((number, -1 - number));
            if edit.deletes {
                *gone = number;
            }
        }
    }
    let named =
        |(key, (first, gone)): (&Vec<&str>, &(i64, i64))| serde_json::json!({ "k": key, "first": first, "gone": gone });
    (!rows.is_empty()).then(|| serde_json::Value::from_iter(rows.iter().map(named)).to_string())
}

/// Records who edited; returns whether anybody did.
async fn say(
    transaction: &Transaction<'_>,
    edits: &[Edit],
    now: Xid,
    seal_key: Option<&SealKey>,
) -> Result<bool, Fault> {
    let Some(key) = seal_key else { return Ok(false) };
    let (mut numbers, mut said): (Vec<i64>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
    for (number, edit) in edits.iter().enumerate() {
        // What follows a message that nobody sealed is nobody's, and not that of whoever edited before it.
        let authorship = open(key, edit.xid, &edit.said).unwrap_or_else(|_| {
            tracing::warn!(xid = edit.xid.as_u64(), "a message that nobody sealed was left out");
            None
        });
        numbers.push(i64::try_from(number).unwrap_or(i64::MAX));
        said.push(seal(key, now, authorship.as_ref()));
    }
    if numbers.is_empty() {
        return Ok(false);
    }
    transaction.execute(SAY, &[&numbers, &said]).await.map_err(errors::sql)?;
    Ok(true)
}
