//! The configuration through the binary: the example file, precedence, secrets, refusals.

use std::fs;

use crate::run::{run, run_in};

#[test]
fn the_example_file_is_a_sound_configuration() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let example = run(&["config", "reference", "--format", "toml"]).stdout;
    fs::write(folder.path().join("antiphon.toml"), &example).expect("written");
    let ran = run_in(folder.path(), &["config", "print", "--json"], &[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let document = ran.json();
    assert_eq!(document["settings"]["database.slot"]["value"], "antiphon");
    assert_eq!(document["entities"]["value"][0]["fields"]["labels"]["merge"], "set");
}

#[test]
fn printed_configuration_shows_origins_and_hides_passwords_se_16() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = "[database]\nurl = \"postgres://me:s3cret@h:5432/app\"\n";
    fs::write(folder.path().join("antiphon.toml"), text).expect("written");
    let variables = [
        ("ANTIPHON_DATABASE_LOG_URL", "postgres://me:s3cret2@h/log?sslpassword=s3cret3"),
        ("ANTIPHON_SERVER_LISTEN", "127.0.0.1:9999"),
    ];
    for arguments in [vec!["config", "print"], vec!["config", "print", "--json"]] {
        let ran = run_in(folder.path(), &arguments, &variables);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(!ran.stdout.contains("s3cret"), "{}", ran.stdout);
        assert!(ran.stdout.contains("antiphon.toml line 2"), "{}", ran.stdout);
        assert!(ran.stdout.contains("environment ANTIPHON_SERVER_LISTEN"), "{}", ran.stdout);
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_name_by_every_command() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("antiphon.toml"), "[database]\nurl = \"postgres://h/d\"\npublicaton = \"x\"\n")
        .expect("written");
    for arguments in [vec!["config", "print", "--json"], vec!["serve", "--json"], vec!["doctor", "--json"]] {
        let ran = run_in(folder.path(), &arguments, &[]);
        assert_eq!(ran.code, 3, "{arguments:?}: {}", ran.stderr);
        let error = ran.error();
        assert_eq!(error["error"]["code"], "CONFIG_UNKNOWN_KEY");
        let detail = error["error"]["detail"].as_str().expect("a detail");
        assert!(detail.contains("line 3") && detail.contains("did you mean publication?"), "{detail}");
    }
}
