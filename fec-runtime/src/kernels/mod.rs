//! The kernels: a table of functions per instruction set, one checked method per kernel (DESIGN 7).
//!
//! The portable form of each kernel is its specification. Sums over k run in ascending order, lane sums are added as a tree, and
//! nothing is fused, so that the portable table gives the same bits on every machine.
#![cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(
        dead_code,
        unused_imports,
        unused_macros,
        reason = "bodies of instruction sets that this target does not have"
    )
)]

pub mod activation;
mod assign;
mod assign_i8;
#[cfg(feature = "selftest")]
pub mod check;
mod dispatch;
mod dot;
mod elements;
mod isa;
mod lanes;
mod matmul_f32;
mod matmul_i8;
mod mixer_assign;
mod moments;
#[cfg(feature = "peak")]
pub mod peak;
mod quantise;
mod scatter;
mod tables;
mod values;

pub use assign::{Assign, Locality};
pub(crate) use assign::{reach, window};
pub use assign_i8::{AssignI8, PanelsI8Mut};
pub use dispatch::Dispatch;
pub use isa::Isa;
pub use matmul_f32::{Epilogue, Matmul, Norm, Panels, PanelsI8, Weights};
pub use matmul_i8::{EpilogueI8, MatmulI8, Out, RowScales};
pub use mixer_assign::MixerAssign;
pub use moments::Moments;
pub use quantise::Quantise;
pub(crate) use quantise::ZERO;
pub use scatter::Scatter;
pub use values::{Values, ValuesMut};

use core::fmt;

use crate::format::LANES;

/// The kernels of one instruction set. Holding a table proves that the machine has the instructions: tables come from
/// [`Kernels::get`] alone, which asks [`Isa::is_available`].
#[derive(Clone, Copy)]
pub struct Kernels {
    // SAFETY: each function needs the features of `isa` and the lengths that the method of its name checks.
    isa: Isa,
    exact: &'static Kernels,
    matmul: unsafe fn(&Matmul<'_>, &mut [f32]),
    assign: unsafe fn(&Assign<'_>, &mut [u16]),
    mixer_assign: unsafe fn(&MixerAssign<'_>, &mut [u16], &mut [f32]),
    scatter: unsafe fn(&Scatter<'_>, &mut [f32], &mut [f32]),
    dispatch: unsafe fn(&Dispatch<'_>, ValuesMut<'_>),
    moments: unsafe fn(Values<'_>) -> (f32, f32),
    accumulate: unsafe fn(Values<'_>, &mut [f32]),
    widen: unsafe fn(Values<'_>, &mut [f32]),
    narrow: unsafe fn(&[f32], &mut [u16]),
    matmul_i8: unsafe fn(&MatmulI8<'_>, Out<'_>),
    quantise: unsafe fn(&Quantise<'_>, &mut [u8], &mut [f32]),
    assign_i8: unsafe fn(&AssignI8<'_>, &mut [u16]),
    pack_centres: unsafe fn(&[f32], usize, PanelsI8Mut<'_>),
}

impl fmt::Debug for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kernels({})", self.isa)
    }
}

impl Kernels {
    /// The portable table.
    pub fn portable() -> &'static Kernels {
        tables::portable()
    }

    /// The table of `isa`, or `None` where this machine or this build does not have it.
    pub fn get(isa: Isa) -> Option<&'static Kernels> {
        isa.is_available().then(|| tables::of(isa)).flatten()
    }

    /// All tables that this machine has, each after those that it builds on.
    pub fn available() -> impl Iterator<Item = &'static Kernels> {
        Isa::ALL.into_iter().filter_map(Kernels::get)
    }

    /// The fastest table of this machine.
    pub fn best() -> &'static Kernels {
        Kernels::available().last().unwrap_or(Kernels::portable())
    }

    /// The instruction set of this table.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The table of the same instruction set that gives the portable table's bits in every kernel: it fuses no multiplication with
    /// an addition. Integer networks run on it.
    pub fn exact(&self) -> &'static Kernels {
        self.exact
    }
}

#[expect(
    unsafe_code,
    reason = "functions of an instruction set are called here and nowhere else"
)]
impl Kernels {
    /// A product of rows with packed weights and its epilogue: `out[n][o]` from `sum over k of x[n][k] * w[o][k]`. `out` holds the
    /// outputs of `matmul.outputs` alone, rows `matmul.out_stride` apart.
    ///
    /// # Panics
    /// When a length does not fit the shapes.
    pub fn matmul(&self, matmul: &Matmul<'_>, out: &mut [f32]) {
        matmul.check(out.len());
        // SAFETY: the table proves the features, `check` the lengths.
        unsafe { (self.matmul)(matmul, out) }
    }

    /// The best centre of each row (Eq. 5 and argmax): see [`Assign`].
    ///
    /// # Panics
    /// When a length does not fit the shapes.
    pub fn assign(&self, assign: &Assign<'_>, out: &mut [u16]) {
        assign.check(out.len());
        // SAFETY: the table proves the features, `check` the lengths.
        unsafe { (self.assign)(assign, out) }
    }

    /// The best centre of each row of one head of a mixer, and the weight sigmoid(beta + alpha * similarity) with it (Eq. 5 and 7):
    /// see [`MixerAssign`].
    ///
    /// # Panics
    /// When a length does not fit the shapes.
    pub fn mixer_assign(&self, mixer: &MixerAssign<'_>, assign: &mut [u16], weights: &mut [f32]) {
        mixer.check(assign.len(), weights.len());
        // SAFETY: the table proves the features, `check` the lengths.
        unsafe { (self.mixer_assign)(mixer, assign, weights) }
    }

