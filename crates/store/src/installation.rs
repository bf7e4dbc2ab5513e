//! What the installation made once for itself: the key that messages of the mutation service are sealed with.

use antiphon_engine::{Fault, SealKey};

use crate::{Store, errors};

impl Store {
    /// Returns by what this installation is known again: a digest of its key, which tells nothing of the key.
    pub async fn installation_name(&self) -> Result<String, Fault> {
        let client = self.client().await?;
        let sql =
            "select pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(key), 'hex'), 32) from antiphon.installation";
        let row = client.query_opt(sql, &[]).await.map_err(errors::sql)?;
        row.map(|row| row.get(0)).ok_or_else(|| errors::corrupt("the installation has no key"))
    }

    /// Returns the key.
    pub async fn seal_key(&self) -> Result<SealKey, Fault> {
        let client = self.client().await?;
        let row = client.query_opt("select key from antiphon.installation", &[]).await.map_err(errors::sql)?;
        let row = row.ok_or_else(|| errors::corrupt("the installation has no key"))?;
        Ok(SealKey::new(row.get(0)))
    }
}
