//! Runs a filter's program over a packet.

use super::MAX_STACK;
use super::program::{Direction, EtherType, Instruction, IpVersion, Layer, Predicate};
use crate::ip::ethernet::HEADER_LEN as ETHERNET_HEADER_LEN;
use crate::ip::{IPV6_HEADER_LEN, PacketKind, protocol};

/// Where the next header field stands in an IPv6 header.
const IP6_NEXT_HEADER: u32 = 6;
/// Where the protocol field stands in an IPv4 header.
const IP4_PROTOCOL: u32 = 9;
/// Where flags and fragment offset stand in an IPv4 header.
const IP4_FRAGMENT: u32 = 6;
/// The offset of what follows the fixed IPv6 header.
const IP6_PAYLOAD: u32 = IPV6_HEADER_LEN as u32;

/// Whether the program accepts the packet. A read beyond the packet's end and a division by zero reject it.
pub(super) fn run(program: &[Instruction], packet: &[u8], kind: PacketKind) -> bool {
    let network_offset = match kind {
        PacketKind::Ip => 0,
        PacketKind::Ethernet => ETHERNET_HEADER_LEN as u32,
    };
    Machine { packet, kind, network_offset }.run(program).unwrap_or(false)
}

/// A packet under test. In its methods `None` means "rejected at once".
struct Machine<'p> {
    packet: &'p [u8],
    kind: PacketKind,
    network_offset: u32,
}

/// The numbers that a relation works on. The compiler has seen to it that it neither over- nor underflows.
struct Stack {
    numbers: [u32; MAX_STACK],
    len: usize,
}

impl Stack {
    fn push(&mut self, number: u32) {
        self.numbers[self.len] = number;
        self.len += 1;
    }

    fn pop(&mut self) -> u32 {
        self.len -= 1;
        self.numbers[self.len]
    }
}

