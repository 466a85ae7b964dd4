//! NEON with SDOT: the tables of NEON with other integer products.

use super::neon::{assign, matmul, mixer_assign, table};
use crate::kernels::dot::neon_dotprod::NeonDotprod;
use crate::kernels::{AssignI8, Isa, Kernels, MatmulI8, Out, assign_i8, matmul_i8};

pub(super) static PLAIN: Kernels = Kernels {
    matmul: matmul::<true>,
    assign: assign::<true>,
    mixer_assign: mixer_assign::<true>,
    matmul_i8,
    assign_i8,
    ..table(Isa::NeonDotprod, &EXACT)
};

static EXACT: Kernels = Kernels {
    matmul_i8,
    assign_i8,
    ..table(Isa::NeonDotprod, &EXACT)
};

#[target_feature(enable = "neon,dotprod")]
fn matmul_i8(m: &MatmulI8<'_>, out: Out<'_>) {
    matmul_i8::body::matmul::<NeonDotprod>(m, out);
}

#[target_feature(enable = "neon,dotprod")]
fn assign_i8(a: &AssignI8<'_>, out: &mut [u16]) {
    assign_i8::body::assign::<NeonDotprod>(a, out);
}
