//! Bytes that are damaged, foreign or written to do harm: each is refused in one line, quickly, and without a panic.

use core::time::Duration;
use std::io::{Cursor, Write};
use std::time::Instant;

use fec_convert::read::read_bytes;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::{PLAIN, fixture, refusal};

#[test]
fn other_files_are_named_for_what_they_are() {
    let mut tar = vec![0u8; 512];
    tar[..4].copy_from_slice(b"sys\0");
    tar[257..262].copy_from_slice(b"ustar");
    let mut header = 100u64.to_le_bytes().to_vec();
    header.extend_from_slice(b"{\"a\":");
    let cases: [(&[u8], &str); 12] = [
        (
            b"",
            "the file is empty; expected a checkpoint; copy or download the file again",
        ),
        (
            b"\n<!DOCTYPE html><html><body>404</body></html>",
            "not a checkpoint, but an HTML page, as a download that failed or asks for a login leaves; download the file itself",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
            "not a checkpoint, but a git-lfs pointer to one; run `git lfs pull` to get the file itself",
        ),
        (
            &tar,
            "not a checkpoint, but a tar archive (torch.save before 0.1.10, or a folder packed by hand); unpack it, or load it in PyTorch and save it again",
        ),
        (
            b"\x08\x08\x12\x07pytorch",
            "not a checkpoint, but an ONNX model, which is not read as weights yet; pack the PyTorch checkpoint it was exported from",
        ),
        (
            b"\x93NUMPY\x01\x00",
            "not a checkpoint, but a numpy array; expected a file of torch.save or a .safetensors file",
        ),
        (
            b"FEC\0\x01\0\0\0",
            "not a checkpoint, but a packed .fec file already; use it as it is",
        ),
        (
            b"\x1f\x8b\x08\x00",
            "not a checkpoint, but a gzip file; unpack it first",
        ),
        (
            b"\xff\xd8\xff\xe0\x00\x10JFIF",
            "not a checkpoint: it starts with the bytes ff d8 ff e0 00 10 4a 46; expected a file of torch.save or a .safetensors file",
        ),
        (
            b"hi",
            "not a checkpoint: it starts with the bytes 68 69; expected a file of torch.save or a .safetensors file",
        ),
        (
            &header,
            "truncated: the safetensors header goes on for 100 bytes, but only 5 bytes are left; copy or download the file again",
        ),
        (
            b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            "not a checkpoint, but a zip without data.pkl; expected a file of torch.save or a .safetensors file; unpack the zip if the checkpoint lies in it",
        ),
    ];
    for (bytes, expected) in cases {
        assert_eq!(refusal(bytes), expected);
    }
}

/// No byte of a damaged file may panic, hang or ask for memory: every 97th length, and every 97th byte flipped.
#[test]
fn damaged_files_return_quickly() {
    for name in ["plain.pth", "legacy.pth", "plain.safetensors"] {
        let whole = fixture(name);
        let mut slowest = Duration::ZERO;
        for at in (0..whole.len()).step_by(97) {
            let start = Instant::now();
            let message = refusal(&whole[..at]);
            assert!(!message.contains('\n'), "{name} at {at}: {message}");
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            // A flipped bit of a weight is another weight where the layout has no checksum.
            if let Err(error) = read_bytes(&flipped, &PLAIN) {
                assert!(!error.to_string().contains('\n'), "{name} at {at}: {error}");
            }
            slowest = slowest.max(start.elapsed());
        }
        assert!(slowest < Duration::from_secs(1), "{name}: {slowest:?}");
    }
}

#[test]
fn a_flipped_weight_in_a_zip_is_noticed() {
    let mut bytes = fixture("plain.pth");
    let checkpoint = read_bytes(&bytes, &PLAIN).unwrap();
    let weight: Vec<u8> = checkpoint
        .tensor("norm.weight")
        .unwrap()
        .values
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let at = bytes
        .windows(weight.len())
        .position(|w| w == weight)
        .unwrap();
    bytes[at + 1] ^= 0x10;
    let message = refusal(&bytes);
    assert!(message.starts_with("damaged zip: plain/data/"), "{message}");
    assert!(
        message.ends_with("copy or download the file again"),
        "{message}"
    );
}

