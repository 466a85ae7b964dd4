//! The instruction sets that kernels are written for: the only place that may ask the CPU what it has.

use core::fmt;

/// An instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust: runs everywhere, and is what every other table is tested against.
    Portable,
}

impl Isa {
    /// All of them.
    pub const ALL: [Isa; 1] = [Isa::Portable];

    /// Its name in options and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
        }
    }

    /// The instruction set of that name.
    pub fn from_name(name: &str) -> Option<Isa> {
        Isa::ALL.into_iter().find(|isa| isa.name() == name)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
