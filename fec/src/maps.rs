//! Cluster maps of a photo (SPEC 7): three levels by Eq. 8, groups of final clusters by k-means, and each cluster's part in a class.

use fec_runtime::kernels::{Kernels, Values};
use fec_runtime::{ImageSize, MapSize, Model, Probe};

use crate::classifier::Classifier;
use crate::error::Error;
use crate::image::Photo;
use crate::kmeans::{self, kmeans};
use crate::labels::LabelMap;
use crate::preprocess;

/// Levels of clusters.
pub const LEVELS: usize = 3;
/// Longer side of the image that the network sees for a map, at most about this many pixels.
pub const LONG_SIDE: usize = 480;
/// Radius in patches of the filter over groups.
const FILTER_RADIUS: usize = 1;
/// Seed of the k-means.
const SEED: u64 = 0;

/// The clusters of one photo.
#[derive(Clone, Debug)]
pub struct ClusterMaps {
    /// Size of the image that the network saw.
    pub size: ImageSize,
    /// Rows and columns of the 4x4 patches that the levels label.
    pub patches: MapSize,
    /// Per level the cluster of each patch.
    pub levels: [LabelMap; LEVELS],
    /// Per asked class what each cluster of level 3 contributes to its logit.
    pub contributions: Vec<Vec<f32>>,
    /// Logits of this run; empty for dense models.
    pub logits: Vec<f32>,
    /// Representatives R of the last pool, [clusters of level 3, `channels`].
    representatives: Vec<f32>,
    channels: usize,
}

/// Final clusters put together.
#[derive(Clone, Debug)]
pub struct Groups {
    /// Group of each patch; single patches follow their neighbours, as the paper's median filter does for looks.
    pub patches: LabelMap,
    /// How many groups there are: k, or fewer where there are fewer clusters.
    pub k: usize,
    /// Sum of squared distances of the clusters' representatives to their group's mean.
    pub inertia: f64,
}

impl ClusterMaps {
    /// Runs the network on the photo in its own shape ([`map_size`], or `size`) and links the assignments. `classes` are those whose
    /// contributions are wanted.
    ///
    /// # Errors
    /// [`Error::Runtime`] when the network does not take the size.
    pub fn of(
        model: &Model<'_>,
        photo: &Photo,
        size: Option<ImageSize>,
        classes: &[usize],
        kernels: &'static Kernels,
    ) -> Result<Self, Error> {
        let size = size.unwrap_or_else(|| map_size(model, photo));
        let mut classifier = Classifier::new(model, Some(size), kernels)?;
        let input = preprocess::resize(
            photo,
            size.height,
            size.width,
            model.preprocessing().interpolation,
        );
        let mut probe = LastPool::default();
        let maps = classifier.run(&input, &mut probe, |output| -> Result<Self, Error> {
            let patches = output.patches();
            let empty = LabelMap::new(patches.rows, patches.cols, vec![0; patches.elements()])?;
            let mut levels = [empty.clone(), empty.clone(), empty];
            for (level, map) in (1..).zip(&mut levels) {
                output.cluster_map(level, &mut map.labels)?;
            }
            let mut contributions = Vec::new();
            for &class in classes {
                let mut values = vec![0.0; output.clusters(LEVELS).elements()];
                output.evidence(class, &mut values)?;
                contributions.push(values);
            }
            let logits = output.logits().to_vec();
            Ok(Self {
                size,
                patches,
                levels,
                contributions,
                logits,
                representatives: Vec::new(),
                channels: 0,
            })
        })?;
        Ok(Self {
            representatives: probe.values,
            channels: probe.channels,
            ..maps?
        })
    }

    /// Groups the non-empty final clusters by k-means on their representatives.
    ///
    /// # Errors
    /// [`Error::Setting`] for a `k` that is not possible.
    pub fn groups(&self, k: usize) -> Result<Groups, Error> {
        let [.., last] = &self.levels;
        let used = last.distinct();
        let row = |&cluster: &u16| {
            self.representatives
                .chunks(self.channels.max(1))
                .nth(usize::from(cluster))
                .unwrap_or_default()
        };
        let points: Vec<f32> = used.iter().flat_map(row).copied().collect();
        let found = kmeans(&points, self.channels, k, SEED, kmeans::RESTARTS)?;
        let group = |cluster: u16| {
            let at = used.binary_search(&cluster).ok();
            at.and_then(|at| found.labels.get(at)).copied().unwrap_or(0)
        };
        let patches = last.map(group).majority_filtered(FILTER_RADIUS);
        Ok(Groups {
            patches,
            k: found.k(),
            inertia: found.inertia,
        })
    }
}

/// The size that a photo's map is made at: its own shape, both sides rounded to what the network takes, the longer at most about
/// [`LONG_SIDE`]; photos smaller than the model's input are enlarged to it.
pub fn map_size(model: &Model<'_>, photo: &Photo) -> ImageSize {
    let input = model.preprocessing().size;
    let (long, model_long) = (
        photo.height.max(photo.width).max(1),
        input.height.max(input.width),
    );
    let wanted = long.clamp(model_long.min(LONG_SIDE), LONG_SIDE.max(model_long));
    let scaled = |side: usize| (side as f64 * wanted as f64 / long as f64).round() as usize;
    model.config().nearest_size(ImageSize {
        height: scaled(photo.height),
        width: scaled(photo.width),
    })
}

/// Keeps the representatives of the last pool.
#[derive(Default)]
struct LastPool {
    values: Vec<f32>,
    channels: usize,
}

impl Probe for LastPool {
    fn representatives(
        &mut self,
        stage: usize,
        values: Values<'_>,
        _size: MapSize,
        channels: usize,
    ) {
        if stage == LEVELS - 1 {
            self.values = values.iter().collect();
            self.channels = channels;
        }
    }

    fn watches_assignments(&self) -> bool {
        false
    }
}
