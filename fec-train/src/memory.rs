//! Memory of this machine and of its GPUs: what the system and NVIDIA's driver tell.

use std::process::{Command, Stdio};

/// Memory of the machine, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What programs can still take.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// The machine's memory as Linux tells it; `None` elsewhere.
pub fn of_the_machine() -> Option<Memory> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    Some(Memory {
        free: field(&text, "MemAvailable:")?,
        total: field(&text, "MemTotal:")?,
    })
}

/// The most memory that this process has held so far, in bytes; `None` where the system does not tell.
pub fn peak() -> Option<u64> {
    field(
        &std::fs::read_to_string("/proc/self/status").ok()?,
        "VmHWM:",
    )
}

/// A line of Linux's lists, `name   123 kB`, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = rest.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Bytes for people, as in `1.4 GB`, `83.0 MB` or `344 kB`.
pub fn readable(bytes: u64) -> String {
    for (size, unit) in [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")] {
        let value = bytes as f64 / size;
        if value >= 1.0 {
            return format!("{value:.0$} {unit}", usize::from(value < 100.0));
        }
    }
    format!("{bytes} bytes")
}

/// The machine's GPUs, a line each with driver and memory, as `nvidia-smi` lists them; none where there is no driver.
pub fn gpus() -> Vec<String> {
    let asked = Command::new("nvidia-smi")
        .args(["--query-gpu=index,name,driver_version,memory.free,memory.total"])
        .arg("--format=csv,noheader,nounits")
        .stderr(Stdio::null())
        .output();
    match asked {
        Ok(output) if output.status.success() => listed(&String::from_utf8_lossy(&output.stdout)),
        _ => Vec::new(),
    }
}

/// Its lines as sentences; memory is in MiB there.
fn listed(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let mut parts = line.split(',').map(str::trim);
        let (index, name, driver) = (parts.next()?, parts.next()?, parts.next()?);
        let mut memory = || Some(readable(parts.next()?.parse::<u64>().ok()? << 20));
        let (free, total) = (memory()?, memory()?);
        Some(format!(
            "{index}: {name}, {free} of {total} free, driver {driver}"
        ))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_lists_is_read() {
        let text = "MemTotal:       24689012 kB\nMemFree:          123 kB\nMemAvailable:   2 kB\nPages: 7\n";
        assert_eq!(field(text, "MemTotal:"), Some(24_689_012 * 1024));
        assert_eq!(field(text, "MemAvailable:"), Some(2048));
        assert_eq!(field(text, "Pages:"), None);
        assert_eq!(field(text, "Swap:"), None);
    }

    #[test]
    fn what_nvidia_smi_lists_is_read() {
        let text =
            "0, NVIDIA H200, 570.133.20, 142905, 143771\n1, [Not Supported], 1\nno devices\n";
        assert_eq!(
            listed(text),
            ["0: NVIDIA H200, 150 GB of 151 GB free, driver 570.133.20"]
        );
    }

    #[test]
    fn bytes_are_for_people() {
        assert_eq!(readable(999), "999 bytes");
        assert_eq!(readable(344_480), "344 kB");
        assert_eq!(readable(83_400_000), "83.4 MB");
        assert_eq!(readable(1_440_000_000), "1.4 GB");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_and_this_process_are_known() {
        let memory = of_the_machine().unwrap();
        assert!(memory.free < memory.total);
        assert!((1 << 20..memory.total).contains(&peak().unwrap()));
    }
}
