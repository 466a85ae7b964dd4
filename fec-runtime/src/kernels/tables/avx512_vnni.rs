//! AVX-512 with VNNI and VBMI: the tables of AVX-512 with other integer products.

use super::avx512::{assign, matmul, table};
use crate::kernels::{Isa, Kernels};

pub(super) static PLAIN: Kernels = Kernels {
    matmul: matmul::<true>,
    assign: assign::<true>,
    ..table(Isa::Avx512Vnni, &EXACT)
};

static EXACT: Kernels = table(Isa::Avx512Vnni, &EXACT);
