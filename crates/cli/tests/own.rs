//! An own database and the folder in which a person works with it through the binary.

use std::{path::Path, time::Duration};

use antiphon_testkit::{Pg, Process, Signal, TestDb};
use serde_json::Value;

use crate::run::{Ran, command, run_in};

pub(crate) const SOON: Duration = Duration::from_secs(30);
const TABLE: &str = "create table invoices (id int8 primary key, tenant_id text, customer text);
    insert into invoices values (1, 'north', 'Ada'), (2, 'north', 'Ben'), (3, 'south', 'Cyd')";

/// The database, the folder, and what the environment says.
pub(crate) struct Own {
    pub(crate) database: TestDb,
    folder: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Own {
    pub(crate) async fn new(pg: &Pg, hint: &str) -> Own {
        let database = pg.database(hint).await;
        database.connect().await.batch_execute(TABLE).await.expect("the table");
        let variables = vec![
            ("ANTIPHON_DATABASE_SLOT", database.slot()),
            ("ANTIPHON_DATABASE_PUBLICATION", database.publication()),
        ];
        Own { database, folder: tempfile::tempdir().expect("a folder"), variables }
    }

    /// Sets a variable for every run from now on.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value.to_owned()));
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        let (folder, variables) = (self.path().to_owned(), self.variables.clone());
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let run = move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
            run_in(&folder, &arguments, &variables)
        };
        tokio::task::spawn_blocking(run).await.expect("the run")
    }

    /// Runs what must succeed, and returns its document.
    pub(crate) async fn good(&self, arguments: &[&str]) -> Value {
        let ran = self.run(&[arguments, &["--json"]].concat()).await;
        assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        ran.json()
    }

    pub(crate) async fn init(&self) -> Ran {
        let (url, log_url) = (self.database.url(), self.database.log_url());
        let connection = ["--database-url", &url, "--log-url", &log_url];
        let choice = ["--table", "public.invoices", "--org", "tenant_id", "--yes", "--json"];
        self.run(&[&["init"][..], &connection, &choice].concat()).await
    }

    /// Starts the server, and returns its address once it answers.
    pub(crate) async fn serving(&self) -> (Process, String) {
        let mut serve = command(self.path());
        serve.args(["serve", "--json", "--listen", "127.0.0.1:0"]);
        serve.envs(self.variables.iter().map(|(name, value)| (*name, value.as_str())));
        let mut serve = Process::start(serve.into()).expect("serve runs");
        let line = serve.wait_for_line(|line| line.starts_with("{\"version\""), SOON).await.expect("the address");
        let line: Value = serde_json::from_str(&line).expect("JSON");
        (serve, line["api"].as_str().expect("an address").to_owned())
    }

    /// Waits until so many types are copied and streamed.
    pub(crate) async fn copied(&self, types: i64) {
        let log = self.database.connect_log().await;
        let deadline = tokio::time::Instant::now() + SOON;
        let sql = "select count(*) from log.snapshots where complete";
        while log.query_one(sql, &[]).await.expect("the log").get::<_, i64>(0) < types {
            assert!(tokio::time::Instant::now() < deadline, "{types} copies are not complete in time");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Ends a server in good order.
pub(crate) async fn end(mut serve: Process) {
    serve.signal(Signal::Term).expect("SIGTERM");
    assert!(serve.wait(SOON).await.expect("its end").success(), "{}", serve.lines().join("\n"));
}
