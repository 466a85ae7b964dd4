//! The machine that figures belong to, and one core of it.

use core::time::Duration;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// The CPU's model as the system names it, or what identifies it on aarch64, where it has no name.
pub fn cpu_model() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        let (_, value) = line.split_once(':')?;
        Some(value.trim().to_string())
    };
    let parts = |names: [&str; 3]| {
        let found = names.map(|name| field(name).map(|value| format!(" {name} {value}")));
        found.into_iter().flatten().collect::<String>()
    };
    match field("model name") {
        Some(name) => {
            // "AMD EPYC" alone says little on virtual machines.
            let digits = name.chars().any(|c| c.is_ascii_digit());
            if digits {
                name
            } else {
                name + &parts(["cpu family", "model\t", "stepping"]).replace('\t', "")
            }
        }
        None => {
            let parts = parts(["CPU implementer", "CPU part", "CPU variant"]);
            format!("{}{parts}", std::env::consts::ARCH)
        }
    }
}

/// Puts this thread, and what it starts, onto one core: that of the variable `FEC_BENCH_CORE`, else the last it may use. Gives the
/// core, or `None` where the system cannot do it.
///
/// # Errors
/// The variable names no core that this process may use.
pub fn pin() -> crate::Result<Option<usize>> {
    let asked = match std::env::var("FEC_BENCH_CORE") {
        Ok(text) => Some(text.parse::<usize>().map_err(|_| {
            format!("FEC_BENCH_CORE is {text:?}; it should be a core's number, as in 1")
        })?),
        Err(_) => None,
    };
    pin_to(asked)
}

#[cfg(target_os = "linux")]
fn pin_to(asked: Option<usize>) -> crate::Result<Option<usize>> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    let allowed = sched_getaffinity(None)?;
    let usable = |&core: &usize| core < CpuSet::MAX_CPU && allowed.is_set(core);
    let core = match asked {
        Some(core) => Some(core).filter(usable).ok_or_else(|| {
            format!("FEC_BENCH_CORE is {core}, a core that this process may not use; leave it out for the last one that it may")
        })?,
        None => match (0..CpuSet::MAX_CPU).rev().find(usable) {
            Some(core) => core,
            None => return Ok(None),
        },
    };
    let mut one = CpuSet::new();
    one.set(core);
    sched_setaffinity(None, &one)?;
    Ok(Some(core))
}

#[cfg(not(target_os = "linux"))]
fn pin_to(_asked: Option<usize>) -> crate::Result<Option<usize>> {
    Ok(None)
}

/// Time that this thread has run for.
#[cfg(unix)]
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap_or(0),
        time.tv_nsec.try_into().unwrap_or(0),
    )
}

/// Time that this thread has run for: not known here, so that time on the wall stands in for it.
#[cfg(not(unix))]
pub fn cpu_time() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

/// The commit that is benched, with `+` where the sources have been changed since; `unknown` without git.
pub fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_string())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_string();
    };
    let clean = git(&["status", "--porcelain", "--untracked-files=no"])
        .is_some_and(|changes| changes.is_empty());
    commit + if clean { "" } else { "+" }
}

/// Today's date (UTC) as 2026-01-31.
pub fn today() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let (year, month, day) = civil(now.map_or(0, |t| t.as_secs() / 86_400));
    format!("{year:04}-{month:02}-{day:02}")
}

/// The date of a day since 1970-01-01.
fn civil(mut day: u64) -> (u64, usize, u64) {
    let leap = |year: u64| {
        (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400)
    };
    let mut year = 1970;
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if day < length {
            break;
        }
        day -= length;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in months {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    (year, month, day + 1)
}

#[cfg(test)]
mod tests {
    use super::civil;

    #[test]
    fn days_become_dates_over_leap_years() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(11_017), (2000, 3, 1));
        assert_eq!(civil(20_453), (2025, 12, 31));
        assert_eq!(civil(20_454), (2026, 1, 1));
    }
}
