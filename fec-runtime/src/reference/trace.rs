//! What a run of the reference gives, or why there is none.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::Map;
use crate::config::OfficialTensor;
use crate::error::Error;

/// What one mixer or pool did. Regions are numbered head by head, then row by row of the folds.
#[derive(Clone, Debug)]
pub struct Clustering {
    /// Its module in the checkpoint: `network.0.0.token_mixer`, `network.1`.
    pub name: String,
    /// Heads times folds squared (pools: folds squared).
    pub regions: usize,
    /// Centres M of one region.
    pub centres: usize,
    /// The centre of each element, as used: [regions, N of a region].
    pub assign: Vec<u16>,
    /// The argmax of this run's own similarities; differs from `assign` only where that was forced.
    pub own: Vec<u16>,
    /// By how much the winner's cosine (in pools less the locality) leads the second: [regions, N of a region]; 1 where M = 1.
    pub margin: Vec<f32>,
    /// Representatives R: [regions, M, d].
    pub reps: Vec<f32>,
    /// The centres' keys: [regions, M, d].
    pub centre_keys: Vec<f32>,
}

/// Everything that a run computed.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The patch embedding (SPEC 2).
    pub embed: Map,
    /// After stage 1, pool 1, stage 2, ... stage 4: seven maps.
    pub net: Vec<Map>,
    /// Every mixer and pool, in the order of execution.
    pub clusterers: Vec<Clustering>,
    /// Dense networks: the normalised maps of the four stages; else empty.
    pub features: Vec<Map>,
    /// Classifiers: one value per class; else empty.
    pub logits: Vec<f32>,
}

/// Why the reference did not run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Refused {
    /// Configuration, image size or image.
    Input(Error),
    /// A tensor with another number of values than its shape asks for.
    TensorLength {
        /// The tensor.
        tensor: OfficialTensor,
        /// Values given.
        given: usize,
    },
    /// Forced assignments of another number.
    AssignmentLength {
        /// The mixer or pool.
        name: String,
        /// Assignments needed: regions times elements of a region.
        needed: usize,
        /// Assignments given.
        given: usize,
    },
    /// A forced assignment to a centre that is not there.
    Assignment {
        /// The mixer or pool.
        name: String,
        /// The number given.
        given: u16,
        /// Numbers must be below this.
        centres: usize,
    },
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Refused::Input(error)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Input(error) => error.fmt(f),
            Refused::TensorLength { tensor, given } => {
                write!(
                    f,
                    "{tensor} has {given} values, expected {} for shape {:?}",
                    tensor.elements(),
                    tensor.shape()
                )
            }
            Refused::AssignmentLength {
                name,
                needed,
                given,
            } => {
                write!(f, "{given} assignments given for {name}, expected {needed}")
            }
            Refused::Assignment {
                name,
                given,
                centres,
            } => {
                write!(
                    f,
                    "assignment {given} given for {name}, which has centres 0 to {}",
                    centres.saturating_sub(1)
                )
            }
        }
    }
}

impl core::error::Error for Refused {}

/// Checks forced assignments: `needed` of them, each below `centres`.
pub(super) fn check_forced(
    name: &str,
    forced: &[u16],
    needed: usize,
    centres: usize,
) -> Result<(), Refused> {
    let name = || name.to_owned();
    if forced.len() != needed {
        return Err(Refused::AssignmentLength {
            name: name(),
            needed,
            given: forced.len(),
        });
    }
    match forced.iter().find(|&&m| usize::from(m) >= centres) {
        Some(&given) => Err(Refused::Assignment {
            name: name(),
            given,
            centres,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;
    use crate::config::MICRO;
    use crate::image::ImageSize;
    use crate::reference::Network;

    const SIZE: ImageSize = ImageSize {
        height: 32,
        width: 32,
    };

    fn forced(name: &str, assignments: Vec<u16>) -> Refused {
        let forced = BTreeMap::from([(name.to_owned(), assignments)]);
        let network = Network::from_formula(MICRO).expect("a preset");
        network
            .run(&vec![0.0; 3 * 32 * 32], SIZE, Some(&forced))
            .expect_err("refused")
    }

    #[test]
    fn a_tensor_of_another_length_is_refused_by_name() {
        let refused = Network::new(MICRO, |tensor| {
            vec![0.0; tensor.elements() + usize::from(tensor.suffix == "conv_f.bias")]
        })
        .expect_err("refused");
        assert_eq!(
            refused.to_string(),
            "network.1.conv_f.bias has 13 values, expected 12 for shape [12]"
        );
    }

    #[test]
    fn forced_assignments_that_do_not_fit_are_refused() {
        // The first pool of a 32x32 image: 64 elements, 16 centres.
        assert_eq!(
            forced("network.1", vec![0; 63]).to_string(),
            "63 assignments given for network.1, expected 64"
        );
        assert_eq!(
            forced("network.1", vec![16; 64]).to_string(),
            "assignment 16 given for network.1, which has centres 0 to 15"
        );
    }

    #[test]
    fn an_image_that_the_network_does_not_take_is_refused() {
        let network = Network::from_formula(MICRO).expect("a preset");
        let run = |image: &[f32], size| network.run(image, size, None).expect_err("refused");
        let mut image = vec![0.0; 3 * 32 * 32];
        let count = Error::PixelCount {
            needed: 3072,
            given: 3071,
        };
        assert_eq!(run(&image[1..], SIZE), Refused::Input(count));
        let size = ImageSize {
            height: 33,
            width: 32,
        };
        assert!(matches!(
            run(&image, size),
            Refused::Input(Error::Size { .. })
        ));
        image[7] = f32::NAN;
        let nan = Error::PixelNotFinite { index: 7 };
        assert_eq!(run(&image, SIZE), Refused::Input(nan));
    }
}
