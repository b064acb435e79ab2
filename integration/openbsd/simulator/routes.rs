//! Routes that are added and deleted by hand (sys/net/rtsock.c, route.c; sbin/route/route.c).

use ipnetwork::IpNetwork;
use rdomain::backend::openbsd::Output;
use rdomain::convert::openbsd::route::{Dropped, Words};

use super::{Route, Simulator};

/// The priority of a route that names none (net/route.h, `RTP_STATIC`).
const STATIC: u8 = 8;

impl Simulator {
    /// The rtable is made before anything is looked at (5).
    pub(super) fn add_route(&mut self, id: u8, words: &Words, quiet: bool) -> Output {
        self.rtables.entry(id).or_default();
        let refused = self.try_add(id, words).err();
        told("add", words, refused, quiet)
    }

    fn try_add(&mut self, id: u8, words: &Words) -> Result<(), &'static str> {
        let gateway = words.gateway.ok_or("Invalid argument")?;
        let rdomain = self.rdomain_of(id).expect("made before");
        let own = |found: IpNetwork| found.ip() == gateway;
        let (by, address) = self.leading_to(rdomain, gateway).ok_or("Network is unreachable")?;
        // A drop, and a route straight onto a link, name an own address.
        let (by, address) = match words.straight || words.dropped.is_some() {
            false => (by, address),
            true => {
                let inside = self.interfaces.iter().filter(|found| found.rdomain == rdomain);
                let all = inside.flat_map(|found| found.addresses.iter().map(move |&own| (found, own)));
                all.into_iter().find(|(_, found)| own(*found)).ok_or("Network is unreachable")?
            }
        };
        let name = by.name.clone();
        let to = IpNetwork::new(words.to.address(), words.to.length()).map_err(|_| "Invalid argument")?;
        let priority = words.priority.unwrap_or(STATIC);
        let table = self.rtables.get_mut(&id).expect("made before");
        let same = |route: &Route| {
            (route.to, route.priority) == (to, priority) && (!words.multipath || route.gateway == gateway)
        };
        if table.routes.iter().any(same) {
            return Err("File exists");
        }
        let label = words.label.clone();
        let flags = flags(words);
        table.routes.push(Route { to, gateway, flags, priority, interface: name, by: address, label });
        Ok(())
    }

    pub(super) fn delete_route(&mut self, id: u8, words: &Words, quiet: bool) -> Output {
        let to = IpNetwork::new(words.to.address(), words.to.length()).expect("read from one");
        let table = self.rtables.get_mut(&id).expect("looked for before");
        let fits = |route: &&Route| {
            route.to == to
                && words.gateway.is_none_or(|gateway| gateway == route.gateway)
                && words.priority.is_none_or(|priority| priority == route.priority)
        };
        let first = table.routes.iter().filter(fits).min_by_key(|route| route.priority).cloned();
        let refused = match first {
            None => Some("not in table"),
            Some(first) => {
                table.routes.retain(|route| *route != first);
                None
            }
        };
        told("delete", words, refused, quiet)
    }
}

fn flags(words: &Words) -> String {
    let gateway = if words.straight { "" } else { "G" };
    let host = if words.to.length() == if words.to.is_ipv6() { 128 } else { 32 } { "H" } else { "" };
    let (reject, blackhole) = match words.dropped {
        Some(Dropped::Reject) => ("R", ""),
        Some(Dropped::Blackhole) => ("", "B"),
        None => ("", ""),
    };
    let multipath = if words.multipath { "P" } else { "" };
    format!("U{gateway}{host}{reject}S{blackhole}{multipath}")
}

/// `add net D: gateway G`, and on a refusal why, on standard output either way.
fn told(verb: &str, words: &Words, refused: Option<&str>, quiet: bool) -> Output {
    let host = words.to.length() == if words.to.is_ipv6() { 128 } else { 32 };
    let kind = if host { "host" } else { "net" };
    let to = if words.to.is_default() { "default".to_owned() } else { words.to.to_string() };
    let gateway = words.gateway.map_or(String::new(), |gateway| format!(": gateway {gateway}"));
    let gateway = if refused == Some("not in table") { String::new() } else { gateway };
    let why = refused.map_or(String::new(), |why| format!(": {why}"));
    let stdout = if quiet { String::new() } else { format!("{verb} {kind} {to}{gateway}{why}\n") };
    Output { status: i32::from(refused.is_some()), stdout, stderr: String::new() }
}
