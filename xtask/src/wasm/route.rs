//! Where the standard library for wasm32 comes from, chosen by what the machine has.
//!
//! Route `rustup`: the compiled one that rustup fetches. Route `debian`: Debian's compiler and the library's sources,
//! compiled along, where rustup is missing or cannot fetch. Law: the choice is a function of the facts, and every route
//! that is not taken has a reason that a person can act on.

use std::fmt;

use clap::ValueEnum;

/// A way to the standard library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Route {
    /// The target as rustup installs it.
    Rustup,
    /// Debian's packages `rustc-web` and `rust-web-src`.
    Debian,
}

impl fmt::Display for Route {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Route::Rustup => "rustup",
            Route::Debian => "debian",
        })
    }
}

/// What the machine has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// The compiler in use has the target.
    pub target: bool,
    /// There is a rustup, which may fetch it.
    pub rustup: bool,
    /// Debian's compiler and sources are installed.
    pub debian: bool,
    /// There is apt, and the right to install with it.
    pub apt: bool,
    /// There is a linker for WebAssembly beside the target's own.
    pub linker: bool,
}

/// What has to be done before a route can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    Nothing,
    /// `rustup target add`.
    Fetch,
    /// `apt-get install`.
    Install,
}

/// Returns what a route needs first, or why it cannot be taken.
pub fn standing(route: Route, facts: Facts) -> Result<Before, &'static str> {
    match route {
        Route::Rustup if facts.target => Ok(Before::Nothing),
        Route::Rustup if facts.rustup => Ok(Before::Fetch),
        Route::Rustup => Err("there is no rustup, and the compiler lacks wasm32-unknown-unknown"),
        // Debian's compiler comes without one, and an old one of the system may not read what it writes.
        Route::Debian if !facts.linker => {
            Err("there is no linker: rust-lld, which rustup's toolchains have, or wasm-ld of the package lld")
        }
        Route::Debian if facts.debian => Ok(Before::Nothing),
        Route::Debian if facts.apt => Ok(Before::Install),
        Route::Debian => Err("rustc-web and rust-web-src are not installed, and only root with apt-get could do it"),
    }
}

/// Returns the routes to try, in order: what is ready before what must be brought, rustup before Debian.
pub fn routes(facts: Facts, wanted: Option<Route>) -> Vec<(Route, Before)> {
    let mut open: Vec<_> = [Route::Rustup, Route::Debian]
        .into_iter()
        .filter(|route| wanted.is_none_or(|wanted| wanted == *route))
        .filter_map(|route| standing(route, facts).ok().map(|before| (route, before)))
        .collect();
    open.sort_by_key(|(_, before)| *before != Before::Nothing);
    open
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Facts = Facts { target: false, rustup: false, debian: false, apt: false, linker: false };

    #[test]
    fn a_target_that_is_there_is_taken_without_asking_anybody_sdk_01() {
        let facts = Facts { target: true, rustup: true, debian: true, apt: true, linker: true };
        assert_eq!(routes(facts, None).first(), Some(&(Route::Rustup, Before::Nothing)));
    }

    #[test]
    fn what_is_ready_comes_before_what_must_be_fetched_sdk_01() {
        let facts = Facts { rustup: true, debian: true, linker: true, ..NOTHING };
        let expected = vec![(Route::Debian, Before::Nothing), (Route::Rustup, Before::Fetch)];
        assert_eq!(routes(facts, None), expected);
    }

    #[test]
    fn where_rustup_may_fail_to_fetch_debian_is_tried_next_sdk_01() {
        let facts = Facts { rustup: true, apt: true, linker: true, ..NOTHING };
        assert_eq!(routes(facts, None), vec![(Route::Rustup, Before::Fetch), (Route::Debian, Before::Install)]);
    }

    #[test]
    fn a_wanted_route_is_taken_or_none_sdk_01() {
        let facts = Facts { target: true, debian: true, linker: true, ..NOTHING };
        assert_eq!(routes(facts, Some(Route::Debian)), vec![(Route::Debian, Before::Nothing)]);
        assert_eq!(routes(Facts { debian: false, ..facts }, Some(Route::Debian)), vec![]);
    }

    #[test]
    fn a_route_that_is_closed_says_why_sdk_01() {
        assert!(routes(NOTHING, None).is_empty());
        let said = standing(Route::Rustup, NOTHING).expect_err("nothing is there");
        assert!(said.contains("rustup"), "{said}");
        let said = standing(Route::Debian, Facts { debian: true, ..NOTHING }).expect_err("no linker");
        assert!(said.contains("lld"), "{said}");
        let said = standing(Route::Debian, Facts { linker: true, ..NOTHING }).expect_err("not installed");
        assert!(said.contains("rust-web-src"), "{said}");
    }
}
