//! Element types of stored tensors, and their way to f32.

use core::fmt;

use half::{bf16, f16};

/// The type of a stored element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dtype {
    F64,
    F32,
    F16,
    Bf16,
    /// Any integer or boolean, by its size in bytes: counters, never weights.
    Integer(usize),
    /// Real and imaginary part, by the size of both in bytes.
    Complex(usize),
    /// A storage of bytes whose tensors say their type themselves.
    Untyped,
}

impl Dtype {
    /// The type of a storage class, such as `torch.FloatStorage`.
    pub(crate) fn from_storage_class(class: &str) -> Option<Self> {
        Some(match class.strip_prefix("torch.")? {
            "DoubleStorage" => Self::F64,
            "FloatStorage" => Self::F32,
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::Bf16,
            "LongStorage" => Self::Integer(8),
            "IntStorage" => Self::Integer(4),
            "ShortStorage" => Self::Integer(2),
            "CharStorage" | "ByteStorage" | "BoolStorage" => Self::Integer(1),
            "ComplexFloatStorage" => Self::Complex(8),
            "ComplexDoubleStorage" => Self::Complex(16),
            "UntypedStorage" | "storage.UntypedStorage" | "storage._UntypedStorage" => {
                Self::Untyped
            }
            _ => return None,
        })
    }

    /// The type that PyTorch names so, such as `torch.float32`.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name.strip_prefix("torch.")? {
            "float64" | "double" => Self::F64,
            "float32" | "float" => Self::F32,
            "float16" | "half" => Self::F16,
            "bfloat16" => Self::Bf16,
            "int64" | "uint64" | "long" => Self::Integer(8),
            "int32" | "uint32" | "int" => Self::Integer(4),
            "int16" | "uint16" | "short" => Self::Integer(2),
            "int8" | "uint8" | "bool" => Self::Integer(1),
            "complex64" | "cfloat" => Self::Complex(8),
            "complex128" | "cdouble" => Self::Complex(16),
            _ => return None,
        })
    }

    /// Bytes of one element.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Integer(size) | Self::Complex(size) => size,
            Self::Untyped => 1,
        }
    }

    pub(crate) fn is_integer(self) -> bool {
        matches!(self, Self::Integer(_))
    }

    /// Little-endian elements as f32: f16 and bf16 exactly, f64 rounded to the nearest. None for types that are no weights.
    pub(crate) fn to_f32(self, bytes: &[u8]) -> Option<Vec<f32>> {
        Some(match self {
            Self::F64 => decode(bytes, |b| f64::from_le_bytes(b) as f32),
            Self::F32 => decode(bytes, f32::from_le_bytes),
            Self::F16 => decode(bytes, |b| f16::from_le_bytes(b).to_f32()),
            Self::Bf16 => decode(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            Self::Integer(_) | Self::Complex(_) | Self::Untyped => return None,
        })
    }
}

fn decode<const N: usize>(bytes: &[u8], element: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (elements, _) = bytes.as_chunks::<N>();
    elements.iter().map(|&e| element(e)).collect()
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F64 => write!(f, "f64"),
            Self::F32 => write!(f, "f32"),
            Self::F16 => write!(f, "f16"),
            Self::Bf16 => write!(f, "bf16"),
            Self::Integer(size) => write!(f, "integer of {size} bytes"),
            Self::Complex(_) => write!(f, "complex"),
            Self::Untyped => write!(f, "untyped bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f64_rounds_to_nearest_even() {
        // Halfway between 1 and the next f32, and just above it.
        let half = f64::from(f32::EPSILON) / 2.0;
        let bytes: Vec<u8> = [1.0 + half, 1.0 + half * 1.000_000_1, 1.0 + 3.0 * half]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        assert_eq!(
            Dtype::F64.to_f32(&bytes).unwrap(),
            [1.0, 1.0 + f32::EPSILON, 1.0 + 2.0 * f32::EPSILON]
        );
    }

    #[test]
    fn half_types_are_exact() {
        assert_eq!(
            Dtype::F16.to_f32(&[0x00, 0x3c, 0x01, 0x00]).unwrap(),
            [1.0, 2.0f32.powi(-24)]
        );
        assert_eq!(
            Dtype::Bf16.to_f32(&[0x80, 0x3f, 0x01, 0x00]).unwrap(),
            [1.0, f32::from_bits(0x1_0000)]
        );
    }
}
