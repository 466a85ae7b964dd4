//! The runtime allocates nothing: an allocator that counts, in a test binary of its own.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use std::alloc::System;

use fec_runtime::{AlignedBytes, Image, Model, Session};
use fec_tests::fixtures::{model, narrow_model, photo, size};

/// The system's allocator, counting per thread: the harness's own threads allocate as they like.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // Past the end of a thread nothing is counted.
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it is; counting allocates nothing (a const thread-local without destructor).
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the caller keeps `GlobalAlloc`'s contract, which is the system's.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the same layout.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: the caller keeps `GlobalAlloc`'s contract, which is the system's.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: `pointer` came from the system's allocator with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations and releases while `work` runs.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn opening_planning_and_running_allocate_nothing() {
    assert!(
        allocations(|| drop(core::hint::black_box(Box::new(1)))) == 2,
        "the count counts"
    );
    for bytes in [model("nano"), narrow_model("nano"), model("nano_det")] {
        let size = size(96, 64);
        let photo = photo(size);
        let mut arena = AlignedBytes::zeroed(1 << 20);
        let mut labels = vec![0; 24 * 16];
        let found = allocations(|| {
            let model = Model::from_bytes(bytes.as_bytes()).expect("a model");
            let plan = model.plan(size).expect("a plan");
            let mut session = Session::new(&model, plan, arena.as_bytes_mut()).expect("a session");
            let image = Image::rgb8(&photo, size).expect("a photo");
            for _ in 0..2 {
                let output = session.run(&image).expect("a run");
                output.cluster_map(3, &mut labels).expect("a map");
                let _ = (
                    output.top::<5>(),
                    output.output_crc(),
                    output.assignments_crc(),
                );
                let _ = output.evidence(0, &mut [0.0; 3 * 2]);
            }
            // Refusals do not allocate either.
            assert!(
                session
                    .run(&Image::formula(fec_tests::fixtures::size(32, 32), 0))
                    .is_err()
            );
        });
        assert_eq!(found, 0, "allocations or releases");
    }
}
