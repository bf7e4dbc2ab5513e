//! The one binary `antiphon`: reads the command line, runs one command, turns its end into an exit code.
//!
//! Laws: data goes to stdout and talk to stderr; every fault is told once, in three parts or as one JSON line; the
//! exit code comes from one table. It imports the server's façade and the model, nothing below them.

mod arguments;
mod commands;
mod context;
mod dev_state;
mod environment;
mod fault;
mod nearest;
mod output;
mod reference;
mod settings;

use std::process::ExitCode;

use antiphon_model::Code;
use antiphon_server::admin::Fault;
use clap::{Parser, error::ErrorKind};

use crate::{
    arguments::Arguments,
    context::Context,
    environment::Environment,
    fault::{Stop, exit_code},
    output::Output,
};

fn main() -> ExitCode {
    let environment = Environment::of_process();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return ExitCode::from(refuse(&error, &environment)),
    };
    let output = Output::new(arguments.global.json, &environment);
    let context = Context::new(output.clone(), environment, arguments.global);
    context.start_log(arguments.command.usual_log());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output.fault(&Fault::new(Code::Internal, "no threads could be started").with_source(error));
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(commands::run(&context, arguments.command));
    // A reader of stdin or a blocking call of a stopped command must not hold the process.
    runtime.shutdown_background();
    match ended {
        Ok(()) | Err(Stop::BrokenPipe) => ExitCode::SUCCESS,
        Err(Stop::Told(code)) => ExitCode::from(code),
        Err(Stop::Fault(fault)) => {
            output.fault(&fault);
            tracing::debug!(error = %fault.chain(), "the command failed");
            ExitCode::from(exit_code(fault.code()))
        }
    }
}

/// Tells why the command line was not understood; help and version are no refusals.
fn refuse(error: &clap::Error, environment: &Environment) -> u8 {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let json = std::env::args_os().any(|argument| argument == "--json");
    if json && !asked {
        let text = error.to_string();
        let detail = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Output::new(true, environment).fault(&Fault::new(Code::Usage, detail));
    } else if error.print().is_err() && !asked {
        // There is nobody to tell; the exit code does.
        return exit_code(Code::Usage);
    }
    if asked { 0 } else { exit_code(Code::Usage) }
}
