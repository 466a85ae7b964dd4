//! What integer networks store besides floats: 8-bit panels with scales and sums, and the table between a block's MLP layers.

use super::layout::{GELU_LEN, f32_at, gelu, u32_at};
use super::tensors::{GROUP, LANES, TensorKind};

/// GELU between an integer network's MLP layers: fc1's v / `pre`, rounded to even and held to -128..=127, is looked up by its bit
/// pattern; the entry u means (u - `zero`) * `post`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeluTable<'a> {
    /// Scale of the table's index.
    pub pre: f32,
    /// Scale of the table's entries.
    pub post: f32,
    /// Entry that means 0.
    pub zero: u8,
    /// The entries.
    pub table: &'a [u8; 256],
}

/// The table that [`first_impossible`] has accepted, or `None` for a block that computes its GELU.
pub(crate) fn gelu_table(bytes: &[u8]) -> Option<GeluTable<'_>> {
    if u32_at(bytes, gelu::MODE)? != gelu::MODE_TABLE {
        return None;
    }
    Some(GeluTable {
        pre: f32_at(bytes, gelu::PRE)?,
        post: f32_at(bytes, gelu::POST)?,
        zero: u8::try_from(u32_at(bytes, gelu::ZERO)?).ok()?,
        table: bytes.get(gelu::TABLE..)?.first_chunk()?,
    })
}

/// Values, scales and sums of a matrix in 8 bits.
pub(crate) fn split_panels(inputs: usize, outputs: usize, bytes: &[u8]) -> Option<[&[u8]; 3]> {
    let outputs = outputs.checked_next_multiple_of(LANES)?;
    let values = outputs.checked_mul(inputs.checked_next_multiple_of(GROUP)?)?;
    let (values, rest) = bytes.split_at_checked(values)?;
    let (scales, sums) = rest.split_at_checked(outputs.checked_mul(4)?)?;
    Some([values, scales, sums])
}

/// Offset of the first number that cannot be in an 8-bit tensor of that shape.
pub(super) fn first_impossible(kind: TensorKind, bytes: &[u8]) -> Option<usize> {
    match kind {
        TensorKind::Matrix { inputs, outputs } => {
            let Some([values, scales, sums]) = split_panels(inputs, outputs, bytes) else {
                return Some(bytes.len());
            };
            impossible_panel(
                inputs,
                outputs,
                values,
                sums,
                values.len().saturating_add(scales.len()),
            )
            .or_else(|| Some(impossible_scale(outputs, scales)?.saturating_add(values.len())))
        }
        TensorKind::Table => impossible_table(bytes),
        TensorKind::Vector { .. } => Some(0),
    }
}

/// No weight is -128, the padding is 0, and each sum is that of its output's weights. `sums_at` is the offset of the sums.
fn impossible_panel(
    inputs: usize,
    outputs: usize,
    values: &[u8],
    sums: &[u8],
    sums_at: usize,
) -> Option<usize> {
    const GROUP_BYTES: usize = GROUP * LANES;
    let groups = inputs.div_ceil(GROUP);
    let panel_bytes = groups.saturating_mul(GROUP_BYTES);
    let panels = values.chunks_exact(panel_bytes.max(1));
    for (p, (panel, sums)) in panels.zip(sums.chunks_exact(4 * LANES)).enumerate() {
        let at = p.saturating_mul(panel_bytes);
        let used_outputs = outputs.saturating_sub(p.saturating_mul(LANES)).min(LANES);
        let mut found = [0i32; LANES];
        let mut lowest = 0i8;
        let (words, _) = panel.as_chunks::<GROUP_BYTES>();
        for group in words {
            let (outputs, _) = group.as_chunks::<GROUP>();
            for (sum, weights) in found.iter_mut().zip(outputs) {
                for weight in weights {
                    let weight = weight.cast_signed();
                    lowest = lowest.min(weight);
                    *sum = sum.wrapping_add(i32::from(weight));
                }
            }
        }
        if lowest == i8::MIN {
            let byte = panel.iter().position(|b| b.cast_signed() == i8::MIN)?;
            return Some(at.saturating_add(byte));
        }
        let used_inputs = inputs.saturating_sub(groups.saturating_sub(1).saturating_mul(GROUP));
        let last = panel_bytes.saturating_sub(GROUP_BYTES);
        let padding = |i: usize| {
            let in_group = i % GROUP_BYTES;
            in_group / GROUP >= used_outputs || (i >= last && in_group % GROUP >= used_inputs)
        };
        let padded = used_outputs < LANES || used_inputs < GROUP;
        if padded
            && let Some(byte) = (0..)
                .zip(panel)
                .find_map(|(i, b)| (*b != 0 && padding(i)).then_some(i))
        {
            return Some(at.saturating_add(byte));
        }
        for (o, (sum, found)) in sums.chunks_exact(4).zip(found).enumerate() {
            if u32_at(sum, 0)? != found.cast_unsigned() {
                let output = p.saturating_mul(LANES).saturating_add(o);
                return Some(sums_at.saturating_add(output.saturating_mul(4)));
            }
        }
    }
    None
}

