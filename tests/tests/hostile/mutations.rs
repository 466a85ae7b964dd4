//! Malice: changes under checksums that fit. Refused, or harmless: a model that runs.

use fec_tests::container::{ENTRY_LEN, HEADER_LEN, TABLES, field, number, put, repair, structure};
use fec_tests::golden::notice;

use super::refusals::{sound, sound_integers};
use super::survives;

/// Random numbers (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }
}

/// Every numeric field of header, configuration, tables and small sections: name, offset in the file, length.
fn all_fields(file: &[u8]) -> Vec<(String, usize, usize)> {
    let mut structures = vec![("Header", 0), ("Configuration", HEADER_LEN)];
    for i in 0..4 {
        structures.push((
            "Stage",
            HEADER_LEN + field("Configuration", &format!("stage {i}")).0,
        ));
    }
    let [sections, tensors] = [28, 32].map(|at| number(&file[at..at + 4]) as usize);
    for i in 0..sections {
        let at = TABLES + i * ENTRY_LEN;
        structures.push(("Section entry", at));
        let offset = number(&file[at + 8..at + 16]) as usize;
        match number(&file[at..at + 4]) {
            3 => structures.push(("Preprocessing", offset)),
            4 => structures.push(("Self-test", offset)),
            _ => {}
        }
    }
    for i in 0..tensors {
        let at = TABLES + (sections + i) * ENTRY_LEN;
        structures.push(("Tensor entry", at));
        if number(&file[at..at + 2]) == 26 {
            structures.push(("GELU table", number(&file[at + 16..at + 24]) as usize));
        }
    }
    let mut fields = Vec::new();
    for (name, at) in structures {
        for field in structure(name).0.into_iter().filter(|field| field.len <= 8) {
            fields.push((
                format!("{name} at {at}: {}", field.name),
                at + field.offset,
                field.len,
            ));
        }
    }
    fields
}

#[test]
fn every_field_at_every_extreme_is_refused_or_harmless() {
    for sound in [sound(), sound_integers()] {
        extremes(&sound);
    }
}

fn extremes(sound: &[u8]) {
    let (mut refused, mut harmless) = (0, 0);
    for (name, at, len) in all_fields(sound) {
        let now = number(&sound[at..at + len]);
        let bits = 8 * len as u32;
        let most = u64::MAX >> (64 - bits);
        for value in [
            0,
            1,
            most,
            most - 1,
            most / 2,
            most / 2 + 1,
            now.wrapping_add(1),
            now.wrapping_sub(1),
            now.wrapping_add(64),
            now.wrapping_sub(64),
            now.wrapping_mul(2),
            0x7F80_0000,
            0x7FC0_0001,
            0xFFFF_FFC0,
        ] {
            let mut bytes = sound.to_vec();
            put(&mut bytes, at, len, value);
            if bytes == sound {
                continue;
            }
            // The checksums' own fields are left as they were put.
            if !(16..24).contains(&at) {
                repair(&mut bytes);
            }
            match survives(&format!("{name} = {value:#x}"), &bytes) {
                Ok(()) => harmless += 1,
                Err(_) => refused += 1,
            }
        }
    }
    notice(&format!(
        "fields at extremes: {refused} refused, {harmless} harmless"
    ));
    assert!(
        refused > 5000 && harmless > 100,
        "{refused} refused, {harmless} harmless"
    );
}

#[test]
fn random_changes_are_refused_or_harmless() {
    for sound in [sound(), sound_integers()] {
        random_changes(&sound);
    }
}

