//! Where to train: the CPU, or a GPU where this build and this machine have one.

use burn::tensor::Device;

use crate::Error;

/// A device for training and its name, of `auto`, `cpu`, `cuda` or `cuda:N`.
///
/// # Errors
/// [`Error::Device`] for one that this build or this machine does not have.
pub fn open(name: &str) -> Result<(Device, String), Error> {
    match name {
        "cpu" => Ok(cpu()),
        "auto" => Ok(cuda("auto", 0).unwrap_or_else(|_| cpu())),
        "cuda" => cuda(name, 0),
        _ => match name.strip_prefix("cuda:").map(str::parse) {
            Some(Ok(index)) => cuda(name, index),
            _ => Err(Error::Device {
                given: name.into(),
                reason: "expected auto, cpu, cuda or cuda:N".into(),
            }),
        },
    }
}

fn cpu() -> (Device, String) {
    let threads = rayon::current_num_threads();
    let plural = if threads == 1 { "" } else { "s" };
    (
        Device::flex().autodiff(),
        format!("cpu, {threads} thread{plural}"),
    )
}

#[cfg(feature = "cuda")]
fn cuda(given: &str, index: usize) -> Result<(Device, String), Error> {
    use burn::tensor::{DeviceType, Tensor};

    // Asking is safe where the first tensor on a machine without a driver would panic.
    let found = Device::enumerate(DeviceType::Cuda).len();
    let refuse = |reason: String| Error::Device {
        given: given.into(),
        reason,
    };
    if found == 0 {
        return Err(refuse(
            "no CUDA device found; is the NVIDIA driver installed? device=cpu trains on the CPU"
                .into(),
        ));
    }
    if index >= found {
        return Err(refuse(format!("this machine has {found}, numbered from 0")));
    }
    let device = Device::cuda(index);
    let tried = std::panic::catch_unwind(|| {
        // exp needs libdevice, which is looked for when the first such kernel is made.
        Tensor::<1>::ones([4], &Device::cuda(index))
            .exp()
            .sum()
            .into_scalar::<f32>()
    });
    if tried.is_err() {
        return Err(refuse(
            "the driver is there, but a first computation failed (its message is above); is libdevice.10.bc installed, below $CUDA_PATH/nvvm/libdevice?".into(),
        ));
    }
    Ok((device.autodiff(), format!("cuda:{index}")))
}

#[cfg(not(feature = "cuda"))]
fn cuda(given: &str, _: usize) -> Result<(Device, String), Error> {
    Err(Error::Device {
        given: given.into(),
        reason: "this build has no CUDA; build with --features cuda, or say device=cpu".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_said() {
        for name in ["cpu", "auto"] {
            assert!(open(name).is_ok(), "{name}");
        }
        let error = open("gpu").unwrap_err().to_string();
        assert!(error.contains("auto, cpu, cuda"), "{error}");
        #[cfg(not(feature = "cuda"))]
        assert!(
            open("cuda:1")
                .unwrap_err()
                .to_string()
                .contains("--features cuda")
        );
    }
}
