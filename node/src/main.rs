//! `domicile`: identity and access management on an embedded, replicated store.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match domicile::cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("domicile: {error:#}");
            ExitCode::FAILURE
        }
    }
}
