//! The arithmetic part of the grammar: `ip[0] & 0xf != 5`.

use super::FilterError;
use super::lexer::TokenKind;
use super::parser::Parser;
use super::program::{BinaryOperator, EtherType, Instruction, Layer};
use super::words::{Keyword, Protocol, protocol_name};

/// How tightly a sign binds: more than every operator with a precedence.
const SIGN_PRECEDENCE: u8 = 6;

impl Parser<'_> {
    /// Reads a comparison of two arithmetic expressions.
    pub(super) fn relation(&mut self) -> Result<(), FilterError> {
        let start = self.program.position();
        self.arithmetic(None)?;
        let Some(TokenKind::Relation(relation)) = self.peek() else {
            return Err(self.unexpected("an operator or a comparison such as `=` or `>`"));
        };
        self.advance();
        self.arithmetic(None)?;
        self.program.finish_relation(start, relation);
        Ok(())
    }

    /// Whether the token is one that can only stand between two arithmetic expressions.
    pub(super) fn is_arithmetic_operator(kind: Option<TokenKind<'_>>) -> bool {
        matches!(kind, Some(TokenKind::Operator(_) | TokenKind::Relation(_)))
    }

    /// Reads an expression up to the first operator that binds no tighter than `left`, the one in front of it.
    ///
    /// The operators without a precedence never yield to one on their left nor to one on their right, as in the
    /// grammar of libpcap, where `7 % 2 * 3` is `7 % (2 * 3)` and `2 * 3 % 2` is `2 * (3 % 2)`.
    ///
    /// Again as in libpcap, only the leftmost byte access of each side of a comparison (with those inside its
    /// brackets) demands that its protocol is there: `10 - ip[0] > 5` looks into IPv6 packets, too.
    fn arithmetic(&mut self, left: Option<u8>) -> Result<(), FilterError> {
        self.enter()?;
        self.operand()?;
        while let Some(TokenKind::Operator(operator)) = self.peek() {
            let precedence = operator.precedence();
            if let (Some(left), Some(right)) = (left, precedence)
                && left >= right
            {
                break;
            }
            self.advance();
            let column = self.column();
            let layers = self.program.layer_count();
            self.arithmetic(precedence)?;
            self.program.emit_binary(operator, column)?;
            self.program.forget_layers_beyond(layers);
        }
        self.leave();
        Ok(())
    }

    fn operand(&mut self) -> Result<(), FilterError> {
        let column = self.column();
        match self.peek() {
            Some(TokenKind::Number(number)) => {
                self.advance();
                self.program.emit_operand(Instruction::Push(number), column)
            }
            Some(TokenKind::Keyword(Keyword::Length)) => {
                self.advance();
                self.program.emit_operand(Instruction::Length, column)
            }
            Some(TokenKind::Operator(BinaryOperator::Subtract)) => {
                self.advance();
                self.arithmetic(Some(SIGN_PRECEDENCE))?;
                self.program.emit_negate();
                Ok(())
            }
            Some(TokenKind::LeftParenthesis) => {
                self.advance();
                self.arithmetic(None)?;
                self.expect(TokenKind::RightParenthesis, "an operator or `)`")
            }
            Some(TokenKind::Keyword(Keyword::Protocol(protocol))) => self.access(protocol),
            Some(TokenKind::Name(name)) if name.contains('-') => {
                let message = format!("`{name}` reads as one word; put spaces around `-`");
                Err(FilterError::new(column, message))
            }
            _ => Err(self.unexpected("a number, `len` or a byte access such as `ip[0]`")),
        }
    }

    /// Reads `tcp[13]` or `ip[2:2]`.
    fn access(&mut self, protocol: Protocol) -> Result<(), FilterError> {
        let column = self.column();
        self.advance();
        self.expect(TokenKind::LeftBracket, "`[`")?;
        let layer = layer(protocol).ok_or_else(|| {
            let name = protocol_name(protocol);
            FilterError::new(
                column,
                format!("the bytes of `{name}` cannot be accessed; use `ip[...]`"),
            )
        })?;
        self.arithmetic(None)?;
        let mut size = 1;
        if self.peek() == Some(TokenKind::Colon) {
            self.advance();
            size = match self.peek() {
                Some(TokenKind::Number(size @ (1 | 2 | 4))) => size as u8,
                _ => return Err(self.unexpected("a size of 1, 2 or 4 bytes")),
            };
            self.advance();
        }
        self.expect(TokenKind::RightBracket, "`]`, `:` or an operator")?;
        self.program.emit_load(layer, size);
        Ok(())
    }
}

/// Where the offsets into a protocol's bytes start, if they can be accessed.
fn layer(protocol: Protocol) -> Option<Layer> {
    /// Authentication header and encapsulating security payload (RFC 4302, RFC 4303).
    const IPSEC: [u8; 2] = [51, 50];
    match protocol {
        Protocol::Link => Some(Layer::Link),
        Protocol::Ip => Some(Layer::Network(EtherType::IP)),
        Protocol::Ip6 => Some(Layer::Network(EtherType::IP6)),
        Protocol::Arp => Some(Layer::Network(EtherType::ARP)),
        Protocol::Rarp => Some(Layer::Network(EtherType::RARP)),
        Protocol::AnyIp(number) if IPSEC.contains(&number) => None,
        Protocol::AnyIp(number) | Protocol::Ip4Only(number) => Some(Layer::Transport4(number)),
        Protocol::Icmp6 => Some(Layer::Icmp6),
    }
}
