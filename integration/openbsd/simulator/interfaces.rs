//! Interfaces, rdomains and addresses (sys/net/if.c, if_loop.c, if_pair.c, netinet/in.c, netinet6/in6.c).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use rdomain::convert::openbsd::arguments::Refusal;
use rdomain::convert::openbsd::ifconfig::{Action, AddressChange, Change, Mode};

use super::{Interface, Outcome, Rtable, Simulator, Tunnel, driver, prefix, refuse};

/// Drivers whose units can be made and destroyed.
const CLONERS: [&str; 5] = ["lo", "pair", "vether", "vlan", "wg"];

impl Simulator {
    /// What is done at once, then the tunnel, then the address (19).
    pub(super) fn try_change(&mut self, change: &Change, warnings: &mut String) -> Outcome {
        let name = &change.interface;
        if self.interface(name).is_none() {
            let makes = !matches!(change.actions.first(), Some(Action::Destroy | Action::Create));
            if change.actions.first() == Some(&Action::Destroy) {
                return refuse(format!("{name}: SIOCIFDESTROY: Device not configured"));
            }
            if makes {
                self.create(name)?;
            }
        }
        for action in &change.actions {
            if let Some(warning) = self.act(name, action)? {
                *warnings += &format!("ifconfig: {warning}\n");
            }
        }
        if self.interface(name).is_some() {
            self.set_tunnel(name, &change.tunnel)?;
            change.address.map_or(Ok(()), |address| self.set_address(name, &address))?;
        }
        Ok(())
    }

    /// What is printed as a warning, if the action only gives one.
    fn act(&mut self, name: &str, action: &Action) -> Result<Option<String>, Refusal> {
        match action {
            Action::Create if self.interface(name).is_some() => {
                refuse(format!("{name}: SIOCIFCREATE: File exists"))?;
            }
            Action::Create => self.create(name)?,
            Action::Destroy => self.destroy(name)?,
            Action::Rdomain(rdomain) => return Ok(self.set_rdomain(name, *rdomain).err().map(str::to_owned)),
            Action::Description(text) => {
                self.interface_mut(name).description = text.chars().take(63).collect()
            }
            Action::Mtu(mtu) => self.interface_mut(name).mtu = *mtu,
            Action::Up(true) => self.raise(name, "SIOCSIFFLAGS")?,
            Action::Up(false) => self.interface_mut(name).up = false,
            Action::Patch(other) => self.patch(name, other.as_deref())?,
            Action::Parent(parent) => return Ok(self.set_parent(name, parent.as_deref()).err()),
            Action::Vnetid(vnetid) => {
                let refused = self.set_vnetid(name, *vnetid).err();
                return Ok(refused.map(|why| format!("SIOCSVNETID: {why}")));
            }
        }
        Ok(None)
    }

    fn create(&mut self, name: &str) -> Outcome {
        if !CLONERS.contains(&driver(name)) || driver(name) == name {
            return Err(Refusal(format!("{name}: no such interface")));
        }
        self.attach(name);
        Ok(())
    }

    /// A new interface is in rdomain 0, whoever asks (16).
    pub(super) fn attach(&mut self, name: &str) {
        let mtu = match driver(name) {
            "lo" => 32768,
            "wg" => 1420,
            _ => 1500,
        };
        let tunnel = (driver(name) == "wg").then(Tunnel::default);
        self.interfaces.push(Interface {
            name: name.to_owned(),
            index: self.next_index,
            rdomain: 0,
            up: false,
            was_up: false,
            mtu,
            description: String::new(),
            addresses: Vec::new(),
            patch: None,
            parent: None,
            vnetid: None,
            tunnel,
        });
        self.next_index += 1;
    }

    fn destroy(&mut self, name: &str) -> Outcome {
        let found = self.interface(name).expect("looked for before").clone();
        if !CLONERS.contains(&driver(name)) {
            return refuse(format!("{name}: SIOCIFDESTROY: Invalid argument"));
        }
        if name == "lo0" {
            return refuse("lo0: SIOCIFDESTROY: Operation not permitted");
        }
        if found.is_own_loopback() {
            if self.interfaces.iter().any(|other| other.rdomain == found.rdomain && other.name != name) {
                return refuse(format!("{name}: SIOCIFDESTROY: Device busy"));
            }
            // The table stays, and is the default domain's (12).
            self.rtables.insert(found.rdomain, Rtable::default());
        }
        self.interfaces.retain(|other| other.name != name);
        for table in self.rtables.values_mut() {
            table.routes.retain(|route| route.interface != name);
        }
        for other in &mut self.interfaces {
            other.patch = other.patch.take().filter(|patch| patch != name);
            other.parent = other.parent.take().filter(|parent| parent != name);
        }
        Ok(())
    }

