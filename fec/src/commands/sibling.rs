//! `fec convert` and `fec train`: other programs, found beside this one or on the path, as git and cargo find theirs.

use std::ffi::OsString;
use std::process::Command;

use fec::Error;
use fec::output::Exit;

/// Everything after the subcommand, as it stands.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

pub(crate) fn run(program: &'static str, args: &Args) -> Result<Exit, Error> {
    let name = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    let beside = std::env::current_exe()
        .ok()
        .map(|path| path.with_file_name(&name))
        .filter(|path| path.is_file());
    let status = Command::new(beside.unwrap_or_else(|| name.into()))
        .args(&args.arguments)
        .status();
    match status {
        Ok(status) => Ok(match status.code() {
            Some(0) => Exit::Ok,
            Some(2) => Exit::Usage,
            Some(130) | None => Exit::Interrupted,
            Some(_) => Exit::Failed,
        }),
        Err(source) => Err(Error::Sibling { program, source }),
    }
}
