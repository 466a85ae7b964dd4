//! A session runs a plan: the only place that orders steps.

use core::ops::Range;

use crate::config::{Place, STAGES};
use crate::error::Error;
use crate::format::{Role, SelfTest};
use crate::image::{Image, MapSize};
use crate::kernels::{Kernels, Moments, Values, ValuesMut};
use crate::memory;
use crate::model::Model;
use crate::ops::mixer::Mixer;
use crate::ops::patch_embed::PatchEmbed;
use crate::ops::pool::{Pool, Target};
use crate::ops::{Context, head, mixer, mlp, norm, patch_embed, pool};
use crate::output::Output;
use crate::plan::Plan;
use crate::probe::{Probe, Step};

/// A model, a plan and an arena: runs images, one after the other, without allocating.
#[derive(Debug)]
pub struct Session<'m, 'a> {
    model: &'m Model<'m>,
    plan: Plan,
    arena: &'a mut [u8],
    kernels: &'static Kernels,
    moments: Moments,
    next: Option<Step>,
}

/// Whether a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The step that comes next.
    Pending(Step),
    /// The run has ended: [`Session::output`] has it.
    Done,
}

impl<'m, 'a> Session<'m, 'a> {
    /// A session with the fastest kernels of this machine. No byte of `arena` past `plan.arena_len()` is touched.
    ///
    /// # Errors
    /// [`Error::ArenaTooSmall`]; [`Error::PlanOfAnotherModel`].
    pub fn new(model: &'m Model<'m>, plan: Plan, arena: &'a mut [u8]) -> Result<Self, Error> {
        Self::with_kernels(model, plan, arena, Kernels::best())
    }

    /// The same with the kernels of one's choice.
    ///
    /// # Errors
    /// Those of [`Session::new`].
    pub fn with_kernels(
        model: &'m Model<'m>,
        plan: Plan,
        arena: &'a mut [u8],
        kernels: &'static Kernels,
    ) -> Result<Self, Error> {
        if plan.config != *model.config() {
            return Err(Error::PlanOfAnotherModel);
        }
        let (needed, given) = (plan.arena_len(), arena.len());
        let arena = arena
            .get_mut(..needed)
            .ok_or(Error::ArenaTooSmall { needed, given })?;
        let arena = &mut memory::align(arena)[..plan.aligned_len()];
        // An integer network gives the same bits on every machine.
        let kernels = if plan.config.integer {
            kernels.exact()
        } else {
            kernels
        };
        Ok(Self {
            model,
            plan,
            arena,
            kernels,
            moments: Moments::new(),
            next: None,
        })
    }

    /// Its plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Runs the network on an image.
    ///
    /// # Errors
    /// [`Error::ImageSize`] when the image has another size than the plan.
    pub fn run(&mut self, image: &Image<'_>) -> Result<Output<'_>, Error> {
        self.run_with(image, &mut ())
    }

    /// The same under a probe's eyes.
    ///
    /// # Errors
    /// Those of [`Session::run`].
    pub fn run_with(
        &mut self,
        image: &Image<'_>,
        probe: &mut dyn Probe,
    ) -> Result<Output<'_>, Error> {
        self.start(image, probe)?;
        while self.step(probe) != Progress::Done {}
        Ok(self.output())
    }

    /// Begins a run with its first step, the patch embedding; [`Session::step`] does the others one by one, for watchdogs. The
    /// image is no longer needed afterwards.
    ///
    /// # Errors
    /// Those of [`Session::run`].
    pub fn start(&mut self, image: &Image<'_>, probe: &mut dyn Probe) -> Result<(), Error> {
        let (planned, given) = (self.plan.size(), image.size());
        if planned != given {
            return Err(Error::ImageSize { planned, given });
        }
        probe.begin(Step::PatchEmbed);
        let (scale, offset) = self.model.preprocessing().scale_and_offset();
        let layer = PatchEmbed {
            linear: self
                .model
                .linear(Place::Network, Role::PatchWeights, Role::PatchBias),
            scale,
            offset,
        };
        let work = memory::floats_mut(&mut self.arena[self.plan.work()]);
        let (x, scratch) = split_map(&self.plan, work, 0);
        let cx = Context {
            kernels: self.kernels,
            probe,
            threads: self.plan.threads(),
        };
        self.moments = patch_embed::run(&cx, &layer, image, x, scratch);
        self.show(Step::PatchEmbed, 0, probe);
        self.next = Step::PatchEmbed.next(&self.plan.config);
        Ok(())
    }

