//! The workload that everyone knows: pgbench's tables and transactions, by the program itself.
//!
//! Servers without the program are driven by that of another version, which speaks to them all the same.

use std::{path::PathBuf, process::Command, time::Duration};

use antiphon_testkit::{PgVersion, Process};
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::scene::Scene;

/// Its tables as entity types.
pub const ENTITIES: &[(&str, &str, &str)] = &[
    ("branch", "public.pgbench_branches", "*"),
    ("teller", "public.pgbench_tellers", "*"),
    ("account", "public.pgbench_accounts", "*"),
    ("history", "public.pgbench_history", "*"),
];

fn program(scene: &Scene) -> PathBuf {
    let own = scene.pg.program("pgbench");
    let others =
        PgVersion::ALL.iter().filter_map(|version| version.installation()).map(|found| found.program("pgbench"));
    std::iter::once(own).chain(others).find(|path| path.exists()).expect("a pgbench of any version")
}

fn run(scene: &Scene, url: &str, arguments: &[&str]) {
    let output = Command::new(program(scene)).args(arguments).arg(url).output().expect("pgbench runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes and fills the tables of the source; of its hundred thousand accounts so many stay.
///
/// A transaction on an account that is gone changes branch, teller and history all the same.
pub async fn fill(scene: &Scene, accounts: u64) {
    run(scene, &scene.source.url(), &["-i", "-q", "-s", "1"]);
    let less = format!("delete from pgbench_accounts where aid > {accounts}");
    scene.source.connect().await.batch_execute(&less).await.expect("accounts are closed");
}

/// Gives the history a key: without one no reader can tell its rows apart.
pub async fn give_key(client: &Client) {
    let sql = "alter table pgbench_history add column hid bigserial primary key";
    client.batch_execute(sql).await.expect("the history gets a key");
}

/// Makes the same tables, empty, in the replica.
pub async fn prepare_replica(scene: &Scene) {
    run(scene, &scene.replica.url(), &["-i", "-q", "-I", "tp"]);
    give_key(&scene.replica.connect().await).await;
}

/// A run of transactions.
pub struct Bench {
    process: Process,
    began: Instant,
    transactions: u64,
}

/// Starts so many transactions, or as many as fit into the time.
pub fn start(scene: &Scene, transactions: u64, limit: Duration) -> Bench {
    const CLIENTS: u64 = 4;
    let each = transactions.div_ceil(CLIENTS).to_string();
    let mut command = tokio::process::Command::new("timeout");
    command.args(["-s", "INT", &limit.as_secs().max(1).to_string()]).arg(program(scene));
    command.args(["-n", "-M", "prepared", "-c", "4", "-j", "1", "-P", "5", "-t", &each]).arg(scene.source.url());
    let process = Process::start(command).expect("pgbench starts");
    Bench { process, began: Instant::now(), transactions: each.parse::<u64>().expect("a number") * CLIENTS }
}

impl Bench {
    /// Tells whether it is over.
    pub fn ended(&mut self) -> bool {
        // A child that was waited for has no number any more.
        let over = self.process.pid().is_none_or(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
        });
        over || self.process.lines().iter().any(|line| line.starts_with("tps = "))
    }

    /// Waits for its end and says what was done.
    pub async fn finish(mut self) -> String {
        self.process.wait(Duration::from_secs(60)).await.expect("pgbench ends");
        let lines = self.process.lines();
        let done = lines.iter().find(|line| line.starts_with("number of transactions actually processed"));
        let tps = lines.iter().find(|line| line.starts_with("tps = "));
        let took = self.began.elapsed().as_secs_f64();
        match (done, tps) {
            (Some(done), Some(tps)) => format!("pgbench: {done}, {tps}"),
            _ => format!("pgbench: of {} transactions as many as {took:.0} s gave", self.transactions),
        }
    }
}
