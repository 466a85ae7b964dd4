//! Files that mean harm, or that were harmed: refused in one line, or run without a panic.

#[path = "hostile/borders.rs"]
mod borders;
#[path = "hostile/damage.rs"]
mod damage;
#[path = "hostile/mutations.rs"]
mod mutations;
#[path = "hostile/refusals.rs"]
mod refusals;

use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use fec_runtime::{AlignedBytes, Error, Image, Model, Session};

/// The one check: opens the bytes and, where that works, uses everything; gives what the reader said.
fn survives(what: &str, bytes: &[u8]) -> Result<(), Error> {
    let bytes = AlignedBytes::copy_of(bytes);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let opened = Model::from_bytes(bytes.as_bytes());
        match &opened {
            Ok(model) => use_everything(model),
            Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
        }
        opened.map(|_| ())
    }));
    outcome.unwrap_or_else(|_| panic!("{what}: a panic"))
}

fn use_everything(model: &Model<'_>) {
    assert!(model.labels().count() <= model.config().classes);
    assert!(model.provenance().len() <= model.file_len());
    let mut bytes = 0;
    model.tensors(|_, _, len| bytes += len);
    assert!(bytes < model.file_len());
    for size in [model.self_test().size, model.preprocessing().size] {
        let Ok(plan) = model.plan(size) else { continue };
        // A harmless change can ask for an image that takes seconds: planning it is enough.
        if plan.multiply_adds() > 30_000_000 || plan.arena_len() > 1 << 24 {
            continue;
        }
        let mut arena = AlignedBytes::zeroed(plan.arena_len());
        let mut session = Session::new(model, plan, arena.as_bytes_mut()).expect("its own plan");
        let output = session.run(&Image::formula(size, 0)).expect("its own size");
        let mut labels = vec![0; output.patches().elements()];
        for level in 1..=3 {
            output.cluster_map(level, &mut labels).expect("a level");
            let clusters = output.clusters(level).elements();
            assert!(labels.iter().all(|&label| usize::from(label) < clusters));
        }
        let mut evidence = vec![0.0; output.clusters(3).elements()];
        for ranked in output.top::<5>().iter() {
            output
                .evidence(ranked.class, &mut evidence)
                .expect("a class");
        }
        let _ = (
            output.output_crc(),
            output.assignments_crc(),
            output.final_map().len(),
        );
    }
}