    /// Adds each row to the sums of its centres, one per head, and counts it (Eq. 6): see [`Scatter`]. `sums` is
    /// [heads, centres, channels], `counts` [heads, centres].
    ///
    /// # Panics
    /// When a length does not fit the shapes.
    pub fn scatter(&self, scatter: &Scatter<'_>, sums: &mut [f32], counts: &mut [f32]) {
        scatter.check(sums.len(), counts.len());
        // SAFETY: the table proves the features, `check` the lengths.
        unsafe { (self.scatter)(scatter, sums, counts) }
    }

    /// Adds the weighted representatives of all heads to each row of `x`, [rows, channels] (Eq. 7): see [`Dispatch`].
    ///
    /// # Panics
    /// When a length does not fit the shapes.
    pub fn dispatch(&self, dispatch: &Dispatch<'_>, x: ValuesMut<'_>) {
        dispatch.check(x.len());
        // SAFETY: the table proves the features, `check` the lengths.
        unsafe { (self.dispatch)(dispatch, x) }
    }

    /// Mean of a tile of a map, some thousand values at most, and the sum of the squared deviations from it, for
    /// [`Moments::of_tile`].
    pub(crate) fn spread(&self, tile: Values<'_>) -> [f32; 2] {
        // SAFETY: the table proves the features; a tile of any length will do.
        let (mean, squares) = unsafe { (self.moments)(tile) };
        [mean, squares]
    }

    /// Takes a tile of a map into `moments`. The result depends on the tiles and their order, since each is summed for itself.
    pub fn moments(&self, tile: Values<'_>, moments: &mut Moments) {
        if !tile.is_empty() {
            moments.merge(&Moments::of_tile(tile.len(), self.spread(tile)));
        }
    }

    /// Adds `x` to `sums`, element by element.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn accumulate(&self, x: Values<'_>, sums: &mut [f32]) {
        assert!(x.len() == sums.len(), "one sum per value");
        // SAFETY: the table proves the features; the lengths are equal.
        unsafe { (self.accumulate)(x, sums) }
    }

    /// Copies `x` to `out` as 32-bit floats.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn widen(&self, x: Values<'_>, out: &mut [f32]) {
        assert!(x.len() == out.len(), "as much room as values");
        // SAFETY: the table proves the features; the lengths are equal.
        unsafe { (self.widen)(x, out) }
    }

    /// Rounds `x` to 16-bit floats, to nearest even; what lies beyond ±65504 becomes that.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn narrow(&self, x: &[f32], out: &mut [u16]) {
        assert!(x.len() == out.len(), "as much room as values");
        // SAFETY: the table proves the features; the lengths are equal.
        unsafe { (self.narrow)(x, out) }
    }

    /// An integer product of rows of bytes with packed weights and its epilogue: see [`MatmulI8`]. The same bits on every table.
    ///
    /// # Panics
    /// When a length does not fit the shapes, or `out` not the epilogue.
    pub fn matmul_i8(&self, matmul: &MatmulI8<'_>, out: Out<'_>) {
        matmul.check(&out);
        // SAFETY: the table proves the features, `check` the lengths.
        unsafe { (self.matmul_i8)(matmul, out) }
    }

    /// Rows as bytes with a scale each: see [`Quantise`]. The same bits on every table.
    ///
    /// # Panics
    /// When a length does not fit the shapes: `out` has rows [`Quantise::out_stride`] apart, `scales` one value per row.
    pub fn quantise(&self, quantise: &Quantise<'_>, out: &mut [u8], scales: &mut [f32]) {
        quantise.check(out.len(), scales.len());
        // SAFETY: the table proves the features, `check` the lengths.
        unsafe { (self.quantise)(quantise, out, scales) }
    }

    /// The best centre of each row of bytes: see [`AssignI8`]. The same bits on every table.
    ///
    /// # Panics
    /// When a length does not fit the shapes.
    pub fn assign_i8(&self, assign: &AssignI8<'_>, out: &mut [u16]) {
        assign.check(out.len());
        // SAFETY: the table proves the features, `check` the lengths.
        unsafe { (self.assign_i8)(assign, out) }
    }

    /// Packs centres, dense rows of `inputs` values, as bytes with a scale each: see [`PanelsI8Mut`]. The same bits on every table.
    ///
    /// # Panics
    /// When a length does not fit the shapes.
    pub fn pack_centres(&self, centres: &[f32], inputs: usize, panels: PanelsI8Mut<'_>) {
        panels.check(centres.len(), inputs);
        // SAFETY: the table proves the features, `check` the lengths.
        unsafe { (self.pack_centres)(centres, inputs, panels) }
    }
}

/// What a key is divided by: its length, at least 1e-12 (SPEC 3.3).
pub(crate) fn divisor(length: f32) -> f32 {
    const SHORTEST: f32 = 1e-12;
    if length > SHORTEST { length } else { SHORTEST }
}

/// Adds 16 lane sums as a tree: the same order on every instruction set.
pub(crate) fn sum_lanes(lanes: [f32; LANES]) -> f32 {
    let eight: [f32; 8] = core::array::from_fn(|i| lanes[i] + lanes[i + 8]);
    let four: [f32; 4] = core::array::from_fn(|i| eight[i] + eight[i + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

/// Sum over i of f(a[i], b[i]) in 16 lanes, lane i % 16, then as a tree.
#[inline(always)]
pub(crate) fn lane_sum(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for (lane, (&a, &b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += f(a, b);
        }
    }
    for (lane, (&a, &b)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *lane += f(a, b);
    }
    sum_lanes(lanes)
}
