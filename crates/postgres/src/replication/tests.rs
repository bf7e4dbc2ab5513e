//! Logins and TLS of both kinds of connection, against real servers: what is accepted and what is refused, and why.

use std::{path::Path, process::Command};

use antiphon_testkit::{Pg, PgVersion};
use tempfile::TempDir;

use super::*;
use crate::connect::connect_sql;

/// Certificates made for one test: two authorities, and a server named `localhost`.
struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn make() -> Certificates {
        let made = Certificates { folder: tempfile::tempdir().unwrap() };
        for (name, subject) in [("ca", "/CN=test authority"), ("other", "/CN=other authority")] {
            made.openssl(
                &format!("req -x509 -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.pem -days 30 -subj"),
                &[subject],
            );
        }
        made.openssl("req -new -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj", &["/CN=localhost"]);
        let extensions = "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n";
        std::fs::write(made.folder.path().join("san"), extensions).unwrap();
        // SHA-384, so that the hash of the binding is not the one that everybody uses.
        let sign = "x509 -req -sha384 -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile san -out";
        made.openssl(&format!("{sign} server.pem -days 30"), &[]);
        made
    }

    fn openssl(&self, arguments: &str, last: &[&str]) {
        let mut command = Command::new("openssl");
        let output = command.args(arguments.split(' ')).args(last).current_dir(self.folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

/// A cluster with TLS where it is asked for, and one role for each kind of login.
async fn cluster(version: PgVersion, certificates: Option<&Certificates>) -> Option<Pg> {
    let pg = Pg::private(version, &[]).await?;
    let admin = pg.admin().await;
    let roles = "create role scram superuser login password 'right';
        create role tls superuser login password 'right';
        create role clear superuser login password 'right';
        set password_encryption = 'md5'; create role old superuser login password 'right'";
    admin.batch_execute(roles).await.unwrap();
    let setting = "select current_setting('data_directory'), current_setting('hba_file')";
    let row = admin.query_one(setting, &[]).await.unwrap();
    let (data, rules): (String, String) = (row.get(0), row.get(1));
    std::fs::write(
        rules,
        "host all postgres 127.0.0.1/32 trust
         host all old 127.0.0.1/32 md5
         host all clear 127.0.0.1/32 password
         hostnossl all tls 127.0.0.1/32 reject
         host all all 127.0.0.1/32 scram-sha-256",
    )
    .unwrap();
    if let Some(certificates) = certificates {
        for name in ["server.pem", "server.key"] {
            let to = Path::new(&data).join(name);
            std::fs::copy(certificates.path(name), &to).unwrap();
            own_like(Path::new(&data), &to);
        }
        pg.set("ssl", "on");
        pg.set("ssl_cert_file", "server.pem");
        pg.set("ssl_key_file", "server.key");
    }
    drop(admin);
    pg.restart().await;
    Some(pg)
}

/// The server insists that its key is its own user's alone.
fn own_like(folder: &Path, file: &Path) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let owner = std::fs::metadata(folder).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(file, Some(owner.uid()), Some(owner.gid())).unwrap();
}

/// Logs in both ways, expects the same answer of both, and returns its code and detail.
async fn outcome(pg: &Pg, login: &str, host: &str, parameters: &str) -> Option<(Code, String)> {
    let text = format!("postgres://{login}@{host}:{}/postgres?{parameters}", pg.port());
    let info = ConnectionInfo::parse(&text).unwrap();
    let sql = connect_sql(&info, "test").await.map(drop);
    let replication = match ReplicationConnection::connect(&info, "test", &[]).await {
        Ok(mut connection) => connection.query("IDENTIFY_SYSTEM").await.map(|rows| assert_eq!(rows.len(), 1)),
        Err(fault) => Err(fault),
    };
    let codes = [&sql, &replication].map(|result| result.as_ref().err().map(Fault::code));
    assert_eq!(codes[0], codes[1], "{text}: {sql:?} and {replication:?}");
    for fault in
        [sql.err(), replication.as_ref().err().map(|fault| Fault::new(fault.code(), fault.detail().to_owned()))]
            .into_iter()
            .flatten()
    {
        assert!(!fault.to_string().contains("right") && !fault.to_string().contains("127.0.0.1"), "{fault}");
    }
    replication.err().map(|fault| (fault.code(), fault.detail().to_owned()))
}

async fn accepted(pg: &Pg, login: &str, host: &str, parameters: &str) {
    assert_eq!(outcome(pg, login, host, parameters).await, None, "{login} {host} {parameters}");
}

async fn refused(pg: &Pg, login: &str, host: &str, parameters: &str) -> (Code, String) {
    let refusal = outcome(pg, login, host, parameters).await;
    refusal.unwrap_or_else(|| panic!("{login} {host} {parameters} was accepted"))
}

const LOCAL: &str = "127.0.0.1";

#[tokio::test(flavor = "multi_thread")]
async fn logins_without_tls_pg_98_pg_99() {
    for version in PgVersion::tested() {
        let Some(pg) = cluster(version, None).await else { continue };
        accepted(&pg, "scram:right", LOCAL, "").await;
        accepted(&pg, "old:right", LOCAL, "sslmode=disable").await;
        for (login, parameters) in [
            ("scram:wrong", ""),
            ("scram", ""),
            ("old:wrong", "sslmode=disable"),
            ("nobody:right", ""),
            ("tls:right", "sslmode=disable"),
            ("scram:right", "channel_binding=require"),
            ("postgres", "channel_binding=require"),
        ] {
            assert_eq!(refused(&pg, login, LOCAL, parameters).await.0, Code::AuthFailed, "{login} {parameters}");
        }
        let (code, detail) = refused(&pg, "scram:right", LOCAL, "sslmode=require").await;
        assert_eq!((code, detail.as_str()), (Code::TlsFailed, "the server does not offer TLS"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_in_the_clear_needs_tls_on_the_replication_connection_pg_98() {
    let certificates = Certificates::make();
    let Some(pg) = cluster(PgVersion::V15, Some(&certificates)).await else { return };
    let info = |mode: &str| {
        let text = format!("postgres://clear:right@127.0.0.1:{}/postgres?sslmode={mode}", pg.port());
        ConnectionInfo::parse(&text).unwrap()
    };
    let clear = ReplicationConnection::connect(&info("disable"), "test", &[]).await;
    assert_eq!(clear.err().map(|fault| fault.code()), Some(Code::AuthFailed));
    assert!(ReplicationConnection::connect(&info("require"), "test", &[]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_modes_check_what_they_say_pg_98() {
    let certificates = Certificates::make();
    let (ca, other) = (certificates.path("ca.pem"), certificates.path("other.pem"));
    let own = certificates.path("server.pem");
    // The build of 18 that tests use has no TLS; its protocol is the same.
    let Some(pg) = cluster(PgVersion::V15, Some(&certificates)).await else { return };
    for parameters in ["sslmode=prefer", "sslmode=require", "sslmode=require&channel_binding=require"] {
        accepted(&pg, "tls:right", LOCAL, parameters).await;
    }
    accepted(&pg, "tls:right", "localhost", &format!("sslmode=verify-full&sslrootcert={ca}")).await;
    accepted(&pg, "tls:right", LOCAL, &format!("sslmode=verify-ca&sslrootcert={ca}&channel_binding=require")).await;
    accepted(&pg, "tls:right", "localhost", &format!("sslmode=verify-full&sslrootcert={own}")).await;
    for (host, parameters, cause) in [
        (LOCAL, format!("sslmode=verify-full&sslrootcert={ca}"), "another host"),
        ("localhost", format!("sslmode=verify-full&sslrootcert={other}"), "authority"),
        (LOCAL, format!("sslmode=verify-ca&sslrootcert={other}"), "authority"),
        (LOCAL, format!("sslmode=require&sslrootcert={other}"), "authority"),
        (LOCAL, "sslmode=verify-ca".to_owned(), ""),
        (LOCAL, "sslmode=verify-ca&sslrootcert=/nowhere".to_owned(), "cannot be read"),
    ] {
        let (code, detail) = refused(&pg, "tls:right", host, &parameters).await;
        assert_eq!(code, Code::TlsFailed, "{parameters}");
        assert!(detail.contains(cause), "{parameters}: {detail}");
    }
    assert_eq!(refused(&pg, "tls:wrong", LOCAL, "sslmode=require").await.0, Code::AuthFailed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_not_answer_gives_way_to_the_next_pg_33() {
    let Some(pg) = Pg::shared(PgVersion::V15).await else { return };
    let port = pg.port();
    // Nothing listens at port 1.
    let text = format!("postgres://postgres@127.0.0.1:1,127.0.0.1:{port}/postgres?target_session_attrs=read-write");
    let info = ConnectionInfo::parse(&text).unwrap();
    assert!(ReplicationConnection::connect(&info, "test", &[]).await.is_ok());
    assert!(connect_sql(&info, "test").await.is_ok());
    let nobody = ConnectionInfo::parse("postgres://postgres@127.0.0.1:1/postgres").unwrap();
    for refused in [
        ReplicationConnection::connect(&nobody, "test", &[]).await.map(drop),
        connect_sql(&nobody, "test").await.map(drop),
    ] {
        let fault = refused.unwrap_err();
        assert_eq!((fault.code(), fault.detail()), (Code::SourceUnreachable, "nothing listens at the port"));
    }
}
