//! The machine: its clock, its CPUs, and how busy others keep them.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

/// CPU time used so far by everybody and by us.
pub(crate) struct Load {
    at: Instant,
    everybody: f64,
    ours: f64,
}

impl Load {
    pub(crate) fn now() -> Result<Load> {
        // Both files count in ticks of 10 ms (USER_HZ is 100 on every Linux).
        let machine = fs::read_to_string("/proc/stat")?;
        let machine: Vec<f64> =
            machine.lines().next().unwrap_or("").split_whitespace().skip(1).flat_map(str::parse).collect();
        ensure!(machine.len() >= 8, "/proc/stat has no cpu line");
        let own = fs::read_to_string("/proc/self/stat")?;
        let own: Vec<&str> = own.rsplit(") ").next().unwrap_or("").split(' ').collect();
        ensure!(own.len() >= 15, "/proc/self/stat is short");
        // user, nice, system, irq, softirq and steal; not idle and iowait.
        let busy: f64 = [0, 1, 2, 5, 6, 7].iter().map(|&field| machine[field]).sum();
        // utime, stime, and those of the children that were waited for.
        let ours: f64 = own[11..15].iter().flat_map(|field| field.parse::<f64>()).sum();
        Ok(Load { at: Instant::now(), everybody: busy / 100.0, ours: ours / 100.0 })
    }

    /// The load of others since then, as a share of one CPU.
    pub(crate) fn foreign_since(&self, before: &Load) -> f64 {
        let others = (self.everybody - before.everybody) - (self.ours - before.ours);
        (others / (self.at - before.at).as_secs_f64()).max(0.0)
    }
}

/// The monotonic clock in nanoseconds: the same for every process of the machine.
pub(crate) fn clock() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// CPU time of the calling thread so far.
pub(crate) fn own_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The CPUs this process may use.
pub(crate) fn cpus() -> Result<Vec<usize>> {
    let set = rustix::thread::sched_getaffinity(None)?;
    Ok((0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
}

/// Binds the calling thread to one CPU.
pub(crate) fn pin(cpu: usize) -> Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// The machine in one line. What cannot be found out is left out.
pub(crate) fn describe() -> String {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<&str> = processors.lines().filter_map(|line| line.strip_prefix("model name\t: ")).collect();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} x {}, Linux {}", models.len(), models.first().unwrap_or(&"CPU"), kernel.trim())
}
