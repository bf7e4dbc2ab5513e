//! The guides are true: every `sh` block is run against `antiphon dev`, and prints what the `text` block below it says.

use std::{path::Path, process::Stdio};

use antiphon_testkit::skipped;

use crate::dev::Dev;

/// Commands, and the lines that they print.
type Block = (String, Vec<String>);

/// Reads the pairs of a page; a block of commands without a `text` block prints whatever it likes.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open: Option<(&str, Vec<&str>)> = None;
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(kind @ ("sh" | "text"))) => open = Some((kind, Vec::new())),
            (Some((kind, lines)), Some("")) => {
                match (*kind, blocks.last_mut()) {
                    ("text", Some((_, expected))) => expected.extend(lines.iter().map(|line| (*line).to_owned())),
                    _ => blocks.push((lines.join("\n"), Vec::new())),
                }
                open = None;
            }
            (Some((_, lines)), _) => lines.push(line),
            (None, _) => {}
        }
    }
    blocks
}

/// Tells whether a line is as expected; `…` stands for anything.
fn fits(line: &str, expected: &str) -> bool {
    let mut parts = expected.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let mut whole = true;
    for part in parts {
        let Some(at) = rest.rfind(part) else { return false };
        rest = &rest[at + part.len()..];
        whole = part.is_empty() || rest.is_empty();
    }
    whole && (expected.contains('…') || rest.is_empty())
}

/// Runs a page from top to bottom against a demonstration of its own.
async fn walk(page: &str, tools: &[&str], blocks_min: usize) {
    for tool in tools {
        let mut version = std::process::Command::new(tool);
        if version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            skipped(tool);
            return;
        }
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide").join(page);
    let blocks = blocks(&std::fs::read_to_string(page).expect("the guide"));
    assert!(blocks.len() >= blocks_min, "{}", blocks.len());
    let Some(dev) = Dev::start(None, &[]).await else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let script: Vec<String> =
        blocks.iter().enumerate().map(|(index, (commands, _))| format!("echo '== {index}'\n{commands}")).collect();
    let ours = Path::new(env!("CARGO_BIN_EXE_antiphon")).parent().expect("its folder");
    let output = std::process::Command::new("bash")
        .args(["-c", &script.join("\n")])
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .env("PATH", format!("{}:{}", ours.display(), std::env::var("PATH").unwrap_or_default()))
        .env("API", dev.url(""))
        .env("ALICE", dev.token("alice"))
        .env("BOB", dev.token("bob"))
        .output()
        .expect("bash runs");
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let mut printed: Vec<Vec<&str>> = Vec::new();
    for line in out.lines() {
        match (line.strip_prefix("== "), printed.last_mut()) {
            (Some(_), _) => printed.push(Vec::new()),
            (None, Some(block)) => block.push(line),
            (None, None) => {}
        }
    }
    for ((commands, expected), printed) in blocks.iter().zip(&printed) {
        let same =
            printed.len() == expected.len() && printed.iter().zip(expected).all(|(line, wanted)| fits(line, wanted));
        assert!(same, "{commands}\nprinted {printed:#?}\ninstead of {expected:#?}\n{errors}");
    }
    assert_eq!(printed.len(), blocks.len(), "{errors}");
    dev.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_to_call_and_response_prints_what_it_says() {
    walk("call-and-response.md", &["bash", "curl", "node"], 9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_to_working_offline_prints_what_it_says() {
    walk("offline.md", &["bash"], 9).await;
}