    /// Does the next step of a run that was started.
    pub fn step(&mut self, probe: &mut dyn Probe) -> Progress {
        let Some(step) = self.next else {
            return Progress::Done;
        };
        probe.begin(step);
        match step {
            Step::PatchEmbed => {}
            Step::Mixer { stage, block } => self.mixer(stage, block, probe),
            Step::Mlp { stage, block } => self.mlp(stage, block, probe),
            Step::Feature { stage } => self.feature(stage, probe),
            Step::Pool { stage } => self.pool(stage, probe),
            Step::Head => self.head(probe),
        }
        self.next = step.next(&self.plan.config);
        self.next.map_or(Progress::Done, Progress::Pending)
    }

    /// Runs the file's self-test: the formula image on the plan's kernels. `Ok` holds what was found; the session must have been
    /// planned for the self-test's size. The numbers are those in the file when the kernels are [`Kernels::portable`].
    ///
    /// # Errors
    /// [`Error::ImageSize`] when the plan has another size.
    pub fn self_test(&mut self) -> Result<SelfTest, Error> {
        let size = self.model.self_test().size;
        let output = self.run(&Image::formula(size, 0))?;
        Ok(SelfTest {
            size,
            output_crc: output.output_crc(),
            assignments_crc: output.assignments_crc(),
        })
    }

