//! GELU from a table, for machines that look values up in a register.

use crate::format::LANES;
use crate::kernels::lanes::Lanes;

/// x * Phi(x), absolute error below 5e-7.
///
/// As in [`super::gelu`], gelu(x) = max(x, 0) - h(|x|); here h is sixteen pieces of degree 4 (interpolated at Chebyshev's nodes), piece
/// i around u = i / SCALE. Its last value, 1e-7, stands for all that follow; NaN gives that value as well.
#[inline(always)]
pub(in crate::kernels) fn gelu_pieces<L: Lanes>(x: L) -> L {
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let u = x.abs().min(L::splat(LAST));
    let piece = u.mul_add(L::splat(SCALE), L::splat(ROUND));
    let f = u.mul_add(L::splat(SCALE), L::splat(ROUND).sub(piece));
    let (first, rest) = (&PIECES[0], &PIECES[1..]);
    let mut h = piece.look_up(first);
    for coefficients in rest {
        h = h.mul_add(f, piece.look_up(coefficients));
    }
    x.max(L::splat(0.0)).sub(h)
}

/// Pieces per unit, and an end that still rounds to the last piece.
const SCALE: f32 = 15.5 / 5.5;
const LAST: f32 = 5.49;

/// Coefficients of each piece, the highest power first.
const PIECES: [[f32; LANES]; 5] = [
    [
        0.0010337039,
        0.00077102595,
        0.0001503694,
        -0.00039116445,
        -0.0005774117,
        -0.00044246996,
        -0.00019723234,
        -1.5003027e-05,
        5.7825615e-05,
        5.8619295e-05,
        3.6225876e-05,
        1.689447e-05,
        6.345926e-06,
        1.9775684e-06,
        5.1971483e-07,
        1.16364e-07,
    ],
    [
        1.1883724e-05,
        0.0038022997,
        0.0056893053,
        0.005120342,
        0.0030575483,
        0.0009452027,
        -0.00033482764,
        -0.0007243893,
        -0.0006071041,
        -0.0003598591,
        -0.00016848858,
        -6.4985135e-05,
        -2.1084688e-05,
        -5.8253063e-06,
        -1.3811953e-06,
        -2.8255053e-07,
    ],
    [
        -0.050233413,
        -0.044196416,
        -0.029215595,
        -0.012354055,
        0.00013322949,
        0.0059738904,
        0.006595759,
        0.0047900006,
        0.0027069037,
        0.001256225,
        0.00049064116,
        0.00016344315,
        4.6818568e-05,
        1.1594536e-05,
        2.4917304e-06,
        4.6595724e-07,
    ],
    [
        0.17741951,
        0.08105862,
        0.0066944244,
        -0.034573544,
        -0.045738254,
        -0.0385607,
        -0.025350926,
        -0.013777259,
        -0.0063452167,
        -0.0025085276,
        -0.0008576733,
        -0.00025480136,
        -6.598271e-05,
        -1.4926918e-05,
        -2.9547627e-06,
        -5.1240465e-07,
    ],
    [
        -1.654671e-09,
        0.12822281,
        0.16957891,
        0.1528086,
        0.11056462,
        0.067446984,
        0.035396855,
        0.01614055,
        0.006429158,
        0.0022440387,
        0.00068767415,
        0.00018524543,
        4.390169e-05,
        9.158577e-06,
        1.6825159e-06,
        2.7226875e-07,
    ],
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::activation::tests::{exact_gelu, floats};
    use crate::kernels::lanes::Portable;

    #[test]
    fn gelu_from_pieces_is_within_its_bound() {
        let within = floats().filter(|x| x.abs() < 12.0).step_by(16);
        for x in within {
            let mut got = [0.0; LANES];
            gelu_pieces(Portable::splat(x)).store(&mut got);
            let (got, want) = (got[0], exact_gelu(x));
            let error = (f64::from(got) - want).abs();
            assert!(error < 5e-7, "gelu({x}) = {got}, want {want}");
        }
    }
}
