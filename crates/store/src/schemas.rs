//! Numbers of shapes: one rising series for each entity type.

use std::collections::BTreeMap;

use antiphon_engine::{Fault, ports::Schemas};
use async_trait::async_trait;

use crate::{Store, errors};

#[async_trait]
impl Schemas for Store {
    async fn number(&self, entity_type: &str, fingerprint: &str) -> Result<u32, Fault> {
        let mut client = self.client().await?;
        let newest = "select number, fingerprint from log.schemas where type = $1 order by number desc limit 1";
        let row = client.query_opt(newest, &[&entity_type]).await.map_err(errors::sql)?;
        if let Some(row) = row.filter(|row| row.get::<_, &str>(1) == fingerprint) {
            return Ok(row.get::<_, i32>(0).unsigned_abs());
        }
        let transaction = client.transaction().await.map_err(errors::sql)?;
        // Two servers may see the new shape at once: the second finds the first one's number under this lock.
        let lock = "select pg_advisory_xact_lock(hashtext('antiphon schema'), hashtext($1))";
        transaction.execute(lock, &[&entity_type]).await.map_err(errors::sql)?;
        let row = transaction.query_opt(newest, &[&entity_type]).await.map_err(errors::sql)?;
        let number = match row {
            Some(row) if row.get::<_, &str>(1) == fingerprint => row.get::<_, i32>(0),
            row => {
                let number = row.map_or(1, |row| row.get::<_, i32>(0) + 1);
                let insert = "insert into log.schemas (type, number, fingerprint) values ($1, $2, $3)";
                transaction.execute(insert, &[&entity_type, &number, &fingerprint]).await.map_err(errors::sql)?;
                number
            }
        };
        transaction.commit().await.map_err(errors::sql)?;
        Ok(number.unsigned_abs())
    }

    async fn newest(&self) -> Result<BTreeMap<String, u32>, Fault> {
        let client = self.client().await?;
        let newest = "select type, max(number) from log.schemas group by type";
        let rows = client.query(newest, &[]).await.map_err(errors::sql)?;
        Ok(rows.iter().map(|row| (row.get(0), row.get::<_, i32>(1).unsigned_abs())).collect())
    }
}
