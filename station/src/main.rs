// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program `weir`. It wires the rooms of the station; what they do is theirs.
#![forbid(unsafe_code)]

mod collect;
mod demo;
mod detect;
mod pipeline;
mod query;
mod replay;
mod up;

use std::{io, process::ExitCode};

use clap::{Parser, Subcommand};

/// Collects, stores, queries and judges flow records.
#[derive(Debug, Parser)]
#[command(name = "weir", version, max_term_width = 100)]
#[command(after_help = "Exit status: 0 done, 1 failed, 2 wrong usage.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Collect(collect::Arguments),
    Console(up::ConsoleArguments),
    Demo(demo::Arguments),
    Detect(detect::Arguments),
    Query(query::QueryArguments),
    Replay(replay::Arguments),
    Sql(query::SqlArguments),
    Up(up::Arguments),
}

/// Something that the command line asks for makes no sense: exit status 2.
#[derive(Debug)]
struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Collect(arguments) => collect::run(arguments),
        Command::Console(arguments) => up::run_console(arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Detect(arguments) => detect::run(&arguments),
        Command::Query(arguments) => query::run(arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Sql(arguments) => query::run_sql(arguments),
        Command::Up(arguments) => up::run(arguments),
    };
    match result {
        Ok(status) => status,
        // Whoever reads our output has had enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir: {}", explain(&error));
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// The error and its causes, without what an error has already said of its cause.
fn explain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said {
        said if said.is_empty() => cause,
        said if said.ends_with(&cause) => said,
        said => format!("{said}: {cause}"),
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|e| e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}
