//! The inverse DCT of libjpeg's "slow integer" method, which PIL uses: Loeffler, Ligtenberg and Moschytz's algorithm with 12 products a
//! line, its constants rounded to 13 fractional bits, the first pass rounded to 2. The same integers, so the same samples.

const CONSTANT_BITS: u32 = 13;
const FIRST_PASS_BITS: u32 = 2;

/// A line of values per row: the same line of all columns is worked on at once. 16 bits wide as in libjpeg-turbo's vector code, whose
/// results for absurd coefficients, which do not fit, are so the same as well.
type Lines = [[i16; 8]; 8];

/// One pass down the columns, rounded by `bits`.
#[inline(always)]
fn pass(v: &Lines, bits: u32) -> Lines {
    let mut out = [[0; 8]; 8];
    for i in 0..8 {
        let times = |a: i16, b: i16| i32::from(a).wrapping_mul(i32::from(b));
        // The even part. Sums of a product with (v2 + v6) are taken apart, so that all factors have 16 bits.
        let t2 = times(v[2][i], 4433).wrapping_add(times(v[6][i], 4433 - 15137));
        let t3 = times(v[2][i], 4433 + 6270).wrapping_add(times(v[6][i], 4433));
        let t0 = i32::from(v[0][i].wrapping_add(v[4][i])) << CONSTANT_BITS;
        let t1 = i32::from(v[0][i].wrapping_sub(v[4][i])) << CONSTANT_BITS;
        let even = [
            t0.wrapping_add(t3),
            t1.wrapping_add(t2),
            t1.wrapping_sub(t2),
            t0.wrapping_sub(t3),
        ];
        // The odd part. z5 = 9633 * (z3 + z4) is taken apart likewise, and so are z1 and z2.
        let z3 = v[7][i].wrapping_add(v[3][i]);
        let z4 = v[5][i].wrapping_add(v[1][i]);
        let y3 = times(z3, 9633 - 16069).wrapping_add(times(z4, 9633));
        let y4 = times(z3, 9633).wrapping_add(times(z4, 9633 - 3196));
        let odd = [
            times(v[1][i], 12299 - 7373)
                .wrapping_add(times(v[7][i], -7373))
                .wrapping_add(y4),
            times(v[3][i], 25172 - 20995)
                .wrapping_add(times(v[5][i], -20995))
                .wrapping_add(y3),
            times(v[5][i], 16819 - 20995)
                .wrapping_add(times(v[3][i], -20995))
                .wrapping_add(y4),
            times(v[7][i], 2446 - 7373)
                .wrapping_add(times(v[1][i], -7373))
                .wrapping_add(y3),
        ];
        let round = |x: i32| {
            let x = x.wrapping_add(1 << (bits - 1)) >> bits;
            x.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
        };
        for k in 0..4 {
            out[k][i] = round(even[k].wrapping_add(odd[k]));
            out[7 - k][i] = round(even[k].wrapping_sub(odd[k]));
        }
    }
    out
}

#[inline(always)]
fn transposed(v: &Lines) -> Lines {
    let mut out = [[0; 8]; 8];
    for i in 0..8 {
        for j in 0..8 {
            out[i][j] = v[j][i];
        }
    }
    out
}

/// Samples of a block from its dequantised coefficients, row by row.
pub(super) fn block(coefficients: &Lines) -> [[u8; 8]; 8] {
    let between = pass(coefficients, CONSTANT_BITS - FIRST_PASS_BITS);
    let columns = pass(&transposed(&between), CONSTANT_BITS + FIRST_PASS_BITS + 3);
    let rows = transposed(&columns);
    let mut samples = [[0; 8]; 8];
    for (to, from) in samples
        .as_flattened_mut()
        .iter_mut()
        .zip(rows.as_flattened())
    {
        *to = (from.saturating_add(128)).clamp(0, 255) as u8;
    }
    samples
}

/// The sample that a block has everywhere whose only coefficient is the first.
pub(super) fn flat(first: i16) -> u8 {
    (((i32::from(first) + 4) >> 3) + 128).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_block_is_what_the_transform_gives() {
        for first in -1100..1100 {
            let mut coefficients = [[0; 8]; 8];
            coefficients[0][0] = first;
            assert_eq!(block(&coefficients), [[flat(first); 8]; 8]);
        }
    }
}
