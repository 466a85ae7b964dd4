//! Storage types of maps in kernel bodies, and the kernels that copy and add maps.

use super::Values;
use super::lanes::Lanes;
use crate::format::LANES;

/// A value of a map as it is stored.
pub(super) trait Element: Copy {
    /// Sixteen values.
    fn load<L: Lanes>(values: &[Self; LANES]) -> L;
    /// Fewer than sixteen values; zeros in the other lanes.
    fn load_part<L: Lanes>(values: &[Self]) -> L;
    /// Writes the lanes.
    fn store<L: Lanes>(lanes: L, out: &mut [Self; LANES]);
    /// Writes the first lanes, fewer than sixteen.
    fn store_part<L: Lanes>(lanes: L, out: &mut [Self]);
}

impl Element for f32 {
    #[inline(always)]
    fn load<L: Lanes>(values: &[Self; LANES]) -> L {
        L::load(values)
    }

    #[inline(always)]
    fn load_part<L: Lanes>(values: &[Self]) -> L {
        L::load_part(values)
    }

    #[inline(always)]
    fn store<L: Lanes>(lanes: L, out: &mut [Self; LANES]) {
        lanes.store(out);
    }

    #[inline(always)]
    fn store_part<L: Lanes>(lanes: L, out: &mut [Self]) {
        lanes.store_part(out);
    }
}

impl Element for u16 {
    #[inline(always)]
    fn load<L: Lanes>(values: &[Self; LANES]) -> L {
        L::load_half(values)
    }

    #[inline(always)]
    fn load_part<L: Lanes>(values: &[Self]) -> L {
        L::load_half_part(values)
    }

    #[inline(always)]
    fn store<L: Lanes>(lanes: L, out: &mut [Self; LANES]) {
        lanes.store_half(out);
    }

    #[inline(always)]
    fn store_part<L: Lanes>(lanes: L, out: &mut [Self]) {
        lanes.store_half_part(out);
    }
}

/// `out = f(x, out)`, sixteen elements at a time; both have the same length.
#[inline(always)]
pub(super) fn update<L: Lanes, E: Element, O: Element>(
    x: &[E],
    out: &mut [O],
    f: impl Fn(L, L) -> L,
) {
    let (x, x_rest) = x.as_chunks::<LANES>();
    let (out, out_rest) = out.as_chunks_mut::<LANES>();
    for (x, out) in x.iter().zip(out) {
        O::store(f(E::load(x), O::load(out)), out);
    }
    if !out_rest.is_empty() {
        O::store_part(f(E::load_part(x_rest), O::load_part(out_rest)), out_rest);
    }
}

#[inline(always)]
pub(super) fn accumulate<L: Lanes>(x: Values<'_>, sums: &mut [f32]) {
    match x {
        Values::F32(x) => update(
            x,
            sums,
            #[inline(always)]
            |x: L, sum| sum.add(x),
        ),
        Values::F16(x) => update(
            x,
            sums,
            #[inline(always)]
            |x: L, sum| sum.add(x),
        ),
    }
}

#[inline(always)]
pub(super) fn widen<L: Lanes>(x: Values<'_>, out: &mut [f32]) {
    match x {
        Values::F32(x) => out.copy_from_slice(x),
        Values::F16(x) => update(
            x,
            out,
            #[inline(always)]
            |x: L, _| x,
        ),
    }
}

#[inline(always)]
pub(super) fn narrow<L: Lanes>(x: &[f32], out: &mut [u16]) {
    update(
        x,
        out,
        #[inline(always)]
        |x: L, _| x,
    );
}
