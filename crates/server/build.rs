//! Puts the built SDK into the binary, where `script/sdk` has built it; without it the server builds all the same.

use std::{env, fs, path::Path};

/// What pages load from `antiphon dev`.
const FILES: [&str; 2] = ["client.js", "core_bg.wasm"];

fn main() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packages/client");
    // The folder and not the files: Cargo would build again and again for a file that is not there.
    println!("cargo::rerun-if-changed={}", package.display());
    let out = env::var_os("OUT_DIR").expect("Cargo says where to write");
    for name in FILES {
        // An empty file stands for one that was not built.
        let bytes = fs::read(package.join("bundle").join(name)).unwrap_or_default();
        fs::write(Path::new(&out).join(name), bytes).expect("the build folder can be written");
    }
}
