//! `antiphon completions SHELL`: a completion script on stdout.
//!
//! It is made from the very definition that parses the command line, so it cannot name what does not exist. It never
//! writes to a shell's own files: where the script goes is the person's decision.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{arguments::Arguments, fault::Stop};

/// The arguments of `completions`.
#[derive(Debug, Args)]
#[command(before_help = "Example:\n  antiphon completions bash > ~/.local/share/bash-completion/completions/antiphon")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: CompletionsArgs) -> Result<(), Stop> {
    // Through a buffer: the generator panics where a reader goes away.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "antiphon", &mut script);
    std::io::Write::write_all(&mut std::io::stdout().lock(), &script)?;
    Ok(())
}
