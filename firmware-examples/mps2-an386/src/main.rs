//! The default model on a Cortex-M4F: a photo's class, the network's final clusters, and what memory it took.
//!
//! `cargo run --release` in this folder builds it and runs it in QEMU's machine mps2-an386. Nothing allocates: the arena is a static,
//! the model is used where the linker put it. Lines of the form `name: values` are for programs; a test compares them with the host's.

#![no_std]
#![no_main]

mod stack;

use cortex_m_semihosting::{debug, hprint, hprintln};
use fec_runtime::{Aligned, Arena, Error, Image, ImageSize, Model, Output, Session};
use panic_semihosting as _;

/// The image that `build.rs` made of the photo.
const SIZE: ImageSize = ImageSize {
    height: 64,
    width: 64,
};
/// Bytes of the arena. [`fec_runtime::Plan::arena_len`] says at the start how many the model needs at [`SIZE`]; too few are refused.
const ARENA_LEN: usize = 48 * 1024;
/// Patches of the image: 4x4 pixels each.
const PATCHES: usize = SIZE.map(0).elements();

const MODEL_LEN: usize = include_bytes!(concat!(env!("OUT_DIR"), "/model.fec")).len();

// SAFETY: memory.x gives the section `.model` a region of its own, which holds nothing else.
#[unsafe(link_section = ".model")]
static MODEL: Aligned<[u8; MODEL_LEN]> =
    Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/model.fec")));

static PHOTO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/photo.rgb"));

#[cortex_m_rt::entry]
fn main() -> ! {
    static mut ARENA: Arena<ARENA_LEN> = Arena::new();
    let status = match run(ARENA.bytes_mut()) {
        Ok(()) => debug::EXIT_SUCCESS,
        Err(error) => {
            hprintln!("error: {}", error);
            debug::EXIT_FAILURE
        }
    };
    exit(status)
}

/// A fault would hang the emulator: it ends the program instead.
// SAFETY: the handler reads the frame that the core has pushed, prints and ends the program; it never returns.
#[cortex_m_rt::exception]
unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
    hprintln!("HardFault at {:08x}", frame.pc());
    exit(debug::EXIT_FAILURE)
}

fn exit(status: debug::ExitStatus) -> ! {
    loop {
        debug::exit(status);
    }
}

/// Runs the model on the photo in `arena` and prints what came out.
fn run(arena: &mut [u8]) -> Result<(), Error> {
    let reserved = arena.len();
    let model = Model::from_bytes(&MODEL.0)?;
    let plan = model.plan(SIZE)?;
    let needed = plan.arena_len();
    hprintln!("model-bytes: {}", model.file_len());
    hprintln!("arena-bytes: {} of {}", needed, reserved);

    let mut session = Session::new(&model, plan, arena)?;
    let output = session.run(&Image::rgb8(PHOTO, SIZE)?)?;
    print_results(&output);
    print_classes(&model, &output);
    print_map(&output)?;
    hprintln!("stack-bytes: {} of {}", stack::used(), stack::len());
    Ok(())
}

/// Logits with as many digits as tell each f32 from its neighbours, and the checksum of all assignments.
fn print_results(output: &Output<'_>) {
    hprint!("logits:");
    for logit in output.logits() {
        hprint!(" {}", logit);
    }
    hprintln!("\nassignments-crc: {:08x}", output.assignments_crc());
}

fn print_classes(model: &Model<'_>, output: &Output<'_>) {
    for ranked in output.top::<5>().iter() {
        let label = model.labels().nth(ranked.class).unwrap_or("(no label)");
        hprintln!("{:6.2} %  {}", ranked.probability * 100.0, label);
    }
}

/// The clusters of level 3, a character per patch.
fn print_map(output: &Output<'_>) -> Result<(), Error> {
    const MARKS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut labels = [0; PATCHES];
    output.cluster_map(3, &mut labels)?;
    let clusters = output.clusters(3);
    hprintln!("map: {} clusters", clusters.elements());
    for row in labels.chunks(output.patches().cols) {
        for &label in row {
            hprint!("{}", char::from(MARKS[usize::from(label) % MARKS.len()]));
        }
        hprintln!();
    }
    Ok(())
}
