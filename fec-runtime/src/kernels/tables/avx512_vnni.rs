//! AVX-512 with VNNI and VBMI: the tables of AVX-512 with other integer products.

use super::avx512::{assign, matmul, mixer_assign, table};
use crate::kernels::dot::avx512::Vnni;
use crate::kernels::{AssignI8, Isa, Kernels, MatmulI8, Out, assign_i8, matmul_i8};

pub(super) static PLAIN: Kernels = Kernels {
    matmul: matmul::<true>,
    assign: assign::<true>,
    mixer_assign: mixer_assign::<true>,
    matmul_i8,
    assign_i8,
    ..table(Isa::Avx512Vnni, &EXACT)
};

static EXACT: Kernels = Kernels {
    matmul_i8,
    assign_i8,
    ..table(Isa::Avx512Vnni, &EXACT)
};

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn matmul_i8(m: &MatmulI8<'_>, out: Out<'_>) {
    matmul_i8::body::matmul::<Vnni>(m, out);
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn assign_i8(a: &AssignI8<'_>, out: &mut [u16]) {
    assign_i8::body::assign::<Vnni>(a, out);
}
