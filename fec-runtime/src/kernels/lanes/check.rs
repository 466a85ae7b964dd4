//! Every operation of every instruction set's lanes against the portable ones, bit for bit.

use super::{Lanes, Portable};
use crate::format::LANES;

/// Values at which implementations part: zeros, infinities, NaN, subnormals of f32 and f16, ties of rounding, ends of ranges.
const SPECIAL: [f32; 32] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    2.5,
    -2.5,
    -3.5,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE / 3.0,
    1e-45,
    f32::MAX,
    f32::MIN,
    65504.0,
    -65504.0,
    65519.99,
    65520.0,
    -1e6,
    // Halves of f16's steps: 1 + 2^-11 and 1 + 3 * 2^-11 lie between two, as does half of the smallest subnormal.
    1.000_488_3,
    1.001_464_8,
    2.980_232_2e-8,
    -8.940_697e-8,
    6.103_515_6e-5,
    6.1e-5,
    8_388_607.5,
    4_194_304.5,
    -127.5,
];

struct Numbers(u32);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// A special value, any pattern of bits, or one of a range where sums and products lose nothing to infinity.
    fn float(&mut self) -> f32 {
        match self.next() % 4 {
            0 => SPECIAL[self.next() as usize % SPECIAL.len()],
            1 => f32::from_bits(self.next()),
            _ => (self.next() as i32) as f32 / (1 << 24) as f32,
        }
    }

    fn floats(&mut self) -> [f32; LANES] {
        core::array::from_fn(|_| self.float())
    }
}

