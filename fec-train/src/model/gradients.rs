//! The gradient of a batch, made of parts of fixed size on as many threads as there are: the parts and the order of their sum
//! do not depend on the threads, so the result does not either, and a part's maps stay in a core's cache. Several devices take
//! one part each.

use alloc::collections::BTreeMap;
use core::ops::Range;
use std::sync::Mutex;
use std::thread;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, TensorData};
use fec_runtime::{Error, ImageSize};

use super::fused::on_cpu;
use super::names::{Mapper, Replace};
use super::{DropPath, Fec, Pass};

/// Parts of a batch, for so many threads to share; fewer where the batch is small.
const PARTS: usize = 8;
/// Most images of a part, and most pixels where images are large: 32 of 64 px. More maps at once than that leave a core's
/// second-level cache (32 images a part take 6 % less time a step than 16, nano at 64 px).
const PART_IMAGES: usize = 32;
const PART_PIXELS: usize = PART_IMAGES * 64 * 64;

/// The gradient of a batch.
#[derive(Debug)]
pub struct Gradient {
    /// The mean of the images' losses, -sum(target * log_softmax(logits)); without what the pools' keys learn from besides.
    pub loss: f32,
    /// [B, classes]
    pub logits: Vec<f32>,
    /// Of every parameter that has one.
    pub parameters: GradientsParams,
}

/// A batch on the host.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Normalised, pixel-major [B, H, W, 3].
    pub images: &'a [f32],
    /// The share of each class [B, classes].
    pub targets: &'a [f32],
    /// The images' size.
    pub size: ImageSize,
}

/// The gradient of the mean loss over a batch. On the CPU it is the same for any number of threads of rayon's pool; another
/// device takes the batch as one part. Where `pass` names further devices, each takes an equal part at the same time, with a
/// copy of the weights of its own, and the sum is made on the network's device.
///
/// # Errors
/// [`Error::Size`] for an image size that the network does not take, [`Error::PixelCount`] for images or targets of another
/// number of values, [`Error::OutOfRange`] for drop path of another number of images.
pub fn gradients(fec: &Fec, batch: Batch, pass: &Pass) -> Result<Gradient, Error> {
    let pixels = batch.size.height * batch.size.width;
    let classes = fec.config().classes;
    let count = batch.targets.len() / classes.max(1);
    for (given, needed) in [
        (batch.images.len(), count * pixels * 3),
        (batch.targets.len(), count * classes),
    ] {
        if given != needed || needed == 0 {
            return Err(Error::PixelCount { needed, given });
        }
    }
    fec.config().check_size(batch.size)?;
    if let Some(given) = pass.drop_path.as_ref().map(DropPath::images)
        && given != count
    {
        return Err(Error::OutOfRange {
            given,
            limit: count,
        });
    }
    let on_cpu = fec
        .head
        .as_ref()
        .is_none_or(|head| on_cpu(&head.weight.val()));
    if on_cpu && pass.further.is_empty() {
        let fitting = (PART_PIXELS / pixels).clamp(1, PART_IMAGES);
        on_threads(fec, batch, pass, count.div_ceil(PARTS).min(fitting))
    } else {
        let devices = 1 + pass.further.len();
        on_devices(fec, batch, pass, count.div_ceil(devices))
    }
}

/// The images of each part of `length`, in order.
fn parts(count: usize, length: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    (0..count)
        .step_by(length)
        .map(move |from| from..(from + length).min(count))
}

/// Parts that the threads of rayon's pool share.
fn on_threads(fec: &Fec, batch: Batch, pass: &Pass, length: usize) -> Result<Gradient, Error> {
    let count = batch.targets.len() / fec.config().classes;
    let sum = Mutex::new(Sum::default());
    let left = Mutex::new(parts(count, length).enumerate());
    let work = || {
        loop {
            let next = lock(&left).next();
            let Some((number, images)) = next else { break };
            let found = part_gradient(fec, batch, images, pass);
            let mut sum = lock(&sum);
            sum.add(fec, number, found);
        }
    };
    rayon::scope(|scope| {
        for _ in 0..rayon::current_num_threads() {
            scope.spawn(|_| work());
        }
    });
    sum.into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
        .finish()
}

