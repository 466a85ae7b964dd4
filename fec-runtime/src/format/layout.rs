//! Offsets, limits and numbers of the .fec file, and the accessors that read a number at an offset.

/// The first four bytes.
pub(crate) const MAGIC: [u8; 4] = *b"FEC\0";
/// Version of the format.
pub const VERSION: u16 = 1;
/// Sections and tensors start at multiples of this many bytes.
pub const ALIGN: usize = 64;

/// The fixed header.
pub(crate) const HEADER_LEN: usize = 64;
pub(crate) mod header {
    //! Offsets in the header.
    pub(crate) const VERSION: usize = 4;
    pub(crate) const HEADER_LEN: usize = 6;
    pub(crate) const TOTAL_LEN: usize = 8;
    pub(crate) const HEAD_CRC: usize = 16;
    pub(crate) const PAYLOAD_CRC: usize = 20;
    pub(crate) const HEAD_LEN: usize = 24;
    pub(crate) const SECTION_COUNT: usize = 28;
    pub(crate) const TENSOR_COUNT: usize = 32;
    pub(crate) const RESERVED: usize = 36;
}

/// The configuration, right behind the header.
pub(crate) const CONFIG_LEN: usize = 192;
pub(crate) mod config {
    //! Offsets in the configuration.
    pub(crate) const CLASSES: usize = 0;
    pub(crate) const FLAGS: usize = 4;
    pub(crate) const SIMILARITY: usize = 8;
    pub(crate) const DISPATCH: usize = 12;
    pub(crate) const LOCALITY: usize = 16;
    pub(crate) const RESERVED: usize = 28;
    pub(crate) const STAGES: usize = 64;
    pub(crate) const STAGE_LEN: usize = 32;
    pub(crate) const FLAG_DENSE: u32 = 1;
    pub(crate) const FLAG_INTEGER: u32 = 2;
}

/// The table between a block's two MLP layers.
pub(crate) const GELU_LEN: usize = 320;
pub(crate) mod gelu {
    //! Offsets in the table, and its modes.
    pub(crate) const PRE: usize = 0;
    pub(crate) const POST: usize = 4;
    pub(crate) const ZERO: usize = 8;
    pub(crate) const MODE: usize = 12;
    pub(crate) const RESERVED: usize = 16;
    pub(crate) const TABLE: usize = 64;
    /// The table is used.
    pub(crate) const MODE_TABLE: u32 = 0;
    /// There is no table: GELU is computed.
    pub(crate) const MODE_COMPUTED: u32 = 1;
}

/// An entry of the section table, which follows the configuration.
pub(crate) const SECTION_LEN: usize = 32;
pub(crate) mod section {
    //! Offsets in an entry, flags, and the kinds. Kinds are never reused.
    pub(crate) const KIND: usize = 0;
    pub(crate) const FLAGS: usize = 4;
    pub(crate) const OFFSET: usize = 8;
    pub(crate) const LENGTH: usize = 16;
    pub(crate) const RESERVED: usize = 24;
    pub(crate) const FLAG_OPTIONAL: u32 = 1;
    pub(crate) const TENSORS: u32 = 1;
    pub(crate) const LABELS: u32 = 2;
    pub(crate) const PREPROCESSING: u32 = 3;
    pub(crate) const SELF_TEST: u32 = 4;
    pub(crate) const PROVENANCE: u32 = 5;
}

/// An entry of the tensor table, which follows the section table.
pub(crate) const TENSOR_LEN: usize = 32;
pub(crate) mod tensor {
    //! Offsets in an entry. The tensor's offset counts from the start of the file.
    pub(crate) const ROLE: usize = 0;
    pub(crate) const STAGE: usize = 2;
    pub(crate) const DTYPE: usize = 3;
    pub(crate) const BLOCK: usize = 4;
    pub(crate) const RESERVED: usize = 6;
    pub(crate) const INPUTS: usize = 8;
    pub(crate) const OUTPUTS: usize = 12;
    pub(crate) const OFFSET: usize = 16;
    pub(crate) const LENGTH: usize = 24;
    /// Stage of tensors that belong to the network as a whole.
    pub(crate) const NO_STAGE: u8 = 255;
    /// Block of tensors that belong to no block.
    pub(crate) const NO_BLOCK: u16 = 65535;
}

/// Sections of a file, at most.
pub(crate) const MAX_SECTIONS: usize = 16;
/// Bytes of one label, at most: its length is one byte.
#[cfg(feature = "write")]
pub(crate) const MAX_LABEL_LEN: usize = 255;
/// Bytes of the provenance, at most.
pub(crate) const MAX_PROVENANCE_LEN: usize = 65_536;
pub(crate) const PREPROCESSING_LEN: usize = 40;
pub(crate) const SELF_TEST_LEN: usize = 16;

/// `bytes[at..at + N]`, or `None` past the end.
pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

/// A little-endian u16.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

/// A little-endian u32.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

/// A little-endian u64.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

/// A little-endian f32.
pub(crate) fn f32_at(bytes: &[u8], at: usize) -> Option<f32> {
    array_at(bytes, at).map(f32::from_le_bytes)
}

/// The next multiple of [`ALIGN`], or `None` on overflow.
pub(crate) fn align_up(n: usize) -> Option<usize> {
    n.checked_next_multiple_of(ALIGN)
}
