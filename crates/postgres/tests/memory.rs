//! Memory of a large transaction, in a process of its own so that no other test counts (CAP-17, PG-44).
//!
//! Two hundred thousand rows; a million with `ANTIPHON_LONG` set.

#[allow(dead_code, reason = "one test needs only a part of the reader")]
#[path = "reading/reader.rs"]
mod reader;
#[allow(dead_code, unused_imports, reason = "one test needs only a part of the stage")]
#[path = "capture/stage.rs"]
mod stage;

use antiphon_engine::ports::Captured;
use antiphon_model::Checkpoint;
use antiphon_testkit::for_each_postgres;

use crate::stage::{Reader, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_passes_in_parts_and_leaves_no_memory_behind_cap_17_pg_44() {
    let rows = if stage::long() { 1_000_000 } else { 200_000 };
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "rows").await;
        let source = stage.source();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        let before = resident_bytes();
        let (mut found, mut parts, mut highest) = (0, 0, 0);
        let client = stage.db.connect().await;
        let insert =
            format!("insert into notes (id, body) select i, repeat('x', 200) from generate_series(1, {rows}) i");
        client.batch_execute(&insert).await.unwrap();
        while found < rows {
            let Captured::Transactions(transactions) = reader.next().await.unwrap() else { continue };
            for transaction in transactions {
                assert_eq!(transaction.first_ordinal, if transaction.changes.is_empty() { 0 } else { found });
                found += transaction.changes.len() as u64;
                parts += usize::from(!transaction.changes.is_empty());
                assert_eq!(transaction.last, found == rows || found == 0);
            }
            highest = highest.max(resident_bytes());
        }
        assert!(parts >= 50, "{parts} parts");
        let grown = highest.saturating_sub(before);
        eprintln!("resident memory grew by {grown} bytes in {parts} parts");
        assert!(grown < 32 << 20, "resident memory grew by {grown} bytes");
    })
    .await;
}

/// This process's resident memory.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = status.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}
