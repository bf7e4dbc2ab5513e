//! What the installation made once for itself: the key that messages of the mutation service are sealed with.

use antiphon_engine::{Fault, SealKey};

use crate::{Store, errors};

impl Store {
    /// Returns the key.
    pub async fn seal_key(&self) -> Result<SealKey, Fault> {
        let client = self.client().await?;
        let row = client.query_opt("select key from antiphon.installation", &[]).await.map_err(errors::sql)?;
        let row = row.ok_or_else(|| errors::corrupt("the installation has no key"))?;
        Ok(SealKey::new(row.get(0)))
    }
}
