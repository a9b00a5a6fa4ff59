//! The part of the grammar that reads an operand: a number, a name, an address, a network.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::FilterError;
use super::lexer::TokenKind;
use super::parser::Parser;
use super::primitive::{Operand, OperandKind, Qualifiers};
use super::program::BinaryOperator;
use super::words::Keyword;

impl<'a> Parser<'a> {
    /// Reads one operand; `follows_head` says whether it stands straight behind its qualifiers.
    pub(super) fn operand_of(
        &mut self,
        qualifiers: Qualifiers,
        follows_head: bool,
    ) -> Result<Operand<'a>, FilterError> {
        let is_protocol = qualifiers.kind == OperandKind::Protocol;
        let Some(token) = self.token() else {
            return Err(self.unexpected(expected_operand(qualifiers.kind)));
        };
        let operand = match token.kind {
            TokenKind::Number(number) => Operand::Number(number),
            TokenKind::Address4 { value, bits } => {
                self.advance();
                return self.network4(value, bits, token.column);
            }
            TokenKind::Address6(address) => {
                self.advance();
                return self.network6(address.into(), token.column);
            }
            TokenKind::Mac(address) => Operand::Mac(address),
            TokenKind::Name(name) => Operand::Name(name),
            TokenKind::Keyword(Keyword::Protocol(_)) if is_protocol && follows_head => {
                Operand::Name(token.text)
            }
            _ => return Err(self.unexpected(expected_operand(qualifiers.kind))),
        };
        self.advance();
        Ok(operand)
    }

    /// Reads what may follow an IPv4 address: `/LENGTH` or `mask ADDRESS`.
    fn network4(
        &mut self,
        value: u32,
        bits: u32,
        column: usize,
    ) -> Result<Operand<'a>, FilterError> {
        let mask = match self.peek() {
            Some(TokenKind::Operator(BinaryOperator::Divide)) => {
                self.advance();
                let length = self.prefix_length(32)?;
                u32::MAX.checked_shl(32 - length).unwrap_or(0)
            }
            Some(TokenKind::Keyword(Keyword::Mask)) => {
                self.advance();
                let Some(TokenKind::Address4 { value, bits }) = self.peek() else {
                    return Err(self.unexpected("a mask such as 255.255.0.0"));
                };
                self.advance();
                value << (32 - bits)
            }
            _ => return Ok(Operand::Address4 { value, bits }),
        };
        let network = value << (32 - bits);
        if network & !mask != 0 {
            let fits = Ipv4Addr::from(network & mask);
            let message =
                format!("the address has bits outside of its mask; the network is {fits}");
            return Err(FilterError::new(column, message));
        }
        Ok(Operand::Network4 { network, mask })
    }

    /// Reads what may follow an IPv6 address: `/LENGTH`.
    fn network6(&mut self, network: u128, column: usize) -> Result<Operand<'a>, FilterError> {
        if self.peek() != Some(TokenKind::Operator(BinaryOperator::Divide)) {
            return Ok(Operand::Address6(network.into()));
        }
        self.advance();
        let length = self.prefix_length(128)?;
        let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
        if network & !mask != 0 {
            let fits = Ipv6Addr::from(network & mask);
            let message =
                format!("the address has bits outside of its mask; the network is {fits}");
            return Err(FilterError::new(column, message));
        }
        Ok(Operand::Network6 { network, mask })
    }

    fn prefix_length(&mut self, longest: u32) -> Result<u32, FilterError> {
        match self.peek() {
            Some(TokenKind::Number(length)) if length <= longest => {
                self.advance();
                Ok(length)
            }
            _ => Err(self.unexpected(&format!("a prefix length from 0 to {longest}"))),
        }
    }
}

fn expected_operand(kind: OperandKind) -> &'static str {
    match kind {
        OperandKind::Host => "an address",
        OperandKind::Net => "a network such as 10.0.0.0/8",
        OperandKind::Port => "a port number or a service name",
        OperandKind::PortRange => "a range of ports such as 8000-8080",
        OperandKind::Protocol => "the number or the name of a protocol",
    }
}
