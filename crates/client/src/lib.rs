//! The client machine as a WebAssembly module: one class with one method, text in and text out.
//!
//! What may be called, and what is answered, is `antiphon_sync::client::Face`'s affair and stands in
//! `docs/reference/client-face.md`. Laws: nothing is added to an answer and nothing is left out; text is handed through
//! as it is, without a second form in between; a panic reaches JavaScript as an error that says what and where. It
//! refuses to know a socket, a clock, storage or randomness: those are the page's.
//!
//! Built natively it is an ordinary library, so that the whole workspace builds and lints together.

#[cfg(target_arch = "wasm32")]
mod told;

use wasm_bindgen::prelude::wasm_bindgen;

/// One client; whoever wants two makes two.
#[wasm_bindgen]
#[derive(Debug, Default)]
pub struct Face {
    face: antiphon_sync::client::Face,
}

#[wasm_bindgen]
impl Face {
    /// Makes a client that is not started yet: the first call is `start`.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Face {
        #[cfg(target_arch = "wasm32")]
        told::tell_panics();
        Face::default()
    }

    /// Answers one call; both are JSON text.
    pub fn call(&mut self, json: &str) -> String {
        self.face.call(json)
    }
}

/// Says which data this build reads, as JSON text: `format` of the store's records, and `build`.
#[wasm_bindgen]
pub fn version() -> String {
    format!(r#"{{"format":{},"build":"{}"}}"#, antiphon_sync::client::FORMAT, env!("CARGO_PKG_VERSION"))
}
