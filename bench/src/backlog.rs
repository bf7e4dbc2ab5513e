//! What is old: a list of many rows, and a catch-up from the beginning of the log (STR-23).
//!
//! Both grow with what the reader asks for, and the server's memory may not: its peak is set back before each and read
//! after it.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    figures::{Aim, Figure, Figures},
    pace,
    reader::{Reader, Target, connect, scan},
    served::Served,
    usage,
};

/// An organisation that nobody else uses.
const BIG: &str = "org1";

/// Writes so many rows, lists them by pages of several sizes, and catches up.
pub(crate) async fn measure(served: &Served, rows: usize, figures: &mut Figures) -> Result<()> {
    let known = served.client.query_one("select count(*) from items where organization_id = $1", &[&BIG]).await?;
    let missing = rows.saturating_sub(usize::try_from(known.get::<_, i64>(0))?);
    eprintln!("writing {missing} rows");
    pace::burst(&served.client, BIG, missing, 1_000).await?;
    served.client.batch_execute("vacuum analyze items").await?;
    served.caught_up().await?;
    let pid = served.pid()?;
    for page in [100, 1_000] {
        let before = usage::of(&pid)?.cpu_seconds;
        let memory = Memory::begin(&pid)?;
        let began = Instant::now();
        let (found, bytes) = list(served, page).await?;
        let seconds = began.elapsed().as_secs_f64();
        ensure!(found >= rows, "only {found} rows were listed");
        let note = format!("{:.0} MB; server CPU {:.2} s", bytes as f64 / 1e6, usage::of(&pid)?.cpu_seconds - before);
        // The aim is for 100,000 rows and the largest page.
        let aim = if page == 1_000 { Aim::AtMost(0.8 * rows as f64 / 100_000.0) } else { Aim::None };
        figures.add(Figure::new(format!("list of {rows} rows, pages of {page}"), seconds, "s").aim(aim).note(note));
        figures.add(Figure::new("  and its peak of memory above before", memory.grown_mib()?, "MiB"));
    }
    let before = usage::of(&pid)?.cpu_seconds;
    let memory = Memory::begin(&pid)?;
    let began = Instant::now();
    let path = format!("/v1/orgs/{BIG}/live?live=sse&offset=-1");
    let target = Target { address: served.address, path, token: served.token.clone() };
    let mut reader = Reader::open(&target, 0, 256 << 10).await?;
    let mut found = 0;
    while found < rows {
        reader.read(|_| found += 1).await?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let note =
        format!("{:.0} a second; server CPU {:.2} s", found as f64 / seconds, usage::of(&pid)?.cpu_seconds - before);
    figures.add(Figure::new(format!("catch-up of {found} activities"), seconds, "s").note(note));
    figures.add(Figure::new("  and its peak of memory above before", memory.grown_mib()?, "MiB"));
    Ok(())
}

/// Lists everything; returns how many rows and bytes came.
async fn list(served: &Served, page: usize) -> Result<(usize, usize)> {
    let (mut found, mut bytes) = (0, 0);
    let mut after = String::new();
    loop {
        let path = format!("/v1/orgs/{BIG}/entities/item?limit={page}{after}");
        let body = ask(served, &path).await?;
        // Parsing a thousand rows would be the driver's time, not the server's.
        scan(&body, &mut |_| found += 1);
        bytes += body.len();
        let tail = std::str::from_utf8(&body)?;
        let next = tail.rfind("\"next\":").map(|at| &tail[at + 7..]).context("no `next`")?;
        let mut value = serde_json::Deserializer::from_str(next).into_iter::<Option<String>>();
        match value.next().transpose()?.flatten() {
            Some(next) => after = format!("&after={}", escaped(&next)),
            None => return Ok((found, bytes)),
        }
    }
}

/// Asks for a page and takes it in large reads: the client of the tests takes a few bytes at a time, which would be most
/// of what is measured.
async fn ask(served: &Served, path: &str) -> Result<Vec<u8>> {
    let mut socket = connect(served.address, 0).await?;
    let Served { address, token, .. } = served;
    let head =
        format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n");
    socket.write_all(head.as_bytes()).await?;
    let mut answer = Vec::with_capacity(1 << 20);
    socket.read_to_end(&mut answer).await?;
    ensure!(answer.starts_with(b"HTTP/1.1 200 "), "{path}: {}", String::from_utf8_lossy(&answer));
    Ok(answer)
}

fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// The peak of memory since a moment.
struct Memory {
    pid: String,
    before_kib: f64,
}

impl Memory {
    fn begin(pid: &str) -> Result<Memory> {
        // 5 sets the peak back to what is resident.
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("the peak of memory cannot be set back")?;
        Ok(Memory { pid: pid.to_owned(), before_kib: usage::resident_kib(pid)? })
    }

    fn grown_mib(&self) -> Result<f64> {
        Ok((usage::of(&self.pid)?.peak_mib - self.before_kib / 1024.0).max(0.0))
    }
}
