//! The chain of benches/floor.rs as two crates make it that are there for this, used as their examples use them: netns-rs
//! for named namespaces, rtnetlink for all in them, each request answered before the next. `scripts/bench scale` measures
//! `rdom up` against it.
//!
//! Usage: crates N: makes the chain, prints `ready`, and takes it away when standard input ends.

use std::error::Error;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use netlink_packet_route::address::{AddressAttribute, AddressFlags};
use netlink_packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkMessage};
use netns_rs::NetNs;
use nix::net::if_::if_nametoindex;
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder, new_connection};

struct Domain {
    namespace: NetNs,
    handle: Handle,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok());
    let count: usize = count.ok_or("usage: crates N")?;
    let chain = (0..count).map(domain).collect::<Result<Vec<_>, _>>()?;
    for (number, pair) in chain.windows(2).enumerate() {
        pair[0].handle.link().add(veth(&pair[1].namespace)).execute().await?;
        end(&pair[0], "right", number, 1).await?;
        end(&pair[1], "left", number, 2).await?;
    }
    for (number, domain) in chain.iter().enumerate() {
        up(domain, "lo").await?;
        if let Some(link) = number.checked_sub(1) {
            let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(v4(link, 1)).build();
            domain.handle.route().add(route).execute().await?;
        }
    }
    println!("ready");
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(chain.into_iter().try_for_each(|domain| domain.namespace.remove())?)
}

/// A namespace, and a connection that was opened in there.
fn domain(number: usize) -> Result<Domain, Box<dyn Error>> {
    let namespace = NetNs::new(format!("c{number}"))?;
    let (connection, handle, _) = namespace.run(|_| new_connection())??;
    tokio::spawn(connection);
    Ok(Domain { namespace, handle })
}

/// With one queue, as the others of the bench have it.
fn veth(far: &NetNs) -> LinkMessage {
    let far = LinkMessageBuilder::<LinkUnspec>::new()
        .name("left")
        .setns_by_fd(far.file().as_raw_fd())
        .append_extra_attribute(LinkAttribute::NumTxQueues(1))
        .append_extra_attribute(LinkAttribute::NumRxQueues(1));
    LinkVeth::new("right", "left")
        .set_info_data(InfoData::Veth(InfoVeth::Peer(far.build())))
        .append_extra_attribute(LinkAttribute::NumTxQueues(1))
        .append_extra_attribute(LinkAttribute::NumRxQueues(1))
        .build()
}

async fn up(domain: &Domain, name: &str) -> Result<u32, Box<dyn Error>> {
    let index = domain.namespace.run(|_| if_nametoindex(name))??;
    domain.handle.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await?;
    Ok(index)
}

/// What the end of a link gets.
async fn end(domain: &Domain, name: &str, link: usize, host: u8) -> Result<(), Box<dyn Error>> {
    let index = up(domain, name).await?;
    for (address, length) in [(v4(link, host).into(), 30), (v6(link, host), 64)] {
        let mut request = domain.handle.address().add(index, address, length);
        request.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        request.execute().await?;
    }
    Ok(())
}

fn v4(link: usize, host: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + 4 * link as u32 + u32::from(host))
}

fn v6(link: usize, host: u8) -> IpAddr {
    Ipv6Addr::new(0xfd00, 0, 0, link as u16, 0, 0, 0, u16::from(host)).into()
}