/// The legacy layout around `object` (an unfinished pickle's opcodes) with one storage `s` of f32 values.
fn legacy(object: &[u8], values: &[f32]) -> Vec<u8> {
    let mut file =
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.\x80\x02".to_vec();
    file.extend_from_slice(object);
    file.extend_from_slice(b".\x80\x02]U\x01sa.");
    file.extend_from_slice(&(values.len() as u64).to_le_bytes());
    file.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    file
}

/// Opcodes that build a view into the storage `s` of `stored` f32 values.
fn view(stored: u8, offset: u8, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let tuple = |dims: &[u8]| {
        let ints: Vec<u8> = dims.iter().flat_map(|&d| [b'K', d]).collect();
        [b"(", ints.as_slice(), b"t"].concat()
    };
    let mut ops =
        b"ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x01sU\x03cpuK"
            .to_vec();
    ops.extend_from_slice(&[stored, b't', b'Q', b'K', offset]);
    ops.extend(tuple(shape));
    ops.extend(tuple(strides));
    ops.extend_from_slice(b"\x89}tR");
    ops
}

fn state_dict(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut ops = b"}".to_vec();
    for (name, value) in entries {
        ops.extend_from_slice(&[b'U', u8::try_from(name.len()).unwrap()]);
        ops.extend_from_slice(name.as_bytes());
        ops.extend_from_slice(value);
        ops.push(b's');
    }
    ops
}

