//! Copies of tables, chunk by chunk under a snapshot, and the watermarks that join them with the stream (CAP-20).
//!
//! Law: a chunk is read under one snapshot, whatever happens meanwhile; chunks are small, so that every copy takes several.

use std::sync::Arc;

use antiphon_engine::{
    Fault, MESSAGE_PREFIX,
    ports::{ChunkRows, SnapshotProgress, SnapshotTable},
};
use antiphon_model::Change;
use async_trait::async_trait;

use super::{
    Database,
    state::State,
    table::{Row, Table},
};

/// A chunk holds at most so many rows, so that a copy takes several.
const CHUNK_ROWS_MAX: usize = 7;

/// A table being copied.
pub(super) struct Copying {
    pub(super) database: Database,
    pub(super) life: u64,
    pub(super) index: usize,
    pub(super) table: Arc<Table>,
}

impl Copying {
    /// Reads the rows that are wanted, under one snapshot.
    async fn read(
        &self,
        progress: SnapshotProgress,
        wanted: impl Fn(&str) -> bool + Send,
        limit: usize,
    ) -> Result<(ChunkRows, Option<String>, bool), Fault> {
        self.database.pause().await;
        let chunk = {
            let state = self.database.alive(self.life)?;
            let snapshot = state.snapshot();
            let of_table = state.rows.range((self.index, String::new())..(self.index + 1, String::new()));
            let seen = of_table
                .filter(|((_, id), _)| wanted(id))
                .filter_map(|((_, id), versions)| State::seen(versions, &snapshot).map(|row| (id, row)));
            let mut rows: Vec<(&String, &Row)> = seen.take(limit + 1).collect();
            let complete = rows.len() <= limit;
            rows.truncate(limit);
            let last = rows.last().map(|(id, row)| {
                let org = row[1].clone().unwrap_or_default();
                serde_json::json!([id, org]).to_string()
            });
            let tuples = rows.iter().map(|(_, row)| self.table.tuple(row)).collect();
            let relation = Arc::clone(&self.table.relation);
            (ChunkRows { relation, rows: tuples, visibility: snapshot.visibility(), progress }, last, complete)
        };
        self.database.pause().await;
        self.database.alive(self.life).map(drop)?;
        Ok(chunk)
    }
}

#[async_trait]
impl SnapshotTable for Copying {
    async fn chunk(&mut self, progress: &SnapshotProgress, rows_max: usize) -> Result<ChunkRows, Fault> {
        let last = progress.last_key.as_deref().and_then(|key| serde_json::from_str::<Vec<String>>(key).ok());
        let last = last.and_then(|key| key.into_iter().next());
        let after = |id: &str| last.as_deref().is_none_or(|last| id > last);
        let (mut chunk, key, complete) = self.read(progress.clone(), after, rows_max.min(CHUNK_ROWS_MAX)).await?;
        chunk.progress.last_key = key.or_else(|| progress.last_key.clone());
        chunk.progress.rows_done += chunk.rows.len() as u64;
        chunk.progress.complete = complete;
        Ok(chunk)
    }

    async fn reread(&mut self, entity_ids: &[String], progress: &SnapshotProgress) -> Result<ChunkRows, Fault> {
        let wanted = |id: &str| entity_ids.iter().any(|wanted| wanted == id);
        Ok(self.read(progress.clone(), wanted, usize::MAX - 1).await?.0)
    }

    async fn mark(&mut self, content: &str) -> Result<(), Fault> {
        self.database.pause().await;
        let xid = {
            let mut state = self.database.alive(self.life)?;
            let xid = state.begin();
            let content = content.as_bytes().to_vec().into();
            if let Some(open) = state.open.get_mut(&xid) {
                open.changes.push(Change::Message { prefix: MESSAGE_PREFIX.as_bytes().into(), content });
            }
            xid
        };
        self.database.commit(self.life, xid).await.map(drop)
    }
}
