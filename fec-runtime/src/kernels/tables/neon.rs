//! NEON, which belongs to every aarch64.

use crate::kernels::lanes::neon::Neon;
use crate::kernels::{
    Assign, AssignI8, Dispatch, Isa, Kernels, Matmul, MatmulI8, MixerAssign, Out, PanelsI8Mut,
    Quantise, Scatter, Values, ValuesMut, assign, assign_i8, dispatch, dot, elements, matmul_f32,
    matmul_i8, mixer_assign, moments, quantise, scatter,
};

/// Lanes of the kernels that never fuse.
type L = Neon<false>;

pub(super) static PLAIN: Kernels = Kernels {
    matmul: matmul::<true>,
    assign: assign::<true>,
    mixer_assign: mixer_assign::<true>,
    ..table(Isa::Neon, &EXACT)
};

static EXACT: Kernels = table(Isa::Neon, &EXACT);

/// The exact table, for `isa` or one that builds on it.
pub(super) const fn table(isa: Isa, exact: &'static Kernels) -> Kernels {
    Kernels {
        isa,
        exact,
        matmul: matmul::<false>,
        assign: assign::<false>,
        mixer_assign: mixer_assign::<false>,
        scatter,
        dispatch,
        moments,
        accumulate,
        widen,
        narrow,
        matmul_i8,
        quantise,
        assign_i8,
        pack_centres,
    }
}

#[target_feature(enable = "neon")]
pub(super) fn matmul<const FUSED: bool>(m: &Matmul<'_>, out: &mut [f32]) {
    matmul_f32::tiled::matmul::<Neon<FUSED>, L>(m, out);
}

#[target_feature(enable = "neon")]
pub(super) fn assign<const FUSED: bool>(a: &Assign<'_>, out: &mut [u16]) {
    assign::tiled::assign::<Neon<FUSED>>(a, out);
}

#[target_feature(enable = "neon")]
pub(super) fn mixer_assign<const FUSED: bool>(
    m: &MixerAssign<'_>,
    assign: &mut [u16],
    weights: &mut [f32],
) {
    mixer_assign::body::<Neon<FUSED>>(m, assign, weights);
}

#[target_feature(enable = "neon")]
fn scatter(s: &Scatter<'_>, sums: &mut [f32], counts: &mut [f32]) {
    scatter::body::<L>(s, sums, counts);
}

#[target_feature(enable = "neon")]
fn dispatch(d: &Dispatch<'_>, x: ValuesMut<'_>) {
    dispatch::body::<L>(d, x);
}

#[target_feature(enable = "neon")]
fn moments(x: Values<'_>) -> (f32, f32) {
    moments::body::<L>(x)
}

#[target_feature(enable = "neon")]
fn accumulate(x: Values<'_>, sums: &mut [f32]) {
    elements::accumulate::<L>(x, sums);
}

#[target_feature(enable = "neon")]
fn widen(x: Values<'_>, out: &mut [f32]) {
    elements::widen::<L>(x, out);
}

#[target_feature(enable = "neon")]
fn narrow(x: &[f32], out: &mut [u16]) {
    elements::narrow::<L>(x, out);
}

#[target_feature(enable = "neon")]
fn matmul_i8(m: &MatmulI8<'_>, out: Out<'_>) {
    matmul_i8::body::matmul::<dot::neon::Neon>(m, out);
}

#[target_feature(enable = "neon")]
fn assign_i8(a: &AssignI8<'_>, out: &mut [u16]) {
    assign_i8::body::assign::<dot::neon::Neon>(a, out);
}

#[target_feature(enable = "neon")]
fn quantise(q: &Quantise<'_>, out: &mut [u8], scales: &mut [f32]) {
    quantise::body::<L>(q, out, scales);
}

#[target_feature(enable = "neon")]
fn pack_centres(centres: &[f32], inputs: usize, panels: PanelsI8Mut<'_>) {
    assign_i8::pack::body::<L>(centres, inputs, panels);
}
