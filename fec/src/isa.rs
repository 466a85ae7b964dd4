//! Which kernels run: those of the name that was asked for, or of `FEC_ISA`, or the machine's best.

use std::ffi::OsStr;

use fec_runtime::kernels::{Isa, Kernels};

use crate::error::Error;

/// The environment variable that chooses the kernels of every run that is not told otherwise.
pub const VARIABLE: &str = "FEC_ISA";

/// The kernels that `FEC_ISA` names, or the machine's best where it is not set.
///
/// # Errors
/// [`Error::Isa`]: nothing else runs in place of what was asked for.
pub fn kernels() -> Result<&'static Kernels, Error> {
    std::env::var_os(VARIABLE).map_or_else(|| Ok(Kernels::best()), |name| from_variable(&name))
}

/// The kernels of that name.
///
/// # Errors
/// Says which names are known and which of them this machine has.
pub fn named(name: &str) -> Result<&'static Kernels, String> {
    let isa = Isa::from_name(name);
    isa.and_then(Kernels::get).ok_or_else(|| {
        let fault = match isa {
            Some(_) => "this machine does not have it",
            None => "unknown",
        };
        format!(
            "{fault}; available are {}; known besides {}",
            list(true),
            list(false)
        )
    })
}

fn from_variable(name: &OsStr) -> Result<&'static Kernels, Error> {
    let name = name.to_string_lossy();
    named(&name).map_err(|reason| Error::Isa {
        found: name.into_owned(),
        reason,
    })
}

/// Names of the instruction sets that this machine has, or has not.
fn list(available: bool) -> String {
    let names = Isa::ALL
        .into_iter()
        .filter(|&isa| Kernels::get(isa).is_some() == available)
        .map(Isa::name)
        .collect::<Vec<_>>();
    if names.is_empty() {
        "none".into()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_gives_its_kernels_or_says_what_there_is() {
        for isa in Isa::ALL {
            match named(isa.name()) {
                Ok(kernels) => assert_eq!(kernels.isa(), isa),
                Err(line) => {
                    assert!(Kernels::get(isa).is_none());
                    assert!(
                        line.contains("does not have it") && line.contains("portable"),
                        "{line}"
                    );
                }
            }
        }
        assert!(named("portable").is_ok());
    }

    #[test]
    fn an_unknown_name_is_refused_in_one_line() {
        for name in ["", "sse9", "AVX2", "avx2 ", "av\nx2"] {
            let error = from_variable(OsStr::new(name)).unwrap_err().to_string();
            assert!(
                error.starts_with("FEC_ISA is '") && !error.contains('\n'),
                "{error}"
            );
            assert!(error.contains("unknown; available are portable"), "{error}");
        }
    }
}
