//! Reference pages that the binary prints about itself, so that they cannot differ from it.
//!
//! They are made from the definitions that parse the command line, read the configuration and describe the API; the
//! documentation keeps what is printed here, and a check compares the two.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory};

use crate::{
    arguments::Arguments,
    settings::{ENTITY_KEYS, KEYS, Key, MIRROR_KEYS},
};

const EXAMPLE_ENTITIES: &str = r#"[[entities]]
type = "task"
table = "public.tasks"
org = "organization_id"           # a column of the table that holds the organisation's id
key = ["id"]                      # defaults to the primary key
tx = "tx"                         # name of the metadata column
hidden = ["search_vector"]        # columns that never leave the server
sync = "all"                      # or "on_demand": clients keep only the subsets that they ask for
filter = ["page_id", "status"]    # indexed columns that lists may filter and order by
together = [["starts_at", "ends_at"]]
[entities.refs]
page_id = "page"
[entities.fields]
title = { merge = "manual" }      # lww (default) | manual | text | counter | set
labels = { merge = "set" }

[[entities]]
type = "page"
table = "public.pages"
org = "organization_id"

# [[mirrors]]
# name = "reports"
# url_env = "REPORTS_DATABASE_URL"   # or url = "postgres://..."
"#;

/// Returns the OpenAPI document.
pub(crate) fn openapi() -> String {
    antiphon_server::admin::openapi()
}

/// Returns the manual of every command as Markdown.
pub(crate) fn commands() -> String {
    let mut page =
        String::from("# Command line\n\nGenerated from the binary; `antiphon <command> --help` shows the same.\n");
    let root = Arguments::command();
    for command in root.get_subcommands().filter(|command| !command.is_hide_set()) {
        section(&mut page, command, "antiphon");
    }
    write_line(&mut page, "\n## Options of every command\n");
    for argument in root.get_arguments() {
        option(&mut page, argument);
    }
    write_line(&mut page, "\n## Exit codes\n");
    write_line(&mut page, "| code | meaning |\n|---|---|");
    for (code, meaning) in [
        (0, "done; also when the reader of the output went away"),
        (1, "failed"),
        (2, "usage"),
        (3, "configuration"),
        (4, "not permitted"),
        (5, "not found"),
        (6, "conflict"),
        (7, "unavailable"),
        (130, "interrupted"),
    ] {
        write_line(&mut page, &format!("| {code} | {meaning} |"));
    }
    page
}

fn section(page: &mut String, command: &Command, path: &str) {
    let path = format!("{path} {}", command.get_name());
    let has_children = command.get_subcommands().any(|child| !child.is_hide_set());
    if has_children {
        for child in command.get_subcommands().filter(|child| !child.is_hide_set()) {
            section(page, child, &path);
        }
        return;
    }
    write_line(page, &format!("\n## `{path}`\n"));
    if let Some(about) = command.get_about() {
        write_line(page, &format!("{about}.\n"));
    }
    if let Some(examples) = command.get_before_help() {
        let text = examples.to_string();
        let lines: Vec<&str> = text.lines().skip(1).map(str::trim).collect();
        write_line(page, &format!("```sh\n{}\n```\n", lines.join("\n")));
    }
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        option(page, argument);
    }
}

fn option(page: &mut String, argument: &Arg) {
    let values: Vec<String> =
        argument.get_value_names().unwrap_or_default().iter().map(|name| format!("<{name}>")).collect();
    let takes_value = argument.get_action().takes_values();
    let name = match argument.get_long() {
        Some(long) if takes_value => format!("--{long} {}", values.join(" ")),
        Some(long) => format!("--{long}"),
        None => values.join(" "),
    };
    if matches!(argument.get_long(), Some("help" | "version")) {
        return;
    }
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let defaults: Vec<String> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let default = if defaults.is_empty() || !takes_value {
        String::new()
    } else {
        format!(" (default: `{}`)", defaults.join(" "))
    };
    write_line(page, &format!("- `{name}`: {help}{default}"));
}

