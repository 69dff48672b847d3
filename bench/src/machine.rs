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
        // user, nice, system, irq, softirq and steal; not idle and iowait.
        let busy: f64 = [0, 1, 2, 5, 6, 7].iter().map(|&field| machine[field]).sum();
        let ours = family_time()?;
        Ok(Load { at: Instant::now(), everybody: busy / 100.0, ours: ours / 100.0 })
    }

    /// The load of others since then, as a share of one CPU.
    pub(crate) fn foreign_since(&self, before: &Load) -> f64 {
        let others = (self.everybody - before.everybody) - (self.ours - before.ours);
        (others / (self.at - before.at).as_secs_f64()).max(0.0)
    }
}

/// Ticks used so far by this process and all that descend from it, servers and workers among them.
fn family_time() -> Result<f64> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // One that has ended meanwhile is in its parent's figures.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let fields: Vec<f64> =
            stat.rsplit(") ").next().unwrap_or("").split(' ').map(|field| field.parse().unwrap_or(0.0)).collect();
        ensure!(fields.len() >= 15, "/proc/{pid}/stat is short");
        // utime, stime, and those of the children that were waited for.
        processes.push((pid, fields[1] as u32, fields[11..15].iter().sum::<f64>()));
    }
    let mut family = vec![std::process::id()];
    let mut time = 0.0;
    while let Some(member) = family.pop() {
        for &(pid, parent, used) in &processes {
            if pid == member {
                time += used;
            } else if parent == member {
                family.push(pid);
            }
        }
    }
    Ok(time)
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
