//! What JavaScript is told of a panic: an `Error` with the words and the place, not `unreachable`.
//!
//! Throwing from the hook leaves the frames below it as they are, so the face that panicked stays lent out for good,
//! and each further call of it is refused by wasm-bindgen. That is as it should be: what it holds may be half done.
//! The standard library counts the panic as not over, so a second one, of another face, is `unreachable` after all.

use std::panic::PanicHookInfo;

/// Has panics told from now on; saying it again changes nothing.
pub(crate) fn tell_panics() {
    std::panic::set_hook(Box::new(tell));
}

fn tell(panic: &PanicHookInfo<'_>) {
    wasm_bindgen::throw_str(&format!("antiphon core: {panic}"));
}
