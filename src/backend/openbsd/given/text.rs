//! What is remembered as a file, one thing a line: `endpoint 1/wg1 KEY HOST PORT`, `preshared 1/wg1 KEY FINGERPRINT`,
//! `address 0/em0 192.0.2.1/24`. It holds no secret.

use std::fmt;
use std::str::FromStr;

use super::Given;
use crate::model::{Address, End, Endpoint, Fingerprint, Host};

/// A line of such a file that says nothing.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("cannot read `{0}`")]
pub struct Unreadable(String);

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((at, key), Endpoint { host, port }) in &self.endpoints {
            let host = match host {
                Host::Address(address) => address.to_string(),
                Host::Name(name) => name.clone(),
            };
            writeln!(f, "endpoint {at} {key} {host} {}", port.unwrap_or(0))?;
        }
        for ((at, key), fingerprint) in &self.preshared {
            writeln!(f, "preshared {at} {key} {fingerprint}")?;
        }
        self.addresses.iter().try_for_each(|(at, address)| writeln!(f, "address {at} {address}"))
    }
}

impl FromStr for Given {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let mut given = Self::default();
        for line in text.lines() {
            given.read(line).ok_or_else(|| Unreadable(line.to_owned()))?;
        }
        Ok(given)
    }
}

impl Given {
    fn read(&mut self, line: &str) -> Option<()> {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["endpoint", at, key, host, port] => {
                let host = host.parse().map_or_else(|_| Host::Name((*host).to_owned()), Host::Address);
                let port = Some(port.parse().ok()?).filter(|port| *port != 0);
                self.endpoints.insert((end(at)?, key.parse().ok()?), Endpoint { host, port });
            }
            ["preshared", at, key, digits] => {
                let bytes = u64::from_str_radix(digits, 16).ok()?.to_be_bytes();
                self.preshared.insert((end(at)?, key.parse().ok()?), Fingerprint(bytes));
            }
            ["address", at, address] => {
                self.addresses.insert((end(at)?, Address::new(address.parse().ok()?)));
            }
            _ => return None,
        }
        Some(())
    }
}

fn end(text: &str) -> Option<End> {
    let (domain, interface) = text.split_once('/')?;
    Some(End { domain: domain.parse().ok()?, interface: interface.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PublicKey;

    #[test]
    fn what_is_written_is_read() {
        let at = end("3/wg1").unwrap();
        let place = |number| (at.clone(), PublicKey([number; 32]));
        let endpoint = |host: &str| Endpoint {
            host: host.parse().map_or(Host::Name(host.into()), Host::Address),
            port: Some(7),
        };
        let mut given = Given::default();
        given.endpoints.insert(place(1), endpoint("fd00::1"));
        given.endpoints.insert(place(2), endpoint("vpn.example.org"));
        given.preshared.insert(place(1), Fingerprint([0, 1, 2, 3, 4, 5, 6, 255]));
        given.addresses.insert((end("0/em0").unwrap(), Address::new("192.0.2.1/24".parse().unwrap())));
        assert_eq!(given.to_string().parse(), Ok(given));
        assert_eq!("endpoint x".parse::<Given>(), Err(Unreadable("endpoint x".into())));
    }
}
