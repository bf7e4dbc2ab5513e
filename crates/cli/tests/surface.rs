//! Help, version, codes, exit codes: what a script relies on.

use std::{io::Read, process::Stdio};

use crate::run::{command, run};

#[test]
fn help_begins_with_examples_and_goes_to_stdout() {
    for (arguments, example) in [
        (vec!["--help"], "antiphon dev"),
        (vec!["tail", "--help"], "antiphon tail --org acme"),
        (vec!["entities", "add", "--help"], "antiphon entities add task"),
        (vec!["init", "--help"], "antiphon init --database-url"),
        (vec!["dev", "--help"], "antiphon dev --data ./dev-data"),
    ] {
        let ran = run(&arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.stderr);
        let example_at = ran.stdout.find(example);
        let usage_at = ran.stdout.find("Usage:");
        assert!(example_at.is_some() && example_at < usage_at, "{arguments:?}: {}", ran.stdout);
    }
}

#[test]
fn a_command_line_that_is_not_understood_exits_with_2() {
    for arguments in [vec!["tial"], vec!["tail", "--nonsense"], vec!["slots"], vec!["dev", "--port", "x"], vec![]] {
        let ran = run(&arguments);
        assert_eq!(ran.code, 2, "{arguments:?}");
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{arguments:?}: {}", ran.stdout);
    }
    let ran = run(&["tial", "--json"]);
    assert_eq!((ran.code, ran.error()["error"]["code"].clone()), (2, "USAGE".into()));
    assert!(run(&["tial"]).stderr.contains("tail"), "a slip finds its command");
}

#[test]
fn version_is_one_document_with_json() {
    let ran = run(&["version", "--json"]);
    assert_eq!(ran.json()["version"], 1);
    assert_eq!(ran.json()["antiphon"], env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["version"]).stdout.trim(), format!("antiphon {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn explain_knows_every_code_and_the_nearest_one_to_a_slip() {
    let all = run(&["explain", "--json"]).json();
    for code in all["codes"].as_array().expect("a list") {
        let name = code["code"].as_str().expect("a code");
        let one = run(&["explain", name, "--json"]);
        assert_eq!((one.code, one.json()["exitCode"].clone()), (0, code["exitCode"].clone()), "{name}");
    }
    let ran = run(&["explain", "SLOT_LOS"]);
    assert_eq!(ran.code, 5);
    assert!(ran.stderr.contains("did you mean SLOT_LOST?"), "{}", ran.stderr);
}

#[test]
fn completions_are_made_for_every_usual_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&["completions", shell]);
        assert!(ran.code == 0 && ran.stdout.contains("antiphon"), "{shell}: {}", ran.stderr);
    }
}

#[test]
fn without_configuration_each_command_says_so_and_exits_with_3() {
    for arguments in [vec!["doctor"], vec!["serve"], vec!["tail"], vec!["slots", "list"], vec!["entities", "list"]] {
        let ran = run(&arguments);
        assert_eq!(ran.code, 3, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("code CONFIG_MISSING"), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("Nothing was changed"), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn an_unreachable_database_exits_with_7_and_names_no_host() {
    let ran = run(&["slots", "list", "--json", "--database-url", "postgres://u:s3cret@127.0.0.1:1/app"]);
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    let error = ran.error();
    assert_eq!(error["error"]["code"], "SOURCE_UNREACHABLE");
    assert!(!ran.stderr.contains("s3cret") && !ran.stderr.contains("127.0.0.1"), "{}", ran.stderr);
    assert!(ran.stdout.is_empty());
}

#[test]
fn what_needs_an_answer_never_asks_without_a_terminal() {
    let ran = run(&["init"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("--database-url"), "{}", ran.stderr);
}

#[test]
fn a_reader_that_goes_away_is_success() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut child = command(folder.path())
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(child.stdout.take());
    let status = child.wait().expect("its end");
    let mut told = String::new();
    child.stderr.take().expect("stderr").read_to_string(&mut told).expect("text");
    assert!(status.success() && told.is_empty(), "{status}: {told}");
}

#[test]
fn reference_pages_name_every_command_and_key() {
    let manual = run(&["help-markdown"]).stdout;
    for command in ["antiphon dev", "antiphon entities add", "antiphon slots advance", "antiphon tokens create"] {
        assert!(manual.contains(&format!("## `{command}`")), "{command}");
    }
    let keys = run(&["config", "reference"]).stdout;
    assert!(keys.contains("`ANTIPHON_DATABASE_LOG_URL`") && keys.contains("| `together` |"), "{keys}");
}
