//! `cargo xtask bless`: records the golden byte traces of `wire` from real servers again.
//!
//! For each Postgres found (15 and 18) it starts a private cluster in a temporary folder, plays every case of
//! `crates/wire/tests/golden/cases` in a database of its own, and keeps what the output plugin said. Only the server's
//! own `psql` is used, so that recording needs no SQL client. Then the golden test writes the readable renderings, and
//! a few payloads of each kind become seeds of the fuzz targets.
//! Options: `--only CASE`, `--postgres 15|18`, `--no-render`. A missing server is said and skipped.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

const PORT: &str = "5999";
const GOLDEN: &str = "crates/wire/tests/golden";
/// Enough to show every shape; more would only grow the repository.
const SEEDS_PER_KIND: usize = 4;

/// Records every case, or those that the options choose.
///
/// # Errors
/// Fails where a server does not start or a case does not run.
pub fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    let cases = read_cases(options.only.as_deref())?;
    for (version, bin) in installations() {
        if options.postgres.as_deref().is_some_and(|wanted| wanted != version) {
            continue;
        }
        if !bin.join("postgres").exists() {
            eprintln!("skipped: Postgres {version} is missing, install it with script/bootstrap");
            continue;
        }
        record_version(version, &bin, &cases).with_context(|| format!("recording with Postgres {version}"))?;
    }
    if options.render {
        render()?;
        write_seeds()?;
    }
    Ok(())
}

struct Options {
    only: Option<String>,
    postgres: Option<String>,
    render: bool,
}

impl Options {
    fn parse(args: &[String]) -> Result<Options> {
        let mut options = Options { only: None, postgres: None, render: true };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--only" => options.only = Some(args.next().context("--only needs a case")?.clone()),
                "--postgres" => options.postgres = Some(args.next().context("--postgres needs a version")?.clone()),
                "--no-render" => options.render = false,
                other => bail!("unknown option {other}; known: --only CASE, --postgres VERSION, --no-render"),
            }
        }
        Ok(options)
    }
}

/// Seeds of the targets that read text; the first byte of the first two chooses a type.
const TEXT_SEEDS: &[(&str, &[&str])] = &[
    (
        "array_text",
        &["\0{1,NULL,\"a \\\"b\"}", "\x01(1,\"a, \"\"b\"\"\")", "\0[0:1][2:3]={{a,b},{c,d}}", "\x03(\"{1,2}\",)"],
    ),
    ("values_encode", &["\x372024-01-01 12:00:00.5+05:30", "\x0A{\"a\": [1, -2.5e3, null]}", "\x01\\x00ff", "\x140.1"]),
    ("lsn_visibility_text", &["0/16B3748", "744:760:750,752"]),
];

