//! An ONNX graph as the other side of a comparison: the network as other people's tools wrote it down, run by other people's code.
//!
//! A graph tells nothing of its clusterings, so none can be held equal: both sides run freely, and the logits are compared. Where two
//! centres are almost equally near, two right implementations may choose differently, and that image's logits then differ visibly.
//!
//! A graph is a small program. Its file is read without running anything, but what it asks for in memory and time is its own matter:
//! like a checkpoint's Python code, an unknown one belongs in a sandbox.

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

use core::cell::Cell;
use core::fmt;
use core::panic::AssertUnwindSafe;
use std::panic;
use std::sync::{Arc, Once};

use fec_runtime::config::Similarity;
use fec_runtime::{AlignedBytes, Image, ImageSize, Model, Plan, Session};
use tract_onnx::pb::{GraphProto, ModelProto, tensor_proto::DataLocation};
use tract_onnx::prelude::{
    DatumType, Framework, InferenceModel, InferenceModelExt, IntoRunnable, IntoTValue, Tensor,
    TractError, TractResult, TypedRunnableModel, tvec,
};
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::{DimLike, InferenceFact};
use tract_onnx::{Onnx, onnx};

use crate::error::{Error, GraphFault};
use crate::verify::{Tolerance, best, largest_difference};

/// Longest graph that is read, in bytes; the large variant's takes about 0.3 GB.
pub const MAX_GRAPH_LEN: u64 = 1 << 30;
/// Largest side of a graph's image in pixels, the engine's own limit.
const MAX_SIDE: usize = 4096;

/// Largest difference of a logit where all weights are f32. Measured on nano with formula weights at 64x64, five formula images and 15
/// photos: at most 1.1e-6; what is allowed leaves room for deeper networks.
pub const TOLERANCE_F32: f32 = 1e-3;
/// The same where any weight is f16. Measured likewise: 0.0011 on 16 of 20 images, up to 0.049 where a centre is chosen
/// otherwise; twice that is allowed.
pub const TOLERANCE_F16: f32 = 1e-1;

/// The difference that a packed model's weights ask for.
pub fn default_tolerance(model: &Model<'_>) -> f32 {
    if Tolerance::of(model) == Tolerance::F16 {
        TOLERANCE_F16
    } else {
        TOLERANCE_F32
    }
}

/// A graph from one image, f32 [1, 3, H, W], to its logits, f32 [1, classes].
pub struct Graph {
    plan: Arc<TypedRunnableModel>,
    size: ImageSize,
    classes: usize,
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph")
            .field("size", &self.size)
            .field("classes", &self.classes)
            .finish_non_exhaustive()
    }
}

impl Graph {
    /// Reads a graph from the bytes of a file.
    ///
    /// # Errors
    /// [`Error::TooLarge`], or [`Error::Graph`] when the bytes are damaged, the weights lie elsewhere, an operator is not known, or
    /// input and output are not an image and its logits.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() as u64 > MAX_GRAPH_LEN {
            return Err(Error::TooLarge { max: MAX_GRAPH_LEN });
        }
        let onnx = onnx();
        let decode = || onnx.proto_model_for_read(&mut &bytes[..]);
        let proto = contained(decode).map_err(|(_, detail)| GraphFault::Damaged { detail })?;
        refuse_at_a_glance(&onnx, &proto)?;
        let model = contained(|| onnx.model_for_proto_model(&proto)).map_err(unusable)?;
        drop(proto);
        let (model, size) = with_one_image(model)?;
        let optimise = || model.into_optimized()?.into_runnable();
        let plan = contained(optimise).map_err(unusable)?;
        let output = contained(|| Ok(plan.model().output_fact(0)?.clone())).map_err(unusable)?;
        let shape = output.shape.as_concrete();
        let classes = match shape {
            Some(&[1, classes]) if output.datum_type == DatumType::F32 => classes,
            _ => {
                return Err(Error::Graph(GraphFault::Output {
                    found: format!("{output:?}"),
                }));
            }
        };
        Ok(Self {
            plan,
            size,
            classes,
        })
    }

    /// The only size of image that the graph takes.
    pub fn size(&self) -> ImageSize {
        self.size
    }

    /// Length of its logits.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The logits of a normalised image, [3, H, W].
    ///
    /// # Errors
    /// [`Error::Graph`] when the image is not of the graph's size, or the graph fails on it.
    pub fn run(&self, values: &[f32]) -> Result<Vec<f32>, Error> {
        let ImageSize { height, width } = self.size;
        if values.len() != height.saturating_mul(width).saturating_mul(3) {
            let (given, size) = (values.len(), self.size);
            return Err(Error::Graph(GraphFault::ImageLength { given, size }));
        }
        let result = contained(|| {
            let image = Tensor::from_shape(&[1, 3, height, width], values)?;
            let outputs = self.plan.run(tvec!(image.into_tvalue()))?;
            let logits = outputs
                .first()
                .ok_or_else(|| TractError::msg("no output"))?;
            Ok(logits
                .to_plain_array_view::<f32>()?
                .iter()
                .copied()
                .collect())
        });
        Ok(result.map_err(unusable)?)
    }
}

