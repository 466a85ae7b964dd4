//! Why an ONNX graph was refused, or what it gives otherwise than the packed model.

use core::fmt;

use fec_runtime::ImageSize;

use super::Shown;

/// How a graph is exported that can be compared with.
const EXPORT: &str =
    "torch.onnx.export(model, (image,), \"model.onnx\", dynamo=True, external_data=False)";

/// What stands between a packed model and an ONNX graph of its network. Display gives one line.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum GraphFault {
    /// The program was built without what runs graphs.
    LeftOut,
    /// The packed model has dense outputs, of which a graph's names say nothing.
    Dense,
    /// The packed model weighs distance, which no graph of the published network does.
    Locality,
    /// The packed model compares otherwise than by cosine, as no graph of the published network does.
    Similarity,
    /// The bytes are no ONNX model.
    Damaged {
        /// What their reader said.
        detail: String,
    },
    /// The weights lie in another file.
    ExternalWeights {
        /// The first tensor of which that is so.
        tensor: String,
    },
    /// An operator that is not known.
    UnknownOperator {
        /// Its name.
        operator: String,
        /// The node that has it.
        node: String,
    },
    /// The graph's parts do not fit each other, or an operator is used in a way that is not known.
    Unusable {
        /// Where, as far as is known; else empty.
        place: String,
        /// What was said about it.
        detail: String,
    },
    /// The graph takes something other than one image.
    Input {
        /// What it takes.
        found: String,
    },
    /// The graph gives something other than one row of logits.
    Output {
        /// What it gives.
        found: String,
    },
    /// An image of another length than the graph's.
    ImageLength {
        /// Values that were given.
        given: usize,
        /// The graph's size.
        size: ImageSize,
    },
    /// The graph has another number of classes than the packed model.
    Classes {
        /// The graph's.
        found: usize,
        /// The model's.
        expected: usize,
    },
    /// The logits are further from each other than is allowed.
    Differs {
        /// Largest difference of a logit.
        difference: f32,
        /// Images of which that is so.
        images: usize,
        /// Images compared.
        of: usize,
        /// Most that is allowed.
        tolerance: f32,
    },
}

impl fmt::Display for GraphFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeftOut => write!(
                f,
                "an ONNX graph, and this program was built without the feature onnx that runs them; build it with its default features"
            ),
            Self::Dense => write!(
                f,
                "a model with dense outputs is not compared with an ONNX graph, only one with logits; compare it with its PyTorch checkpoint"
            ),
            Self::Locality => write!(
                f,
                "packed with --locality, and an ONNX graph computes the published network, which has none; pack it without --locality, or compare it with its PyTorch checkpoint"
            ),
            Self::Similarity => write!(
                f,
                "packed with --similarity, and an ONNX graph computes the published network, which compares by cosine; compare it with its PyTorch checkpoint"
            ),
            Self::Damaged { detail } => write!(
                f,
                "damaged ONNX model: {}; copy or download the file again",
                Shown(detail)
            ),
            Self::ExternalWeights { tensor } => write!(
                f,
                "the ONNX model keeps {} and maybe more in another file; export it into one: {EXPORT}",
                Shown(tensor)
            ),
            Self::UnknownOperator { operator, node } => write!(
                f,
                "operator {} of node {} is not supported; expected an opset-18 graph of the network: {EXPORT}",
                Shown(operator),
                Shown(node)
            ),
            Self::Unusable { place, detail } => write!(
                f,
                "the ONNX graph cannot be run: {}{}{}; export it again: {EXPORT}",
                Shown(place),
                if place.is_empty() { "" } else { ": " },
                Shown(detail)
            ),
            Self::Input { found } => write!(
                f,
                "the ONNX graph takes {}; expected one image of f32 [1, 3, height, width] with height and width in numbers: {EXPORT}",
                Shown(found)
            ),
            Self::Output { found } => write!(
                f,
                "the ONNX graph gives {}; expected one row of logits, f32 [1, classes]; export the classification network alone",
                Shown(found)
            ),
            Self::ImageLength { given, size } => write!(
                f,
                "an image of {given} values for an ONNX graph of 3x{size}; bring it to that size first"
            ),
            Self::Classes { found, expected } => write!(
                f,
                "another network than the packed model's: classes {found}, the model has {expected}; give the graph of the checkpoint it was packed from"
            ),
            Self::Differs {
                difference,
                images,
                of,
                tolerance,
            } => write!(
                f,
                "the logits differ from the ONNX graph's by up to {difference:.3e}, more than the tolerance {tolerance:e}, on {images} of {of} images; where it is few, a close choice of a centre may have fallen the other way: compare with the PyTorch checkpoint, whose choices can be held equal; else pack the checkpoint of this graph"
            ),
        }
    }
}
