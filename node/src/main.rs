//! `domicile`: identity and access management on an embedded, replicated store.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    domicile::cli::ended(domicile::cli::Cli::parse().run())
}