/// What the decoded file alone shows to be out of reach, in words that name the way out.
fn refuse_at_a_glance(onnx: &Onnx, proto: &ModelProto) -> Result<(), GraphFault> {
    let Some(graph) = &proto.graph else {
        return Err(GraphFault::Damaged {
            detail: "it holds no graph".to_string(),
        });
    };
    let mut tensors = graph.initializer.iter();
    let external = Some(DataLocation::External as i32);
    if let Some(tensor) = tensors.find(|tensor| tensor.data_location == external) {
        return Err(GraphFault::ExternalWeights {
            tensor: tensor.name.clone(),
        });
    }
    let known = |operator: &str| onnx.op_register.0.contains_key(operator);
    if let Some(node) = graph.node.iter().find(|node| !known(&node.op_type)) {
        return Err(GraphFault::UnknownOperator {
            operator: node.op_type.clone(),
            node: node.name.clone(),
        });
    }
    one_of_each(graph)
}

/// A graph has one input, its initialisers left aside (which older exporters list as inputs too), and one output.
fn one_of_each(graph: &GraphProto) -> Result<(), GraphFault> {
    let is_weight = |name: &str| graph.initializer.iter().any(|t| t.name == name);
    let inputs = graph.input.iter().filter(|i| !is_weight(&i.name)).count();
    if inputs != 1 {
        return Err(GraphFault::Input {
            found: format!("{inputs} inputs"),
        });
    }
    match graph.output.len() {
        1 => Ok(()),
        outputs => Err(GraphFault::Output {
            found: format!("{outputs} outputs"),
        }),
    }
}

/// The model for one image, and that image's size; a batch of any length becomes a batch of one.
fn with_one_image(mut model: InferenceModel) -> Result<(InferenceModel, ImageSize), GraphFault> {
    let input = contained(|| Ok(model.input_fact(0)?.clone())).map_err(unusable)?;
    let refused = || GraphFault::Input {
        found: format!("{input:?}"),
    };
    let dims: Vec<Option<usize>> = input
        .shape
        .dims()
        .map(|dim| dim.concretize()?.to_usize().ok())
        .collect();
    let [None | Some(1), Some(3), Some(height), Some(width)] = *dims else {
        return Err(refused());
    };
    let sides = 1..=MAX_SIDE;
    let is_f32 = input.datum_type.concretize() == Some(DatumType::F32);
    if !(is_f32 && sides.contains(&height) && sides.contains(&width)) {
        return Err(refused());
    }
    let image = InferenceFact::dt_shape(DatumType::F32, tvec!(1, 3, height, width));
    contained(|| model.set_input_fact(0, image)).map_err(unusable)?;
    Ok((model, ImageSize { height, width }))
}

thread_local! {
    /// Whether a panic of this thread is on its way to [`contained`].
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a step of tract; a failure becomes its place, as far as is known, and its cause.
///
/// tract asserts much of what a damaged graph breaks. Such a panic is a failure like any other, and its usual report is held back, on
/// this thread and for this step alone.
fn contained<T>(step: impl FnOnce() -> TractResult<T>) -> Result<T, (String, String)> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CONTAINED.get() {
                report(info);
            }
        }));
    });
    CONTAINED.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(step));
    CONTAINED.set(false);
    match result {
        Ok(result) => result.map_err(|error| {
            let (place, cause) = (error.to_string(), error.root_cause().to_string());
            let place = if place == cause { "" } else { &place };
            (one_line(place), one_line(&cause))
        }),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
            let detail = one_line(text.unwrap_or("no reason given"));
            Err(("it broke an assertion".to_string(), detail))
        }
    }
}