fn random_changes(sound: &[u8]) {
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let head = number(&sound[24..28]) as usize;
    let (mut refused, mut harmless) = (0, 0);
    for case in 0..3000 {
        let mut bytes = sound.to_vec();
        for _ in 0..=numbers.below(6) {
            let at = match case % 3 {
                0 => numbers.below(bytes.len()),
                1 => 24 + numbers.below(TABLES - 24),
                _ => 24 + numbers.below(head + 256 - 24),
            };
            match numbers.below(4) {
                0 => bytes[at] = numbers.below(256) as u8,
                1 => bytes[at] ^= 1 << numbers.below(8),
                2 => bytes[at] = bytes[at].wrapping_add(1),
                _ => {
                    // A piece of the file somewhere else.
                    let len = 1 + numbers.below(32);
                    let from = numbers.below(bytes.len() - len);
                    let to = at.min(bytes.len() - len);
                    bytes.copy_within(from..from + len, to);
                }
            }
        }
        repair(&mut bytes);
        match survives(&format!("random case {case}"), &bytes) {
            Ok(()) => harmless += 1,
            Err(_) => refused += 1,
        }
    }
    notice(&format!(
        "random changes: {refused} refused, {harmless} harmless"
    ));
    assert!(
        refused > 1000 && harmless > 30,
        "{refused} refused, {harmless} harmless"
    );
}

/// Finite, but no network: every sum overflows, every comparison meets a NaN.
#[test]
fn absurd_weights_do_not_panic() {
    let sound = sound();
    let mut numbers = Numbers(3);
    let parts = fec_tests::container::Parts::of(&sound);
    for pattern in [
        0x7F7F_FFFF_u32, // the largest float
        0xFF7F_FFFF,
        0x0000_0001, // the smallest
        0x0000_0000,
        0x7B00_7B00, // large in f16 as well
        0xBF80_0000, // -1
    ] {
        for share in [1, 2, 17] {
            let mut parts = parts.clone();
            for entry in parts.tensors.clone() {
                let [start, len] = [16, 24].map(|at| number(&entry[at..at + 8]) as usize);
                let values = &mut parts.section(1).bytes[start..start + len];
                for value in values.chunks_exact_mut(4) {
                    if numbers.below(share) == 0 {
                        let bits = if entry[3] == 0 {
                            pattern
                        } else {
                            pattern & 0x7BFF_7BFF
                        };
                        value.copy_from_slice(&bits.to_le_bytes());
                    }
                }
            }
            let what = format!("one weight in {share} is {pattern:#x}");
            assert_eq!(survives(&what, &parts.build()), Ok(()), "{what}");
        }
    }
}

/// Every weight 127 or -127 in turn, sums to match, scales and tables as large or as small as floats are.
#[test]
fn absurd_integers_do_not_panic() {
    let sound = sound_integers();
    for (weights, scale) in [
        ([127i8, 127], f32::MAX),
        ([-127, -127], f32::MAX),
        ([127, -127], f32::MIN_POSITIVE),
        ([0, 0], 1.0),
    ] {
        let mut parts = fec_tests::container::Parts::of(&sound);
        for entry in parts.tensors.clone() {
            let [start, len] = [16, 24].map(|at| number(&entry[at..at + 8]) as usize);
            let [inputs, outputs] = [8, 12].map(|at| number(&entry[at..at + 4]) as usize);
            let bytes = &mut parts.section(1).bytes[start..start + len];
            match entry[3] {
                2 => absurd_matrix(bytes, inputs, outputs, weights, scale),
                3 if number(&bytes[12..16]) == 0 => {
                    bytes[..4].copy_from_slice(&scale.to_le_bytes());
                    bytes[4..8].copy_from_slice(&scale.to_le_bytes());
                    bytes[8] = 255;
                }
                _ => {}
            }
        }
        let what = format!("weights {weights:?}, scales {scale:e}");
        assert_eq!(survives(&what, &parts.build()), Ok(()), "{what}");
    }
}

fn absurd_matrix(bytes: &mut [u8], inputs: usize, outputs: usize, weights: [i8; 2], scale: f32) {
    let padded = outputs.next_multiple_of(16);
    let groups = inputs.div_ceil(4);
    for o in 0..outputs {
        let mut sum = 0i32;
        for k in 0..inputs {
            let weight = weights[k % 2];
            bytes[((o / 16 * groups + k / 4) * 16 + o % 16) * 4 + k % 4] = weight as u8;
            sum += i32::from(weight);
        }
        let scales = padded * groups * 4;
        put(bytes, scales + 4 * o, 4, scale.to_bits().into());
        put(bytes, scales + 4 * (padded + o), 4, (sum as u32).into());
    }
}
