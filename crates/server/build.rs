//! Puts the built SDK and the built Desk into the binary, where `script/sdk` has built them; without them the server
//! builds all the same.

use std::{env, fs, path::Path};

/// What pages load from `antiphon dev`, by the folder that it is built into.
const BUNDLES: [(&str, &[&str]); 2] = [
    ("../../packages/client/bundle", &["client.js", "core_bg.wasm"]),
    (
        "../../apps/desk/bundle",
        &[
            "index.html",
            "index.html.gz",
            "index.html.br",
            "desk.js",
            "desk.js.gz",
            "desk.js.br",
            "desk.css",
            "desk.css.gz",
            "desk.css.br",
            "worker.js",
            "worker.js.gz",
            "worker.js.br",
            "manifest.webmanifest",
            "manifest.webmanifest.gz",
            "manifest.webmanifest.br",
            "icon.svg",
            "icon.svg.gz",
            "icon.svg.br",
            "core_bg.wasm.gz",
            "core_bg.wasm.br",
        ],
    ),
];

fn main() {
    let out = env::var_os("OUT_DIR").expect("Cargo says where to write");
    for (folder, names) in BUNDLES {
        let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        // The folder, which is always there, and not the files: Cargo would build again and again for one that is missing.
        println!("cargo::rerun-if-changed={}", bundle.display());
        for name in names {
            // An empty file stands for one that was not built.
            let bytes = fs::read(bundle.join(name)).unwrap_or_default();
            fs::write(Path::new(&out).join(name), bytes).expect("the build folder can be written");
        }
    }
}