/// What one operation gives: its name, and bits. Of a NaN only that it is one: its bits are the machine's.
type Outcome = (&'static str, [u32; LANES]);

fn bits(value: f32) -> u32 {
    if value.is_nan() {
        f32::NAN.to_bits()
    } else {
        value.to_bits()
    }
}

fn floats<L: Lanes>(lanes: L) -> [u32; LANES] {
    let mut out = [0.0; LANES];
    lanes.store(&mut out);
    out.map(bits)
}

fn ints<L: Lanes>(ints: L::Ints) -> [u32; LANES] {
    let mut out = [0; LANES];
    L::store_ints(ints, &mut out);
    out.map(|int| int as u32)
}

/// Operations on floats that may be anything.
fn on_floats<L: Lanes>(numbers: &mut Numbers) -> [Outcome; 16] {
    let (a, b, c) = (numbers.floats(), numbers.floats(), numbers.floats());
    let (x, y) = (L::load(&a), L::load(&b));
    let mut halves = [0; LANES];
    x.store_half(&mut halves);
    let (value, number) = L::keep_larger((y, L::splat(7.0)), x, L::load(&c));
    let one = a[numbers.next() as usize % LANES];
    [
        ("splat", floats(L::splat(c[0]))),
        ("load and store", floats(x)),
        ("store_half", halves.map(u32::from)),
        ("add", floats(x.add(y))),
        ("look_up", floats(x.look_up(&b))),
        ("sub", floats(x.sub(y))),
        ("mul", floats(x.mul(y))),
        ("div", floats(x.div(y))),
        ("sqrt", floats(x.sqrt())),
        ("max", floats(x.max(y))),
        ("min", floats(x.min(y))),
        ("abs", floats(x.abs())),
        ("sum", [bits(x.sum()); LANES]),
        ("equal_lanes", [u32::from(x.equal_lanes(one)); LANES]),
        ("keep_larger, values", floats(value)),
        ("keep_larger, numbers", floats(number)),
    ]
}

/// Operations on bytes, halves, integers and floats within stated ranges.
fn on_others<L: Lanes>(numbers: &mut Numbers) -> [Outcome; 10] {
    let group: [i8; 4 * LANES] = core::array::from_fn(|_| numbers.next() as i8);
    let halves: [u16; LANES] = core::array::from_fn(|_| numbers.next() as u16);
    let words: [i32; LANES] = core::array::from_fn(|_| numbers.next() as i32);
    let bounded = |value: f32| {
        let bounded = value.clamp(-1e9, 1e9);
        if value.is_nan() { 0.5 } else { bounded }
    };
    let within = numbers.floats().map(bounded);
    let k = numbers.next() as usize % 8;
    let integers = L::load_ints(&words);
    let mut low = [0; LANES];
    L::store_bytes(integers, &mut low);
    // Zeros of both signs are equal: which of them is the largest is not said.
    let largest = L::load(&within).max_lane() + 0.0;
    let rows: [[f32; 8]; LANES] =
        core::array::from_fn(|_| core::array::from_fn(|_| numbers.float()));
    let columns = L::columns(core::array::from_fn(|r| &rows[r]));
    let column = columns[numbers.next() as usize % 8];
    let vectors: [L; LANES] = core::array::from_fn(|_| L::load(&numbers.floats().map(bounded)));
    let maxima = L::max_lanes(vectors).add(L::splat(0.0));
    let powers: [i32; LANES] = core::array::from_fn(|_| numbers.next() as i32 % 200);
    let scaled = L::load(&within).scale(L::load_ints(&powers));
    [
        ("scale", floats(scaled)),
        ("load_bytes", floats(L::load_bytes(&group, k))),
        ("load_half", floats(L::load_half(&halves))),
        ("load_ints and store_ints", ints::<L>(integers)),
        ("from_ints", floats(L::from_ints(integers))),
        ("store_bytes", low.map(u32::from)),
        ("round", ints::<L>(L::load(&within).round())),
        ("max_lane", [bits(largest); LANES]),
        ("max_lanes", floats(maxima)),
        ("columns", floats(column)),
    ]
}

fn mul_add<L: Lanes>(x: &[[f32; LANES]; 3]) -> [u32; LANES] {
    floats(L::load(&x[0]).mul_add(L::load(&x[1]), L::load(&x[2])))
}

/// Compares `Plain` with the portable lanes, and the multiply-adds of `Fused` with the exactly rounded ones.
fn compare<Plain: Lanes, Fused: Lanes>(name: &str) {
    const ROUNDS: u32 = 20_000;
    for seed in 1..=ROUNDS {
        let numbers = || Numbers(seed.wrapping_mul(0x9E37_79B9));
        let agree = |found: &[Outcome], expected: &[Outcome]| {
            for (found, expected) in found.iter().zip(expected) {
                assert!(
                    found == expected,
                    "{name}, seed {seed}: {found:x?}, expected {:x?}",
                    expected.1
                );
            }
        };
        agree(
            &on_floats::<Plain>(&mut numbers()),
            &on_floats::<Portable>(&mut numbers()),
        );
        agree(
            &on_others::<Plain>(&mut numbers()),
            &on_others::<Portable>(&mut numbers()),
        );
        let mut n = numbers();
        let x: [[f32; LANES]; 3] = core::array::from_fn(|_| n.floats());
        let fused = core::array::from_fn(|i| bits(libm::fmaf(x[0][i], x[1][i], x[2][i])));
        agree(
            &[
                ("mul_add", mul_add::<Plain>(&x)),
                ("mul_add, fused", mul_add::<Fused>(&x)),
            ],
            &[
                ("mul_add", mul_add::<Portable>(&x)),
                ("mul_add, fused", fused),
            ],
        );
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn lanes_of_avx2_give_the_portable_bits() {
    use super::avx2::Avx2;
    if crate::kernels::Isa::Avx2.is_available() {
        compare::<Avx2<false>, Avx2<true>>("avx2");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn lanes_of_avx512_give_the_portable_bits() {
    use super::avx512::Avx512;
    if crate::kernels::Isa::Avx512.is_available() {
        compare::<Avx512<false>, Avx512<true>>("avx512");
    }
}

#[cfg(target_arch = "aarch64")]
#[test]
fn lanes_of_neon_give_the_portable_bits() {
    use super::neon::Neon;
    if crate::kernels::Isa::Neon.is_available() {
        compare::<Neon<false>, Neon<true>>("neon");
    }
}
