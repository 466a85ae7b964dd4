//! NEON with USMMLA: the tables of NEON with other integer products.

use super::neon::{assign, matmul, mixer_assign, table};
use crate::kernels::dot::neon_i8mm::NeonI8mm;
use crate::kernels::{AssignI8, Isa, Kernels, MatmulI8, Out, assign_i8, matmul_i8};

pub(super) static PLAIN: Kernels = Kernels {
    matmul: matmul::<true>,
    assign: assign::<true>,
    mixer_assign: mixer_assign::<true>,
    matmul_i8,
    assign_i8,
    ..table(Isa::NeonI8mm, &EXACT)
};

static EXACT: Kernels = Kernels {
    matmul_i8,
    assign_i8,
    ..table(Isa::NeonI8mm, &EXACT)
};

#[target_feature(enable = "neon,dotprod,i8mm")]
fn matmul_i8(m: &MatmulI8<'_>, out: Out<'_>) {
    matmul_i8::body::matmul::<NeonI8mm>(m, out);
}

#[target_feature(enable = "neon,dotprod,i8mm")]
fn assign_i8(a: &AssignI8<'_>, out: &mut [u16]) {
    assign_i8::body::assign::<NeonI8mm>(a, out);
}
