//! Many readers at once: what each row took until it arrived at each of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use tokio::task::JoinSet;

use crate::{
    reader::{Reader, Target},
    watched::now,
};

/// So many readers connect at the same time.
const CONNECTING_MAX: usize = 64;
/// A row that has not arrived by then never will.
const PATIENCE: Duration = Duration::from_secs(120);

/// Readers that are open and wait for rows.
pub(crate) struct Fleet {
    readers: JoinSet<Result<Vec<u32>>>,
    arrived: Arc<AtomicU64>,
}

impl Fleet {
    /// Opens `count` readers, each of which reads until `rows` have arrived.
    pub(crate) async fn open(target: &Target, count: usize, rows: usize) -> Result<Fleet> {
        let buffer_bytes = if count > 100 { 16 << 10 } else { 64 << 10 };
        let open: Vec<Reader> = futures::stream::iter(0..count)
            .map(|number| Reader::open(target, number, buffer_bytes))
            .buffer_unordered(CONNECTING_MAX)
            .try_collect()
            .await?;
        let arrived = Arc::new(AtomicU64::new(0));
        let mut readers = JoinSet::new();
        for reader in open {
            readers.spawn(follow(reader, rows, Arc::clone(&arrived)));
        }
        Ok(Fleet { readers, arrived })
    }

    /// Waits until every reader has every row and returns what each took, in milliseconds, sorted.
    pub(crate) async fn latencies(mut self) -> Result<Vec<f64>> {
        let mut all = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, async {
            while let Some(reader) = self.readers.join_next().await {
                all.extend(reader??.into_iter().map(|micros| f64::from(micros) / 1000.0));
            }
            Ok::<(), anyhow::Error>(())
        });
        let arrived = Arc::clone(&self.arrived);
        ended.await.with_context(|| format!("only {} rows arrived", arrived.load(Ordering::Relaxed)))??;
        all.sort_by(f64::total_cmp);
        Ok(all)
    }
}

async fn follow(mut reader: Reader, rows: usize, arrived: Arc<AtomicU64>) -> Result<Vec<u32>> {
    let mut latencies = Vec::with_capacity(rows);
    while latencies.len() < rows {
        let before = latencies.len();
        reader.read(|at_us| latencies.push(u32::try_from(now().0 - at_us).unwrap_or(0))).await?;
        arrived.fetch_add((latencies.len() - before) as u64, Ordering::Relaxed);
    }
    Ok(latencies)
}
