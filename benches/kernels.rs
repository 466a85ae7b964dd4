//! Every kernel over the networks' real shapes, with every table of this machine: checked, then timed by criterion, its throughput in
//! multiply-adds; behind each kernel stands its share of the peak that the core showed just then.
//!
//!     cargo bench -p fec-bench --bench kernels -- 'matmul_fc1_gelu/avx2'
//!
//! `FEC_BENCH_NETWORK=nano@64` takes another network's shapes than those of small at 224.

use core::cell::Cell;
use core::time::Duration;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput};
use fec::output::{Format, Output};
use fec_bench::Result;
use fec_bench::cases::{Case, Results, of_network};
use fec_bench::peak::Peaks;
use fec_runtime::kernels::Kernels;
use fec_runtime::kernels::check::{Buffers, check};

fn main() -> Result<()> {
    let mut out = Output::new(Format::Text);
    fec_bench::machine::pin()?;
    let network = std::env::var("FEC_BENCH_NETWORK").unwrap_or_else(|_| "small@224".to_string());
    let (preset, side) = fec_bench::networks::parse(&network)?;
    let cases = of_network(preset, side)?;
    for table in Kernels::available() {
        let checked = check(table, &mut Box::new(Buffers::new()))
            .map_err(|failure| format!("{}: {failure}", table.isa()))?;
        out.text(format!("{}: {checked} cases are right", table.isa()))?;
    }
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .configure_from_args();
    let mut kernels: Vec<&str> = cases.iter().map(|case| case.kernel).collect();
    kernels.sort_unstable();
    kernels.dedup();
    for kernel in kernels {
        let of_kernel = cases.iter().filter(|case| case.kernel == kernel);
        let found = time(&mut criterion, kernel, &of_kernel.collect::<Vec<_>>())?;
        if !found.is_empty() {
            report(&found, &mut out)?;
        }
    }
    criterion.final_summary();
    Ok(())
}

/// The fastest run of a case with a table.
struct Found<'a> {
    case: &'a Case,
    table: &'static Kernels,
    fastest: Duration,
}

/// Checks and times a kernel on all its shapes; only what the command line's filter lets through is in the result.
fn time<'a>(criterion: &mut Criterion, kernel: &str, cases: &[&'a Case]) -> Result<Vec<Found<'a>>> {
    let mut found = Vec::new();
    let mut group = criterion.benchmark_group(kernel);
    for &case in cases {
        let mut expected = Results::default();
        (case.run)(Kernels::portable(), &mut expected);
        group.throughput(Throughput::Elements(case.elements));
        for table in Kernels::available() {
            let mut results = Results::default();
            (case.run)(table, &mut results);
            let exactly = case.peak == Some("i8");
            results
                .compare(&expected, exactly)
                .map_err(|fault| format!("{kernel}, {}, {}: {fault}", table.isa(), case.shape))?;
            let fastest = Cell::new(Duration::MAX);
            let id = BenchmarkId::new(table.isa().name(), &case.shape);
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|runs| {
                    let started = Instant::now();
                    for _ in 0..runs {
                        (case.run)(table, &mut results);
                    }
                    let elapsed = started.elapsed();
                    let each = elapsed.div_f64(runs.max(1) as f64);
                    fastest.set(fastest.get().min(each));
                    elapsed
                });
            });
            if fastest.get() != Duration::MAX {
                found.push(Found {
                    case,
                    table,
                    fastest: fastest.get(),
                });
            }
        }
    }
    group.finish();
    Ok(found)
}

/// Shares of the peak, measured now.
fn report(found: &[Found<'_>], out: &mut Output) -> Result<()> {
    let peaks = Peaks::measure();
    out.text(peaks.text())?;
    for Found {
        case,
        table,
        fastest,
    } in found
    {
        let ms = fastest.as_secs_f64() * 1e3;
        let giga = case.elements as f64 / (ms * 1e6);
        let isa = table.isa();
        let share = case
            .peak
            .and_then(|dtype| peaks.share(isa, dtype, case.elements, ms))
            .map_or(String::new(), |share| {
                format!(", {:5.1} % of peak", share * 100.0)
            });
        out.text(format!(
            "{:20} {:32} {:12} {:9.1} us, {giga:6.1} G/s{share}",
            case.kernel,
            case.shape,
            isa.name(),
            ms * 1e3
        ))?;
    }
    Ok(())
}