#[test]
fn views_follow_offset_and_strides() {
    let stored = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
    type Case = (u8, &'static [u8], &'static [u8], &'static [f32]);
    let cases: [Case; 6] = [
        (1, &[2, 3], &[3, 1], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        (1, &[3, 2], &[1, 3], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]),
        (0, &[2, 1, 2], &[4, 9, 2], &[0.0, 2.0, 4.0, 6.0]),
        (7, &[], &[], &[7.0]),
        (2, &[2, 2], &[0, 1], &[2.0, 3.0, 2.0, 3.0]),
        (0, &[3, 0], &[1, 1], &[]),
    ];
    for (offset, shape, strides, expected) in cases {
        let object = state_dict(&[("w", &view(8, offset, shape, strides))]);
        let checkpoint = read_bytes(&legacy(&object, &stored), &PLAIN).unwrap();
        assert_eq!(
            checkpoint.tensors[0].values, expected,
            "{shape:?} {strides:?}"
        );
        assert!(
            checkpoint.tensors[0]
                .shape
                .iter()
                .map(|&d| d as u8)
                .eq(shape.iter().copied())
        );
    }
}

#[test]
fn hostile_objects_are_refused_by_name() {
    let good = view(4, 0, &[4], &[1]);
    let wrap = |value: &[u8]| state_dict(&[("w", &good), ("x.y", value)]);
    let cases: [(Vec<u8>, &str); 13] = [
        (
            wrap(&view(4, 1, &[4], &[1])),
            "x.y reaches beyond the 4 elements of its storage; copy or download the file again",
        ),
        (
            wrap(&view(4, 0, &[2, 2], &[3, 1])),
            "x.y reaches beyond the 4 elements of its storage; copy or download the file again",
        ),
        (
            wrap(&view(4, 0, &[255, 255, 255], &[0, 0, 0])),
            "the tensors claim more values than a file of 259 bytes can hold; save them contiguous: torch.save(model.state_dict(), \"model.pth\")",
        ),
        (
            wrap(b"cposix\nsystem\n(U\x01xtR"),
            "x.y would be made by Python's posix.system, which is never run; expected tensors: torch.save(model.state_dict(), \"model.pth\")",
        ),
        (
            wrap(b"cnumpy.core.multiarray\n_reconstruct\n)R"),
            "x.y would be made by Python's numpy.core.multiarray._reconstruct, which is never run; expected tensors: torch.save(model.state_dict(), \"model.pth\")",
        ),
        (
            wrap(b"cbuiltins\neval\n"),
            "x.y would be made by Python's builtins.eval, which is never run; expected tensors: torch.save(model.state_dict(), \"model.pth\")",
        ),
        (
            wrap(b"K\x05"),
            "x.y is an integer; expected tensors: torch.save(model.state_dict(), \"model.pth\")",
        ),
        (
            b"K\x05".to_vec(),
            "the file's root is an integer; expected tensors: torch.save(model.state_dict(), \"model.pth\")",
        ),
        (
            good.clone(),
            "the file's root is a single tensor; expected tensors: torch.save(model.state_dict(), \"model.pth\")",
        ),
        (
            state_dict(&[("epoch", b"K\x05"), ("net", b"}")]),
            "no state dict found among the keys [epoch, net]; expected tensors, or one of state_dict, model, module: torch.save(model.state_dict(), \"model.pth\")",
        ),
        (
            state_dict(&[("model_ema", b"}")]),
            "only averaged weights found (state_dict_ema or model_ema); ask for them explicitly",
        ),
        (
            state_dict(&[("state_dict", b"}")]),
            "the state dict holds no floating-point tensors; expected weights: torch.save(model.state_dict(), \"model.pth\")",
        ),
        (
            state_dict(&[("model", b"cmodels.fec\nFEC\n)\x81}b")]),
            "a whole module of class models.fec.FEC was pickled, which only its own Python code can load; save its weights instead: torch.save(model.state_dict(), \"model.pth\")",
        ),
    ];
    for (object, expected) in cases {
        // Objects without a view do not tell the storage's type; theirs is empty of keys.
        let file = legacy(&object, &[0.0; 4]);
        let has_view = object.windows(7).any(|w| w == b"storage");
        let file = if has_view {
            file
        } else {
            without_storages(&object)
        };
        assert_eq!(refusal(&file), expected);
    }
}

fn without_storages(object: &[u8]) -> Vec<u8> {
    let mut file = legacy(object, &[]);
    let keys = b".\x80\x02]U\x01sa.".len() + 8;
    file.truncate(file.len() - keys);
    file.extend_from_slice(b".\x80\x02].");
    file
}

#[test]
fn parameters_and_nested_dictionaries_are_followed() {
    let good = view(4, 0, &[4], &[1]);
    let parameter = [
        b"ctorch._utils\n_rebuild_parameter\n(",
        good.as_slice(),
        b"\x89}tR",
    ]
    .concat();
    let inner = state_dict(&[
        ("module.w", &parameter),
        ("module.fea_pos", &good),
        ("n_averaged", &good),
    ]);
    let outer = state_dict(&[
        (
            "model",
            &state_dict(&[("state_dict", &inner), ("step", b"N")]),
        ),
        ("arch", b"U\x03abc"),
    ]);
    let checkpoint = read_bytes(&legacy(&outer, &[1.0, 2.0, 3.0, 4.0]), &PLAIN).unwrap();
    assert_eq!(checkpoint.picked.as_deref(), Some("model/state_dict"));
    assert_eq!(checkpoint.arch.as_deref(), Some("abc"));
    assert_eq!(checkpoint.left_out, ["arch", "module.fea_pos", "step"]);
    assert_eq!(
        checkpoint.tensor("module.w").unwrap().values,
        [1.0, 2.0, 3.0, 4.0]
    );
}

#[test]
fn safetensors_lengths_that_overflow_are_refused() {
    // Sixteen tensors that end at 2^64 - 1: each is valid, but adding the header's length wraps around. The safetensors
    // crate's own `deserialize` panics on this file.
    let big = 1u64 << 60;
    let mut json = String::from("{");
    let mut at = 0u64;
    for i in 0..16u64 {
        let size = if i == 15 { big - 1 } else { big };
        json.push_str(&format!(
            "{}\"t{i}\":{{\"dtype\":\"U8\",\"shape\":[{size}],\"data_offsets\":[{at},{}]}}",
            if i == 0 { "" } else { "," },
            at.wrapping_add(size)
        ));
        at = at.wrapping_add(size);
    }
    json.push('}');
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(json.as_bytes());
    assert_eq!(
        refusal(&file),
        "truncated: the tensors' data goes on for 18446744073709551615 bytes, but only 0 bytes are left; copy or download the file again"
    );

    let cut = fixture("plain.safetensors");
    let message = refusal(&cut[..cut.len() - 10]);
    assert!(
        message.starts_with("truncated: the tensors' data goes on for "),
        "{message}"
    );
    let mut long = fixture("plain.safetensors");
    long.push(0);
    assert_eq!(
        refusal(&long),
        "damaged safetensors header: bytes that belong to no tensor follow the data; copy or download the file again"
    );
}

/// A zip of these entries under `m/`.
fn zipped(entries: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        let options = SimpleFileOptions::default().compression_method(method);
        zip.start_file(format!("m/{name}"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn entries_of_a_zip_must_be_what_the_pickle_says() {
    let mut pickle = state_dict(&[("w", &view(4, 0, &[4], &[1]))]);
    pickle.push(b'.');
    let stored = CompressionMethod::Stored;
    let whole = zipped(&[("data.pkl", &pickle), ("data/s", &[0; 16])], stored);
    assert_eq!(
        read_bytes(&whole, &PLAIN).unwrap().tensors[0].values,
        [0.0; 4]
    );
    let cases: [(Vec<u8>, &str); 5] = [
        (
            zipped(&[("data.pkl", &pickle), ("data/s", &[0; 12])], stored),
            "damaged zip: m/data/s has 12 bytes where the pickle says 16; copy or download the file again",
        ),
        (
            zipped(&[("data.pkl", &pickle)], stored),
            "damaged zip: m/data/s: it is missing; copy or download the file again",
        ),
        (
            zipped(&[("data.pkl", &pickle), ("byteorder", b"big")], stored),
            "the tensors are stored in big-endian order, expected little-endian; load and save the file on a little-endian machine",
        ),
        (
            zipped(
                &[("data.pkl", &pickle), ("data/s", &[0; 16])],
                CompressionMethod::Deflated,
            ),
            "zip entry m/data.pkl is compressed, which torch.save never does; load the file in PyTorch and save it again: torch.save(model.state_dict(), \"model.pth\")",
        ),
        (
            zipped(&[("weights.npy", &[0; 16])], stored),
            "not a checkpoint, but numpy arrays in a zip (.npz); expected a file of torch.save or a .safetensors file",
        ),
    ];
    for (file, expected) in cases {
        assert_eq!(refusal(&file), expected);
    }
}

#[test]
fn odd_tensors_are_refused_by_name() {
    let json = r#"{"a.w":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}"#;
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(json.as_bytes());
    file.extend_from_slice(&[0; 8]);
    assert_eq!(
        refusal(&file),
        "a.w holds elements of type C64; expected f32, f16, bf16 or f64; convert it with .float() before saving"
    );
    let good = view(4, 0, &[4], &[1]);
    let mut object = b"}X\x01\x01\0\0".to_vec();
    object.extend_from_slice(&[b'x'; 257]);
    object.extend_from_slice(&good);
    object.push(b's');
    assert_eq!(
        refusal(&legacy(&object, &[0.0; 4])),
        format!(
            "a tensor's name that starts with {} has more than 256 characters; expected the network's names",
            "x".repeat(32)
        )
    );
}

#[test]
fn a_big_endian_legacy_file_is_refused() {
    let little = legacy(&state_dict(&[("w", &view(4, 0, &[4], &[1]))]), &[0.0; 4]);
    let system = b"\x80\x02}.";
    let at = little
        .windows(system.len())
        .position(|w| w == system)
        .unwrap();
    let mut big = little[..at].to_vec();
    big.extend_from_slice(b"\x80\x02}U\x0dlittle_endian\x89s.");
    big.extend_from_slice(&little[at + system.len()..]);
    assert_eq!(
        refusal(&big),
        "the tensors are stored in big-endian order, expected little-endian; load and save the file on a little-endian machine"
    );
}
