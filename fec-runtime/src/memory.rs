//! Aligned bytes and typed views of bytes. Beside the kernels the only file with `unsafe`.
#![expect(
    unsafe_code,
    reason = "views of bytes as numbers; every block names the check that makes it sound"
)]

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

use crate::format::ALIGN;
use crate::kernels::ValuesMut;

/// A value at an address that is a multiple of 64, as [`crate::Model::from_bytes`] needs its bytes; see [`crate::include_model!`].
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Aligned<T: ?Sized>(pub T);

/// The bytes of a model file compiled into the program, aligned: `include_model!("model.fec")` is a `&'static [u8]`.
#[macro_export]
macro_rules! include_model {
    ($path:expr) => {{
        static MODEL: &$crate::Aligned<[u8]> = &$crate::Aligned(*include_bytes!($path));
        &MODEL.0
    }};
}

/// An arena of N bytes, aligned so that none is lost.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Arena<const N: usize>([u8; N]);

impl<const N: usize> Arena<N> {
    /// An arena of zeros; `const`, so that it can be a static's initial value.
    pub const fn new() -> Self {
        Self([0; N])
    }

    /// The bytes, for [`crate::Session::new`].
    pub const fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl<const N: usize> Default for Arena<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// Bytes on the heap that start at a multiple of 64: a model file that was read, or an arena.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug, Default)]
pub struct AlignedBytes {
    lines: Vec<Aligned<[u8; ALIGN]>>,
    len: usize,
}

#[cfg(feature = "alloc")]
impl AlignedBytes {
    /// `len` zeros.
    pub fn zeroed(len: usize) -> Self {
        Self {
            lines: alloc::vec![Aligned([0; ALIGN]); len.div_ceil(ALIGN)],
            len,
        }
    }

    /// A copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut copy = Self::zeroed(bytes.len());
        copy.as_bytes_mut().copy_from_slice(bytes);
        copy
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: `lines` holds at least `len` bytes (`zeroed` rounds up, nothing shrinks it), without padding between the lines,
        // since a line's size equals its alignment.
        unsafe { core::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    /// The bytes, to write to.
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_bytes`; the borrow is exclusive.
        unsafe { core::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// Whether `bytes` start at a multiple of 64.
pub(crate) fn is_aligned(bytes: &[u8]) -> bool {
    bytes.as_ptr().addr().is_multiple_of(ALIGN)
}

/// The part of `bytes` from its first multiple of 64 on.
pub(crate) fn align(bytes: &mut [u8]) -> &mut [u8] {
    let skip = bytes.as_ptr().addr().wrapping_neg() % ALIGN;
    bytes.get_mut(skip..).unwrap_or_default()
}

/// Aligned bytes as floats.
pub(crate) fn floats(bytes: &[u8]) -> &[f32] {
    debug_assert!(bytes.as_ptr().addr().is_multiple_of(4));
    // SAFETY: every bit pattern is an f32; `align_to` takes care of alignment and length.
    unsafe { bytes.align_to().1 }
}

/// Aligned bytes as 16-bit numbers.
pub(crate) fn halves(bytes: &[u8]) -> &[u16] {
    debug_assert!(bytes.as_ptr().addr().is_multiple_of(2));
    // SAFETY: every bit pattern is a u16; `align_to` takes care of alignment and length.
    unsafe { bytes.align_to().1 }
}

/// Aligned bytes as signed 32-bit numbers.
pub(crate) fn integers(bytes: &[u8]) -> &[i32] {
    debug_assert!(bytes.as_ptr().addr().is_multiple_of(4));
    // SAFETY: every bit pattern is an i32; `align_to` takes care of alignment and length.
    unsafe { bytes.align_to().1 }
}

/// Bytes as signed numbers.
pub(crate) fn signed(bytes: &[u8]) -> &[i8] {
    // SAFETY: every bit pattern is an i8; `align_to` takes care of alignment and length.
    unsafe { bytes.align_to().1 }
}

/// Aligned bytes as floats, to write to.
pub(crate) fn floats_mut(bytes: &mut [u8]) -> &mut [f32] {
    debug_assert!(bytes.as_ptr().addr().is_multiple_of(4));
    // SAFETY: every bit pattern is an f32 and every f32 is four bytes; `align_to_mut` takes care of alignment and length.
    unsafe { bytes.align_to_mut().1 }
}

/// Aligned bytes as 16-bit numbers, to write to.
pub(crate) fn halves_mut(bytes: &mut [u8]) -> &mut [u16] {
    debug_assert!(bytes.as_ptr().addr().is_multiple_of(2));
    // SAFETY: every bit pattern is a u16 and every u16 is two bytes; `align_to_mut` takes care of alignment and length.
    unsafe { bytes.align_to_mut().1 }
}

/// Floats as bytes, to write to.
pub(crate) fn bytes_of(floats: &mut [f32]) -> &mut [u8] {
    // SAFETY: every four bytes are an f32 and have no alignment; `align_to_mut` takes care of the length.
    unsafe { floats.align_to_mut().1 }
}

/// Floats as signed bytes, to write to.
pub(crate) fn signed_bytes_of(floats: &mut [f32]) -> &mut [i8] {
    // SAFETY: as in `bytes_of`.
    unsafe { floats.align_to_mut().1 }
}

/// Floats as 16-bit numbers, to write to.
pub(crate) fn halves_of(floats: &mut [f32]) -> &mut [u16] {
    // SAFETY: every two u16 are an f32 and are aligned where it is; `align_to_mut` takes care of the length.
    unsafe { floats.align_to_mut().1 }
}

/// Floats as integers, to write to.
pub(crate) fn ints_of(floats: &mut [f32]) -> &mut [i32] {
    // SAFETY: every i32 is an f32, of the same alignment; `align_to_mut` takes care of the length.
    unsafe { floats.align_to_mut().1 }
}

/// The first `len` values of a map that lies in a buffer of floats, as f16 where the network is one of integers.
pub(crate) fn map_of(floats: &mut [f32], len: usize, integer: bool) -> ValuesMut<'_> {
    if integer {
        ValuesMut::F16(&mut halves_of(floats)[..len])
    } else {
        ValuesMut::F32(&mut floats[..len])
    }
}

/// Cuts `buffer` into pieces of the given lengths; what is left over is dropped.
pub(crate) fn cut<const K: usize>(mut buffer: &mut [f32], lengths: [usize; K]) -> [&mut [f32]; K] {
    lengths.map(|length| {
        let (piece, rest) = core::mem::take(&mut buffer).split_at_mut(length);
        buffer = rest;
        piece
    })
}
