//! What a core can do at best (feature "peak"): loops of multiply-adds that stay in registers, one per instruction set. The caller
//! times them, since the runtime knows no clock, and reports its own speed as a share of theirs.
//!
//! Every accumulator starts from another value that the compiler does not know, and each multiplication reads its accumulator:
//! otherwise the compiler may merge the chains or take the products out of the loop.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use core::hint::black_box;

use super::Isa;
use crate::format::LANES;

/// Operations per round of [`dependent_operations`].
const CHAIN: u32 = 64;

/// Runs `rounds` rounds of f32 (or, `integer`, int8) multiply-adds as the tables of `isa` do them, and returns how many it did: none
/// where this machine does not have `isa`.
///
/// The portable table's integers are 32 bits wide. A few tens of thousands of rounds take a millisecond.
pub fn multiply_adds(isa: Isa, integer: bool, rounds: u32) -> u64 {
    if !isa.is_available() {
        return 0;
    }
    let per_round = match isa {
        Isa::Portable => portable(integer, rounds),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::Avx512 | Isa::Avx512Vnni => x86_64::run(isa, integer, rounds),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon | Isa::NeonDotprod | Isa::NeonI8mm => aarch64::run(isa, integer, rounds),
        #[allow(
            unreachable_patterns,
            reason = "which arms exist depends on the target"
        )]
        _ => 0,
    };
    u64::from(rounds) * per_round as u64
}

/// Runs a chain of additions and exclusive ors, each of which needs the one before, and returns their number. Such an operation
/// takes one cycle on the cores that we know, so that their rate is the clock's.
pub fn dependent_operations(rounds: u32) -> u64 {
    let (addend, mask) = (black_box(0x9E37_79B9_u64), black_box(0x7F4A_7C15_u64));
    let mut x = black_box(1_u64);
    for _ in 0..rounds {
        for _ in 0..CHAIN / 2 {
            x = x.wrapping_add(addend) ^ mask;
        }
    }
    black_box(x);
    u64::from(rounds) * u64::from(CHAIN)
}

/// Plain lanes, for the compiler to vectorise; gives the multiply-adds of a round.
fn portable(integer: bool, rounds: u32) -> usize {
    const CHAINS: usize = 3;
    if integer {
        let weight = i32::from(black_box(3_i16));
        let mut sums: [[i32; LANES]; CHAINS] =
            core::array::from_fn(|i| black_box([i as i32; LANES]));
        for _ in 0..rounds {
            for lanes in &mut sums {
                for sum in lanes {
                    *sum = sum.wrapping_add((*sum & 0x7F).wrapping_mul(weight));
                }
            }
        }
        black_box(sums);
    } else {
        let (factor, addend) = (black_box(0.5_f32), black_box(1.0_f32));
        let mut sums: [[f32; LANES]; CHAINS] =
            core::array::from_fn(|i| black_box([i as f32; LANES]));
        for _ in 0..rounds {
            for lanes in &mut sums {
                for sum in lanes {
                    *sum = *sum * factor + addend;
                }
            }
        }
        black_box(sums);
    }
    CHAINS * LANES
}
