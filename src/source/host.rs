//! What the host is called and what it allows us: cores, locked memory, io_uring.
#![expect(unsafe_code, reason = "these system calls have no safe form")]

use std::{io, mem, ops::Range};

/// The cores that this process may run on, in order.
///
/// # Errors
/// What the system says.
pub fn allowed_cores() -> io::Result<Vec<usize>> {
    // SAFETY: all-zero is a valid cpu_set_t, the size is its own, and CPU_ISSET stays inside it
    // for numbers below CPU_SETSIZE.
    unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) != 0 {
            return Err(io::Error::last_os_error());
        }
        let all = 0..usize::try_from(libc::CPU_SETSIZE).unwrap_or(0);
        Ok(all.filter(|&core| libc::CPU_ISSET(core, &set)).collect())
    }
}

/// How much memory this process may lock, bytes.
///
/// # Errors
/// What the system says.
pub fn memlock_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer goes to a structure of the type that the call fills.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    if result == 0 { Ok(limit.rlim_cur) } else { Err(io::Error::last_os_error()) }
}

/// Raises the number of descriptors that this process may have to what it may raise it to.
///
/// # Errors
/// What the system says.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointers go to a structure of the type that the calls fill and read.
    let result = unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
        } else {
            -1
        }
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether the kernel gives this process an io_uring.
///
/// # Errors
/// What the system says: too old, turned off, forbidden.
pub fn try_io_uring() -> io::Result<()> {
    let mut params = [0_u8; IO_URING_PARAMS_BYTES];
    // SAFETY: the kernel writes one io_uring_params, which is as long as `params`; the
    // descriptor that it returns is closed and used for nothing else.
    unsafe {
        let ring = libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr());
        let Ok(ring) = libc::c_int::try_from(ring) else { return Err(io::Error::other("bad fd")) };
        if ring < 0 {
            return Err(io::Error::last_os_error());
        }
        libc::close(ring);
    }
    Ok(())
}

/// What the host is called.
#[must_use]
pub fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Asks for huge pages behind memory that is looked at in random order, where each small page
/// would cost a walk of the page tables. Only advice: a kernel that gives none changes nothing,
/// and so does a range that is not ours.
pub fn prefer_huge_pages(memory: Range<*const u8>) {
    let start = memory.start.addr().next_multiple_of(PAGE_BYTES);
    let Some(len) = memory.end.addr().checked_sub(start) else { return };
    // SAFETY: the advice neither reads nor writes the memory, nor takes it away.
    let _ = unsafe { libc::madvise(start as *mut libc::c_void, len, libc::MADV_HUGEPAGE) };
}

/// Time that the calling thread has run, nanoseconds (`CLOCK_THREAD_CPUTIME_ID`).
#[must_use]
pub fn thread_cpu_nanos() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer goes to a structure of the type that the call fills.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    debug_assert_eq!(result, 0, "the clock of one's own thread can be read");
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    secs * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// The smallest page there is on the machines that this runs on; advice must begin at one.
const PAGE_BYTES: usize = 4096;

/// `struct io_uring_params` of the kernel's interface.
const IO_URING_PARAMS_BYTES: usize = 120;