impl Machine<'_> {
    fn run(&self, program: &[Instruction]) -> Option<bool> {
        let mut verdict = true;
        let mut stack = Stack { numbers: [0; MAX_STACK], len: 0 };
        let mut position = 0;
        while let Some(instruction) = program.get(position) {
            position += 1;
            match *instruction {
                Instruction::Test(predicate) => verdict = self.test(predicate)?,
                Instruction::Not => verdict = !verdict,
                Instruction::JumpIf { verdict: wanted, target } => {
                    if verdict == wanted {
                        position = target;
                    }
                }
                Instruction::Require { layer, otherwise } => {
                    if !self.has_layer(layer)? {
                        verdict = false;
                        position = otherwise;
                    }
                }
                Instruction::Push(number) => stack.push(number),
                Instruction::Length => stack.push(self.packet.len() as u32),
                Instruction::Load { layer, size } => {
                    let offset = self.offset_in(layer, stack.pop())?;
                    stack.push(self.load(offset, size)?);
                }
                Instruction::Binary(operator) => {
                    let right = stack.pop();
                    let left = stack.pop();
                    stack.push(operator.apply(left, right)?);
                }
                Instruction::Negate => {
                    let number = stack.pop();
                    stack.push(number.wrapping_neg());
                }
                Instruction::Compare(relation) => {
                    let right = stack.pop();
                    verdict = relation.holds(stack.pop(), right);
                }
            }
        }
        Some(verdict)
    }

    fn test(&self, predicate: Predicate) -> Option<bool> {
        match predicate {
            Predicate::Network(ether_type) => self.is_network(ether_type),
            Predicate::IpProtocol { version, number } => self.is_ip_protocol(version, number),
            Predicate::Host4 { carrier, network, mask, direction } => {
                self.is_host4(carrier, network, mask, direction)
            }
            Predicate::Host6 { network, mask, direction } => {
                self.is_host6(network, mask, direction)
            }
            Predicate::Port { protocol, low, high, direction } => {
                self.is_port(protocol, low, high, direction)
            }
            Predicate::Mac { address, direction } => self.is_mac(address, direction),
            Predicate::Ip4Broadcast => Some(
                self.is_network(EtherType::IP)? && matches!(self.network(16, 4)?, 0 | 0xffff_ffff),
            ),
            Predicate::Ip4Multicast => {
                Some(self.is_network(EtherType::IP)? && self.network(16, 1)? >= 224)
            }
            Predicate::Ip6Multicast => {
                Some(self.is_network(EtherType::IP6)? && self.network(24, 1)? == 255)
            }
            Predicate::LinkBroadcast => self.is_mac([0xff; 6], Direction::Destination),
            Predicate::LinkMulticast => {
                Some(self.kind == PacketKind::Ethernet && self.load(0, 1)? & 1 != 0)
            }
        }
    }

    /// The big-endian number in the `size` (1, 2 or 4) bytes at `offset` from the packet's start.
    fn load(&self, offset: u32, size: u8) -> Option<u32> {
        let start = offset as usize;
        let bytes = self.packet.get(start..start.checked_add(usize::from(size))?)?;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    /// Like [`Self::load`], with an offset from the network header's start.
    fn network(&self, offset: u32, size: u8) -> Option<u32> {
        self.load(self.network_offset + offset, size)
    }

    fn is_network(&self, ether_type: EtherType) -> Option<bool> {
        match self.kind {
            PacketKind::Ethernet => Some(self.load(12, 2)? == u32::from(ether_type.0)),
            PacketKind::Ip => match ether_type {
                EtherType::IP => Some(self.load(0, 1)? >> 4 == 4),
                EtherType::IP6 => Some(self.load(0, 1)? >> 4 == 6),
                _ => Some(false),
            },
        }
    }

    fn is_ip_protocol(&self, version: IpVersion, number: u32) -> Option<bool> {
        if version != IpVersion::V6 && self.is_network(EtherType::IP)? {
            return Some(self.network(IP4_PROTOCOL, 1)? == number);
        }
        if version != IpVersion::V4 && self.is_network(EtherType::IP6)? {
            let next = self.network(IP6_NEXT_HEADER, 1)?;
            let is_behind_fragment_header = next != number
                && next == u32::from(protocol::FRAGMENT)
                && self.network(IP6_PAYLOAD, 1)? == number;
            return Some(next == number || is_behind_fragment_header);
        }
        Some(false)
    }

    fn is_host4(
        &self,
        carrier: Option<EtherType>,
        network: u32,
        mask: u32,
        direction: Direction,
    ) -> Option<bool> {
        // RFC 791 and RFC 826 place the addresses.
        for (ether_type, source, destination) in
            [(EtherType::IP, 12, 16), (EtherType::ARP, 14, 24), (EtherType::RARP, 14, 24)]
        {
            if carrier.is_none_or(|only| only == ether_type) && self.is_network(ether_type)? {
                let is_in = |offset| Some(self.network(offset, 4)? & mask == network);
                return direction.test(|| is_in(source), || is_in(destination));
            }
        }
        Some(false)
    }

    fn is_host6(&self, network: u128, mask: u128, direction: Direction) -> Option<bool> {
        if !self.is_network(EtherType::IP6)? {
            return Some(false);
        }
        let is_in = |start: u32| {
            for word in 0..4 {
                let shift = 96 - 32 * word;
                let (network, mask) = ((network >> shift) as u32, (mask >> shift) as u32);
                if self.network(start + 4 * word, 4)? & mask != network {
                    return Some(false);
                }
            }
            Some(true)
        };
        direction.test(|| is_in(8), || is_in(24))
    }

    fn is_port(&self, only: Option<u8>, low: u16, high: u16, direction: Direction) -> Option<bool> {
        let protocol_offset = if self.is_network(EtherType::IP)? {
            IP4_PROTOCOL
        } else if self.is_network(EtherType::IP6)? {
            IP6_NEXT_HEADER
        } else {
            return Some(false);
        };
        let number = self.network(protocol_offset, 1)? as u8;
        let is_carrier = match only {
            Some(only) => number == only,
            None => matches!(number, protocol::TCP | protocol::UDP | protocol::SCTP),
        };
        if !is_carrier || protocol_offset == IP4_PROTOCOL && self.is_later_fragment()? {
            return Some(false);
        }
        let start = if protocol_offset == IP4_PROTOCOL {
            self.start_of_ip4_payload()?
        } else {
            IP6_PAYLOAD
        };
        let is_in = |offset| {
            Some((u32::from(low)..=u32::from(high)).contains(&self.network(start + offset, 2)?))
        };
        direction.test(|| is_in(0), || is_in(2))
    }

    fn is_mac(&self, address: [u8; 6], direction: Direction) -> Option<bool> {
        if self.kind != PacketKind::Ethernet {
            return Some(false);
        }
        let is_at = |start: usize| Some(self.packet.get(start..start + 6)? == address);
        direction.test(|| is_at(6), || is_at(0))
    }

    fn is_later_fragment(&self) -> Option<bool> {
        Some(self.network(IP4_FRAGMENT, 2)? & 0x1fff != 0)
    }

    /// The length of the IPv4 header, which is the payload's offset from the network header's start.
    fn start_of_ip4_payload(&self) -> Option<u32> {
        Some((self.network(0, 1)? & 0xf) * 4)
    }

    fn has_layer(&self, layer: Layer) -> Option<bool> {
        match layer {
            Layer::Link => Some(true),
            Layer::Network(ether_type) => self.is_network(ether_type),
            Layer::Transport4(number) => Some(
                self.is_network(EtherType::IP)?
                    && self.network(IP4_PROTOCOL, 1)? == u32::from(number)
                    && !self.is_later_fragment()?,
            ),
            Layer::Icmp6 => Some(
                self.is_network(EtherType::IP6)?
                    && self.network(IP6_NEXT_HEADER, 1)? == u32::from(protocol::ICMPV6),
            ),
        }
    }

    /// The offset from the packet's start of the byte at `index` in a layer.
    ///
    /// A negative index may lead from the transport header back into the IPv4 header, but no further.
    fn offset_in(&self, layer: Layer, index: u32) -> Option<u32> {
        match layer {
            Layer::Link => Some(index),
            Layer::Network(_) => self.network_offset.checked_add(index),
            Layer::Transport4(_) => {
                self.network_offset.checked_add(self.start_of_ip4_payload()?.wrapping_add(index))
            }
            Layer::Icmp6 => (self.network_offset + IP6_PAYLOAD).checked_add(index),
        }
    }
}

impl Direction {
    /// Combines the verdicts on the source and on the destination, looking no further than needed.
    fn test(
        self,
        source: impl Fn() -> Option<bool>,
        destination: impl Fn() -> Option<bool>,
    ) -> Option<bool> {
        match self {
            Self::Source => source(),
            Self::Destination => destination(),
            Self::Either => Some(source()? || destination()?),
            Self::Both => Some(source()? && destination()?),
        }
    }
}
