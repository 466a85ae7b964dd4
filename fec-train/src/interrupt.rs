//! Ctrl-C: the first press asks training to stop after the step it is in, the second ends the process at once.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use fec::output::{Exit, Format, Output};

use crate::run::Error;

/// Whether the user wants to stop. Clones are the same wish.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    pressed: Arc<AtomicBool>,
}

impl Interrupt {
    /// One that listens to Ctrl-C, to SIGTERM and to a terminal that is closed; once a process. Ending at once loses nothing but the steps
    /// since the last checkpoint: nothing of a run is ever half-written.
    ///
    /// # Errors
    /// [`Error::Signals`] where the system refuses, or where something listens already.
    pub fn listen() -> Result<Self, Error> {
        let interrupt = Self::default();
        let heard = interrupt.clone();
        let handler = move || {
            if heard.pressed.swap(true, Ordering::Relaxed) {
                std::process::exit(Exit::Interrupted as i32);
            }
            // Said here, since the step that training is in may take a while to end.
            Output::new(Format::Text).message(
                "stopping after this step, with a checkpoint to resume from; again: stop at once",
            );
        };
        ctrlc::set_handler(handler).map_err(|e| Error::Signals {
            reason: e.to_string(),
        })?;
        Ok(interrupt)
    }

    /// Whether to stop; asked between steps.
    pub fn pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed)
    }
}
