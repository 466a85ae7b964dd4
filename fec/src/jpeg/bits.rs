//! Entropy-coded data: bits, and the Huffman codes of T.81 annexes C and F.

/// Bits that a lookup takes at once; longer codes are rare.
const LOOKUP: u32 = 9;
/// Longest code.
const LONGEST: usize = 16;

/// A Huffman table.
#[derive(Clone, Debug)]
pub(super) struct Huffman {
    /// By the next [`LOOKUP`] bits: the code's length (high byte) and its symbol, or 0 where the code is longer.
    lookup: Vec<u16>,
    /// Per length: one past its largest code, aligned to 16 bits; and what takes a code to its symbol's place.
    ends: [u32; LONGEST + 1],
    shifts: [i32; LONGEST + 1],
    symbols: Vec<u8>,
}

impl Huffman {
    /// The table of these numbers of codes per length; `None` if there are no such codes.
    pub(super) fn new(counts: &[u8; LONGEST], symbols: &[u8]) -> Option<Self> {
        let mut table = Self {
            lookup: vec![0; 1 << LOOKUP],
            ends: [0; LONGEST + 1],
            shifts: [0; LONGEST + 1],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut place) = (0u32, 0usize);
        for (length, &count) in (1u32..).zip(counts) {
            table.shifts[length as usize] = place as i32 - code as i32;
            for _ in 0..count {
                let symbol = *symbols.get(place)?;
                if code >> length != 0 {
                    return None;
                }
                if length <= LOOKUP {
                    let first = (code << (LOOKUP - length)) as usize;
                    let same = table
                        .lookup
                        .get_mut(first..first + (1 << (LOOKUP - length)))?;
                    same.fill((length as u16) << 8 | u16::from(symbol));
                }
                code += 1;
                place += 1;
            }
            table.ends[length as usize] = code << (LONGEST as u32 - length);
            code <<= 1;
        }
        (place == symbols.len()).then_some(table)
    }
}

/// Reads bits, the stuffed zeros after 0xFF left out. Past a marker there are zeros without end, which [`Bits::is_sound`] notices.
#[derive(Debug)]
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The next bits, from the top.
    buffer: u64,
    /// How many of them count.
    count: u32,
    /// How many of these stand for data that is not there.
    padding: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            at: 0,
            buffer: 0,
            count: 0,
            padding: 0,
        }
    }

    /// Whether all that was read was there.
    pub(super) fn is_sound(&self) -> bool {
        self.padding <= self.count
    }

    /// At least 32 bits more.
    #[inline]
    fn refill(&mut self) {
        if self.count >= 32 {
            return;
        }
        if let Some(bytes) = self.data.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            let word = u64::from_be_bytes(*bytes);
            // Without a byte of 0xFF as many as fit are taken as they are. Bits of the one after them come along, and are set again,
            // to the same, by the next refill.
            const ONES: u64 = 0x0101_0101_0101_0101;
            if (!word).wrapping_sub(ONES) & word & (ONES << 7) == 0 {
                self.buffer |= word >> self.count;
                let bytes = (64 - self.count) / 8;
                self.at += bytes as usize;
                self.count += 8 * bytes;
                return;
            }
        }
        self.refill_slowly();
    }

    #[cold]
    #[inline(never)]
    fn refill_slowly(&mut self) {
        // What came along with a fast refill is taken out first: the next byte may be none of the data.
        if self.count == 0 {
            self.buffer = 0;
        } else {
            self.buffer &= !0 << (64 - self.count);
        }
        while self.count <= 56 {
            let byte = match (self.data.get(self.at), self.data.get(self.at + 1)) {
                (Some(0xFF), Some(0)) => {
                    self.at += 2;
                    0xFF
                }
                (Some(0xFF), _) | (None, _) => {
                    self.padding += 8;
                    0
                }
                (Some(&byte), _) => {
                    self.at += 1;
                    byte
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    #[inline]
    fn skip(&mut self, bits: u32) {
        self.buffer <<= bits;
        self.count -= bits;
    }

    /// The next symbol, with at least 16 bits left for what follows it.
    #[inline]
    pub(super) fn symbol(&mut self, table: &Huffman) -> Option<u8> {
        self.refill();
        let found = *table.lookup.get((self.buffer >> (64 - LOOKUP)) as usize)?;
        if found != 0 {
            self.skip(u32::from(found >> 8));
            return Some(found as u8);
        }
        let code = (self.buffer >> 48) as u32;
        let length = (LOOKUP as usize + 1..=LONGEST).find(|&l| code < table.ends[l])?;
        self.skip(length as u32);
        let code = (code >> (LONGEST - length)) as i32;
        table
            .symbols
            .get((code + table.shifts[length]) as usize)
            .copied()
    }

    /// The next `bits` bits, up to 15, as T.81 F.2.2.1 extends them: the lower half of the values are negative.
    #[inline]
    pub(super) fn value(&mut self, bits: u32) -> i32 {
        // In two steps, since a shift by 64 for no bits is none.
        let raw = (self.buffer >> 1 >> (63 - bits)) as i32;
        let negative = (self.buffer >> 63) as i32 ^ 1;
        self.skip(bits);
        raw - (negative * ((1 << bits) - 1))
    }

    /// To the data after a restart marker: `None` if there is none here.
    pub(super) fn restart(&mut self, number: u8) -> Option<()> {
        // Bytes that were read ahead: whole ones alone, since fewer than eight bits fill up the last byte before a marker.
        if !self.is_sound() || self.count - self.padding >= 8 {
            return None;
        }
        let marker = [0xFF, 0xD0 + number % 8];
        if self.data.get(self.at..self.at + 2)? != marker {
            return None;
        }
        self.at += 2;
        (self.buffer, self.count, self.padding) = (0, 0, 0);
        Some(())
    }
}
