//! Turns the compiled client into what a page loads: `core.js`, `core_bg.wasm` and their TypeScript declarations.
//!
//! `bindgen INPUT FOLDER GZIP_BYTES_MAX`, called by `cargo xtask wasm`. It measures what came out, raw and compressed
//! as a web server would, and ends with 2 above the limit: a page loads these bytes before it shows anything.

mod order;

use std::{ffi::OsString, fs, io::Write, path::Path, process::ExitCode};

use anyhow::{Context, Result, bail};
use flate2::{Compression, write::GzEncoder};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    match run(&std::env::args_os().skip(1).collect::<Vec<_>>()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Says whether what it made is small enough.
fn run(arguments: &[OsString]) -> Result<bool> {
    let [input, folder, gzip_bytes_max] = arguments else { bail!("usage: bindgen INPUT FOLDER GZIP_BYTES_MAX") };
    let gzip_bytes_max: usize =
        gzip_bytes_max.to_str().and_then(|text| text.parse().ok()).context("GZIP_BYTES_MAX is a number")?;
    let folder = Path::new(folder);
    Bindgen::new()
        .input_path(input)
        .out_name("core")
        // `new URL("core_bg.wasm", import.meta.url)`: a page needs to name nothing, and bundlers follow it.
        .omit_default_module_path(false)
        .typescript(true)
        .remove_producers_section(true)
        .remove_name_section(true)
        .web(true)?
        .generate(folder)?;
    let module = folder.join("core_bg.wasm");
    fs::write(&module, order::ordered(&fs::read(&module)?)?)?;
    let gzip_bytes = measure(&module)?;
    measure(&folder.join("core.js"))?;
    if gzip_bytes > gzip_bytes_max {
        eprintln!("error: core_bg.wasm has {gzip_bytes} bytes compressed, and {gzip_bytes_max} are allowed");
    }
    Ok(gzip_bytes <= gzip_bytes_max)
}

/// Says a file's size and returns its compressed one, in bytes.
fn measure(path: &Path) -> Result<usize> {
    let raw = fs::read(path).with_context(|| path.display().to_string())?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&raw)?;
    let gzip_bytes = encoder.finish()?.len();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    eprintln!("{name}: {} bytes, {gzip_bytes} gzipped", raw.len());
    Ok(gzip_bytes)
}
