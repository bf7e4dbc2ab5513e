//! Initial rows of a table: read from the source in key order, gathered beside the table, put in place at once.
//!
//! Whoever reads the target meanwhile sees the rows of before. A listing that was cut off goes on after its last chunk.
//! The log is read on from an offset that lies before the listing, so changes come again over rows that have them:
//! each sets what it sets anyway, and at the end both agree.

use antiphon_engine::{
    Fault,
    ports::{SnapshotProgress, SnapshotTable, Source},
};
use antiphon_model::Visibility;
use bytes::{BufMut, Bytes, BytesMut};
use futures::SinkExt;
use tokio_postgres::Client;

use super::{
    control::{Control, Known},
    errors,
    fold::Values,
    layout::{Layout, ident},
    rows,
};

/// The first chunk, before the size of rows is known.
const FIRST_CHUNK_ROWS: usize = 500;
/// Chunks are sized to about so many bytes,
const CHUNK_BYTES: usize = 4 << 20;
/// and to at most so many rows.
const CHUNK_ROWS_MAX: usize = 20_000;
/// Rows are sent in pieces of about this size.
const PIECE_BYTES: usize = 128 * 1024;

/// A table that is being listed.
pub(super) struct Listing<'a> {
    client: &'a Client,
    control: &'a Control,
    layout: &'a Layout,
    table: Box<dyn SnapshotTable>,
    progress: SnapshotProgress,
    chunk_rows: usize,
    stage: String,
}

impl<'a> Listing<'a> {
    /// Begins, or goes on where it was cut off.
    pub(super) async fn open(
        client: &'a Client,
        control: &'a Control,
        layout: &'a Layout,
        (source, known): (&dyn Source, &Known),
    ) -> Result<Listing<'a>, Fault> {
        let table = source.snapshot_table(&layout.entity.name).await?;
        let failed = |error| errors::sql(error, "initial rows");
        let found = "select pg_catalog.to_regclass($1)::oid::text";
        let oid: String = client.query_one(found, &[&layout.table]).await.map_err(failed)?.get(0);
        let stage = format!("antiphon_mirror.{}", ident(&format!("stage_{oid}")));
        let there =
            client.query_one("select pg_catalog.to_regclass($1) is not null", &[&stage]).await.map_err(failed)?;
        let last_key = known.last_key.clone().filter(|_| there.get(0));
        if last_key.is_none() {
            let anew = format!("drop table if exists {stage}; create table {stage} (like {})", layout.table);
            client.batch_execute(&anew).await.map_err(failed)?;
        }
        let progress = SnapshotProgress { last_key, ..SnapshotProgress::fresh(layout.entity.name.as_str()) };
        Ok(Listing { client, control, layout, table, progress, chunk_rows: FIRST_CHUNK_ROWS, stage })
    }

    /// Gathers the next chunk; returns what its snapshot saw once it was the last one.
    pub(super) async fn next(&mut self) -> Result<Option<Visibility>, Fault> {
        let chunk = self.table.chunk(&self.progress, self.chunk_rows).await?;
        let mut gathered = Vec::with_capacity(chunk.rows.len());
        let bytes: usize = chunk.rows.iter().map(antiphon_model::Tuple::byte_len).sum();
        for row in &chunk.rows {
            gathered.extend(rows::values(self.layout, &chunk.relation, row)?);
        }
        let mean = bytes / chunk.rows.len().max(1) + 1;
        self.chunk_rows = (CHUNK_BYTES / mean).clamp(1, CHUNK_ROWS_MAX);
        let failed = |error| errors::sql(error, &format!("table {}", self.layout.entity.table));
        self.client.batch_execute("begin").await.map_err(failed)?;
        copy(self.client, (self.layout, &self.stage), &gathered).await?;
        if let Some(last_key) = chunk.progress.last_key.as_deref() {
            self.control.listed(self.client, &self.layout.entity.name, Some(last_key)).await?;
        }
        self.client.batch_execute("commit").await.map_err(failed)?;
        let complete = chunk.progress.complete;
        self.progress = chunk.progress;
        Ok(complete.then_some(chunk.visibility))
    }

    /// Returns how many rows came.
    pub(super) fn rows(&self) -> u64 {
        self.progress.rows_done
    }

    /// Puts the rows in place; part of the transaction at hand.
    pub(super) async fn put(self) -> Result<(), Fault> {
        let (table, stage) = (&self.layout.table, &self.stage);
        let names: Vec<String> = self.layout.columns.iter().map(|column| ident(&column.name)).collect();
        let names = names.join(", ");
        // A row whose key changed while it was listed may have come twice, under two keys; never under one.
        let sql = format!(
            "truncate table {table}; insert into {table} ({names}) select {names} from {stage}; drop table {stage}"
        );
        let failed = |error| errors::sql(error, &format!("table {}", self.layout.entity.table));
        self.client.batch_execute(&sql).await.map_err(failed)?;
        self.control.listed(self.client, &self.layout.entity.name, None).await
    }
}

async fn copy(client: &Client, (layout, stage): (&Layout, &str), rows: &[Values]) -> Result<(), Fault> {
    let failed = |error| errors::sql(error, &format!("table {}", layout.entity.table));
    let names: Vec<String> = layout.columns.iter().map(|column| ident(&column.name)).collect();
    let sql = format!("copy {stage} ({}) from stdin", names.join(", "));
    let sink = client.copy_in::<_, Bytes>(&sql).await.map_err(failed)?;
    let mut sink = std::pin::pin!(sink);
    let mut buffer = BytesMut::with_capacity(PIECE_BYTES);
    for row in rows {
        write_line(&mut buffer, row);
        if buffer.len() >= PIECE_BYTES {
            sink.send(buffer.split().freeze()).await.map_err(failed)?;
        }
    }
    sink.send(buffer.freeze()).await.map_err(failed)?;
    sink.finish().await.map(drop).map_err(failed)
}

/// Writes a row in the text form of `copy`.
fn write_line(out: &mut BytesMut, row: &Values) {
    for (place, value) in row.iter().enumerate() {
        if place > 0 {
            out.put_u8(b'\t');
        }
        match value {
            Some(Some(text)) => write_text(out, text),
            Some(None) | None => out.put_slice(b"\\N"),
        }
    }
    out.put_u8(b'\n');
}

fn write_text(out: &mut BytesMut, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\\' | b'\t' | b'\n' | b'\r')) {
        out.put_slice(&rest[..at]);
        out.put_slice(match rest[at] {
            b'\t' => b"\\t",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            _ => b"\\\\",
        });
        rest = &rest[at + 1..];
    }
    out.put_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_look_like_marks_of_the_copy_stay_texts_pip_01() {
        let mut out = BytesMut::new();
        let texts = ["a\tb\nc\rd\\", "\\N", "", "\\."];
        let row: Values = texts.iter().map(|text| Some(Some((*text).to_owned()))).chain([Some(None), None]).collect();
        write_line(&mut out, &row);
        assert_eq!(&out[..], b"a\\tb\\nc\\rd\\\\\t\\\\N\t\t\\\\.\t\\N\t\\N\n");
    }
}
