//! Makes a failing run smaller: fewer people, less time, fewer kinds of disturbance, as long as the same promise breaks.
//!
//! Law: a smaller run is another run of the same seed, so it counts only if it breaks the very promise that the first one
//! broke; what is left is small enough to be read line by line.

use std::{cell::RefCell, io};

use crate::{Faults, Outcome, Profile, simulate};

/// A run that breaks a promise, and the profile that it follows from with its seed.
pub struct Shrunk {
    /// The profile.
    pub profile: Profile,
    /// What came of it.
    pub outcome: Outcome,
    /// How many smaller runs were tried.
    pub tried: usize,
}

/// Shrinks a seed; `None` where it breaks no promise.
///
/// # Errors
/// Fails where no runtime can be made.
pub fn shrink(seed: u64, change: impl Fn(Profile) -> Profile) -> io::Result<Option<Shrunk>> {
    let drawn = RefCell::new(None);
    let outcome = simulate(seed, |profile| {
        let profile = change(profile);
        *drawn.borrow_mut() = Some(profile.clone());
        profile
    })?;
    let (Some(profile), Some(first)) = (drawn.into_inner(), outcome.violations.first()) else { return Ok(None) };
    let promise = first.promise;
    let mut shrunk = Shrunk { profile, outcome, tried: 0 };
    'smaller: loop {
        for candidate in candidates(&shrunk.profile) {
            shrunk.tried += 1;
            let outcome = simulate(seed, |_| candidate.clone())?;
            if outcome.violations.iter().any(|violation| violation.promise == promise) {
                (shrunk.profile, shrunk.outcome) = (candidate, outcome);
                continue 'smaller;
            }
        }
        return Ok(Some(shrunk));
    }
}

/// Every profile that is smaller by one step.
fn candidates(of: &Profile) -> Vec<Profile> {
    let mut candidates = Vec::new();
    let mut add = |smaller: bool, change: &dyn Fn(&mut Profile)| {
        if smaller {
            let mut profile = of.clone();
            change(&mut profile);
            candidates.push(profile);
        }
    };
    add(of.disturbed_ms > 1_000, &|profile| profile.disturbed_ms /= 2);
    add(of.servers > 1, &|profile| profile.servers -= 1);
    add(of.readers > 1, &|profile| profile.readers -= 1);
    add(of.writers > 0, &|profile| profile.writers -= 1);
    add(of.devices > 0, &|profile| profile.devices -= 1);
    add(of.typing, &|profile| profile.typing = false);
    add(of.sql_writers > 0, &|profile| profile.sql_writers -= 1);
    add(of.faults != Faults::NONE, &|profile| profile.faults = Faults::NONE);
    add(of.database.hidden_permille > 0, &|profile| profile.database.hidden_permille = 0);
    add(of.log.late_permille > 0, &|profile| profile.log.late_permille = 0);
    add(of.log.answer_lost_permille > 0, &|profile| profile.log.answer_lost_permille = 0);
    for kind in &of.disturbances {
        add(true, &|profile| profile.disturbances.retain(|other| other != kind));
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mutant;

    #[test]
    fn a_failing_run_becomes_smaller_and_breaks_the_same_promise_sim_02() {
        let broken = |profile: Profile| profile.broken_by(Mutant::NarrowXid);
        let before = simulate(6, broken).unwrap();
        let shrunk = shrink(6, broken).unwrap().unwrap();
        assert_eq!(shrunk.outcome.violations[0].promise, before.violations[0].promise);
        assert!(shrunk.outcome.simulated_ms < before.simulated_ms);
        assert!(shrunk.profile.disturbances.len() < 4 && shrunk.profile.servers == 1, "{:?}", shrunk.profile);
    }

    #[test]
    fn an_honest_run_is_not_shrunk_sim_02() {
        assert!(shrink(1, |profile| profile).unwrap().is_none());
    }
}
