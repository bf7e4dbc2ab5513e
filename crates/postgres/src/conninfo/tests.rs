//! What connection texts mean, and that none shows its secret.

use super::*;

#[test]
fn both_spellings_mean_the_same() {
    let url = "postgresql://an%40n:p%3Aw%2F@db.example:6432/my%20db?sslmode=verify-full&application_name=x";
    let pairs =
        r"host=db.example port = 6432 user='an@n' password=p:w/ dbname='my db' sslmode=verify-full application_name=x";
    let info = ConnectionInfo::parse(url).unwrap();
    assert_eq!(info, ConnectionInfo::parse(pairs).unwrap());
    assert_eq!(info.hosts, [(Host::Tcp("db.example".into()), 6432)]);
    assert_eq!((info.user(), info.database(), info.ssl_mode()), ("an@n", "my db", SslMode::VerifyFull));
    assert_eq!(info.password.as_ref().unwrap().reveal(), "p:w/");
}

#[test]
fn hosts_ports_and_sockets() {
    let tcp = |host: &str, port| (Host::Tcp(host.into()), port);
    let socket = |path: &str, port| (Host::Unix(path.into()), port);
    for (text, hosts) in [
        ("postgres://u@", vec![tcp("localhost", 5432)]),
        ("postgres://u@a,b:1/d", vec![tcp("a", 5432), tcp("b", 1)]),
        ("postgres://u@[::1]:7/d", vec![tcp("::1", 7)]),
        ("postgres://u@%2Frun%2Fpg/d", vec![socket("/run/pg", 5432)]),
        ("postgres:///d?user=u&host=/run/pg&port=9", vec![socket("/run/pg", 9)]),
        ("user=u host=a,b port=3", vec![tcp("a", 3), tcp("b", 3)]),
    ] {
        assert_eq!(ConnectionInfo::parse(text).unwrap().hosts, hosts, "{text}");
    }
}

#[test]
fn what_is_not_known_is_refused_by_its_name() {
    for (text, named) in [
        ("postgres://u@h/d?sslmod=require", "sslmod"),
        ("postgres://u@h/d?sslmode=on", "sslmode"),
        ("postgres://u@h:0/d", "port"),
        ("postgres://u@h:1,i:2,j/d?port=1,2", "port"),
        ("postgres://h/d", "user"),
        ("postgres://u@h/d?connect_timeout=soon", "connect_timeout"),
        ("postgres://u@h/d?sslcert=/a", "sslkey"),
        ("postgres://u@h/d?sslrootcert=system", "verify-full"),
        ("postgres://u%zz@h/d", "user"),
        ("mysql://u@h/d", "postgres://"),
        ("user='u", "quote"),
    ] {
        let fault = ConnectionInfo::parse(text).unwrap_err();
        assert_eq!(fault.code(), Code::ConfigInvalid);
        assert!(fault.detail().contains(named), "{text}: {fault}");
    }
}

#[test]
fn no_spelling_of_a_connection_shows_its_password() {
    let info = ConnectionInfo::parse("postgres://u:hush@h,i:2/d").unwrap();
    assert_eq!(info.to_string(), "postgres://u@h:5432,i:2/d");
    assert!(!format!("{info:?}").contains("hush"));
    for text in ["postgres://u:hush%zz@h/d", "postgres://u:hush@h:0/d", "user=u password='hush"] {
        assert!(!ConnectionInfo::parse(text).unwrap_err().chain().contains("hush"), "{text}");
    }
}

#[test]
fn another_database_of_the_same_server() {
    let info = ConnectionInfo::parse("postgres://u:p@h/d").unwrap().with_database("log");
    assert_eq!(info.to_string(), "postgres://u@h:5432/log");
    assert!(info.password.is_some());
}
