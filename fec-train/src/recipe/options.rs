//! All options of a recipe: name, kind, default and meaning, once. Names are timm's where timm has the option, with `-` for `_`.

use toml::Value;

use super::value::{Kind, text};

/// Makes [`Recipe`] and what goes through its options from the one list below.
macro_rules! options {
    ($( $section:literal { $( $(#[doc = $doc:literal])+ $field:ident: $kind:ty = $default:expr, )+ } )+) => {
        /// Everything that a training run is made of. A saved recipe reproduces the run.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Recipe {
            $($( $(#[doc = $doc])+ pub $field: $kind, )+)+
        }

        impl Default for Recipe {
            fn default() -> Recipe {
                Recipe { $($( $field: $default, )+)+ }
            }
        }

        impl Recipe {
            /// Names of all options, with `_` for `-`.
            pub(super) const FIELDS: &'static [&'static str] = &[$($( stringify!($field), )+)+];

            /// Sets an option from TOML; `Err` says what is expected, `None` that there is no such option.
            pub(super) fn set(&mut self, field: &str, value: &Value) -> Option<Result<(), &'static str>> {
                match field {
                    $($( stringify!($field) => Some(store(&mut self.$field, Kind::read(value))), )+)+
                    _ => None,
                }
            }

            /// Sets an option from the command line.
            pub(super) fn set_text(&mut self, field: &str, given: &str) -> Option<Result<(), &'static str>> {
                match field {
                    $($( stringify!($field) => Some(store(&mut self.$field, Kind::parse(given))), )+)+
                    _ => None,
                }
            }

            /// The whole recipe as TOML, every option with its meaning, in the order of the list.
            pub fn to_toml(&self) -> String {
                let mut out = String::new();
                $(
                    let _ = writeln!(out, "{}# ---- {} ----", if out.is_empty() { "" } else { "\n" }, $section);
                    $(
                        $( let _ = writeln!(out, "#{}", $doc); )+
                        let _ = writeln!(out, "{} = {}", stringify!($field).replace('_', "-"), text(&self.$field.write()));
                    )+
                )+
                out
            }
        }
    };
}

fn store<T: Kind>(place: &mut T, value: Option<T>) -> Result<(), &'static str> {
    *place = value.ok_or(T::EXPECTED)?;
    Ok(())
}

use core::fmt::Write as _;

options! {
    "data" {
        /// Folder of images: train/CLASS/* and val/CLASS/*, or CLASS/* alone, of which a part is kept for validation
        data: String = String::new(),
        /// Share of each class that is kept for validation where the folder has no split of its own
        val_split: f64 = 0.2,
        /// Most memory for decoded images, in MB; what does not fit is decoded again each epoch
        cache: u64 = 2048,
        /// Threads that decode and augment
        workers: usize = 2,
    }
    "network" {
        /// One of nano, micro, compact, small, base, large
        model: String = "nano".into(),
        /// Side of the images in pixels, a multiple of 32
        img_size: usize = 64,
        /// What elements and centres are compared by: cosine, dot, euclidean
        similarity: String = "cosine".into(),
        /// Which numbers of a mixer's weights are learnt: alpha-beta, alpha, beta, plain
        dispatch: String = "alpha-beta".into(),
        /// Channels of one head in each of the four stages; [] for the model's own
        head_dims: Vec<usize> = Vec::new(),
        /// Weight of the distance in the pools' assignments, for each of the three pools; 0 as published
        locality: [f64; 3] = [0.0; 3],
        /// How the pools' keys are trained: none (as published), colours, straight-through, members, weighted
        pool_gradient: String = "none".into(),
        /// What similarities are divided by in that gradient
        pool_temperature: f64 = 0.1,
        /// Weight of a loss that ties members to their centres
        pool_tie: f64 = 0.0,
        /// Share of the epochs before the pools' keys learn and their locality applies; until then the pools are as published
        pool_start: f64 = 0.0,
        /// Weights to start from: none, default (the model in the program), or a .safetensors, .pth or .fec file
        initial_checkpoint: String = "none".into(),
        /// Initial value of the layer scales
        layer_scale: f64 = 1e-5,
        /// Share of branches dropped in the last block, rising linearly from 0 in the first
        drop_path: f64 = 0.0,
    }
    "optimizer: AdamW" {
        /// Images in a batch
        batch_size: usize = 128,
        /// Batches whose gradients make one update
        grad_accum_steps: usize = 1,
        /// Learning rate at its top
        lr: f64 = 1e-3,
        /// Weight decay of tensors with two and more dimensions
        weight_decay: f64 = 0.05,
        /// Decay of the two moments
        opt_betas: [f64; 2] = [0.9, 0.999],
        /// Added to the second moment's root
        opt_eps: f64 = 1e-8,
        /// Largest norm of all gradients together, or "none"
        clip_grad: Option<f64> = None,
        /// Products in bfloat16 where the device has it
        amp: bool = false,
        /// Keep a moving mean of the weights, and evaluate it
        model_ema: bool = false,
        /// How much of the mean is kept at each update
        model_ema_decay: f64 = 0.9998,
    }
    "schedule: cosine" {
        /// Epochs of the cosine
        epochs: u64 = 100,
        /// Epochs of linear warm-up at its beginning
        warmup_epochs: u64 = 5,
        /// Learning rate that the warm-up starts with
        warmup_lr: f64 = 1e-6,
        /// Learning rate at the end
        min_lr: f64 = 1e-6,
        /// Further epochs at min-lr
        cooldown_epochs: u64 = 0,
        /// Put the warm-up before the epochs of the cosine
        warmup_prefix: bool = false,
        /// Change the rate with every update; otherwise with every epoch
        sched_on_updates: bool = true,
    }
    "augmentation" {
        /// Random resized crop: smallest and largest share of the area
        scale: [f64; 2] = [0.08, 1.0],
        /// Random resized crop: smallest and largest ratio of width to height
        ratio: [f64; 2] = [0.75, 4.0 / 3.0],
        /// In place of the random resized crop, if above 0: a crop at the full size after so many mirrored pixels on each side
        pad_crop: usize = 0,
        /// Filter of the crop's resize: bilinear, bicubic or random
        train_interpolation: String = "random".into(),
        /// Share of images mirrored left to right
        hflip: f64 = 0.5,
        /// Share of images turned upside down
        vflip: f64 = 0.0,
        /// Strength of random brightness, contrast and colour; unused with aa
        color_jitter: f64 = 0.4,
        /// RandAugment, as in rand-m9-mstd0.5-inc1, or none
        aa: String = "none".into(),
        /// Share of images of which a rectangle is erased
        reprob: f64 = 0.0,
        /// What is put there: const, rand, pixel
        remode: String = "pixel".into(),
        /// Most rectangles in an image
        recount: usize = 1,
        /// Mixup's alpha; 0 without
        mixup: f64 = 0.0,
        /// Cutmix's alpha; 0 without
        cutmix: f64 = 0.0,
        /// Share of batches that are mixed
        mixup_prob: f64 = 1.0,
        /// Share of cutmix where both are on
        mixup_switch_prob: f64 = 0.5,
        /// First epoch without mixing; 0: none
        mixup_off_epoch: u64 = 0,
        /// Label smoothing
        smoothing: f64 = 0.1,
    }
    "evaluation and deployment" {
        /// Share of the resized image's short side that the centre crop keeps
        crop_pct: f64 = 0.9,
        /// Filter of the resize
        interpolation: String = "bicubic".into(),
        /// Mean of the colours, of 0 to 1
        mean: [f64; 3] = [0.485, 0.456, 0.406],
        /// Deviation of the colours
        std: [f64; 3] = [0.229, 0.224, 0.225],
        /// Images in a batch; 0: as in training
        validation_batch_size: usize = 0,
    }
    "run" {
        /// Where to train: auto, cpu, or cuda with a number, as in cuda:0, or with several, which share each batch, as in cuda:0,1
        device: String = "auto".into(),
        /// Seed of all that is random
        seed: u64 = 42,
        /// Stop after so many minutes, the schedule shortened to them; 0: no limit
        max_minutes: f64 = 0.0,
    }
}
