//! A program of a few instructions that the kernel runs on every socket that is made in a control group: it binds
//! the socket to a device, sets its mark, or both (bpf(2), `BPF_PROG_TYPE_CGROUP_SOCK`; `struct bpf_sock` of
//! linux/bpf.h). A socket that is bound or marked so stays so, unless its owner has CAP_NET_RAW or CAP_NET_ADMIN.

use std::ffi::c_long;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;

/// Commands of bpf(2).
const PROG_LOAD: c_long = 5;
const PROG_ATTACH: c_long = 8;
/// `BPF_PROG_TYPE_CGROUP_SOCK`.
const CGROUP_SOCK: u32 = 9;
/// `BPF_CGROUP_INET_SOCK_CREATE`.
const SOCK_CREATE: u32 = 2;
/// Places in `struct bpf_sock`.
const BOUND_DEV_IF: i16 = 0;
const MARK: i16 = 16;

/// What every socket is made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Birthmark {
    /// The index of the interface that it is bound to.
    pub(super) device: Option<u32>,
    /// Its mark.
    pub(super) mark: Option<u32>,
}

/// `struct bpf_insn`; the two registers share a byte, the destination in its low half.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// The head of `union bpf_attr` for `BPF_PROG_LOAD`; the kernel takes what is not there as zero.
#[repr(C)]
struct Load {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    licence: u64,
}

/// The head of `union bpf_attr` for `BPF_PROG_ATTACH`.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

/// Gives the program to the kernel.
pub(super) fn load(birthmark: Birthmark) -> Result<OwnedFd, Errno> {
    let instructions = program(birthmark);
    let request = Load {
        program_type: CGROUP_SOCK,
        instruction_count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        licence: c"".as_ptr() as u64,
    };
    let fd = call(PROG_LOAD, &request)?;
    // The kernel has just made it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a program to a control group, in place of the one before. Groups below it can have no other.
pub(super) fn attach(program: &OwnedFd, group: BorrowedFd) -> Result<(), Errno> {
    let (target, program) = (group.as_raw_fd() as u32, program.as_raw_fd() as u32);
    call(PROG_ATTACH, &Attach { target, program, attach_type: SOCK_CREATE, flags: 0 }).map(drop)
}

fn program(birthmark: Birthmark) -> Vec<Instruction> {
    let mut instructions = Vec::new();
    for (offset, value) in [(BOUND_DEV_IF, birthmark.device), (MARK, birthmark.mark)] {
        let Some(value) = value else { continue };
        instructions.extend([set(2, value as i32), store_word(1, offset, 2)]);
    }
    // 1 lets the socket be made.
    instructions.extend([set(0, 1), exit()]);
    instructions
}

/// `BPF_ALU64 | BPF_MOV | BPF_K`.
fn set(register: u8, value: i32) -> Instruction {
    Instruction { code: 0xb7, registers: register, offset: 0, immediate: value }
}

/// `BPF_STX | BPF_MEM | BPF_W`.
fn store_word(base: u8, offset: i16, register: u8) -> Instruction {
    Instruction { code: 0x63, registers: base | register << 4, offset, immediate: 0 }
}

/// `BPF_JMP | BPF_EXIT`.
fn exit() -> Instruction {
    Instruction { code: 0x95, registers: 0, offset: 0, immediate: 0 }
}

fn call<R>(command: c_long, request: &R) -> Result<RawFd, Errno> {
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, request, size_of::<R>()) };
    Errno::result(result).map(|value| value as RawFd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_store_for_each_thing_that_is_set() {
        let nothing = program(Birthmark::default());
        assert_eq!(nothing, [set(0, 1), exit()]);
        let both = program(Birthmark { device: Some(7), mark: Some(10) });
        assert_eq!(
            both,
            [set(2, 7), store_word(1, 0, 2), set(2, 10), store_word(1, 16, 2), set(0, 1), exit()]
        );
        // As clang encodes `*(u32 *)(r1 + 16) = r2`.
        assert_eq!((both[3].code, both[3].registers), (0x63, 0x21));
        assert_eq!(size_of::<Instruction>(), 8);
    }
}
