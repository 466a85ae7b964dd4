//! Maps in either of their storage types: f32 in float networks, f16 in integer ones (ARCHITECTURE.md, "Integer networks").

use core::ops::Range;

/// Values of a map.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// 16-bit floats as bits.
    F16(&'a [u16]),
}

impl<'a> Values<'a> {
    /// Their number.
    pub fn len(&self) -> usize {
        match self {
            Values::F32(values) => values.len(),
            Values::F16(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of them.
    ///
    /// # Panics
    /// When the range ends past the last one.
    pub fn slice(&self, range: Range<usize>) -> Values<'a> {
        match self {
            Values::F32(values) => Values::F32(&values[range]),
            Values::F16(values) => Values::F16(&values[range]),
        }
    }

    /// One of them.
    ///
    /// # Panics
    /// When there is no such value.
    pub fn get(&self, at: usize) -> f32 {
        match self {
            Values::F32(values) => values[at],
            Values::F16(values) => half::f16::from_bits(values[at]).to_f32(),
        }
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = f32> + 'a {
        (0..self.len()).map(move |i| self.get(i))
    }
}

/// Values of a map, to write to.
#[derive(Debug)]
pub enum ValuesMut<'a> {
    /// 32-bit floats.
    F32(&'a mut [f32]),
    /// 16-bit floats as bits.
    F16(&'a mut [u16]),
}

impl<'a> ValuesMut<'a> {
    /// The first `at` of them and the others.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn split_at(self, at: usize) -> (ValuesMut<'a>, ValuesMut<'a>) {
        match self {
            ValuesMut::F32(values) => {
                let (first, rest) = values.split_at_mut(at);
                (ValuesMut::F32(first), ValuesMut::F32(rest))
            }
            ValuesMut::F16(values) => {
                let (first, rest) = values.split_at_mut(at);
                (ValuesMut::F16(first), ValuesMut::F16(rest))
            }
        }
    }

    /// Their number.
    pub fn len(&self) -> usize {
        self.as_values().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same to read.
    pub fn as_values(&self) -> Values<'_> {
        match self {
            ValuesMut::F32(values) => Values::F32(values),
            ValuesMut::F16(values) => Values::F16(values),
        }
    }

    /// All of them, for a while.
    pub fn reborrow(&mut self) -> ValuesMut<'_> {
        match self {
            ValuesMut::F32(values) => ValuesMut::F32(values),
            ValuesMut::F16(values) => ValuesMut::F16(values),
        }
    }

    /// Some of them.
    ///
    /// # Panics
    /// When the range ends past the last one.
    pub fn slice_mut(&mut self, range: Range<usize>) -> ValuesMut<'_> {
        match self {
            ValuesMut::F32(values) => ValuesMut::F32(&mut values[range]),
            ValuesMut::F16(values) => ValuesMut::F16(&mut values[range]),
        }
    }
}
