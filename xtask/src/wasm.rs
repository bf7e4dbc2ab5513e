//! `cargo xtask wasm`: the client as WebAssembly, in `packages/client/core`, for pages and for Node.
//!
//! It compiles `crates/client` in the profile `wasm`, into a folder of its own so that nothing native is built again,
//! and lets `xtask/bindgen` (a workspace of its own, because it takes long to build) make `core.js` and its companions.
//! Law: it says which route it took and why, and fails where a page would have to load more than is allowed. Files
//! that came out the same are left alone, and where nothing changed nothing is compiled.

mod machine;
mod route;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Error, Result, bail, ensure};
use clap::Args;

use self::route::{Before, Facts, Route};
use crate::project::Project;

const TARGET: &str = "wasm32-unknown-unknown";
/// Where the packages take it from; built, never committed.
const CORE: &str = "packages/client/core";
/// What a page may have to load, compressed: what the SDK promises. It only goes down; docs/adr/0022 says what is left.
const GZIP_BYTES_MAX: u64 = 150_000;

/// How to build it.
#[derive(Args)]
pub struct WasmArgs {
    /// Only this way to the standard library for wasm32.
    #[arg(long, value_enum)]
    route: Option<Route>,
}

/// No route is open on this machine.
#[derive(Debug)]
pub struct Lacking;

impl fmt::Display for Lacking {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "needs the standard library for {TARGET}; install with: rustup target add {TARGET}")
    }
}

impl std::error::Error for Lacking {}

/// Builds it; `false` where it is larger than allowed.
///
/// # Errors
/// Fails where no route is open, or where a tool fails.
pub fn run(project: &Project, args: &WasmArgs) -> Result<bool> {
    let began = Instant::now();
    let folder = target_folder(project.root());
    let facts = machine::facts();
    let route = prepared(facts, args.route)?;
    let compiled = compile(project.root(), &folder, route)?;
    let made = folder.join("wasm").join("core");
    let fits = bind(project.root(), &folder, &compiled, &made)?;
    eprintln!("wasm: the limit is {GZIP_BYTES_MAX} bytes gzipped");
    let core = project.root().join(CORE);
    let changed = copy(&made, &core)?;
    let done = if changed { "is written" } else { "was up to date" };
    eprintln!("wasm: {CORE} {done}, in {:.1} s", began.elapsed().as_secs_f64());
    Ok(fits)
}

/// Takes the first route that can be prepared, and says why the others were not taken.
fn prepared(facts: Facts, wanted: Option<Route>) -> Result<Route> {
    let open = route::routes(facts, wanted);
    for closed in [Route::Rustup, Route::Debian] {
        if let Err(why) = route::standing(closed, facts) {
            eprintln!("wasm: route {closed} is not possible here: {why}");
        }
    }
    for (route, before) in open {
        let (ready, how) = match before {
            Before::Nothing => (true, "what it needs is installed"),
            Before::Fetch => (machine::fetch(TARGET), "rustup target add"),
            Before::Install => (machine::install(), "apt-get install rustc-web rust-web-src"),
        };
        if ready {
            eprintln!("wasm: route {route}: {how}");
            return Ok(route);
        }
        eprintln!("wasm: route {route} is not possible here: `{how}` failed");
    }
    Err(Error::new(Lacking))
}

/// Compiles the room `client` and returns the module.
fn compile(root: &Path, folder: &Path, route: Route) -> Result<PathBuf> {
    // Each route has its compiler, and a folder that both used would be built anew at each change of route.
    let target = folder.join("wasm").join(route.to_string());
    let mut cargo = Command::new(machine::cargo());
    cargo.current_dir(root).args(["build", "--quiet", "--locked", "--package", "antiphon-client", "--lib"]);
    cargo.args(["--profile", "wasm", "--target", TARGET]).arg("--target-dir").arg(&target);
    // Panics name source files; where those lie on the machine that built is nobody's business.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", machine::remapped(root).join("\u{1f}"));
    if route == Route::Debian {
        cargo.arg("-Zbuild-std=std,panic_abort").env("RUSTC_BOOTSTRAP", "1").env("RUSTC", machine::DEBIAN_RUSTC);
        let linker = machine::linker().context("there is no linker for WebAssembly")?;
        cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    }
    ensure!(cargo.status()?.success(), "the client does not compile for {TARGET}");
    Ok(target.join(TARGET).join("wasm").join("antiphon_client.wasm"))
}

/// Makes what JavaScript loads; `false` where it is too large.
fn bind(root: &Path, folder: &Path, compiled: &Path, made: &Path) -> Result<bool> {
    let target = folder.join("bindgen");
    let built = Command::new(machine::cargo())
        .current_dir(root)
        .args(["build", "--quiet", "--locked", "--manifest-path", "xtask/bindgen/Cargo.toml", "--target-dir"])
        .arg(&target)
        .status()?;
    ensure!(built.success(), "xtask/bindgen does not compile");
    let program = target.join("debug").join("bindgen");
    let status = Command::new(program).arg(compiled).arg(made).arg(GZIP_BYTES_MAX.to_string()).status()?;
    match status.code() {
        Some(0) => Ok(true),
        // It has made everything, and all of it is too much.
        Some(2) => Ok(false),
        _ => bail!("xtask/bindgen failed"),
    }
}

/// Copies the files that differ, each at once; says whether one did.
fn copy(made: &Path, core: &Path) -> Result<bool> {
    fs::create_dir_all(core)?;
    let mut changed = false;
    for entry in fs::read_dir(made)? {
        let name = entry?.file_name();
        let (bytes, to) = (fs::read(made.join(&name))?, core.join(&name));
        if fs::read(&to).is_ok_and(|present| present == bytes) {
            continue;
        }
        let beside = core.join(".new");
        fs::write(&beside, bytes)?;
        fs::rename(&beside, &to).with_context(|| to.display().to_string())?;
        changed = true;
    }
    Ok(changed)
}

/// Returns the folder that cargo builds this workspace in.
fn target_folder(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder))
}