    fn set_parent(&mut self, name: &str, parent: Option<&str>) -> Result<(), String> {
        let refused = |why| format!("{name}: {}: SIOCSIFPARENT: {why}", parent.unwrap_or_default());
        let found = self.interface(name).expect("made before").clone();
        if driver(name) != "vlan" {
            return Err(refused("Inappropriate ioctl for device"));
        }
        if let Some(parent) = parent {
            let is_ethernet = |driver| ["em", "pair", "vether", "vlan"].contains(&driver);
            match self.interface(parent) {
                None => return Err(refused("Invalid argument")),
                Some(other) if !is_ethernet(driver(&other.name)) => {
                    return Err(refused("Protocol not supported"));
                }
                Some(_) if found.up => return Err(refused("Device busy")),
                Some(_) if self.is_number_used(parent, found.vnetid) => {
                    return Err(refused("Address already in use"));
                }
                Some(_) => {}
            }
        }
        self.interface_mut(name).parent = parent.map(str::to_owned);
        Ok(())
    }

    fn set_vnetid(&mut self, name: &str, vnetid: Option<u16>) -> Result<(), &'static str> {
        let found = self.interface(name).expect("made before");
        match &found.parent {
            _ if driver(name) != "vlan" => Err("Inappropriate ioctl for device"),
            Some(parent) if found.vnetid != vnetid && self.is_number_used(parent, vnetid) => {
                Err("Address already in use")
            }
            Some(_) | None => {
                self.interface_mut(name).vnetid = vnetid;
                Ok(())
            }
        }
    }

    fn is_number_used(&self, parent: &str, vnetid: Option<u16>) -> bool {
        let running =
            self.interfaces.iter().filter(|other| other.up && other.parent.as_deref() == Some(parent));
        vnetid.is_some() && running.into_iter().any(|other| other.vnetid == vnetid)
    }

    fn set_rdomain(&mut self, name: &str, rdomain: u8) -> Result<(), &'static str> {
        let found = self.interface(name).expect("made before").clone();
        if found.rdomain == rdomain {
            return Ok(());
        }
        if found.is_own_loopback() {
            return Err("SIOCSIFRDOMAIN: Operation not permitted");
        }
        self.make_rdomain(name, rdomain).map_err(|()| "SIOCSIFRDOMAIN: Invalid argument")?;
        let (old, addresses) = (found.rdomain, found.addresses);
        for table in self.rtables.values_mut().filter(|table| table.rdomain == old) {
            table.routes.retain(|route| !(route.interface == name && addresses.contains(&route.by)));
        }
        let moved = self.interface_mut(name);
        moved.addresses.clear();
        moved.rdomain = rdomain;
        Ok(())
    }

    fn make_rdomain(&mut self, name: &str, rdomain: u8) -> Result<(), ()> {
        let lo = format!("lo{rdomain}");
        let known = self.rtables.entry(rdomain).or_default();
        if rdomain == 0 || known.rdomain == rdomain {
            return Ok(());
        }
        if !known.routes.is_empty() {
            return Err(());
        }
        match self.interface(&lo) {
            Some(_) if lo == name => {}
            Some(_) => return Err(()),
            None => {
                self.attach(&lo);
                self.interface_mut(&lo).rdomain = rdomain;
            }
        }
        self.rtables.insert(rdomain, Rtable { rdomain, routes: Vec::new() });
        Ok(())
    }

    fn patch(&mut self, name: &str, other: Option<&str>) -> Outcome {
        let Some(other) = other else {
            if let Some(old) = self.interface_mut(name).patch.take() {
                self.interface_mut(&old).patch = None;
            }
            return Ok(());
        };
        match self.interface(other) {
            None => return refuse(format!("patch {other}: No such file or directory")),
            Some(_) if other == name => return refuse("SIOCSIFPAIR: Invalid argument"),
            Some(_) if driver(other) != "pair" => {
                return refuse("SIOCSIFPAIR: Operation not supported by device");
            }
            Some(found) if found.patch.as_deref().is_some_and(|patch| patch != name) => {
                return refuse("SIOCSIFPAIR: Device busy");
            }
            Some(_) => {}
        }
        self.interface_mut(name).patch = Some(other.to_owned());
        self.interface_mut(other).patch = Some(name.to_owned());
        Ok(())
    }

    /// Sets an interface up; a loopback gets its IPv6 address by that (26), a tunnel its sockets (42).
    fn raise(&mut self, name: &str, request: &str) -> Outcome {
        if let Some(why) = self.sockets_refused(name) {
            return refuse(format!("{request}: {why}"));
        }
        let found = self.interface_mut(name);
        if driver(name) == "vlan" && found.parent.is_none() {
            return refuse(format!("{request}: Device not configured"));
        }
        let first = !found.up;
        (found.up, found.was_up) = (true, true);
        let own = IpNetwork::from(IpAddr::V6(Ipv6Addr::LOCALHOST));
        if first && found.is_loopback() && !found.addresses.contains(&own) {
            found.addresses.push(own);
        }
        Ok(())
    }

    fn set_address(&mut self, name: &str, change: &AddressChange) -> Outcome {
        let ip = change.address;
        if change.mode == Mode::Remove {
            let Some(old) = self.interface_mut(name).addresses.iter().find(|own| own.ip() == ip).copied()
            else {
                return refuse("SIOCDIFADDR: Can't assign requested address");
            };
            self.forget_address(name, old);
            return Ok(());
        }
        let length = change.length.unwrap_or_else(|| usual_length(ip));
        let address = IpNetwork::new(ip, length).map_err(|_| Refusal("ifconfig: bad value".into()))?;
        let found = self.interface(name).expect("made before");
        let same = found.addresses.iter().find(|own| own.ip() == ip).copied();
        if same.is_some_and(|same| ip.is_ipv6() && same != address) {
            return refuse("SIOCAIFADDR: Invalid argument");
        }
        let rdomain = found.rdomain;
        let taken = self.interfaces.iter().any(|other| {
            other.name != name
                && other.rdomain == rdomain
                && !other.is_loopback()
                && other.addresses.contains(&address)
        });
        if taken && !self.interface(name).is_some_and(Interface::is_loopback) {
            return refuse("SIOCAIFADDR: File exists");
        }
        if same == Some(address) {
            return self.raise(name, "SIOCAIFADDR");
        }
        let first =
            self.interface(name).and_then(|found| found.addresses.iter().find(|own| own.is_ipv4())).copied();
        match (change.mode, first, same) {
            (Mode::Replace, Some(first), _) if ip.is_ipv4() => self.forget_address(name, first),
            (_, _, Some(same)) => self.forget_address(name, same),
            _ => {}
        }
        self.interface_mut(name).addresses.push(address);
        self.raise(name, "SIOCAIFADDR")
    }

    /// Routes that are reached by an address go with it.
    fn forget_address(&mut self, name: &str, address: IpNetwork) {
        self.interface_mut(name).addresses.retain(|own| *own != address);
        for table in self.rtables.values_mut() {
            table.routes.retain(|route| !(route.interface == name && route.by == address));
        }
    }

    /// The interface and address of an rdomain that an address is on the link of.
    pub(super) fn leading_to(&self, rdomain: u8, ip: IpAddr) -> Option<(&Interface, IpNetwork)> {
        let inside = self.interfaces.iter().filter(|found| found.rdomain == rdomain);
        let all = inside.flat_map(|found| found.addresses.iter().map(move |&own| (found, own)));
        all.filter(|(_, own)| prefix(*own).contains(ip)).max_by_key(|(_, own)| own.prefix())
    }
}

/// The length of an address that has none: that of its class, or 64 (23).
fn usual_length(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(v4) => class_length(v4),
        IpAddr::V6(_) => 64,
    }
}

fn class_length(ip: Ipv4Addr) -> u8 {
    match ip.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        192..=255 => 24,
    }
}
