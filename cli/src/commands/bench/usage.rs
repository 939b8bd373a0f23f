//! What a process uses, as the kernel tells it. Linux only; elsewhere nothing is told.

use std::time::Duration;

/// What a process has used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Usage {
    /// Processor time since its start.
    pub(super) processor: Duration,
    /// Resident memory.
    pub(super) memory_megabytes: f64,
}

/// What a process has used; none where it is gone or the system does not tell.
pub(super) fn usage(process: u32) -> Option<Usage> {
    let status = fs_err::read_to_string(format!("/proc/{process}/status")).ok()?;
    let stat = fs_err::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    parse(&status, &stat, ticks_per_second)
}

fn parse(status: &str, stat: &str, ticks_per_second: u64) -> Option<Usage> {
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u32 = resident.trim().strip_suffix("kB")?.trim().parse().ok()?;
    // The name of the program stands in parentheses and may hold anything; user and system time
    // are the 12th and 13th word after it.
    let after_name = stat.rsplit_once(") ")?.1;
    let mut times = after_name.split(' ').skip(11).map(str::parse::<u32>);
    let ticks = times.next()?.ok()?.checked_add(times.next()?.ok()?)?;
    let processor = Duration::from_secs(1) * ticks / u32::try_from(ticks_per_second).ok()?;
    Some(Usage { processor, memory_megabytes: f64::from(kibibytes) * 1_024.0 / 1e6 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        let status = "Name:\tantiphon\nVmRSS:\t   20000 kB\nThreads:\t4\n";
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 1 2 3 4 150 50 0 0 20 0 4 0 9 1000 5000 18";
        let usage = parse(status, stat, 100).unwrap();
        assert_eq!(usage.processor, Duration::from_secs(2));
        assert!((usage.memory_megabytes - 20.48).abs() < 1e-9, "{usage:?}");
        assert_eq!(parse("", stat, 100), None);
    }
}
