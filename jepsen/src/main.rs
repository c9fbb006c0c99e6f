//! `domicile-jepsen`.

use std::process::ExitCode;

fn main() -> ExitCode {
    domicile_jepsen::cli::main()
}
