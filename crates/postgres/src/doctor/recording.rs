//! What triggers record, and what that costs: the audit table's size, and how much was written for how much (CAP-32).
//!
//! Counts are the server's own since its statistics were reset; they are told, not judged.

use antiphon_engine::Fault;
use tokio_postgres::Client;

use super::{Findings, size};
use crate::errors;

const THERE: &str = "select pg_catalog.to_regclass('antiphon.audit') is not null";
/// Rows written to captured tables, rows written for them, and the bytes that they take.
const COST: &str = "
    select coalesce((select pg_catalog.sum(s.n_tup_ins + s.n_tup_upd + s.n_tup_del)::int8
            from pg_catalog.pg_stat_user_tables s
            where exists(select from pg_catalog.pg_trigger t where t.tgrelid = s.relid and t.tgname = $1)), 0),
        coalesce((select pg_catalog.sum(s.n_tup_ins + s.n_tup_upd + s.n_tup_del)::int8
            from pg_catalog.pg_stat_user_tables s where s.schemaname = 'antiphon' and s.relname ~ '^audit(_|$)'), 0),
        coalesce((select pg_catalog.sum(pg_catalog.pg_total_relation_size(i.inhrelid))::int8
            from pg_catalog.pg_inherits i where i.inhparent = 'antiphon.audit'::pg_catalog.regclass), 0),
        (select pg_catalog.count(*) from pg_catalog.pg_inherits i
            where i.inhparent = 'antiphon.audit'::pg_catalog.regclass)";

pub(super) async fn check(client: &Client, findings: &mut Findings) -> Result<(), Fault> {
    if !client.query_one(THERE, &[]).await.map_err(errors::sql)?.get::<_, bool>(0) {
        findings.ok("audit", "the audit table is not there yet; the first start of the server makes it");
        return Ok(());
    }
    let row = client.query_one(COST, &[&crate::trigger_capture::ROW]).await.map_err(errors::sql)?;
    let number = |column: usize| row.try_get::<_, i64>(column).map_err(errors::sql);
    let (source, written, bytes, days) = (number(0)?, number(1)?, number(2)?, number(3)?);
    findings.ok("audit", format!("{} in {days} partitions", size(bytes)));
    let amplification = match source {
        0 => "nothing was written to captured tables yet".to_owned(),
        _ => {
            let times = (source + written) as f64 / source as f64;
            format!("{times:.2} times the rows: {written} recorded and put in order for {source} written")
        }
    };
    findings.ok("write_amplification", amplification);
    Ok(())
}
