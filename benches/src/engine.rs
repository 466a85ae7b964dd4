//! Our engine as a candidate.

use fec::model_file::dtypes;
use fec_runtime::kernels::{Isa, Kernels};
use fec_runtime::{AlignedBytes, Image, Model, Session};

use crate::networks::Network;
use crate::record::Row;
use crate::rounds::Candidate;

/// A session that runs the formula image, and watches that it always gives the same bits.
pub struct Engine<'m, 'a> {
    name: String,
    dtype: String,
    session: Session<'m, 'a>,
    isa: Isa,
    image: Image<'m>,
    outcome: Result<(), fec_runtime::Error>,
    crc: Option<u32>,
}

impl<'m, 'a> Engine<'m, 'a> {
    /// Runs a network, whose model this is, with the kernels of `isa`; the arena gets the length that its plan needs.
    ///
    /// # Errors
    /// The machine does not have `isa`, or the model does not take the size.
    pub fn new(
        network: &'m Network,
        model: &'m Model<'m>,
        isa: Isa,
        arena: &'a mut AlignedBytes,
    ) -> crate::Result<Self> {
        let kernels = Kernels::get(isa).ok_or_else(|| {
            let known: Vec<&str> = tables().iter().map(|isa| isa.name()).collect();
            format!("this machine has no {isa}; it has {}", known.join(", "))
        })?;
        let plan = model.plan(network.size)?;
        *arena = AlignedBytes::zeroed(plan.arena_len());
        Ok(Self {
            name: network.name.clone(),
            dtype: dtypes(model),
            session: Session::with_kernels(model, plan, arena.as_bytes_mut(), kernels)?,
            isa,
            image: Image::f32_chw(&network.image, network.size)?,
            outcome: Ok(()),
            crc: None,
        })
    }

    /// Its instruction set.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The logits of its last run.
    pub fn logits(&self) -> &[f32] {
        self.session.output().logits()
    }

    /// What a record says of it besides times.
    pub fn row(&self) -> Row {
        let plan = self.session.plan();
        Row {
            engine: "fec".to_string(),
            model: self.name.clone(),
            height: plan.size().height,
            width: plan.size().width,
            dtype: self.dtype.clone(),
            isa: Some(self.isa.name()),
            threads: 1,
            multiply_adds: Some(plan.multiply_adds()),
            arena_bytes: Some(plan.arena_len()),
            output_crc: self.crc.map(|crc| format!("{crc:08x}")),
            ..Row::default()
        }
    }
}

impl Candidate for Engine<'_, '_> {
    fn run(&mut self) {
        self.outcome = self.session.run(&self.image).map(|_| ());
    }

    fn check(&mut self) -> crate::Result<()> {
        self.outcome?;
        let crc = self.session.output().output_crc();
        if *self.crc.get_or_insert(crc) == crc {
            return Ok(());
        }
        let Self { name, isa, .. } = self;
        Err(format!("{name} with {isa}: two runs on one image gave different results; that is a bug, please report it").into())
    }
}

/// The instruction sets that have a table on this machine.
pub fn tables() -> Vec<Isa> {
    let mut all = Isa::ALL.to_vec();
    all.retain(|&isa| Kernels::get(isa).is_some());
    all
}
