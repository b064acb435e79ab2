//! Programs of a few instructions that the kernel runs for a control group (bpf(2), linux/bpf.h).
//!
//! One is run on every socket that is made in it: it binds the socket to a device, sets its mark, or both
//! (`BPF_PROG_TYPE_CGROUP_SOCK`, `struct bpf_sock`). A socket that is bound or marked so stays so, unless its owner has
//! CAP_NET_RAW or CAP_NET_ADMIN. But an IPv4 datagram may name the interface that it leaves by, whatever its socket is
//! bound to (ip(7), `IP_PKTINFO`). So another one is run on every packet that leaves, and lets those pass that leave by
//! one of certain interfaces (`BPF_PROG_TYPE_CGROUP_SKB`, `struct __sk_buff`).

use std::ffi::c_long;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;

/// Commands of bpf(2).
const PROG_LOAD: c_long = 5;
const PROG_ATTACH: c_long = 8;
/// Places in `struct bpf_sock`.
const BOUND_DEV_IF: i16 = 0;
const MARK: i16 = 16;
/// A place in `struct __sk_buff`.
const IFINDEX: i16 = 40;

/// When a program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hook {
    /// A socket is made.
    Socket,
    /// A packet leaves.
    Egress,
}

impl Hook {
    /// `BPF_PROG_TYPE_CGROUP_SOCK`, `BPF_PROG_TYPE_CGROUP_SKB`.
    fn program_type(self) -> u32 {
        match self {
            Hook::Socket => 9,
            Hook::Egress => 8,
        }
    }

    /// `BPF_CGROUP_INET_SOCK_CREATE`, `BPF_CGROUP_INET_EGRESS`.
    fn attach_type(self) -> u32 {
        match self {
            Hook::Socket => 2,
            Hook::Egress => 1,
        }
    }
}

/// A program that the kernel has taken.
#[derive(Debug)]
pub(super) struct Program {
    hook: Hook,
    fd: OwnedFd,
}

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

/// Gives the kernel the program that makes sockets so.
pub(super) fn load(birthmark: Birthmark) -> Result<Program, Errno> {
    load_for(Hook::Socket, &program(birthmark))
}

/// Gives the kernel the program that drops what leaves by an interface of another index; by any, if none are given.
pub(super) fn load_exits(interfaces: Option<&[u32]>) -> Result<Program, Errno> {
    load_for(Hook::Egress, &interfaces.map_or_else(|| vec![set(0, 1), exit()], exits))
}

fn load_for(hook: Hook, instructions: &[Instruction]) -> Result<Program, Errno> {
    let request = Load {
        program_type: hook.program_type(),
        instruction_count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        licence: c"".as_ptr() as u64,
    };
    let fd = call(PROG_LOAD, &request)?;
    // The kernel has just made it, and nobody else knows of it.
    Ok(Program { hook, fd: unsafe { OwnedFd::from_raw_fd(fd) } })
}

/// Attaches a program to a control group, in place of the one before. Groups below it can have no other.
pub(super) fn attach(program: &Program, group: BorrowedFd) -> Result<(), Errno> {
    let (target, attach_type) = (group.as_raw_fd() as u32, program.hook.attach_type());
    call(PROG_ATTACH, &Attach { target, program: program.fd.as_raw_fd() as u32, attach_type, flags: 0 })
        .map(drop)
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

fn exits(interfaces: &[u32]) -> Vec<Instruction> {
    // 1 lets the packet pass.
    let mut instructions = vec![set(0, 1), load_word(2, 1, IFINDEX)];
    let jumps = interfaces.iter().zip((1..=interfaces.len()).rev());
    instructions.extend(jumps.map(|(&index, distance)| jump_if(2, index as i32, distance as i16)));
    instructions.extend([set(0, 0), exit()]);
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

/// `BPF_LDX | BPF_MEM | BPF_W`.
fn load_word(register: u8, base: u8, offset: i16) -> Instruction {
    Instruction { code: 0x61, registers: register | base << 4, offset, immediate: 0 }
}

/// `BPF_JMP | BPF_JEQ | BPF_K`; the distance is from the next instruction.
fn jump_if(register: u8, value: i32, distance: i16) -> Instruction {
    Instruction { code: 0x15, registers: register, offset: distance, immediate: value }
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

    #[test]
    fn each_exit_jumps_over_the_refusal() {
        assert_eq!(exits(&[]), [set(0, 1), load_word(2, 1, 40), set(0, 0), exit()]);
        let two = exits(&[7, 9]);
        assert_eq!(two[2..], [jump_if(2, 7, 2), jump_if(2, 9, 1), set(0, 0), exit()]);
        // As clang encodes `r2 = *(u32 *)(r1 + 40)`.
        assert_eq!((two[1].code, two[1].registers), (0x61, 0x12));
    }
}
