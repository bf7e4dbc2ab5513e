//! The dashboard and the alerts in `deploy/` name only metrics and labels that exist.
//!
//! A misspelt name is no error to Prometheus: the alert is silent for ever. What exists is read from the sources, as
//! the names are; labels that a scrape adds are known by name.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use antiphon_model::{Code, SourceState};

use super::{COUNTERS, GAUGES, HISTOGRAMS};

/// Labels of every sample: what the scrape adds, and what the rules themselves set.
const SCRAPED: &[&str] = &["job", "instance"];

/// Each metric's labels, as the sources set them.
fn labels() -> BTreeMap<String, BTreeSet<String>> {
    let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, _) in COUNTERS.iter().chain(GAUGES) {
        labels.insert((*name).to_owned(), BTreeSet::new());
    }
    for (name, ..) in HISTOGRAMS {
        for end in ["bucket", "sum", "count"] {
            labels.insert(format!("{name}_{end}"), BTreeSet::from(["le".to_owned()]));
        }
    }
    labels.insert("up".into(), BTreeSet::new());
    for room in ["engine", "postgres", "store", "connectors", "server"] {
        collect(&root().join("crates").join(room).join("src"), &mut labels);
    }
    labels
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn collect(folder: &Path, into: &mut BTreeMap<String, BTreeSet<String>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            for call in std::fs::read_to_string(&path).unwrap().split("metrics::").skip(1) {
                let Some((_, rest)) = call.split_once("!(\"") else { continue };
                let call = rest.split(';').next().unwrap_or_default();
                let (name, mut call) = call.split_once('"').unwrap_or((call, ""));
                let Some(known) = into.get_mut(name) else { continue };
                while let Some((before, after)) = call.split_once("\" => ") {
                    known.extend(before.rsplit('"').next().map(str::to_owned));
                    call = after;
                }
            }
        }
    }
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// Lists what an expression says wrongly: metrics, labels and values of labels that do not exist.
fn wrong(expression: &str, labels: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let (mut found, mut used) = (Vec::new(), BTreeSet::new());
    let mut rest = expression;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        let end = rest[start..].find(|c| !is_word(c)).map_or(rest.len(), |length| start + length);
        let (name, after) = (&rest[start..end], &rest[end..]);
        rest = after;
        if name != "up" && !["antiphon_", "process_"].iter().any(|begin| name.starts_with(begin)) {
            continue;
        }
        let Some(known) = labels.get(name) else {
            found.push(format!("metric {name}"));
            continue;
        };
        used.extend(known.iter().map(String::as_str));
        let Some((matchers, after)) = after.strip_prefix('{').and_then(|inside| inside.split_once('}')) else {
            continue;
        };
        rest = after;
        for matcher in matchers.split(',').map(str::trim) {
            let (label, value) = matcher.split_at(matcher.find(|c| !is_word(c)).unwrap_or(matcher.len()));
            if !known.contains(label) && !SCRAPED.contains(&label) {
                found.push(format!("label {label} of {name}"));
            }
            for value in value.trim_matches(['=', '~', '!', '"']).split('|') {
                let exists = match label {
                    "state" => SourceState::ALL.iter().any(|state| state.as_str() == value),
                    "code" => Code::ALL.iter().any(|code| code.as_str() == value),
                    _ => true,
                };
                if !exists {
                    found.push(format!("value {value} of {label}"));
                }
            }
        }
    }
    for group in expression.split("by (").skip(1) {
        for label in group.split(')').next().unwrap_or_default().split(',').map(str::trim) {
            if !used.contains(label) && !SCRAPED.contains(&label) {
                found.push(format!("label {label} in by"));
            }
        }
    }
    found
}

#[test]
fn the_dashboard_names_only_what_exists_str_07() {
    let text = std::fs::read_to_string(root().join("deploy/grafana/antiphon.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels share an id");
    let labels = labels();
    let mut shown = String::new();
    for panel in panels {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            assert_eq!(wrong(expression, &labels), Vec::<String>::new(), "{}: {expression}", panel["title"]);
            for label in target["legendFormat"].as_str().unwrap().split("{{").skip(1) {
                let label = label.split("}}").next().unwrap();
                assert!(expression.contains(label) || SCRAPED.contains(&label), "{label} in {}", panel["title"]);
            }
            shown.push_str(expression);
        }
    }
    // What is counted is shown, but for what another panel says too.
    let twice = ["antiphon_ring_activities", "antiphon_capture_streaming"];
    for (name, _) in COUNTERS.iter().chain(GAUGES).filter(|(name, _)| !twice.contains(name)) {
        assert!(shown.contains(name), "{name} is on no panel");
    }
}

#[test]
fn the_alerts_name_only_what_exists_and_each_is_tested_both_ways_str_07() {
    let rules = std::fs::read_to_string(root().join("deploy/prometheus/alerts.yml")).unwrap();
    let cases = std::fs::read_to_string(root().join("deploy/prometheus/alerts_test.yml")).unwrap();
    let labels = labels();
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 15, "{}", alerts.len());
    for alert in alerts {
        let (name, body) = alert.split_once('\n').unwrap();
        let expression = body.split_once("expr: ").unwrap().1.split("\n        labels:").next().unwrap();
        let expression = expression.split("\n        for:").next().unwrap();
        assert_eq!(wrong(expression, &labels), Vec::<String>::new(), "{name}: {expression}");
        for case in ["fires", "is silent"] {
            assert!(cases.contains(&format!("- name: {name} {case}\n")), "no case that {name} {case}");
        }
    }
    for series in cases.split("series: '").skip(1).map(|series| series.split('\'').next().unwrap()) {
        assert_eq!(wrong(series, &labels), Vec::<String>::new(), "{series}");
    }
}

#[test]
fn what_does_not_exist_is_found_str_07() {
    let labels = labels();
    let found = |expression: &str| wrong(expression, &labels);
    assert_eq!(found("rate(antiphon_nothing_total[5m])"), ["metric antiphon_nothing_total"]);
    assert_eq!(found("antiphon_log_flush_seconds"), ["metric antiphon_log_flush_seconds"]);
    assert_eq!(found(r#"antiphon_streams_open{org="a"}"#), ["label org of antiphon_streams_open"]);
    assert_eq!(found(r#"antiphon_capture_state{state=~"paused|held"}"#), ["value held of state"]);
    assert_eq!(found("sum by (code) (antiphon_mutations_total)"), ["label code in by"]);
    assert_eq!(found(r#"sum by (le) (rate(antiphon_log_flush_seconds_bucket{job="a"}[5m]))"#), [""; 0]);
}
