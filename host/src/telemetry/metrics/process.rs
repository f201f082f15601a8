//! Reads the kernel's figures about this process.

/// The figures at the time of reading.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process {
    /// The resident memory in bytes.
    pub(super) resident: u64,
    /// Open files and sockets.
    pub(super) open_files: u64,
}

/// Reads the figures; absent if there is no `/proc`.
pub(super) fn look() -> Option<Process> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let resident: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))?
        .parse()
        .ok()?;
    let open_files = std::fs::read_dir("/proc/self/fd").ok()?.count();
    Some(Process {
        resident: resident * 1_024,
        open_files: open_files as u64,
    })
}
