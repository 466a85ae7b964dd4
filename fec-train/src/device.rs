//! Where to train: the CPU, or a GPU where this build and this machine have one.

use burn::tensor::Device;

use crate::Error;

/// Where a network is trained.
#[derive(Debug)]
pub struct Place {
    /// The device of the weights, with automatic differentiation.
    pub device: Device,
    /// Further ones that take a share of each batch ([`crate::model::Pass::further`]).
    pub further: Vec<Device>,
    /// The numbers of the GPUs; none on the CPU.
    pub gpus: Vec<u16>,
    /// For messages.
    pub name: String,
}

/// What a recipe may name.
pub const EXPECTED: &str = "auto, cpu, cuda, cuda:N, or several as in cuda:0,1";

/// The GPUs that a recipe names, by number; none if it names none or not so that it can be read.
pub fn numbers(name: &str) -> Option<Vec<u16>> {
    if name == "cuda" {
        return Some(vec![0]);
    }
    let list = name.strip_prefix("cuda:")?;
    let numbers = list.split(',').map(|n| n.parse().ok());
    let numbers = numbers.collect::<Option<Vec<u16>>>()?;
    let twice = (1..numbers.len()).any(|i| numbers[..i].contains(&numbers[i]));
    (!twice).then_some(numbers)
}

/// Devices for training, of `auto`, `cpu`, `cuda`, `cuda:N` or `cuda:N,M`.
///
/// # Errors
/// [`Error::Device`] for one that this build or this machine does not have.
pub fn open(name: &str) -> Result<Place, Error> {
    match name {
        "cpu" => Ok(cpu()),
        "auto" => Ok(cuda("auto", &[0]).unwrap_or_else(|_| cpu())),
        _ => match numbers(name) {
            Some(numbers) => cuda(name, &numbers),
            None => Err(Error::Device {
                given: name.into(),
                reason: format!("expected {EXPECTED}"),
            }),
        },
    }
}

fn cpu() -> Place {
    let threads = rayon::current_num_threads();
    let plural = if threads == 1 { "" } else { "s" };
    Place {
        device: Device::flex().autodiff(),
        further: Vec::new(),
        gpus: Vec::new(),
        name: format!("cpu, {threads} thread{plural}"),
    }
}

#[cfg(feature = "cuda")]
fn cuda(given: &str, numbers: &[u16]) -> Result<Place, Error> {
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
    let mut devices = Vec::new();
    for index in numbers.iter().map(|&n| usize::from(n)) {
        if index >= found {
            return Err(refuse(format!("this machine has {found}, numbered from 0")));
        }
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
        devices.push(Device::cuda(index).autodiff());
    }
    let further = devices.split_off(1);
    Ok(Place {
        device: devices.remove(0),
        further,
        gpus: numbers.to_vec(),
        name: format!(
            "cuda:{}",
            numbers
                .iter()
                .map(u16::to_string)
                .collect::<Vec<_>>()
                .join(",")
        ),
    })
}

#[cfg(not(feature = "cuda"))]
fn cuda(given: &str, _: &[u16]) -> Result<Place, Error> {
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
        for name in ["gpu", "cuda:", "cuda:0,0", "cuda:0;1"] {
            let error = open(name).unwrap_err().to_string();
            assert!(error.contains("auto, cpu, cuda"), "{error}");
        }
        assert_eq!(numbers("cuda:2,0"), Some(vec![2, 0]));
        #[cfg(not(feature = "cuda"))]
        assert!(
            open("cuda:1")
                .unwrap_err()
                .to_string()
                .contains("--features cuda")
        );
    }
}
