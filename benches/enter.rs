//! A program without libraries that goes into a network namespace and becomes a command there: less will not do.
//! `scripts/bench scale` builds it with rustc alone, static, and measures `rdom exec` against it.
//!
//! Usage: enter FILE COMMAND [WORD...]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

unsafe extern "C" {
    /// setns(2), of the C library.
    fn setns(fd: i32, kind: i32) -> i32;
}

/// Of linux/sched.h.
const CLONE_NEWNET: i32 = 0x4000_0000;

fn main() -> io::Result<()> {
    let mut words = std::env::args_os().skip(1);
    let (Some(file), Some(command)) = (words.next(), words.next()) else {
        return Err(io::Error::other("usage: enter FILE COMMAND [WORD...]"));
    };
    let namespace = File::open(file)?;
    // SAFETY: a system call that takes a descriptor, which is open.
    if unsafe { setns(namespace.as_raw_fd(), CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Err(Command::new(command).args(words).exec())
}
