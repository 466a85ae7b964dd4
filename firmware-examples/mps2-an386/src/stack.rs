//! How deep the stack has been: the start-up code paints it, and what has lost its paint was in use.

use core::ptr;

/// What cortex-m-rt's feature `paint-stack` fills the stack with.
const PAINT: u32 = 0xCCCC_CCCC;

// SAFETY: link.x of cortex-m-rt defines both.
unsafe extern "C" {
    // The linker script's bounds of the stack: it grows from `_stack_start` down to `_stack_end`.
    static _stack_start: u32;
    static _stack_end: u32;
}

/// Bytes between the stack's bounds.
pub fn len() -> usize {
    (&raw const _stack_start).addr() - (&raw const _stack_end).addr()
}

/// Bytes from the deepest word that was written to the stack's start.
pub fn used() -> usize {
    let bottom = &raw const _stack_end;
    let painted = |&word: &usize| {
        // SAFETY: `word` counts words below `len()`, so the address lies in the stack's RAM; volatile, since the live part of the
        // stack changes outside of what the compiler knows about this pointer.
        unsafe { ptr::read_volatile(bottom.add(word)) == PAINT }
    };
    len() - (0..len() / 4).take_while(painted).count() * 4
}
