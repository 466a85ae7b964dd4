//! Which functions make up the table of each instruction set.
//!
//! A body is generic over lanes; the files here wrap it in functions that are compiled for the instruction set, and list them twice:
//! the plain table fuses multiplications with additions in products and assignments, the exact one nowhere.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_vnni;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neon_dotprod;
#[cfg(target_arch = "aarch64")]
mod neon_i8mm;
mod portable;

use super::{Isa, Kernels};

/// The portable table.
pub(super) fn portable() -> &'static Kernels {
    &portable::TABLE
}

/// The plain table of `isa`, where the target's architecture has one. Whether the machine has the instructions is the caller's to ask.
pub(super) fn of(isa: Isa) -> Option<&'static Kernels> {
    match isa {
        Isa::Portable => Some(&portable::TABLE),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => Some(&avx2::PLAIN),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => Some(&avx512::PLAIN),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => Some(&avx512_vnni::PLAIN),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => Some(&neon::PLAIN),
        #[cfg(target_arch = "aarch64")]
        Isa::NeonDotprod => Some(&neon_dotprod::PLAIN),
        #[cfg(target_arch = "aarch64")]
        Isa::NeonI8mm => Some(&neon_i8mm::PLAIN),
        _ => None,
    }
}