    /// What the last complete run gave; meaningless while a run is pending.
    pub fn output(&self) -> Output<'_> {
        Output {
            model: self.model,
            plan: &self.plan,
            arena: self.arena,
            moments: &self.moments,
        }
    }

    fn mixer(&mut self, stage: usize, block: usize, probe: &mut dyn Probe) {
        let (model, plan) = (self.model, &self.plan);
        let place = Place::Block { stage, block };
        let (config, map) = (plan.config.stages[stage], plan.map(stage));
        let similarity = model.vector(place, Role::Similarity);
        let scalar = |i: usize| similarity.get(i).copied().unwrap_or(0.0);
        let (alpha, beta) = (scalar(0), scalar(1));
        let proj = model.linear(place, Role::ProjWeights, Role::ProjBias);
        let layer = Mixer {
            stage,
            block,
            config,
            map,
            keys: model.norm_linear(place, [Role::KeysWeights, Role::KeysBias, Role::KeysSums]),
            values: model.norm_linear(
                place,
                [Role::ValuesWeights, Role::ValuesBias, Role::ValuesSums],
            ),
            proj: proj.weights,
            proj_bias: proj.bias,
            similarity: plan.config.similarity,
            alpha,
            beta,
            ties: mixer::ties_matter(alpha, beta),
        };
        let (head, work) = self.arena.split_at_mut(plan.work().start);
        let (x, scratch) = split_map(plan, memory::floats_mut(work), stage);
        let assignments = &mut head[plan.mixer(stage, block)];
        let mut cx = Context {
            kernels: self.kernels,
            probe,
            threads: plan.threads(),
        };
        self.moments = mixer::run(&mut cx, &layer, &self.moments, x, assignments, scratch);
        self.show(Step::Mixer { stage, block }, stage, probe);
    }

    fn mlp(&mut self, stage: usize, block: usize, probe: &mut dyn Probe) {
        let (model, plan) = (self.model, &self.plan);
        let place = Place::Block { stage, block };
        let map = plan.map(stage);
        let layer = mlp::Mlp {
            fc1: model.norm_linear(place, [Role::Fc1Weights, Role::Fc1Bias, Role::Fc1Sums]),
            fc2: model.linear(place, Role::Fc2Weights, Role::Fc2Bias),
            table: model.gelu_table(place),
            tile: mlp::tile(stage, plan.config.integer, map, plan.threads()),
        };
        let work = memory::floats_mut(&mut self.arena[plan.work()]);
        let (x, scratch) = split_map(plan, work, stage);
        let cx = Context {
            kernels: self.kernels,
            probe,
            threads: plan.threads(),
        };
        let config = &plan.config.stages[stage];
        self.moments = mlp::run(&cx, &layer, config, &self.moments, x, scratch);
        self.show(Step::Mlp { stage, block }, stage, probe);
    }

    /// Shows the probe a step's map.
    fn show(&self, step: Step, stage: usize, probe: &mut dyn Probe) {
        let (map, channels) = (self.plan.map(stage), self.plan.config.stages[stage].dim);
        probe.end(step, map_at(&self.plan, self.arena, stage), map, channels);
    }

    fn feature(&mut self, stage: usize, probe: &mut dyn Probe) {
        let plan = &self.plan;
        let place = Place::Block { stage, block: 0 };
        let (gain, bias) = (
            self.model.vector(place, Role::FeatureGain),
            self.model.vector(place, Role::FeatureBias),
        );
        let (map, channels) = (plan.map(stage), plan.config.stages[stage].dim);
        let (head, work) = self.arena.split_at_mut(plan.work().start);
        let (x, _) = split_map(plan, memory::floats_mut(work), stage);
        let out = memory::floats_mut(&mut head[plan.result(stage)]);
        self.kernels.widen(x.as_values(), out);
        norm::apply(out, self.moments.norm(), gain, bias, channels);
        probe.end(Step::Feature { stage }, Values::F32(out), map, channels);
    }

    fn pool(&mut self, stage: usize, probe: &mut dyn Probe) {
        let (model, plan) = (self.model, &self.plan);
        let place = Place::Pool { stage };
        let shape = plan.pool_shape(stage);
        let layer = Pool {
            stage,
            shape,
            similarity: plan.config.similarity,
            lambda: plan.config.locality[stage],
            keys: model.linear(place, Role::PoolKeysWeights, Role::PoolKeysBias),
            back: model
                .linear(place, Role::PoolBackWeights, Role::PoolKeysBias)
                .weights,
            rest: model
                .vector(place, Role::PoolRest)
                .first()
                .copied()
                .unwrap_or(0.0),
            values: model.linear(place, Role::PoolValuesWeights, Role::PoolValuesBias),
            skip: model
                .linear(place, Role::SkipWeights, Role::PoolBias)
                .weights,
            gain: model.vector(place, Role::PoolGain),
            bias: model.vector(place, Role::PoolBias),
        };
        let (head, work) = self.arena.split_at_mut(plan.work().start);
        let (x, rest) = split_map(plan, memory::floats_mut(work), stage);
        // The output lies at the other end: at the end of the work area after even stages, at its start after odd ones.
        let (out, scratch, start) = if stage.is_multiple_of(2) {
            let (scratch, out) = rest.split_at_mut(rest.len() - shape.out_len());
            let start = out.len() - plan.map_len(stage + 1);
            (out, scratch, start)
        } else {
            let (out, scratch) = rest.split_at_mut(shape.out_len());
            (out, scratch, 0)
        };
        let assignments = memory::halves_mut(&mut head[plan.pool(stage)]);
        let mut cx = Context {
            kernels: self.kernels,
            probe,
            threads: plan.threads(),
        };
        let target = Target {
            assignments,
            buffer: out,
            start,
        };
        self.moments = pool::run(&mut cx, &layer, x.as_values(), target, scratch);
        self.show(Step::Pool { stage }, stage + 1, probe);
    }

    fn head(&mut self, probe: &mut dyn Probe) {
        let plan = &self.plan;
        let layer = self.model.norm_linear(
            Place::Network,
            [Role::HeadWeights, Role::HeadBias, Role::HeadSums],
        );
        let (head, work) = self.arena.split_at_mut(plan.work().start);
        let (x, scratch) = split_map(plan, memory::floats_mut(work), STAGES - 1);
        let logits = memory::floats_mut(&mut head[plan.result(0)]);
        head::run(
            self.kernels,
            &layer,
            self.moments.norm(),
            x.as_values(),
            scratch,
            logits,
        );
        probe.end(
            Step::Head,
            Values::F32(logits),
            MapSize { rows: 1, cols: 1 },
            plan.config.classes,
        );
    }
}

/// The map of a stage and the rest of the work area.
fn split_map<'w>(plan: &Plan, work: &'w mut [f32], stage: usize) -> (ValuesMut<'w>, &'w mut [f32]) {
    let Range { start, end } = plan.map_range(stage);
    let (map, rest) = if start == 0 {
        work.split_at_mut(end)
    } else {
        let (rest, map) = work.split_at_mut(start);
        (map, rest)
    };
    let map = memory::map_of(map, plan.map_values(stage), plan.config.integer);
    (map, rest)
}

/// The map of a stage, to read.
pub(crate) fn map_at<'w>(plan: &Plan, arena: &'w [u8], stage: usize) -> Values<'w> {
    let bytes = &arena[plan.map_bytes(stage)];
    if plan.config.integer {
        Values::F16(memory::halves(bytes))
    } else {
        Values::F32(memory::floats(bytes))
    }
}