/// Where each version is looked for.
fn installations() -> [(&'static str, PathBuf); 2] {
    let environment = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let home = environment("HOME").unwrap_or_default();
    let cache = environment("ANTIPHON_CACHE").unwrap_or_else(|| home.join(".cache/antiphon"));
    [
        ("15", environment("ANTIPHON_PG15_BIN").unwrap_or_else(|| "/usr/lib/postgresql/15/bin".into())),
        ("18", environment("ANTIPHON_PG18_BIN").unwrap_or_else(|| cache.join("postgres-18/bin"))),
    ]
}

/// One case: a header of `-- key: value` lines, then the parts `-- setup` and `-- record`.
struct Case {
    name: String,
    header: BTreeMap<String, String>,
    setup: String,
    record: String,
}

fn read_cases(only: Option<&str>) -> Result<Vec<Case>> {
    let folder = Path::new(GOLDEN).join("cases");
    let mut cases = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("no folder {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if only.is_none_or(|only| only == name) {
            cases.push(Case::read(&folder, name)?);
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

impl Case {
    fn read(folder: &Path, name: String) -> Result<Case> {
        let mut case = Case { name, header: BTreeMap::new(), setup: String::new(), record: String::new() };
        let text = fs::read_to_string(folder.join(format!("{}.sql", case.name)))?;
        let mut part = None;
        for line in text.lines() {
            match (line, part) {
                ("-- setup", _) => part = Some(&mut case.setup),
                ("-- record", _) => part = Some(&mut case.record),
                (line, None) => {
                    if let Some((key, value)) = line.trim_start_matches("-- ").split_once(": ") {
                        case.header.insert(key.to_owned(), value.to_owned());
                    }
                    part = None;
                }
                (line, Some(text)) => {
                    text.push_str(line);
                    text.push('\n');
                    part = Some(text);
                }
            }
        }
        if let Some(script) = case.header.get("script") {
            let other = Case::read(folder, script.clone())?;
            (case.setup, case.record) = (other.setup, other.record);
        }
        Ok(case)
    }

    fn wants(&self, version: &str) -> bool {
        self.header.get("versions").is_none_or(|versions| versions.split(' ').any(|wanted| wanted == version))
    }

    /// The options of the output plugin, lowered to what the version knows.
    fn options(&self, version: &str) -> String {
        let options = self.header.get("options").map(String::as_str).unwrap_or("proto_version=1");
        let mut list = vec!["'publication_names', 'p'".to_owned()];
        for (key, value) in options.split(' ').filter_map(|option| option.split_once('=')) {
            let value = match (version, key, value) {
                ("15", "proto_version", "4") => "3",
                ("15", "streaming", "parallel") => "on",
                _ => value,
            };
            list.push(format!("'{key}', '{value}'"));
        }
        list.join(", ")
    }
}

fn record_version(version: &str, bin: &Path, cases: &[Case]) -> Result<()> {
    let folder = Path::new(GOLDEN).join(version);
    fs::create_dir_all(&folder)?;
    let mut settings: Vec<Option<&String>> = cases.iter().map(|case| case.header.get("setting")).collect();
    settings.sort();
    settings.dedup();
    for setting in settings {
        let cluster = Cluster::start(bin, setting.map(String::as_str))?;
        let of_setting = cases.iter().filter(|case| case.header.get("setting") == setting);
        for case in of_setting.filter(|case| case.wants(version)) {
            record(&cluster, version, &folder, case).with_context(|| format!("case {}", case.name))?;
        }
        cluster.stop()?;
    }
    Ok(())
}

fn record(cluster: &Cluster, version: &str, folder: &Path, case: &Case) -> Result<()> {
    let database = case.name.as_str();
    cluster.psql("postgres", &format!("create database {database}"))?;
    // Every type of the table prints as under the settings that the protocol pins.
    for setting in [
        "timezone = 'UTC'",
        "datestyle = 'ISO'",
        "intervalstyle = 'iso_8601'",
        "extra_float_digits = 3",
        "bytea_output = 'hex'",
    ] {
        cluster.psql("postgres", &format!("alter database {database} set {setting}"))?;
    }
    cluster.psql(database, &case.setup)?;
    let two_phase = case.header.get("slot").is_some_and(|slot| slot == "two_phase");
    let create = format!("select pg_create_logical_replication_slot('{database}', 'pgoutput', false, {two_phase})");
    cluster.psql(database, &create)?;
    cluster.psql(database, &case.record)?;
    let read = format!(
        "select encode(data, 'hex') from pg_logical_slot_get_binary_changes('{database}', null, null, {})",
        case.options(version)
    );
    let mut trace = Vec::new();
    for line in cluster.psql(database, &read)?.lines() {
        let payload = from_hex(line).context("the server sent no hexadecimal line")?;
        trace.extend_from_slice(&u32::try_from(payload.len())?.to_be_bytes());
        trace.extend_from_slice(&payload);
    }
    fs::write(folder.join(format!("{}.bin", case.name)), trace)?;
    let types = cluster.psql(database, TYPES)?;
    let path = folder.join(format!("{}.types", case.name));
    if types.trim().is_empty() {
        if path.exists() {
            fs::remove_file(path)?;
        }
    } else {
        fs::write(path, types)?;
    }
    cluster.psql(database, &format!("select pg_drop_replication_slot('{database}')"))?;
    eprintln!("recorded {version}/{}", case.name);
    Ok(())
}

/// The types that the case made: OID, kind, name, and what the kind needs.
const TYPES: &str = "\
select concat_ws(E'\\t', t.oid::text, case when t.typelem <> 0 then 'array' else t.typtype::text end,
    format_type(t.oid, null),
    case when t.typelem <> 0 then t.typelem::text
         when t.typtype = 'd' then t.typbasetype::text
         when t.typtype = 'e' then (select string_agg(enumlabel, ',' order by enumsortorder) from pg_enum where enumtypid = t.oid)
         when t.typtype = 'c' then (select string_agg(attname || ':' || atttypid, ',' order by attnum) from pg_attribute
                                    where attrelid = t.typrelid and attnum > 0 and not attisdropped) end)
from pg_type t left join pg_type e on e.oid = t.typelem
left join pg_class c on c.oid = coalesce(nullif(t.typrelid, 0), e.typrelid)
where t.oid >= 16384 and (c.oid is null or c.relkind = 'c') order by t.oid";

fn from_hex(line: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(line.get(at..at + 2)?, 16).ok();
    (0..line.len()).step_by(2).map(pair).collect()
}

/// A private server that lives for one run.
struct Cluster {
    bin: PathBuf,
    folder: PathBuf,
    owner: Option<(u32, u32)>,
    server: Child,
}

impl Cluster {
    fn start(bin: &Path, setting: Option<&str>) -> Result<Cluster> {
        let folder = std::env::temp_dir().join(format!("antiphon-bless-{}", std::process::id()));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        // Postgres refuses to run as root; the folder then belongs to the user that Debian made for it.
        let owner = if id(&["-u"])? == 0 { Some((id(&["-u", "postgres"])?, id(&["-g", "postgres"])?)) } else { None };
        if let Some((user, group)) = owner {
            chown(&folder, Some(user), Some(group))?;
        }
        let data = folder.join("data");
        let mut initdb = as_owner(&bin.join("initdb"), &folder, owner);
        initdb.arg("-D").arg(&data).args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync"]);
        check(&mut initdb)?;
        let mut server = as_owner(&bin.join("postgres"), &folder, owner);
        server.arg("-D").arg(&data).arg("-k").arg(&folder).args(["-p", PORT, "-c", "listen_addresses="]);
        server.args(["-c", "wal_level=logical", "-c", "fsync=off", "-c", "autovacuum=off"]);
        if let Some(setting) = setting {
            server.args(["-c", setting]);
        }
        let log = fs::File::create(folder.join("log"))?;
        let server = server.stdout(log.try_clone()?).stderr(log).spawn()?;
        let cluster = Cluster { bin: bin.to_owned(), folder, owner, server };
        let deadline = Instant::now() + Duration::from_secs(30);
        while cluster.psql("postgres", "select 1").is_err() {
            if Instant::now() > deadline {
                bail!("the server did not start: {}", fs::read_to_string(cluster.folder.join("log"))?);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(cluster)
    }

    fn psql(&self, database: &str, sql: &str) -> Result<String> {
        let script = self.folder.join("script.sql");
        fs::write(&script, sql)?;
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-p", PORT, "-d", database, "-h"]);
        psql.arg(&self.folder).arg("-f").arg(&script);
        check(&mut psql)
    }

    fn stop(mut self) -> Result<()> {
        let mut stop = as_owner(&self.bin.join("pg_ctl"), &self.folder, self.owner);
        check(stop.arg("stop").arg("-D").arg(self.folder.join("data")).args(["-m", "fast", "-s"]))?;
        self.server.wait()?;
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Ok(None) = self.server.try_wait() {
            let ended = self.server.kill().and_then(|()| self.server.wait());
            if let Err(error) = ended {
                eprintln!("the server could not be ended: {error}");
            }
        }
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("{} was left behind: {error}", self.folder.display());
        }
    }
}

fn as_owner(program: &Path, folder: &Path, owner: Option<(u32, u32)>) -> Command {
    // A link into a home that the owner cannot enter would not run; its target may.
    let program = program.canonicalize().unwrap_or_else(|_| program.to_owned());
    let mut command = Command::new(program);
    command.current_dir(folder);
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    command
}

fn id(args: &[&str]) -> Result<u32> {
    Ok(check(Command::new("id").args(args))?.trim().parse()?)
}

fn check(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?} does not run"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Lets the golden test write its renderings.
fn render() -> Result<()> {
    let mut test = Command::new("cargo");
    test.args(["test", "--quiet", "-p", "antiphon-wire", "--test", "golden"]).env("UPDATE_EXPECT", "1");
    if !test.status()?.success() {
        bail!("the golden test failed on what was recorded");
    }
    Ok(())
}

/// Keeps a few payloads of each kind, and one short trace of each case, as seeds of the fuzz targets.
fn write_seeds() -> Result<()> {
    let payloads = Path::new("fuzz/corpus/pgoutput_decode");
    let traces = Path::new("fuzz/corpus/assembler");
    for folder in [payloads, traces] {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
    }
    let mut kinds: BTreeMap<u8, Vec<Vec<u8>>> = BTreeMap::new();
    let mut bins: Vec<PathBuf> = fs::read_dir(Path::new(GOLDEN).join("18"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    bins.retain(|path| path.extension().is_some_and(|extension| extension == "bin"));
    bins.sort();
    for path in bins {
        let bytes = fs::read(&path)?;
        // The assembler's target reads the same framing, so a trace is a seed as it is.
        if bytes.len() < 8_192 {
            fs::write(traces.join(path.file_stem().unwrap_or_default()), &bytes)?;
        }
        let mut rest = bytes.as_slice();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (payload, after) = after.split_at(u32::from_be_bytes(*length) as usize);
            let seeds = kinds.entry(payload[0]).or_default();
            if seeds.len() < SEEDS_PER_KIND && payload.len() < 512 {
                // The first byte tells the target whether it reads inside a stream block.
                seeds.push([&[u8::from(path.to_string_lossy().contains("streamed"))], payload].concat());
            }
            rest = after;
        }
    }
    for (target, seeds) in TEXT_SEEDS {
        let folder = Path::new("fuzz/corpus").join(target);
        fs::create_dir_all(&folder)?;
        for (index, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("{index:02}")), seed)?;
        }
    }
    for (kind, seeds) in kinds {
        for (index, seed) in seeds.iter().enumerate() {
            fs::write(payloads.join(format!("{:02x}-{index}", kind)), seed)?;
        }
    }
    Ok(())
}
