//! A stream of pcapng (draft-ietf-opsawg-pcapng): a section, a block for each interface, packets, and at the end a
//! block for each interface that says what was lost.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption};
use pcap_file::{DataLink, Endianness, PcapError};

use super::tap::{Direction, LinkType, PACKET_BYTES, Packet, Tap};
use super::{Tally, since_1970};

/// `if_tsresol`: times are in nanoseconds.
const NANOSECONDS: u8 = 9;

pub(super) struct Writer {
    blocks: PcapNgWriter<BufWriter<File>>,
}

impl Writer {
    /// Writes what stands before the packets of these taps, which are numbered in their order.
    pub(super) fn begin<'t>(out: File, taps: impl IntoIterator<Item = &'t Tap>) -> io::Result<Self> {
        let blocks = PcapNgWriter::with_endianness(BufWriter::new(out), Endianness::Little);
        let mut writer = Self { blocks: blocks.map_err(into_io)? };
        taps.into_iter().try_for_each(|tap| writer.interface(tap))?;
        writer.flush()?;
        Ok(writer)
    }

    fn interface(&mut self, tap: &Tap) -> io::Result<()> {
        let name = InterfaceDescriptionOption::IfName(Cow::Borrowed(tap.name()));
        let block = InterfaceDescriptionBlock {
            linktype: match tap.link_type() {
                LinkType::Ethernet => DataLink::ETHERNET,
                LinkType::RawIp => DataLink::RAW,
            },
            snaplen: PACKET_BYTES as u32,
            options: vec![name, InterfaceDescriptionOption::IfTsResol(NANOSECONDS)],
        };
        self.blocks.write_pcapng_block(block).map(drop).map_err(into_io)
    }

    pub(super) fn packet(&mut self, interface: usize, packet: &Packet<'_>) -> io::Result<()> {
        let direction = match packet.direction {
            Direction::Inbound => 1,
            Direction::Outbound => 2,
        };
        let block = EnhancedPacketBlock {
            interface_id: interface as u32,
            timestamp: packet.time,
            original_len: packet.original_bytes,
            data: Cow::Borrowed(&packet.data),
            options: vec![EnhancedPacketOption::Flags(direction)],
        };
        self.blocks.write_pcapng_block(block).map(drop).map_err(into_io)
    }

    pub(super) fn statistics(&mut self, interface: usize, tally: Tally) -> io::Result<()> {
        let block = InterfaceStatisticsBlock {
            interface_id: interface as u32,
            // The higher half stands first whatever the order of bytes (4.6 of the draft), and the crate writes a
            // number of 64 bits in that order.
            timestamp: (since_1970().as_nanos() as u64).rotate_left(32),
            options: vec![
                InterfaceStatisticsOption::IsbIfRecv(tally.written + tally.dropped),
                InterfaceStatisticsOption::IsbIfDrop(tally.dropped),
            ],
        };
        self.blocks.write_pcapng_block(block).map(drop).map_err(into_io)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.blocks.get_mut().flush()
    }
}

fn into_io(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}
