//! What a filter is compiled to: instructions for a machine with one verdict and a small stack of numbers.
//!
//! Execution starts at the first instruction with the verdict "matches" and ends behind the last one. All jumps
//! go forward, so it ends. The instructions are shaped after the Berkeley packet filter (McCanne and Jacobson,
//! "The BSD Packet Filter", 1993), one level higher: a test of an address or a port is a single instruction.

use super::{FilterError, MAX_STACK};

/// One step of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instruction {
    /// Sets the verdict to that of a test.
    Test(Predicate),
    /// Turns the verdict around.
    Not,
    /// Goes on at `target` if the verdict is `verdict`.
    JumpIf { verdict: bool, target: usize },
    /// Sets the verdict to "does not match" and goes on at `otherwise`, unless the packet has the layer.
    Require { layer: Layer, otherwise: usize },
    /// Puts a number on the stack.
    Push(u32),
    /// Puts the packet's length on the stack, in bytes.
    Length,
    /// Replaces the number on top of the stack, an offset into the layer, by the `size` bytes found there.
    Load { layer: Layer, size: u8 },
    /// Replaces the two numbers on top of the stack by one.
    Binary(BinaryOperator),
    /// Turns the sign of the number on top of the stack, modulo 2^32.
    Negate,
    /// Takes two numbers from the stack and sets the verdict.
    Compare(Relation),
}

/// A test of the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Predicate {
    /// The network layer is this one; `None` for an ethertype that no test looks into.
    Network(EtherType),
    /// The IP protocol number, in IPv6 also behind one fragment header.
    IpProtocol { version: IpVersion, number: u32 },
    /// An IPv4 address in a network; `carrier` names the one network layer to look into, or none for all.
    Host4 { carrier: Option<EtherType>, network: u32, mask: u32, direction: Direction },
    /// An IPv6 address in a network.
    Host6 { network: u128, mask: u128, direction: Direction },
    /// A port in a range of TCP, UDP and SCTP or of the one protocol given.
    Port { protocol: Option<u8>, low: u16, high: u16, direction: Direction },
    /// A hardware address.
    Mac { address: [u8; 6], direction: Direction },
    /// The IPv4 destination is all zeros or all ones.
    Ip4Broadcast,
    /// The IPv4 destination is at or above 224.0.0.0.
    Ip4Multicast,
    /// The IPv6 destination is in ff00::/8.
    Ip6Multicast,
    /// The hardware destination is all ones.
    LinkBroadcast,
    /// The hardware destination has the group bit.
    LinkMulticast,
}

/// The number in an Ethernet frame that says what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EtherType(pub(super) u16);

impl EtherType {
    pub(super) const IP: Self = Self(crate::ip::ethernet::ETHERTYPE_IPV4);
    pub(super) const ARP: Self = Self(crate::ip::ethernet::ETHERTYPE_ARP);
    pub(super) const RARP: Self = Self(0x8035);
    pub(super) const IP6: Self = Self(crate::ip::ethernet::ETHERTYPE_IPV6);
}

/// Which versions of IP a test accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IpVersion {
    V4,
    V6,
    Any,
}

/// Which of the two addresses or ports a test looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Source,
    Destination,
    Either,
    Both,
}

/// Where the offsets of a byte access start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    /// The first byte of what the device delivers.
    Link,
    /// The header of a network protocol.
    Network(EtherType),
    /// The header of this protocol over IPv4; not in fragments but the first.
    Transport4(u8),
    /// The ICMPv6 header straight after the fixed IPv6 header.
    Icmp6,
}

/// An arithmetic operator on unsigned 32-bit numbers, modulo 2^32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BinaryOperator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
}

impl BinaryOperator {
    /// How tightly the operator binds, where that is defined: `%` and `^` have no precedence in the language,
    /// and take all that follows them as their right side.
    pub(super) fn precedence(self) -> Option<u8> {
        match self {
            Self::Or => Some(1),
            Self::And => Some(2),
            Self::ShiftLeft | Self::ShiftRight => Some(3),
            Self::Add | Self::Subtract => Some(4),
            Self::Multiply | Self::Divide => Some(5),
            Self::Modulo | Self::Xor => None,
        }
    }

    /// The result, or `None` for a division by zero.
    pub(super) fn apply(self, left: u32, right: u32) -> Option<u32> {
        match self {
            Self::Add => Some(left.wrapping_add(right)),
            Self::Subtract => Some(left.wrapping_sub(right)),
            Self::Multiply => Some(left.wrapping_mul(right)),
            Self::Divide => left.checked_div(right),
            Self::Modulo => left.checked_rem(right),
            Self::And => Some(left & right),
            Self::Or => Some(left | right),
            Self::Xor => Some(left ^ right),
            Self::ShiftLeft => Some(left.checked_shl(right).unwrap_or(0)),
            Self::ShiftRight => Some(left.checked_shr(right).unwrap_or(0)),
        }
    }
}

