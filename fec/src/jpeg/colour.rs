//! Chroma at the size of luma, and RGB: the integers of libjpeg ("fancy upsampling", ITU-R BT.601 with 16 fractional bits).

/// Chroma samples of a row between those of two rows, as sums of `3 * near + far`; of one row alone where no rows lie between.
pub(super) fn mix_rows(near: &[u8], far: Option<&[u8]>, sums: &mut Vec<i16>) {
    sums.clear();
    match far {
        Some(far) => {
            let pairs = near.iter().zip(far);
            sums.extend(pairs.map(|(&near, &far)| 3 * i16::from(near) + i16::from(far)));
        }
        None => sums.extend(near.iter().map(|&near| i16::from(near))),
    }
}

/// Twice as many samples: each lies a quarter from its own and three quarters from the neighbour. `sums` has a neighbour more on both
/// sides. `two_rows`: sums of [`mix_rows`] with `far`.
pub(super) fn widen(sums: &[i16], two_rows: bool, out: &mut Vec<u8>) {
    // libjpeg rounds alternately up and down at ties, so that the mean stays.
    let (even, odd, bits) = if two_rows { (8, 7, 4) } else { (1, 2, 2) };
    let wide = 2 * sums.len().saturating_sub(2);
    out.resize(wide, 0);
    let (pairs, _) = out.as_chunks_mut::<2>();
    let neighbours = sums
        .iter()
        .zip(sums.iter().skip(1))
        .zip(sums.iter().skip(2));
    for (pair, ((left, own), right)) in pairs.iter_mut().zip(neighbours) {
        *pair = [
            ((3 * own + left + even) >> bits) as u8,
            ((3 * own + right + odd) >> bits) as u8,
        ];
    }
}

/// High half of a product, as processors have it.
#[inline(always)]
fn high(a: i16, b: i16) -> i16 {
    ((i32::from(a) * i32::from(b)) >> 16) as i16
}

/// Red, green and blue of a row, one after the other: r = y + 1.402 cr, g = y - 0.34414 cb - 0.71414 cr, b = y + 1.772 cb, each product
/// rounded at 16 bits as libjpeg does it.
pub(super) fn to_rgb(y: &[u8], cb: &[u8], cr: &[u8], out: &mut [u8]) {
    let width = y.len();
    let (red, rest) = out.split_at_mut(width.min(out.len()));
    let (green, blue) = rest.split_at_mut(width.min(rest.len()));
    let samples = y.iter().zip(cb).zip(cr);
    let targets = red.iter_mut().zip(green).zip(blue);
    for (((&y, &cb), &cr), ((red, green), blue)) in samples.zip(targets) {
        let (y, cb, cr) = (i16::from(y), i16::from(cb) - 128, i16::from(cr) - 128);
        // 91881 / 65536 = 1 + 26345 / 65536, and so on: what is left fits 16 bits.
        let r = y + cr + ((high(2 * cr, 26345) + 1) >> 1);
        let b = y + 2 * cb + ((high(2 * cb, -14942) + 1) >> 1);
        let g = i32::from(cb) * -22554 + i32::from(cr) * 18734;
        let g = y + (((g + 32768) >> 16) as i16) - cr;
        *red = r.clamp(0, 255) as u8;
        *green = g.clamp(0, 255) as u8;
        *blue = b.clamp(0, 255) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_is_what_the_tables_of_libjpeg_say() {
        for cb in 0..=255u8 {
            for cr in 0..=255u8 {
                let (b, r) = (i32::from(cb) - 128, i32::from(cr) - 128);
                for y in [0, 1, 77, 128, 200, 255u8] {
                    let of = |v: i32| (i32::from(y) + v).clamp(0, 255) as u8;
                    let expected = [
                        of((91881 * r + 32768) >> 16),
                        of((-22554 * b - 46802 * r + 32768) >> 16),
                        of((116_130 * b + 32768) >> 16),
                    ];
                    let mut found = [0; 3];
                    to_rgb(&[y], &[cb], &[cr], &mut found);
                    assert_eq!(found, expected, "{y} {cb} {cr}");
                }
            }
        }
    }
}