/// A part for the network's own device and for each further one.
fn on_devices(fec: &Fec, batch: Batch, pass: &Pass, length: usize) -> Result<Gradient, Error> {
    let count = batch.targets.len() / fec.config().classes;
    let own = fec.patch_embed.proj.weight.val().device();
    let copies = pass
        .further
        .iter()
        .map(|device| fec.clone().fork(device))
        .collect::<Vec<_>>();
    let networks = core::iter::once(fec).chain(&copies);
    let mut sum = Sum::default();
    thread::scope(|scope| {
        let threads: Vec<_> = parts(count, length)
            .zip(networks)
            .map(|(images, fec)| scope.spawn(move || part_gradient(fec, batch, images, pass)))
            .collect();
        for (number, thread) in threads.into_iter().enumerate() {
            let found = match thread.join() {
                Ok(found) => found.map(|found| Gradient {
                    parameters: found.parameters.to_device(&own, fec),
                    ..found
                }),
                Err(panic) => std::panic::resume_unwind(panic),
            };
            sum.add(fec, number, found);
        }
    });
    sum.finish()
}

/// A thread that panicked passes its panic on; what it left is not looked at.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The parts so far: added in their order, whatever the order in which they come.
#[derive(Default)]
struct Sum {
    waiting: BTreeMap<usize, Result<Gradient, Error>>,
    next: usize,
    total: Option<Result<Gradient, Error>>,
}

impl Sum {
    fn add(&mut self, fec: &Fec, number: usize, found: Result<Gradient, Error>) {
        self.waiting.insert(number, found);
        while let Some(found) = self.waiting.remove(&self.next) {
            self.next += 1;
            self.total = Some(match (self.total.take(), found) {
                (None, found) => found,
                (Some(Ok(total)), Ok(found)) => Ok(total.plus(fec, found)),
                (Some(Err(error)), _) | (Some(Ok(_)), Err(error)) => Err(error),
            });
        }
    }

    fn finish(self) -> Result<Gradient, Error> {
        // The batch is not empty: there was a part.
        self.total.unwrap_or(Err(Error::PixelCount {
            needed: 1,
            given: 0,
        }))
    }
}

impl Gradient {
    /// The sum of two: of the losses and of each parameter's gradients; the logits one after the other.
    #[must_use]
    pub(crate) fn plus(mut self, fec: &Fec, other: Self) -> Self {
        self.loss += other.loss;
        self.logits.extend(other.logits);
        let mut adder = Adder {
            total: self.parameters,
            part: other.parameters,
        };
        fec.visit(&mut adder);
        self.parameters = adder.total;
        self
    }
}

struct Adder {
    total: GradientsParams,
    part: GradientsParams,
}

impl ModuleVisitor for Adder {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(part) = self.part.remove::<D>(param.id) {
            let sum = match self.total.remove::<D>(param.id) {
                Some(total) => total + part,
                None => part,
            };
            self.total.register(param.id, sum);
        }
    }
}

/// The part's share of the gradient and of the loss.
fn part_gradient(
    fec: &Fec,
    batch: Batch,
    images: Range<usize>,
    pass: &Pass,
) -> Result<Gradient, Error> {
    let classes = fec.config().classes;
    let ImageSize { height, width } = batch.size;
    let count = batch.targets.len() / classes;
    // Leaves of its own, or all threads would wait for one another at one graph.
    let fec = fec.clone().map(&mut Mapper::new(Leaves));
    let rows =
        |values: &[f32], length: usize| values[images.start * length..images.end * length].to_vec();
    let device = fec.patch_embed.proj.weight.val().device();
    let shape = [images.len(), height, width, 3];
    let pixels = TensorData::new(rows(batch.images, height * width * 3), shape);
    let targets = TensorData::new(rows(batch.targets, classes), [images.len(), classes]);
    let pass = Pass {
        drop_path: pass.drop_path.as_ref().map(|all| all.part(images.clone())),
        ..pass.clone()
    };
    let output = fec.run(Tensor::from_data(pixels, &device), &pass)?;
    let Some(logits) = output.logits else {
        return Err(Error::OutOfRange { given: 0, limit: 0 });
    };
    let targets = Tensor::<2>::from_data(targets, &device);
    let losses = (log_softmax(logits.clone(), 1) * targets).sum_dim(1);
    let loss = losses.sum().mul_scalar(-1.0 / count as f64);
    let whole = match output.pools {
        Some(pools) => {
            let share = images.len() as f32 / count as f32;
            loss.clone() + pools.mul_scalar(share)
        }
        None => loss.clone(),
    };
    let mut grads = whole.backward();
    Ok(Gradient {
        loss: loss.into_scalar(),
        logits: logits.into_data().iter::<f32>().collect(),
        parameters: GradientsParams::from_module(&mut grads, &fec),
    })
}

/// The same tensors as leaves of a new graph.
struct Leaves;

impl Replace for Leaves {
    fn tensor<const D: usize>(&mut self, _: String, tensor: Tensor<D>) -> Tensor<D> {
        tensor
    }
}
