//! NEON with SDOT: the tables of NEON with other integer products.

use super::neon::{assign, matmul, table};
use crate::kernels::{Isa, Kernels};

pub(super) static PLAIN: Kernels = Kernels {
    matmul: matmul::<true>,
    assign: assign::<true>,
    ..table(Isa::NeonDotprod, &EXACT)
};

static EXACT: Kernels = table(Isa::NeonDotprod, &EXACT);
