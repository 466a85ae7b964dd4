//! Plain Rust: the specification of every kernel. It fuses nothing, so that its exact table is itself.

use crate::kernels::lanes::Portable;
use crate::kernels::{
    Isa, Kernels, assign, assign_i8, dispatch, dot, elements, matmul_f32, matmul_i8, mixer_assign,
    moments, quantise, scatter,
};

pub(super) static TABLE: Kernels = Kernels {
    isa: Isa::Portable,
    exact: &TABLE,
    matmul: matmul_f32::portable::matmul,
    assign: assign::portable::assign,
    mixer_assign: mixer_assign::portable,
    scatter: scatter::body::<Portable>,
    dispatch: dispatch::body::<Portable>,
    moments: moments::body::<Portable>,
    accumulate: elements::accumulate::<Portable>,
    widen: elements::widen::<Portable>,
    narrow: elements::narrow::<Portable>,
    matmul_i8: matmul_i8::body::matmul::<dot::Portable>,
    quantise: quantise::body::<Portable>,
    assign_i8: assign_i8::body::assign::<dot::Portable>,
    pack_centres: assign_i8::pack::body::<Portable>,
};
