//! Asking the person: only at a terminal; everywhere else the answer must have come as a flag.
//!
//! A script that would have to answer must fail at once and name the flag, never hang. With `--json` nothing is asked
//! either.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::{
    context::Context,
    fault::{Stop, usage},
    output::neutral,
};

/// Tells whether there is somebody to ask.
pub(crate) fn possible(context: &Context) -> bool {
    !context.out.json() && io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for yes or no; `flag` names what answers it without a terminal.
pub(crate) async fn confirm(context: &Context, question: &str, flag: &str) -> Result<(), Stop> {
    let answer = text(context, &format!("{question} [y/N]"), flag).await?;
    if matches!(answer.to_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    context.out.talk("nothing was changed");
    Err(Stop::Told(1))
}

/// Asks for a line of text.
pub(crate) async fn text(context: &Context, question: &str, flag: &str) -> Result<String, Stop> {
    if !possible(context) {
        return Err(usage(format!("there is no terminal to ask on: give {flag}")));
    }
    let question = neutral(question).into_owned();
    // On a thread of its own, so that the interrupt key still ends the command.
    let read = tokio::task::spawn_blocking(move || -> io::Result<String> {
        let mut stderr = io::stderr().lock();
        write!(stderr, "{question} ")?;
        stderr.flush()?;
        drop(stderr);
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        Ok(line.trim().to_owned())
    });
    match read.await {
        Ok(line) => Ok(line?),
        Err(_) => Err(Stop::Told(130)),
    }
}
