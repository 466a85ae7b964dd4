//! The arena: its exact length, its edges, and that nothing in it matters before a run.

use fec_runtime::{AlignedBytes, Error, Image, ImageSize, Model, Progress, Session};
use fec_tests::fixtures::{model, photo, size};
use fec_tests::golden::notice;

/// Everything that a run gives, as bits.
#[derive(Clone, Debug, PartialEq)]
struct Bits {
    outputs: u32,
    assignments: u32,
    map: Vec<u32>,
}

fn bits(session: &Session<'_, '_>) -> Bits {
    let output = session.output();
    Bits {
        outputs: output.output_crc(),
        assignments: output.assignments_crc(),
        map: output.final_map().iter().map(f32::to_bits).collect(),
    }
}

fn run(model: &Model<'_>, size: ImageSize, arena: &mut [u8]) -> Bits {
    let plan = model.plan(size).expect("a size of the tests");
    let mut session = Session::new(model, plan, arena).expect("a session");
    let photo = photo(size);
    session
        .run(&Image::rgb8(&photo, size).expect("a photo"))
        .expect("a run");
    bits(&session)
}

#[test]
fn arena_one_byte_short_is_refused() {
    for (name, size) in [
        ("micro", size(64, 64)),
        ("nano", size(32, 96)),
        ("nano_det", size(64, 64)),
    ] {
        let bytes = model(name);
        let model = Model::from_bytes(bytes.as_bytes()).expect("a model");
        let plan = model.plan(size).expect("a plan");
        let needed = plan.arena_len();
        let mut arena = AlignedBytes::zeroed(needed);
        for given in [0, 1, needed / 2, needed - 1] {
            let refused = Session::new(&model, plan, &mut arena.as_bytes_mut()[..given]).err();
            assert_eq!(
                refused,
                Some(Error::ArenaTooSmall { needed, given }),
                "{name}"
            );
        }
        assert!(
            Session::new(&model, plan, arena.as_bytes_mut()).is_ok(),
            "{name}"
        );
    }
}

#[test]
fn no_byte_past_the_arena_is_touched() {
    const CANARY: u8 = 0xC5;
    for (name, size) in [("micro", size(32, 64)), ("nano_det", size(64, 64))] {
        let bytes = model(name);
        let model = Model::from_bytes(bytes.as_bytes()).expect("a model");
        let len = model.plan(size).expect("a plan").arena_len();
        let mut arena = AlignedBytes::zeroed(len);
        let expected = run(&model, size, arena.as_bytes_mut());
        let mut larger = AlignedBytes::zeroed(64 + len + 512);
        for misalignment in 0..64 {
            let bytes = larger.as_bytes_mut();
            bytes.fill(CANARY);
            // The session is given more than it asks for: it must leave the rest alone.
            let found = run(&model, size, &mut bytes[misalignment..]);
            assert_eq!(found, expected, "{name}, {misalignment} bytes off");
            let (before, rest) = bytes.split_at(misalignment);
            assert!(
                before.iter().chain(&rest[len..]).all(|&b| b == CANARY),
                "{name}, {misalignment} bytes off: a byte outside was written"
            );
            // Exactly as much as it asks for serves as well.
            assert_eq!(
                run(&model, size, &mut bytes[misalignment..][..len]),
                expected
            );
        }
    }
}

#[test]
fn a_dirty_arena_gives_the_same_bits() {
    for (name, size) in [
        ("micro", size(64, 32)),
        ("nano", size(96, 64)),
        ("nano_det", size(64, 128)),
        ("micro_dense", size(32, 32)),
    ] {
        let bytes = model(name);
        let model = Model::from_bytes(bytes.as_bytes()).expect("a model");
        let mut arena = AlignedBytes::zeroed(model.plan(size).expect("a plan").arena_len());
        let expected = run(&model, size, arena.as_bytes_mut());
        // 0xFF is NaN as a float and the largest number of a centre; 0x7F is NaN with the other sign; 0xA5 is any.
        for dirt in [0xFF, 0x7F, 0xA5, 0x01] {
            arena.as_bytes_mut().fill(dirt);
            assert_eq!(
                run(&model, size, arena.as_bytes_mut()),
                expected,
                "{name}, {dirt:#x}"
            );
        }
    }
}

#[test]
fn a_run_leaves_no_trace_in_the_next() {
    for name in ["nano", "nano_dense"] {
        let bytes = model(name);
        let model = Model::from_bytes(bytes.as_bytes()).expect("a model");
        let size = size(64, 64);
        let plan = model.plan(size).expect("a plan");
        let mut arena = AlignedBytes::zeroed(plan.arena_len());
        let mut session = Session::new(&model, plan, arena.as_bytes_mut()).expect("a session");
        let [first, second] = [Image::formula(size, 0), Image::formula(size, 5)];
        session.run(&first).expect("a run");
        let expected = bits(&session);
        session.run(&first).expect("a run");
        assert_eq!(bits(&session), expected, "{name}: the same image twice");
        session.run(&second).expect("a run");
        assert_ne!(bits(&session), expected, "{name}: another image");
        // A run that was begun and given up.
        session.start(&second, &mut ()).expect("a start");
        session.step(&mut ());
        session.run(&first).expect("a run");
        assert_eq!(bits(&session), expected, "{name}: after others");
    }
}

#[test]
fn step_by_step_is_the_same_as_at_once() {
    for name in ["nano", "nano_dense"] {
        let bytes = model(name);
        let model = Model::from_bytes(bytes.as_bytes()).expect("a model");
        let size = size(64, 96);
        let plan = model.plan(size).expect("a plan");
        let mut arena = AlignedBytes::zeroed(plan.arena_len());
        let mut session = Session::new(&model, plan, arena.as_bytes_mut()).expect("a session");
        let image = Image::formula(size, 1);
        assert_eq!(session.step(&mut ()), Progress::Done, "nothing was started");
        session.run(&image).expect("a run");
        let expected = bits(&session);
        session.start(&image, &mut ()).expect("a start");
        let mut steps = 1;
        while session.step(&mut ()) != Progress::Done {
            steps += 1;
        }
        // Two halves of five blocks, three pools, and the head or four features.
        assert_eq!(steps, 2 * 5 + 3 + if name == "nano" { 1 } else { 4 });
        assert_eq!(bits(&session), expected, "{name}");
        assert_eq!(session.step(&mut ()), Progress::Done, "after the last step");
        assert_eq!(bits(&session), expected, "{name}: a step after the last");
    }
}

/// Issue 9: at most 0.9 MiB.
#[test]
fn small_at_224_needs_at_most_nine_tenths_of_a_mebibyte() {
    let bytes = model("small");
    let model = Model::from_bytes(bytes.as_bytes()).expect("a model");
    let needed = model.plan(size(224, 224)).expect("a plan").arena_len();
    notice(&format!("arena of FEC-Small at 224x224: {needed} bytes"));
    assert!(needed <= 943_718, "{needed} bytes");
}
