//! What is captured of a source, as its checkpoint says; for whoever compares it with a configuration.
//!
//! It is read without the lease and may be a moment old. Nothing is changed.

use antiphon_engine::Fault;
use antiphon_model::PublicationMark;

use crate::{Store, errors, lease};

impl Store {
    /// Returns the marks of what is captured; `None` where nothing was captured yet in this epoch.
    ///
    /// # Errors
    /// Fails with `LOG_CORRUPT` where the checkpoint cannot be read.
    pub async fn captured(&self, source: &str) -> Result<Option<PublicationMark>, Fault> {
        let client = self.client().await?;
        let row = client.query_opt(lease::STORED, &[&source]).await.map_err(errors::sql)?;
        let checkpoint = row.map(|row| lease::checkpoint(&row)).transpose()?;
        Ok(checkpoint.and_then(|checkpoint| checkpoint.identity).and_then(|identity| identity.publication))
    }
}