fn unusable((place, detail): (String, String)) -> GraphFault {
    GraphFault::Unusable { place, detail }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What one image gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImageDifference {
    /// Largest difference of a logit; infinite when any value was NaN.
    pub difference: f32,
    /// Largest absolute logit of the graph.
    pub magnitude: f32,
    /// Whether the best class is the same.
    pub same_top1: bool,
}

impl ImageDifference {
    /// The difference as a share of the largest logit.
    pub fn relative(&self) -> f32 {
        self.difference / self.magnitude.max(f32::MIN_POSITIVE)
    }
}

/// What a comparison with a graph has found, image by image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GraphComparison {
    /// In the order of the calls.
    pub images: Vec<ImageDifference>,
}

impl GraphComparison {
    /// Over all images: the largest difference, the largest logit, and whether every best class is the same.
    pub fn overall(&self) -> ImageDifference {
        let start = ImageDifference {
            difference: 0.0,
            magnitude: 0.0,
            same_top1: true,
        };
        self.images
            .iter()
            .fold(start, |all, image| ImageDifference {
                difference: all.difference.max(image.difference),
                magnitude: all.magnitude.max(image.magnitude),
                same_top1: all.same_top1 && image.same_top1,
            })
    }

    /// Images with the same best class.
    pub fn same_top1(&self) -> usize {
        self.images.iter().filter(|image| image.same_top1).count()
    }

    /// Judges the largest difference.
    ///
    /// # Errors
    /// [`GraphFault::Differs`] when it is more than `tolerance`.
    pub fn check(&self, tolerance: f32) -> Result<(), Error> {
        let beyond = |image: &&ImageDifference| image.difference > tolerance;
        match self.images.iter().filter(beyond).count() {
            0 => Ok(()),
            images => Err(Error::Graph(GraphFault::Differs {
                difference: self.overall().difference,
                images,
                of: self.images.len(),
                tolerance,
            })),
        }
    }
}

/// A packed model beside an ONNX graph of its network.
#[derive(Debug)]
pub struct GraphVerifier<'m> {
    model: &'m Model<'m>,
    graph: Graph,
    plan: Plan,
    arena: AlignedBytes,
    comparison: GraphComparison,
}

impl<'m> GraphVerifier<'m> {
    /// Compares `model` with `graph` at the graph's size, which need not be the one that the model was packed for.
    ///
    /// # Errors
    /// [`Error::Graph`] when the two are no networks of one kind, [`Error::Model`] when the model does not take that size.
    pub fn new(model: &'m Model<'m>, graph: Graph) -> Result<Self, Error> {
        comparable(model)?;
        let (found, expected) = (graph.classes(), model.config().classes);
        if found != expected {
            return Err(Error::Graph(GraphFault::Classes { found, expected }));
        }
        let plan = model.plan(graph.size()).map_err(Error::Model)?;
        Ok(Self {
            model,
            graph,
            plan,
            arena: AlignedBytes::zeroed(plan.arena_len()),
            comparison: GraphComparison::default(),
        })
    }

    /// The size of the images.
    pub fn size(&self) -> ImageSize {
        self.graph.size()
    }

    /// Compares on one image: `image` as the engine takes it, `normalised` [3, H, W] as the graph does.
    ///
    /// # Errors
    /// [`Error::Model`] or [`Error::Graph`] when the image does not fit.
    pub fn compare(&mut self, image: &Image<'_>, normalised: &[f32]) -> Result<(), Error> {
        let expected = self.graph.run(normalised)?;
        let mut session =
            Session::new(self.model, self.plan, self.arena.as_bytes_mut()).map_err(Error::Model)?;
        let output = session.run(image).map_err(Error::Model)?;
        let found = output.logits();
        self.comparison.images.push(ImageDifference {
            difference: largest_difference(found, &expected),
            magnitude: expected.iter().map(|v| v.abs()).fold(0.0, f32::max),
            same_top1: best(found) == best(&expected),
        });
        Ok(())
    }

    /// What the comparisons so far have found.
    pub fn comparison(&self) -> &GraphComparison {
        &self.comparison
    }
}

/// Refuses the models that no graph can be compared with, whatever the graph.
///
/// # Errors
/// [`GraphFault::Dense`], [`GraphFault::Locality`] and [`GraphFault::Similarity`].
pub fn comparable(model: &Model<'_>) -> Result<(), Error> {
    let config = model.config();
    if config.dense {
        return Err(Error::Graph(GraphFault::Dense));
    }
    if config.locality.iter().any(|&weight| weight != 0.0) {
        return Err(Error::Graph(GraphFault::Locality));
    }
    if config.similarity != Similarity::Cosine {
        return Err(Error::Graph(GraphFault::Similarity));
    }
    Ok(())
}
