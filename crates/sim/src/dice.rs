//! All randomness of a run: one stream of numbers that follows from the seed.
//!
//! The generator is ChaCha8, whose output is fixed for good, and ranges are drawn by hand, so that a seed means the same
//! run whatever version of a crate is used (SIM-02).

use std::sync::{Arc, Mutex, PoisonError};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// Draws; cheap to clone, and every clone draws from the same stream.
#[derive(Clone)]
pub struct Dice(Arc<Mutex<ChaCha8Rng>>);

impl Dice {
    /// Makes the dice of a seed.
    pub fn new(seed: u64) -> Dice {
        Dice(Arc::new(Mutex::new(ChaCha8Rng::seed_from_u64(seed))))
    }

    /// Returns dice of their own that follow from these, so that two parts of a run do not move each other's draws.
    pub fn fork(&self) -> Dice {
        Dice::new(self.draw())
    }

    /// Draws a number below `bound`; 0 where the bound is 0.
    pub fn below(&self, bound: u64) -> u64 {
        // The bias of this is below one in 2^32 for every bound that is used here.
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    /// Draws a number of a range, both ends included.
    pub fn between(&self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// Tells whether something happens that does so so often in a thousand.
    pub fn permille(&self, chance: u64) -> bool {
        chance > 0 && self.below(1_000) < chance
    }

    /// Picks one of several.
    pub fn pick<'a, T>(&self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len() as u64) as usize)
    }

    fn draw(&self) -> u64 {
        // A panic cannot leave the generator half moved.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_numbers_in_every_version_sim_02() {
        let dice = Dice::new(7);
        let drawn: Vec<u64> = (0..6).map(|_| dice.below(1_000)).collect();
        assert_eq!(drawn, [157, 167, 704, 726, 601, 359]);
        let dice = Dice::new(8);
        assert!((0..1_000).all(|_| (5..=9).contains(&dice.between(5, 9))));
        assert!((0..100).all(|_| !dice.permille(0) && dice.permille(1_000)));
        assert_eq!((dice.below(0), dice.pick::<u8>(&[])), (0, None));
    }
}