/// Returns the reference of every configuration key as Markdown.
pub(crate) fn configuration() -> String {
    let mut page = String::from(
        "# Configuration\n\nGenerated from the binary. Values come from defaults, then `antiphon.toml` (or `--config FILE`), then the \
         environment, then flags; `antiphon config print` shows the result with the origin of each value. Unknown keys are \
         refused with the nearest known name.\n\n| key | environment | default | meaning |\n|---|---|---|---|\n",
    );
    for key in &KEYS {
        let default = key.default.map_or_else(|| "-".to_owned(), |default| format!("`{default}`"));
        write_line(
            &mut page,
            &format!("| `{}` | `{}` | {default} | {} |", key.full_name(), key.variable(), key.meaning),
        );
    }
    write_line(
        &mut page,
        "\n## Entities\n\nOne `[[entities]]` section for each entity type; `ANTIPHON_ENTITIES` takes the same as a TOML list of tables.\n",
    );
    write_line(&mut page, "| key | meaning |\n|---|---|");
    for (name, meaning) in ENTITY_KEYS {
        write_line(&mut page, &format!("| `{name}` | {meaning} |"));
    }
    write_line(
        &mut page,
        "\n## Mirrors\n\nOne `[[mirrors]]` section for each [mirror in another Postgres](../operate/mirror.md); `ANTIPHON_MIRRORS` takes the same as a TOML list of tables.\n",
    );
    write_line(&mut page, "| key | meaning |\n|---|---|");
    for (name, meaning) in MIRROR_KEYS {
        write_line(&mut page, &format!("| `{name}` | {meaning} |"));
    }
    write_line(&mut page, "\n## Other environment variables\n\n| variable | meaning |\n|---|---|");
    for (name, meaning) in [
        ("ANTIPHON_CONFIG", "the configuration file, like `--config`"),
        ("ANTIPHON_LOG", "what is logged to stderr, such as `info` or `antiphon_engine=debug`; `warn` without it"),
        ("ANTIPHON_POSTGRES_BIN", "the folder of Postgres's programs for `antiphon dev`"),
        ("ANTIPHON_CACHE", "our cache folder; `~/.cache/antiphon` without it"),
        ("ANTIPHON_SYNC_URL", "the server of `antiphon sync`, like `--url`"),
        ("ANTIPHON_SYNC_TOKEN", "the token of `antiphon sync`, like `--token`"),
        ("ANTIPHON_SYNC_ORG", "the organisation of `antiphon sync`, like `--org`"),
        ("ANTIPHON_SYNC_USER", "whose replica it is, like `--user`"),
        ("ANTIPHON_SYNC_FILE", "the replica's file, like `--file`"),
        ("NO_COLOR", "no colours"),
    ] {
        write_line(&mut page, &format!("| `{name}` | {meaning} |"));
    }
    write_line(&mut page, &format!("\n## Example\n\n```toml\n{}```", example()));
    page
}

/// Returns an example file that names every key.
pub(crate) fn example() -> String {
    let mut file = String::new();
    let mut section = "";
    for key in &KEYS {
        if key.section != section {
            section = key.section;
            write_line(&mut file, &format!("[{section}]"));
        }
        write_line(&mut file, &format!("# {}", key.meaning));
        write_line(&mut file, &example_line(key));
        write_line(&mut file, "");
    }
    file.push_str(EXAMPLE_ENTITIES);
    file
}

fn example_line(key: &Key) -> String {
    match key.default {
        Some(default) if key.is_count() => format!("{} = {default}", key.name),
        Some(default) => format!("{} = \"{default}\"", key.name),
        None if key.name == "url" => "url = \"postgres://user:password@localhost:5432/app\"".to_owned(),
        None if key.is_list() => format!("# {} = [\"...\"]", key.name),
        None => format!("# {} = \"...\"", key.name),
    }
}

fn write_line(out: &mut String, line: &str) {
    // Writing to a String cannot fail.
    writeln!(out, "{line}").unwrap_or_default();
}
