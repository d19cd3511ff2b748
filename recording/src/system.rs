//! Owns the figures of the system around the process. Plain values; encoding lives elsewhere.

/// Declares the fields once: as a struct, and in the order in which they are encoded.
macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What the system says of memory around the process at one moment. `None`: the file was
        /// not there or could not be read.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct System {
            $($(#[$doc])* pub $name: Option<u64>,)*
        }

        impl System {
            /// Nothing is known.
            pub const UNKNOWN: System = System { $($name: None),* };

            /// Number of fields.
            pub const FIELDS: usize = [$(stringify!($name)),*].len();

            /// The fields in the order of their encoding. New ones come last.
            pub fn values(&self) -> [Option<u64>; Self::FIELDS] {
                [$(self.$name),*]
            }

            /// The reverse of [`System::values`].
            pub fn from_values(values: [Option<u64>; Self::FIELDS]) -> System {
                let [$($name),*] = values;
                System { $($name),* }
            }
        }
    };
}

fields! {
    /// Locked memory of the process (`VmLck`).
    locked_bytes,
    /// `RLIMIT_MEMLOCK`; `u64::MAX` is no limit.
    locked_limit_bytes,
    /// Memory of the host.
    host_memory_bytes,
    /// Of it, available to new allocations without swapping.
    host_available_bytes,
    /// Locked memory of all processes (`Mlocked`).
    host_locked_bytes,
    /// Pages that the host swapped in since it was started.
    host_swap_in_pages,
    /// Pages that the host swapped out since it was started.
    host_swap_out_pages,
    /// `oom_score` of the process: the higher, the sooner it is killed.
    oom_score,
    /// Memory charged to the cgroup.
    cgroup_bytes,
    /// `memory.high`; `u64::MAX` is no limit.
    cgroup_high_bytes,
    /// `memory.max`; `u64::MAX` is no limit.
    cgroup_max_bytes,
    /// Swap charged to the cgroup.
    cgroup_swap_bytes,
    /// Times that `memory.high` was passed.
    cgroup_high_events,
    /// Times that `memory.max` was met.
    cgroup_max_events,
    /// Times that the cgroup was out of memory.
    cgroup_oom_events,
    /// Processes of the cgroup that were killed for want of memory.
    cgroup_oom_kills,
    /// Anonymous memory charged to the cgroup.
    cgroup_anon_bytes,
    /// Page cache charged to the cgroup.
    cgroup_file_bytes,
    /// Of that, shared memory and tmpfs.
    cgroup_shmem_bytes,
    /// The kernel's own memory charged to the cgroup.
    cgroup_kernel_bytes,
    /// Share of the last 10 seconds in which some task waited for memory, hundredths of a percent.
    pressure_some,
    /// Time in which some task waited for memory, microseconds, cumulative.
    pressure_some_us,
    /// Share of the last 10 seconds in which all tasks waited for memory, hundredths of a percent.
    pressure_full,
    /// Time in which all tasks waited for memory, microseconds, cumulative.
    pressure_full_us,
    /// 1: the pressure is the cgroup's; 0: the host's.
    pressure_is_cgroup,
    /// Minor page faults of children that ended and were waited for, and of theirs.
    children_minor_faults,
    /// Highest resident set of the process since it began this program (`VmHWM`).
    peak_resident_bytes,
}
