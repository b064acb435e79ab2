//! Userspace engines as the supervisor hosts them: threads of its own process.

use std::collections::BTreeMap;
use std::io;

use crate::backend::linux::{EngineParts, Engines, in_namespace};
use crate::model::End;
use crate::wireguard::{Device, LinkEvents, Parts, UnderlaySockets};

/// The engines of one network, by the place of their interfaces; they end with it.
#[derive(Default)]
pub struct Hosted {
    devices: BTreeMap<End, Device>,
}

impl Engines for Hosted {
    fn start(&mut self, at: &End, parts: EngineParts) -> io::Result<()> {
        let name = at.interface.to_string();
        let link = in_namespace(&parts.domain, || LinkEvents::open(&name)).map_err(io::Error::other)??;
        let device = parts.underlay_device.map(|device| device.to_string().into());
        let sockets = Box::new(UnderlaySockets::new(Some(parts.underlay)).bound_to(device));
        let device = Device::spawn(Parts { name, tun: parts.tun, uapi: parts.uapi, link, sockets })?;
        self.devices.insert(at.clone(), device);
        Ok(())
    }

    fn stop(&mut self, at: &End) -> io::Result<()> {
        if let Some(device) = self.devices.remove(at) {
            device.stop();
        }
        Ok(())
    }
}

/// For a process that removes what another's left behind: that one's engines ended with it.
#[derive(Debug)]
pub struct NoEngines;

impl Engines for NoEngines {
    fn start(&mut self, at: &End, _: EngineParts) -> io::Result<()> {
        Err(io::Error::other(format!("no engine for {at}: only a supervisor has engines")))
    }

    fn stop(&mut self, _: &End) -> io::Result<()> {
        Ok(())
    }
}
