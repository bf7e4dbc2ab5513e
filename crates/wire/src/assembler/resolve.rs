//! Types that a transaction's descriptions name and nobody knows yet.
//!
//! They are asked for at the commit, when the catalogue shows what the transaction itself has made, and before a row
//! is decoded. Each transaction asks at most once, so a type that stays unknown never stops the stream.

use bytes::Bytes;

use super::{Assembler, Body, Completed, Output};
use crate::{Error, Message, decode};

impl Assembler {
    /// Takes a transaction whose commit has arrived: yields it, or asks for types first.
    pub(super) fn complete(&mut self, completed: Completed) -> Result<(), Error> {
        if !completed.describes {
            return self.finish(completed);
        }
        let mut unknown = Vec::new();
        match &completed.body {
            Body::Memory(messages) => {
                for payload in messages {
                    self.collect_unknown(payload, false, &mut unknown)?;
                }
            }
            Body::Spilled(spool) | Body::Streamed(spool) => {
                let in_stream = matches!(completed.body, Body::Streamed(_));
                for description in spool.descriptions() {
                    self.collect_unknown(&description.payload, in_stream, &mut unknown)?;
                }
            }
        }
        if unknown.is_empty() {
            return self.finish(completed);
        }
        unknown.sort_unstable();
        unknown.dedup();
        self.waiting = Some(completed);
        self.outputs.push_back(Output::ResolveTypes(unknown));
        Ok(())
    }

    fn collect_unknown(&self, payload: &Bytes, in_stream: bool, unknown: &mut Vec<u32>) -> Result<(), Error> {
        if payload.first() != Some(&b'R') {
            return Ok(());
        }
        if let Message::Relation { relation, .. } = decode(payload.clone(), in_stream)? {
            let oids = relation.columns.iter().map(|column| column.type_oid);
            unknown.extend(oids.filter(|oid| !self.types.knows(*oid)));
        }
        Ok(())
    }
}
