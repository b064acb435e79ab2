//! Files of hostname.if(5), as netstart(8) unpacks them: each line is one run of ifconfig(8) on the file's interface,
//! or after `!` a command of its own.

use std::net::IpAddr;

use super::{Host, NotUnderstood, Script};

impl Host {
    /// Takes the file of this interface; what of it has no like in a file of ours comes back, line by line.
    pub fn hostname_if(&mut self, interface: &str, text: &str) -> Vec<NotUnderstood> {
        let before = self.remarks.len();
        let mut left = Vec::new();
        // netstart(8) makes an interface that has a file, whatever the file says.
        left.extend(
            self.take_line(1, &format!("ifconfig {interface} create"))
                .err()
                .map(|message| NotUnderstood { line: 1, message }),
        );
        for (at, line) in text.lines().enumerate() {
            let number = at + 1;
            let taken = unpacked(interface, line).and_then(|command| match command {
                Some(command) => self.take_line(number, &command),
                None => Ok(()),
            });
            left.extend(taken.err().map(|message| NotUnderstood { line: number, message }));
        }
        if let Some(held) = self.interfaces.get_mut(interface) {
            held.is_all_told = true;
        }
        left.extend(self.remarks.drain(before..));
        left.sort_by_key(|remark| remark.line);
        left
    }

    fn take_line(&mut self, number: usize, command: &str) -> Result<(), String> {
        let first = |errors: Vec<NotUnderstood>| {
            errors.into_iter().next().map_or_else(String::new, |error| error.message)
        };
        let before = self.remarks.len();
        let script = Script::read(command).map_err(first)?;
        self.take(&script).map_err(first)?;
        let new = self.remarks.iter_mut().skip(before);
        new.for_each(|remark| remark.line = number);
        Ok(())
    }
}

/// The command that a line is; nothing for a comment.
fn unpacked(interface: &str, line: &str) -> Result<Option<String>, String> {
    let line = line.trim();
    if let Some(command) = line.strip_prefix('!') {
        return Ok(Some(command.replace("\\$if", interface).replace("$if", interface)));
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let is_address = |text: &str| text.split('/').next().is_some_and(|text| text.parse::<IpAddr>().is_ok());
    let (family, alias, rest) = match words.as_slice() {
        [] => return Ok(None),
        [first, ..] if first.starts_with('#') => return Ok(None),
        ["dhcp", ..] | ["rtsol", ..] | ["inet" | "inet6", "autoconf", ..] => {
            return Err(format!("{interface} asks for its addresses: say them, or leave it to the host"));
        }
        ["dest", ..] => return Err("the other end of a point-to-point link has no like here".to_owned()),
        [family @ ("inet" | "inet6"), "alias", rest @ ..] => (*family, " alias", rest),
        [family @ ("inet" | "inet6"), rest @ ..] => (*family, "", rest),
        _ => return Ok(Some(format!("ifconfig {interface} {line}"))),
    };
    let [address, rest @ ..] = rest else { return Ok(None) };
    if !is_address(address) {
        return Ok(Some(format!("ifconfig {interface} {line}")));
    }
    let length = match (family, rest) {
        (_, []) => String::new(),
        ("inet", [mask, ..]) => format!(" netmask {mask}"),
        (_, [length, ..]) => format!(" prefixlen {length}"),
    };
    // The broadcast address follows from the mask.
    let further = rest.get(if family == "inet" { 2.. } else { 1.. }).unwrap_or_default().join(" ");
    Ok(Some(format!("ifconfig {interface} {family} {address}{length}{alias} {further}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_unpacked_as_netstart_does() {
        let command = |line| unpacked("wg1", line).unwrap().unwrap_or_default();
        assert_eq!(
            command("inet 10.0.0.1 255.255.255.0 NONE"),
            "ifconfig wg1 inet 10.0.0.1 netmask 255.255.255.0 "
        );
        assert_eq!(
            command("inet alias 10.0.0.2 0xffffff00"),
            "ifconfig wg1 inet 10.0.0.2 netmask 0xffffff00 alias "
        );
        assert_eq!(command("inet6 alias fd00::1 64"), "ifconfig wg1 inet6 fd00::1 prefixlen 64 alias ");
        assert_eq!(command("\tinet 10.0.0.1/24 "), "ifconfig wg1 inet 10.0.0.1/24 ");
        assert_eq!(command("up description 'a b'"), "ifconfig wg1 up description 'a b'");
        assert_eq!(command("!route -T1 add 10/8 \\$if"), "route -T1 add 10/8 wg1");
        assert_eq!(command("# inet"), "");
        assert!(unpacked("em0", "inet autoconf").is_err());
    }

    #[test]
    fn what_has_no_like_is_told_and_the_rest_is_taken() {
        let mut host = Host::default();
        let left =
            host.hostname_if("vether1", "rdomain 1\ngroup x\ninet 10.0.0.1 255.0.0.0\ndhcp\n!pfctl -e\n");
        let told: Vec<String> = left.iter().map(|left| format!("{}: {left}", left.line)).collect();
        assert_eq!(
            told,
            [
                "2: ifconfig: group: bad value",
                "4: vether1 asks for its addresses: say them, or leave it to the host",
                "5: pfctl: neither ifconfig(8) nor route(8)",
            ]
        );
        let held = &host.interfaces["vether1"];
        assert_eq!((held.rdomain, held.addresses.len()), (1, 1));
    }
}
