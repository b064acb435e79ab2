//! wireguard-go as the userspace engine, as far as it goes: it looks its TUN up in its own network namespace, so
//! underlay and domain must be the same, and expects packets with a header in front, so it is configured only.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use rdomain::backend::linux::{EngineParts, Engines, TunnelSockets};
use rdomain::model::End;

const TUN: RawFd = 3;
const UAPI: RawFd = 4;

/// Whether tunnels can be made here.
pub(crate) fn available() -> bool {
    let there = |program| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
    let node = OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    there("wireguard-go") && there("wg") && node.is_ok()
}

/// The engines that run, each with its device.
#[derive(Clone, Debug)]
pub(crate) struct WireguardGo {
    running: Arc<Mutex<BTreeMap<End, (Child, OwnedFd)>>>,
    sockets: TunnelSockets,
}

impl Drop for WireguardGo {
    /// The last owner's end is the end of its engines.
    fn drop(&mut self) {
        if Arc::strong_count(&self.running) == 1 {
            for (child, _) in self.running.lock().unwrap().values_mut() {
                child.kill().and_then(|()| child.wait()).unwrap();
            }
        }
    }
}

impl WireguardGo {
    pub(crate) fn new(sockets: TunnelSockets) -> Self {
        Self { running: Arc::default(), sockets }
    }

    /// wireguard-go starts only if a socket of its device's name is where wg(8) looks, and ends with it.
    fn show(&self, at: &End) -> io::Result<()> {
        fs::create_dir_all("/run/wireguard")?;
        match symlink(self.sockets.path(at), format!("/run/wireguard/{}.sock", at.interface)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    }

    /// Ends the process, but keeps the device.
    pub(crate) fn stop_answering(&self, at: &End) {
        let mut running = self.running.lock().unwrap();
        let (child, _) = running.get_mut(at).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Engines for WireguardGo {
    fn start(&mut self, at: &End, parts: EngineParts) -> io::Result<()> {
        self.show(at)?;
        let (tun, uapi, underlay) =
            (out_of_the_way(&parts.tun[0])?, out_of_the_way(&parts.uapi)?, parts.sockets.namespace);
        let mut command = Command::new("wireguard-go");
        command.args(["-f", at.interface.as_str()]).stdout(Stdio::null()).stderr(Stdio::null());
        command.env("WG_TUN_FD", TUN.to_string()).env("WG_UAPI_FD", UAPI.to_string());
        // SAFETY: prctl, setns and dup2 are system calls alone, allowed between fork and exec.
        unsafe {
            command.pre_exec(move || {
                set_pdeathsig(Signal::SIGKILL)?;
                setns(&underlay, CloneFlags::CLONE_NEWNET)?;
                for (from, to) in [(&tun, TUN), (&uapi, UAPI)] {
                    if libc::dup2(from.as_raw_fd(), to) < 0 {
                        return Err(io::Error::last_os_error());
                    }
                }
                Ok(())
            });
        }
        let child = command.spawn()?;
        self.running.lock().unwrap().insert(at.clone(), (child, parts.tun.into_iter().next().unwrap()));
        Ok(())
    }

    fn stop(&mut self, at: &End) -> io::Result<()> {
        let (mut child, _) = self.running.lock().unwrap().remove(at).ok_or(io::ErrorKind::NotFound)?;
        child.kill()?;
        child.wait().map(|_| ())
    }
}

fn out_of_the_way(fd: &impl AsFd) -> io::Result<OwnedFd> {
    let high = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(10))?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(high) })
}
