//! Guesses at tokens, counted by where they come from (SE-30).
//!
//! Tokens have too many bits to be found by guessing; what a flood of guesses costs is look-ups, and an alarm that nobody
//! hears. Laws: only failures draw, so whoever shows a good token is let in whatever the neighbours behind the same
//! address do; a failure beyond the limit is answered alike for every reason; the memory is fixed from the start,
//! however many addresses guess. A neighbourhood is an IPv4 address or the first 64 bits of an IPv6 address: behind
//! those sits one household or one attacker. It refuses to remember who guessed, or what.
//!
//! The table has sets of a few places each, ordered by use. The longest unused place of a set goes first: its bucket is
//! the fullest, so the least is forgotten. Which set a neighbourhood falls into nobody can tell from outside.

use std::{
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
};

use antiphon_sync::Bucket;
use tokio::time::Instant;

/// Failures a second from one neighbourhood, and at once: more than a fleet of badly configured clients needs to be
/// told, and nothing beside 244 random bits.
pub(super) const FAILURES: (u64, u64) = (1, 100);
const SETS: usize = 2_048;
const PLACES_OF_SET: usize = 8;

/// Whoever is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Neighbourhood {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Neighbourhood {
    fn of(peer: IpAddr) -> Neighbourhood {
        match peer.to_canonical() {
            IpAddr::V4(address) => Neighbourhood::V4(address.octets()),
            IpAddr::V6(address) => Neighbourhood::V6(network(address)),
        }
    }
}

fn network(address: Ipv6Addr) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = address.octets();
    [a, b, c, d, e, f, g, h]
}

#[derive(Clone, Debug)]
struct Place {
    of: Neighbourhood,
    bucket: Bucket,
}

/// Counts guesses.
pub(crate) struct Guesses {
    started: Instant,
    hasher: RandomState,
    /// Sets one behind the other, the latest used place of each first.
    places: Mutex<Box<[Option<Place>]>>,
}

impl Guesses {
    pub(crate) fn new() -> Guesses {
        let places = vec![None; SETS * PLACES_OF_SET].into_boxed_slice();
        Guesses { started: Instant::now(), hasher: RandomState::new(), places: Mutex::new(places) }
    }

    /// Counts a failure; an error says in how many seconds another one is answered as such.
    pub(crate) fn failed(&self, peer: IpAddr) -> Result<(), u32> {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let verdict = self.failed_at(peer, now_ms);
        if verdict.is_err() {
            metrics::counter!("antiphon_auth_throttled_total").increment(1);
        }
        verdict
    }

    fn failed_at(&self, peer: IpAddr, now_ms: u64) -> Result<(), u32> {
        let of = Neighbourhood::of(peer);
        // The remainder is below the number of sets.
        let set = (self.hasher.hash_one(of) % SETS as u64) as usize * PLACES_OF_SET;
        // INVARIANT: no panic leaves the table half changed.
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let set = &mut places[set..set + PLACES_OF_SET];
        let known = set.iter().position(|place| place.as_ref().is_some_and(|place| place.of == of));
        set[..=known.unwrap_or(PLACES_OF_SET - 1)].rotate_right(1);
        if known.is_none() {
            set[0] = None;
        }
        let fresh = || Place { of, bucket: Bucket::new(FAILURES.0, FAILURES.1, now_ms) };
        let bucket = &mut set[0].get_or_insert_with(fresh).bucket;
        match bucket.take(1, now_ms) {
            true => Ok(()),
            false => Err(u32::try_from(bucket.wait_ms(1, now_ms).div_ceil(1_000)).unwrap_or(u32::MAX).max(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// Fails until it is refused, and returns how often it was not.
    fn exhaust(guesses: &Guesses, peer: IpAddr, now_ms: u64) -> u64 {
        (0..10_000).take_while(|_| guesses.failed_at(peer, now_ms).is_ok()).count() as u64
    }

    #[test]
    fn a_neighbourhood_has_a_burst_then_the_rate_and_others_are_not_touched_se_30() {
        let guesses = Guesses::new();
        assert_eq!(exhaust(&guesses, peer("192.0.2.1"), 0), FAILURES.1);
        assert_eq!(guesses.failed_at(peer("192.0.2.1"), 0), Err(1));
        assert!(guesses.failed_at(peer("192.0.2.2"), 0).is_ok());
        // What is refused draws nothing: one a second goes on being answered.
        assert_eq!(exhaust(&guesses, peer("192.0.2.1"), 5_000), 5 * FAILURES.0);
        assert_eq!(exhaust(&guesses, peer("192.0.2.1"), 1_000_000), FAILURES.1);
    }

    #[test]
    fn addresses_of_one_network_are_one_whichever_way_they_are_written_se_30() {
        for (one, other, alike) in [
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
            ("0.0.0.0", "::", false),
        ] {
            let guesses = Guesses::new();
            exhaust(&guesses, peer(one), 0);
            assert_eq!(guesses.failed_at(peer(other), 0).is_err(), alike, "{one} and {other}");
        }
    }

    #[test]
    fn many_networks_take_no_more_room_than_one_se_30() {
        let guesses = Guesses::new();
        for network in 0..200_000_u64 {
            let address = Ipv6Addr::from(u128::from(network) << 64 | 1);
            assert!(guesses.failed_at(address.into(), 0).is_ok(), "the first failure of {address}");
        }
        let places = guesses.places.lock().expect("the table");
        assert_eq!(places.len(), SETS * PLACES_OF_SET);
        assert!(places.iter().all(Option::is_some), "the whole table is used");
        assert!(std::mem::size_of_val(&**places) <= 1 << 20, "{} bytes", std::mem::size_of_val(&**places));
    }

    #[test]
    fn who_goes_on_guessing_is_not_pushed_out_by_those_who_guess_once_se_30() {
        let guesses = Guesses::new();
        let stubborn = peer("192.0.2.1");
        exhaust(&guesses, stubborn, 0);
        for network in 0..100_000_u64 {
            let address = Ipv6Addr::from(u128::from(network) << 64 | 1);
            assert!(guesses.failed_at(address.into(), 0).is_ok());
            // Seldom enough that others use its set meanwhile, often enough to stay among the latest.
            if network % 1_000 == 0 {
                assert!(guesses.failed_at(stubborn, 0).is_err(), "forgotten after {network} others");
            }
        }
    }
}