/// Scales are finite and not negative, those of the padding 0.
fn impossible_scale(outputs: usize, scales: &[u8]) -> Option<usize> {
    let possible = |(o, bytes): (usize, &[u8])| {
        f32_at(bytes, 0).is_some_and(|scale| {
            scale.is_finite() && scale.is_sign_positive() && (o < outputs || scale == 0.0)
        })
    };
    let impossible = scales
        .chunks_exact(4)
        .enumerate()
        .position(|scale| !possible(scale))?;
    Some(impossible.saturating_mul(4))
}

fn impossible_table(bytes: &[u8]) -> Option<usize> {
    let positive = |at| f32_at(bytes, at).is_some_and(|scale| scale.is_finite() && scale > 0.0);
    let zeros = |from: usize, to: usize| {
        let byte = bytes.get(from..to)?.iter().position(|&b| b != 0)?;
        Some(from.saturating_add(byte))
    };
    if bytes.len() != GELU_LEN {
        return Some(bytes.len());
    }
    match u32_at(bytes, gelu::MODE)? {
        gelu::MODE_TABLE if !positive(gelu::PRE) => Some(gelu::PRE),
        gelu::MODE_TABLE if !positive(gelu::POST) => Some(gelu::POST),
        gelu::MODE_TABLE if u32_at(bytes, gelu::ZERO)? > 255 => Some(gelu::ZERO),
        gelu::MODE_TABLE => zeros(gelu::RESERVED, gelu::TABLE),
        gelu::MODE_COMPUTED => {
            zeros(gelu::PRE, gelu::MODE).or_else(|| zeros(gelu::RESERVED, GELU_LEN))
        }
        _ => Some(gelu::MODE),
    }
}

/// The bytes of a table, or of a block without one.
#[cfg(feature = "write")]
pub(super) fn gelu_bytes(table: Option<GeluTable<'_>>) -> [u8; GELU_LEN] {
    let mut bytes = [0; GELU_LEN];
    let mut put = |at: usize, piece: &[u8]| {
        for (to, from) in bytes.iter_mut().skip(at).zip(piece) {
            *to = *from;
        }
    };
    match table {
        Some(table) => {
            put(gelu::PRE, &table.pre.to_le_bytes());
            put(gelu::POST, &table.post.to_le_bytes());
            put(gelu::ZERO, &u32::from(table.zero).to_le_bytes());
            put(gelu::TABLE, table.table);
        }
        None => put(gelu::MODE, &gelu::MODE_COMPUTED.to_le_bytes()),
    }
    bytes
}

/// The bytes of a matrix in 8 bits: `values` row-major [outputs, inputs] become panels, scales are padded, sums added.
#[cfg(feature = "write")]
pub(super) fn panel_bytes(
    inputs: usize,
    outputs: usize,
    values: &[i8],
    scales: &[f32],
) -> alloc::vec::Vec<u8> {
    let padded = outputs.next_multiple_of(LANES);
    let groups = inputs.div_ceil(GROUP);
    let weight = |o: usize, k: usize| {
        let row = values.get(o.saturating_mul(inputs)..)?.get(..inputs)?;
        row.get(k).copied()
    };
    let mut bytes = alloc::vec::Vec::new();
    for panel in (0..padded).step_by(LANES) {
        for group in 0..groups {
            for o in panel..panel.saturating_add(LANES) {
                for k in group.saturating_mul(GROUP)..group.saturating_add(1).saturating_mul(GROUP)
                {
                    bytes.push(weight(o, k).unwrap_or(0).cast_unsigned());
                }
            }
        }
    }
    for o in 0..padded {
        bytes.extend(scales.get(o).copied().unwrap_or(0.0).to_le_bytes());
    }
    let mut rows = values.chunks_exact(inputs.max(1));
    for _ in 0..padded {
        let sum: i32 = rows
            .next()
            .unwrap_or_default()
            .iter()
            .map(|&w| i32::from(w))
            .sum();
        bytes.extend(sum.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_reads_as_it_was_written() {
        let table: [u8; 256] = core::array::from_fn(|i| i as u8 ^ 0x5A);
        let given = GeluTable {
            pre: 0.5,
            post: 0.25,
            zero: 9,
            table: &table,
        };
        let bytes = gelu_bytes(Some(given));
        assert_eq!(impossible_table(&bytes), None);
        assert_eq!(gelu_table(&bytes), Some(given));
        let computed = gelu_bytes(None);
        assert_eq!(impossible_table(&computed), None);
        assert_eq!(gelu_table(&computed), None);
        assert_eq!(u32_at(&computed, gelu::MODE), Some(1));
    }

    #[test]
    fn every_impossible_byte_of_a_matrix_is_found() {
        let (inputs, outputs) = (6, 18);
        let values: [i8; 6 * 18] =
            core::array::from_fn(|i| (i * 37 % 255) as i8).map(|w| w.max(-127));
        let sound = panel_bytes(inputs, outputs, &values, &[0.5; 18]);
        let kind = TensorKind::Matrix { inputs, outputs };
        assert_eq!(
            kind.stored_bytes(crate::format::DType::I8),
            Some(sound.len())
        );
        assert_eq!(first_impossible(kind, &sound), None);
        for at in 0..sound.len() {
            let mut bytes = sound.clone();
            // A weight is -128, or its sum another; a scale is negative; a sum is another.
            bytes[at] ^= 0x80;
            let scale_of_an_output = (256..256 + 18 * 4).contains(&at) && at % 4 != 3;
            assert_eq!(
                first_impossible(kind, &bytes).is_none(),
                scale_of_an_output,
                "byte {at}"
            );
        }
    }
}
