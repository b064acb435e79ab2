//! What was needed for a moment only goes back to the system: glibc would keep it for the next time.

/// Gives back what is free, of every thread; to be called after something that took much.
pub(super) fn give_back() {
    // SAFETY: malloc_trim(3) may be called at any time, by any thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
