//! How many descriptors this process may have open, and how many of them its peers may take (OP-08).
//!
//! A connection is a descriptor, and so is each connection to a database and each file of the spool. A system lets a
//! process have a thousand where nobody asks for more, which is fewer than it would give.
//! Law: peers never take the last ones. Capture connects anew, edits commit and the log is read while every place for
//! a peer is taken; whoever comes then waits in the system's queue until somebody leaves.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections to databases, the spool's files, and what a runtime needs for itself.
const OWN: u64 = 128;
/// Where a system knows no limit, peers have one all the same.
const PEERS_MAX: u64 = 1 << 20;

/// Asks the system for as many descriptors as it gives, and returns how many there may be; `None`: no limit.
pub(crate) fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::debug!(%error, "the limit of descriptors stays as it is");
            limit.current
        }
    }
}

/// Returns how many connections of peers may be open where so many descriptors may be.
pub(crate) fn for_peers(descriptors: Option<u64>) -> usize {
    let descriptors = descriptors.unwrap_or(u64::MAX);
    let peers = (descriptors - OWN.min(descriptors / 2)).min(PEERS_MAX);
    usize::try_from(peers).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_never_take_the_last_descriptors_op_08() {
        assert_eq!(for_peers(Some(1_024)), 896);
        assert_eq!(for_peers(Some(100)), 50);
        assert_eq!(for_peers(Some(1)), 1);
        assert_eq!(for_peers(None), 1 << 20);
    }

    #[test]
    fn the_limit_is_as_high_as_the_system_lets_it_be_op_08() {
        let raised = raise();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!((raised, limit.current), (limit.maximum, limit.maximum));
    }
}
