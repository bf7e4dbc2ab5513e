//! Where a mirror stands, as its database says to whoever asks from outside: the doctor, and nobody else.
//!
//! Law: it reads, and takes no right to write; a runner at work does not notice.

use antiphon_engine::Fault;
use antiphon_model::{ActivityId, Epoch};
use tokio_postgres::Client;

use super::{
    control::{Cursor, HOLDER},
    errors,
};

const FOUND: &str = "select m.log, m.epoch, m.offset_id,
        extract(epoch from pg_catalog.clock_timestamp() - m.updated_at)::bigint,
        (select count(*) from antiphon_mirror.tables t where t.mirror = m.name and t.state = 'ready'),
        (select count(*) from antiphon_mirror.tables t where t.mirror = m.name and t.state = 'listing')
    from antiphon_mirror.mirrors m where m.name = $1";

/// Where a mirror stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    cursor: Cursor,
    /// For how long it has not moved, in seconds.
    pub still_seconds: u64,
    /// Tables that have their first rows.
    pub ready: u64,
    /// Tables whose first rows come in.
    pub listing: u64,
    /// Whether somebody has the right to write at this moment.
    pub written: bool,
}

impl Standing {
    /// Asks a mirror's database; `None` where nothing was ever written there.
    ///
    /// # Errors
    /// Fails as the mirror itself does, with `MIRROR_PERMISSION` and the like.
    pub async fn of(client: &Client, name: &str) -> Result<Option<Standing>, Fault> {
        let failed = |error| errors::sql(error, "schema antiphon_mirror");
        let sql = "select pg_catalog.to_regclass('antiphon_mirror.tables') is not null";
        if !client.query_one(sql, &[]).await.map_err(failed)?.get::<_, bool>(0) {
            return Ok(None);
        }
        let Some(row) = client.query_opt(FOUND, &[&name]).await.map_err(failed)? else { return Ok(None) };
        let holder = client.query_opt(HOLDER, &[&name]).await.map_err(failed)?;
        let number = |column: usize| row.get::<_, i64>(column).max(0).unsigned_abs();
        let cursor = Cursor {
            log: row.get(0),
            epoch: row.get::<_, i32>(1).unsigned_abs(),
            offset: ActivityId::new(number(2)),
            settle: None,
            begun_anew: 0,
        };
        let (still_seconds, ready, listing) = (number(3), number(4), number(5));
        Ok(Some(Standing { cursor, still_seconds, ready, listing, written: holder.is_some() }))
    }

    /// The last activity that was written; `None` where it belongs to another log or epoch, and the mirror begins anew.
    pub fn offset(&self, log: &str, epoch: Epoch) -> Option<ActivityId> {
        self.cursor.fits(log, epoch).then_some(self.cursor.offset)
    }
}
