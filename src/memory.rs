//! What a process keeps of memory: as little as what it does from here on needs, for it runs for months.

#[cfg(target_os = "linux")]
mod code;

/// Threads of ours seldom allocate at the same time, and glibc would give each of them a heap of its own. To be called
/// before there is a second thread.
pub fn keep_one_heap() {
    // SAFETY: mallopt(3) has one thread to do with yet.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives back what is free, which glibc would keep for the next time; to be called after something that took much.
pub fn give_back() {
    // SAFETY: malloc_trim(3) may be called at any time, by any thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Gives back this program's code, of which the kernel brings what is used again. To be called by a program of ours, not
/// for somebody else's, when its start is over; it is done once.
pub fn forget_start() {
    #[cfg(target_os = "linux")]
    code::give_back_once();
}
