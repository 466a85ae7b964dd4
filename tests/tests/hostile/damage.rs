//! Accidents: files cut off, bits flipped. All are refused.

use fec_runtime::{AlignedBytes, Error, Model};
use fec_tests::container::{number, put, repair};
use fec_tests::fixtures::model;

use super::refusals::sound;
use super::survives;

/// Every length up to 4096, then a prime number further each time, then the last ones.
fn lengths(len: usize, step: usize) -> impl Iterator<Item = usize> {
    (0..len.min(4096))
        .chain((4096..len).step_by(step))
        .chain(len - 70..len)
}

#[test]
fn every_truncation_is_refused() {
    for (bytes, step) in [
        (AlignedBytes::copy_of(&sound()), 251),
        (model("nano"), 9973),
    ] {
        let bytes = bytes.as_bytes();
        for len in lengths(bytes.len(), step) {
            let needed = if len < 64 { 64 } else { bytes.len() as u64 };
            let expected = match len {
                0..4 => Error::NotFec,
                _ => Error::Truncated {
                    needed,
                    given: len as u64,
                },
            };
            assert_eq!(Model::from_bytes(&bytes[..len]).err(), Some(expected));
        }
    }
}

#[test]
fn truncations_that_hide_themselves_are_refused() {
    let bytes = sound();
    for len in lengths(bytes.len(), 61) {
        let mut cut = bytes[..len].to_vec();
        if len >= 64 {
            put(&mut cut, 8, 8, len as u64);
            repair(&mut cut);
        }
        let refused = survives(&format!("cut to {len} bytes"), &cut);
        assert!(refused.is_err(), "cut to {len} bytes: accepted");
    }
}

/// What a flipped bit at `at` may be taken for.
fn fits(error: Error, at: usize) -> bool {
    match at {
        0..4 => error == Error::NotFec,
        4..6 => matches!(error, Error::Version { .. }),
        6..8 => matches!(error, Error::Field { .. }),
        8..16 => matches!(error, Error::Truncated { .. } | Error::TrailingBytes { .. }),
        24..28 => matches!(error, Error::Field { .. } | Error::Checksum { .. }),
        _ => matches!(error, Error::Checksum { .. }),
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    for (mut bytes, step) in [
        (AlignedBytes::copy_of(&sound()), 1013),
        (model("nano"), 700_001),
    ] {
        let len = bytes.as_bytes().len();
        // Everything in front of the weights bit by bit (of the larger file the header alone), of the weights a sample.
        let all = if len < 100_000 {
            let head = number(&bytes.as_bytes()[24..28]) as usize;
            8 * (head + 4 * 64)
        } else {
            8 * 64
        };
        for bit in (0..all).chain((all..8 * len).step_by(step)) {
            let (at, mask) = (bit / 8, 1 << (bit % 8));
            bytes.as_bytes_mut()[at] ^= mask;
            let refused = Model::from_bytes(bytes.as_bytes()).err();
            assert!(
                refused.is_some_and(|error| fits(error, at)),
                "byte {at}: {refused:?}"
            );
            bytes.as_bytes_mut()[at] ^= mask;
        }
        assert!(
            Model::from_bytes(bytes.as_bytes()).is_ok(),
            "all bits are back"
        );
    }
}
