//! Plain Rust: the specification.

use super::{MatmulI8, Out, body};
use crate::kernels::lanes::Portable;

pub(in crate::kernels) fn matmul(m: &MatmulI8<'_>, out: Out<'_>) {
    body::matmul::<Portable>(m, out);
}
