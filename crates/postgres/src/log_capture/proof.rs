//! The proof that a server goes on where the checkpoint ends: our own last transaction comes again.
//!
//! A server that was restored from a copy of its files keeps identifier and timeline, and soon its log is as long as it
//! was; by numbers alone it looks like the one that we knew (OP-19). But its slot stands where it stood at the time of the
//! copy, before our last transaction. So the stream begins at the slot, and where that is before the checkpoint, the
//! checkpoint's transaction must come once more, at the same place and with the same number. After a crash or a failover
//! it does; after a restore another one stands there, or none.
//! A server that was proven needs no second proof while it runs: its slot's place is in memory and never goes back, so a
//! connection that breaks often goes on from the checkpoint.
//! Law: nothing that lies behind the checkpoint is yielded before the proof.

use std::sync::{Arc, Mutex, PoisonError};

use antiphon_engine::Fault;
use antiphon_model::{Checkpoint, Code, Lsn, SourceIdentity, Transaction, Xid};

/// One run of one server, and where its slot stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Life {
    /// Which server and timeline.
    pub(super) identity: SourceIdentity,
    /// Its start, as it prints it.
    pub(super) started: String,
    /// Where the slot stood.
    pub(super) confirmed: Lsn,
}

/// The last life that was proven, kept by the source over its connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Proven(Arc<Mutex<Option<Life>>>);

impl Proven {
    /// Tells whether this very life was proven.
    pub(super) fn covers(&self, life: &Life) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().is_some_and(|known| {
            known.identity == life.identity && known.started == life.started && life.confirmed >= known.confirmed
        })
    }

    fn note(&self, life: Life) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(life);
    }
}

/// What is still to be shown, and who is told once it was.
#[derive(Debug)]
pub(super) struct Proof {
    expected: Option<(Lsn, Xid)>,
    proven: Proven,
    life: Life,
}

impl Proof {
    /// Returns from where to stream, and what the stream has to show.
    pub(super) fn begin(checkpoint: &Checkpoint, proven: &Proven, life: Life) -> (Lsn, Proof) {
        let known = proven.covers(&life);
        let from = if known { life.confirmed.max(checkpoint.acknowledged) } else { life.confirmed };
        let needed = !known && checkpoint.identity.is_some() && checkpoint.lsn > from;
        if !needed {
            proven.note(life.clone());
        }
        let expected = needed.then_some((checkpoint.lsn, checkpoint.xid));
        (from, Proof { expected, proven: proven.clone(), life })
    }

    /// Looks at a transaction, or a part of one, before it is yielded.
    pub(super) fn transaction(&mut self, transaction: &Transaction) -> Result<(), Fault> {
        match self.expected {
            Some(expected) if expected == (transaction.commit_lsn, transaction.xid) => {
                self.expected = None;
                self.proven.note(self.life.clone());
                Ok(())
            }
            Some((lsn, _)) if transaction.commit_lsn >= lsn => Err(missing(lsn)),
            _ => Ok(()),
        }
    }

    /// Looks at a position before which everything was yielded.
    pub(super) fn progress(&self, reached: Lsn) -> Result<(), Fault> {
        match self.expected {
            Some((lsn, _)) if reached >= lsn => Err(missing(lsn)),
            _ => Ok(()),
        }
    }
}

fn missing(lsn: Lsn) -> Fault {
    Fault::new(Code::SourceRestored, format!("the transaction at {lsn}, which was captured, is not in its log"))
}

#[cfg(test)]
mod tests {
    use antiphon_model::Micros;

    use super::*;

    fn identity() -> SourceIdentity {
        SourceIdentity {
            system_identifier: "1".into(),
            timeline: 1,
            database_oid: 1,
            database: "app".into(),
            publication: None,
        }
    }

    fn life(confirmed: u64) -> Life {
        Life { identity: identity(), started: "now".into(), confirmed: Lsn::new(confirmed) }
    }

    fn begin(confirmed: u64, proven: &Proven) -> (Lsn, Proof) {
        let checkpoint = Checkpoint {
            acknowledged: Lsn::new(50),
            lsn: Lsn::new(50),
            xid: Xid::new(7),
            identity: Some(identity()),
            ..Checkpoint::start()
        };
        Proof::begin(&checkpoint, proven, life(confirmed))
    }

    fn proof(confirmed: u64, proven: &Proven) -> Proof {
        begin(confirmed, proven).1
    }

    fn transaction(lsn: u64, xid: u64) -> Transaction {
        Transaction {
            commit_lsn: Lsn::new(lsn),
            xid: Xid::new(xid),
            committed_at: Micros(0),
            first_ordinal: 0,
            changes: Vec::new(),
            last: true,
        }
    }

    #[test]
    fn only_our_own_last_transaction_proves_a_history_op_19() {
        for (lsn, xid, passes) in [(45, 6, true), (50, 7, true), (50, 8, false), (51, 7, false)] {
            let passed = proof(40, &Proven::default()).transaction(&transaction(lsn, xid));
            assert_eq!(passed.is_ok(), passes, "{lsn} {xid}");
        }
        let proven = Proven::default();
        let mut proof_at_40 = proof(40, &proven);
        assert!(proof_at_40.progress(Lsn::new(49)).is_ok());
        assert_eq!(proof_at_40.progress(Lsn::new(50)).unwrap_err().code(), Code::SourceRestored);
        assert!(!proven.covers(&life(40)));
        proof_at_40.transaction(&transaction(50, 7)).unwrap();
        proof_at_40.transaction(&transaction(60, 9)).unwrap();
        assert!(proof_at_40.progress(Lsn::new(70)).is_ok());
        // A slot that stands at the checkpoint or behind it was moved there by us, on this very history.
        assert!(proof(50, &Proven::default()).progress(Lsn::new(90)).is_ok());
    }

    #[test]
    fn a_proven_server_is_believed_while_it_runs_and_its_slot_does_not_go_back_op_19() {
        let proven = Proven::default();
        proof(40, &proven).transaction(&transaction(50, 7)).unwrap();
        assert!(proven.covers(&life(40)) && proven.covers(&life(55)));
        assert_eq!(begin(40, &Proven::default()).0, Lsn::new(40));
        assert_eq!(begin(40, &proven).0, Lsn::new(50));
        assert!(!proven.covers(&life(39)), "a slot that went back was believed");
        assert!(!proven.covers(&Life { started: "later".into(), ..life(40) }));
        let promoted = SourceIdentity { timeline: 2, ..identity() };
        assert!(!proven.covers(&Life { identity: promoted, ..life(40) }));
    }
}
