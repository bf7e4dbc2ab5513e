//! Every conformance vector is what the machine answers, through the face that bindings call (CORE-01..18).
//!
//! Bindings replay the same files against their own builds; a difference here is a change of behaviour that
//! `cargo xtask gen` writes down and a person reviews.

use std::{collections::BTreeSet, fs, path::Path};

use antiphon_sync::client::{Face, Vector};

fn files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<(String, String)> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn every_vector_is_what_the_machine_answers_core_01_to_18() {
    let files = files();
    assert!(files.len() >= 12, "one file a theme: {}", files.len());
    for (name, text) in files {
        let vector = Vector::read(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let filled = vector.clone().filled();
        for (was, is) in vector.scenarios.iter().zip(&filled.scenarios) {
            for (number, (was, is)) in was.steps.iter().zip(&is.steps).enumerate() {
                let claim = format!("{name}: step {number} {}", was.call);
                assert_eq!(was.expect, is.expect, "{claim}: run `cargo xtask gen` and review what changed");
                assert!(is.expect.get("error").is_none() || name == "face", "{claim} is understood");
            }
        }
        assert_eq!(text, filled.write(), "{name} is as it would be written");
    }
}

#[test]
fn the_vectors_ask_for_everything_that_a_binding_may_say_core_01_to_18() {
    let mut said = BTreeSet::new();
    for (_, text) in files() {
        let vector = Vector::read(&text).unwrap();
        let scenarios = vector.scenarios.iter().flat_map(|scenario| &scenario.steps);
        said.extend(
            vector.begin.iter().chain(scenarios).filter_map(|step| step.call["do"].as_str().map(str::to_owned)),
        );
    }
    // The face itself names them where it is asked for what it does not know.
    let complaint = Face::default().call(r#"{ "do": "nothing that is known" }"#);
    let names: Vec<&str> = complaint.split('`').skip(3).step_by(2).collect();
    assert!(names.len() > 25, "{complaint}");
    for verb in names {
        assert!(said.contains(verb), "no vector says `{verb}`");
    }
}
