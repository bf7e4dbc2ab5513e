//! What this machine has for building WebAssembly, and how more is brought: the only place here that looks or installs.
//!
//! Nothing is installed that the route does not need, and what fails to install only closes the route.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::route::Facts;

/// Debian's compiler.
pub const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// The library's sources of Debian's compiler, when its package is installed.
const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";

/// Looks what is here.
pub fn facts() -> Facts {
    let target =
        sysroot(Path::new("rustc")).is_some_and(|root| root.join("lib/rustlib/wasm32-unknown-unknown/lib").is_dir());
    Facts {
        target,
        rustup: speaks("rustup", &["--version"]),
        // Either package without the other is of no use, and the sources must be those of the compiler.
        debian: Path::new(DEBIAN_RUSTC).is_file() && sources_reached(),
        apt: speaks("apt-get", &["--version"]) && is_root(),
        linker: linker().is_some(),
    }
}

/// Returns the cargo that runs this program.
pub fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Lets rustup fetch the target; says whether it is here now.
pub fn fetch(target: &str) -> bool {
    Command::new("rustup")
        .args(["target", "add", target])
        .stdin(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Installs Debian's packages; says whether they are here now.
pub fn install() -> bool {
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    apt(&["update", "-qq"])
        && apt(&["install", "-y", "-qq", "--no-install-recommends", "rustc-web", "rust-web-src"])
        && sources_reached()
}

/// Returns a linker for WebAssembly: that of the toolchain in use, or one of the system.
pub fn linker() -> Option<PathBuf> {
    let root = sysroot(Path::new("rustc"))?;
    let host = std::fs::read_dir(root.join("lib/rustlib")).into_iter().flatten().flatten();
    let own = host.map(|entry| entry.path().join("bin/rust-lld")).find(|path| path.is_file());
    own.or_else(|| {
        let folders = env::var_os("PATH")?;
        let on_path =
            |name: &str| env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file());
        ["rust-lld", "wasm-ld"].into_iter().find_map(on_path)
    })
}

/// Returns flags that keep this machine's folders out of what is built.
pub fn remapped(root: &Path) -> Vec<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let mut flags = vec![format!("--remap-path-prefix={}=.", root.display())];
    flags.extend(home.map(|home| format!("--remap-path-prefix={}=cargo", home.display())));
    flags
}

/// Says whether Debian's compiler finds the sources that belong to it.
fn sources_reached() -> bool {
    Path::new(DEBIAN_SOURCE).is_file() && sysroot(Path::new(DEBIAN_RUSTC)).is_some()
}

fn sysroot(rustc: &Path) -> Option<PathBuf> {
    let output = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(text.trim()))
}

fn speaks(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