/// A comparison of unsigned numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Relation {
    pub(super) fn holds(self, left: u32, right: u32) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

/// A program under construction.
#[derive(Debug, Default)]
pub(super) struct Builder {
    instructions: Vec<Instruction>,
    stack_depth: usize,
    /// The layers that the relation under construction demands, each once.
    layers: Vec<Layer>,
}

impl Builder {
    /// Ends the construction.
    pub(super) fn finish(self) -> Vec<Instruction> {
        self.instructions
    }

    /// Where the next instruction will stand.
    pub(super) fn position(&self) -> usize {
        self.instructions.len()
    }

    /// Appends an instruction that does not touch the stack.
    pub(super) fn emit(&mut self, instruction: Instruction) {
        self.instructions.push(instruction);
    }

    /// Appends a jump whose target is not known yet and returns its position for [`Self::land`].
    pub(super) fn emit_jump_if(&mut self, verdict: bool) -> usize {
        self.emit(Instruction::JumpIf { verdict, target: usize::MAX });
        self.position() - 1
    }

    /// Makes the jump at `position` go to the next instruction.
    pub(super) fn land(&mut self, position: usize) {
        let here = self.position();
        if let Instruction::JumpIf { target, .. } = &mut self.instructions[position] {
            *target = here;
        }
    }

    /// Appends [`Instruction::Push`] or [`Instruction::Length`].
    ///
    /// # Errors
    /// The message for an expression that needs more than [`MAX_STACK`] numbers at once.
    pub(super) fn emit_operand(
        &mut self,
        operand: Instruction,
        column: usize,
    ) -> Result<(), FilterError> {
        if self.stack_depth == MAX_STACK {
            let message = format!("the arithmetic needs more than {MAX_STACK} numbers at once");
            return Err(FilterError::new(column, message));
        }
        self.stack_depth += 1;
        self.emit(operand);
        Ok(())
    }

    /// Appends the access to `size` bytes of `layer`.
    pub(super) fn emit_load(&mut self, layer: Layer, size: u8) {
        if !self.layers.contains(&layer) {
            self.layers.push(layer);
        }
        self.emit(Instruction::Load { layer, size });
    }

    /// How many layers the relation under construction demands so far.
    pub(super) fn layer_count(&self) -> usize {
        self.layers.len()
    }

    /// Makes the relation under construction demand its first `count` layers alone.
    pub(super) fn forget_layers_beyond(&mut self, count: usize) {
        self.layers.truncate(count);
    }

    /// Appends a change of sign, or applies it to a number known already.
    pub(super) fn emit_negate(&mut self) {
        match self.instructions.last_mut() {
            Some(Instruction::Push(number)) => *number = number.wrapping_neg(),
            _ => self.emit(Instruction::Negate),
        }
    }

    /// Appends an operator, or its result where both sides are known already.
    ///
    /// # Errors
    /// The message for a division by a constant zero or a shift by a constant beyond 31.
    pub(super) fn emit_binary(
        &mut self,
        operator: BinaryOperator,
        column: usize,
    ) -> Result<(), FilterError> {
        use BinaryOperator::{Divide, Modulo, ShiftLeft, ShiftRight};
        self.stack_depth -= 1;
        let [.., before, Instruction::Push(right)] = self.instructions[..] else {
            self.emit(Instruction::Binary(operator));
            return Ok(());
        };
        match operator {
            Divide | Modulo if right == 0 => {
                return Err(FilterError::new(column, "division by zero"));
            }
            ShiftLeft | ShiftRight if right > 31 => {
                return Err(FilterError::new(column, "a shift goes by 31 bits at most"));
            }
            _ => {}
        }
        if let Instruction::Push(left) = before
            && let Some(result) = operator.apply(left, right)
        {
            self.instructions.truncate(self.instructions.len() - 2);
            self.emit(Instruction::Push(result));
        } else {
            self.emit(Instruction::Binary(operator));
        }
        Ok(())
    }

    /// Ends the relation that starts at `start`: the comparison, and in front of all the demand for the layers.
    pub(super) fn finish_relation(&mut self, start: usize, relation: Relation) {
        self.stack_depth -= 2;
        self.emit(Instruction::Compare(relation));
        let otherwise = self.position() + self.layers.len();
        let demands = self.layers.drain(..).map(|layer| Instruction::Require { layer, otherwise });
        self.instructions.splice(start..start, demands);
    }
}
