//! The instruction sets that kernels are written for: the only place that asks the CPU what it has.

use core::fmt;

/// An instruction set: a level of the machine, with all that the tables of that level use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust: runs everywhere, and is what every other table is tested against.
    Portable,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL besides.
    Avx512,
    /// x86-64 with AVX-512 VNNI and VBMI besides.
    Avx512Vnni,
    /// aarch64, whose base has NEON.
    Neon,
    /// aarch64 with the dot products SDOT and UDOT.
    NeonDotprod,
    /// aarch64 with the 8-bit matrix products SMMLA and USMMLA besides.
    NeonI8mm,
}

impl Isa {
    /// All of them, each after those that it builds on.
    pub const ALL: [Isa; 7] = [
        Isa::Portable,
        Isa::Avx2,
        Isa::Avx512,
        Isa::Avx512Vnni,
        Isa::Neon,
        Isa::NeonDotprod,
        Isa::NeonI8mm,
    ];

    /// Its name in options and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Avx512Vnni => "avx512_vnni",
            Isa::Neon => "neon",
            Isa::NeonDotprod => "neon_dotprod",
            Isa::NeonI8mm => "neon_i8mm",
        }
    }

    /// The instruction set of that name.
    pub fn from_name(name: &str) -> Option<Isa> {
        Isa::ALL.into_iter().find(|isa| isa.name() == name)
    }

    /// Whether this machine has it: what the build was compiled for, and with the feature `std` what the CPU says.
    pub fn is_available(self) -> bool {
        match self {
            Isa::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => has!("avx2", "fma", "f16c"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                Isa::Avx2.is_available() && has!("avx512f", "avx512bw", "avx512dq", "avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => Isa::Avx512.is_available() && has!("avx512vnni", "avx512vbmi"),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => has!("neon"),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDotprod => Isa::Neon.is_available() && has!("dotprod"),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonI8mm => Isa::NeonDotprod.is_available() && has!("i8mm"),
            #[allow(
                unreachable_patterns,
                reason = "which arms exist depends on the target"
            )]
            _ => false,
        }
    }
}

/// Whether the machine has all of these features.
macro_rules! has {
    ($($feature:tt),+) => { true $(&& (cfg!(target_feature = $feature) || detected!($feature)))+ };
}
use has;

#[cfg(all(feature = "std", target_arch = "x86_64"))]
macro_rules! detected {
    ($feature:tt) => {
        std::arch::is_x86_feature_detected!($feature)
    };
}
#[cfg(all(feature = "std", target_arch = "aarch64"))]
macro_rules! detected {
    ($feature:tt) => {
        std::arch::is_aarch64_feature_detected!($feature)
    };
}
#[cfg(not(feature = "std"))]
macro_rules! detected {
    ($feature:tt) => {
        false
    };
}
#[allow(unused_imports, reason = "not every target asks")]
use detected;

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
