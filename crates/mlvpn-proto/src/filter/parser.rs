//! The grammar of filters: reads tokens and emits the program on the way.
//!
//! `and` and `or` have the same precedence and group to the left. An operand after them without a qualifier of
//! its own inherits those of the operand before: `port 80 or 443`.

use super::lexer::{Token, TokenKind, tokenize};
use super::primitive::{self, OperandKind, Qualifiers};
use super::program::{BinaryOperator, Builder, Direction, Instruction, Predicate, Relation};
use super::words::{self, Keyword, Protocol};
use super::{FilterError, MAX_DEPTH};

/// What a filter may start with, for messages.
const EXPECTED_TERM: &str = "a condition such as `host`, `net`, `port` or `tcp`";

/// Compiles a filter's text.
///
/// # Errors
/// Points at the token that cannot be understood.
pub(super) fn compile(text: &str) -> Result<Vec<Instruction>, FilterError> {
    let tokens = tokenize(text)?;
    let closing = match_parentheses(&tokens);
    let end = text.len();
    let mut parser =
        Parser { tokens, closing, end, position: 0, depth: 0, program: Builder::default() };
    if parser.peek().is_some() {
        parser.expression(None)?;
    }
    match parser.peek() {
        None => Ok(parser.program.finish()),
        Some(_) => Err(parser.unexpected("`and`, `or` or the end")),
    }
}

/// The state of reading a filter.
pub(super) struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    /// For a left parenthesis the index of its partner.
    closing: Vec<Option<usize>>,
    /// The length of the text.
    end: usize,
    position: usize,
    depth: usize,
    pub(super) program: Builder,
}

impl<'a> Parser<'a> {
    pub(super) fn peek(&self) -> Option<TokenKind<'a>> {
        self.peek_at(self.position)
    }

    /// The next token as a whole.
    pub(super) fn token(&self) -> Option<Token<'a>> {
        self.tokens.get(self.position).copied()
    }

    fn peek_at(&self, position: usize) -> Option<TokenKind<'a>> {
        self.tokens.get(position).map(|token| token.kind)
    }

    pub(super) fn advance(&mut self) {
        self.position += 1;
    }

    /// The byte offset of the next token, or of the end.
    pub(super) fn column(&self) -> usize {
        self.tokens.get(self.position).map_or(self.end, |token| token.column)
    }

    /// Goes one level deeper into parentheses, brackets or operators.
    pub(super) fn enter(&mut self) -> Result<(), FilterError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(FilterError::new(
                self.column(),
                format!("nested deeper than {MAX_DEPTH} levels"),
            ));
        }
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    pub(super) fn expect(&mut self, kind: TokenKind<'_>, what: &str) -> Result<(), FilterError> {
        if self.peek() != Some(kind) {
            return Err(self.unexpected(what));
        }
        self.advance();
        Ok(())
    }

    /// The error for a next token that is not what it should be.
    pub(super) fn unexpected(&self, expected: &str) -> FilterError {
        let message = match self.tokens.get(self.position) {
            None => format!("expected {expected}, but the filter ends here"),
            Some(Token { kind: TokenKind::Keyword(Keyword::Unsupported), text, .. }) => {
                format!("`{text}` is not supported in filters")
            }
            Some(Token { kind: TokenKind::Name(name), text, .. }) => {
                format!("expected {expected}, found `{text}`{}", words::suggest_word(name))
            }
            Some(Token { text, .. }) => format!("expected {expected}, found `{text}`"),
        };
        FilterError::new(self.column(), message)
    }

    fn test(
        &mut self,
        predicate: Result<Predicate, String>,
        column: usize,
    ) -> Result<(), FilterError> {
        let predicate = predicate.map_err(|message| FilterError::new(column, message))?;
        self.program.emit(Instruction::Test(predicate));
        Ok(())
    }

    /// Reads terms joined by `and` and `or`; `inherited` are the qualifiers in force in front of them.
    fn expression(&mut self, inherited: Option<Qualifiers>) -> Result<(), FilterError> {
        self.enter()?;
        let mut qualifiers = self.term(inherited)?;
        while let Some(skips_on) = self.conjunction() {
            let jump = self.program.emit_jump_if(skips_on);
            if self.starts_operand() {
                let Some(inherited) = qualifiers else {
                    return Err(self.unexpected("a qualifier such as `host` or `port` in front"));
                };
                self.operands(inherited, false)?;
            } else {
                qualifiers = self.term(qualifiers)?;
            }
            self.program.land(jump);
        }
        self.leave();
        Ok(())
    }

    /// Reads `and` or `or` and returns the verdict that makes the right side irrelevant.
    fn conjunction(&mut self) -> Option<bool> {
        let skips_on = match self.peek() {
            Some(TokenKind::Keyword(Keyword::And)) => false,
            Some(TokenKind::Keyword(Keyword::Or)) => true,
            _ => return None,
        };
        self.advance();
        Some(skips_on)
    }

    /// Reads any number of `not` and says whether they negate.
    fn negations(&mut self) -> bool {
        let mut negates = false;
        while self.peek() == Some(TokenKind::Keyword(Keyword::Not)) {
            self.advance();
            negates = !negates;
        }
        negates
    }

    /// Reads one condition and returns the qualifiers that operands after it inherit.
    fn term(&mut self, inherited: Option<Qualifiers>) -> Result<Option<Qualifiers>, FilterError> {
        let negates = self.negations();
        let qualifiers = self.positive_term(inherited)?;
        if negates {
            self.program.emit(Instruction::Not);
        }
        Ok(qualifiers)
    }

    fn positive_term(
        &mut self,
        inherited: Option<Qualifiers>,
    ) -> Result<Option<Qualifiers>, FilterError> {
        if self.starts_relation() {
            self.relation()?;
            return Ok(None);
        }
        match self.peek() {
            Some(TokenKind::LeftParenthesis) => {
                self.advance();
                self.expression(inherited)?;
                self.expect(TokenKind::RightParenthesis, "`and`, `or` or `)`")?;
                Ok(inherited)
            }
            Some(TokenKind::Keyword(Keyword::Less)) => self.length_limit(Relation::LessOrEqual),
            Some(TokenKind::Keyword(Keyword::Greater)) => {
                self.length_limit(Relation::GreaterOrEqual)
            }
            Some(TokenKind::Keyword(Keyword::Protocol(protocol))) => {
                let column = self.column();
                self.advance();
                self.primitive(Some(protocol), column)
            }
            Some(TokenKind::Address4 { .. } | TokenKind::Address6(_) | TokenKind::Mac(_)) => {
                Err(self.unexpected("`host`, `net`, `src` or `dst` in front of an address"))
            }
            _ => self.primitive(None, self.column()),
        }
    }

    /// Whether a comparison of numbers starts here.
    fn starts_relation(&self) -> bool {
        match self.peek() {
            Some(
                TokenKind::Number(_)
                | TokenKind::Keyword(Keyword::Length)
                | TokenKind::Operator(BinaryOperator::Subtract),
            ) => true,
            Some(TokenKind::Keyword(Keyword::Protocol(_))) => {
                self.peek_at(self.position + 1) == Some(TokenKind::LeftBracket)
            }
            Some(TokenKind::LeftParenthesis) => {
                let after =
                    self.closing[self.position].and_then(|closing| self.peek_at(closing + 1));
                Self::is_arithmetic_operator(after)
            }
            _ => false,
        }
    }

    /// Whether an operand without qualifiers starts here, perhaps behind `not` and parentheses.
    fn starts_operand(&self) -> bool {
        let mut at = self.position;
        while let Some(TokenKind::LeftParenthesis | TokenKind::Keyword(Keyword::Not)) =
            self.peek_at(at)
        {
            let after = self.closing[at].and_then(|closing| self.peek_at(closing + 1));
            if Self::is_arithmetic_operator(after) {
                return false;
            }
            at += 1;
        }
        match self.peek_at(at) {
            Some(TokenKind::Number(_)) => !Self::is_arithmetic_operator(self.peek_at(at + 1)),
            Some(
                TokenKind::Name(_)
                | TokenKind::Address4 { .. }
                | TokenKind::Address6(_)
                | TokenKind::Mac(_),
            ) => true,
            _ => false,
        }
    }

    /// Reads the number after `less` or `greater`.
    fn length_limit(&mut self, relation: Relation) -> Result<Option<Qualifiers>, FilterError> {
        self.advance();
        let column = self.column();
        let Some(TokenKind::Number(limit)) = self.peek() else {
            return Err(self.unexpected("a length in bytes"));
        };
        self.advance();
        let start = self.program.position();
        self.program.emit_operand(Instruction::Length, column)?;
        self.program.emit_operand(Instruction::Push(limit), column)?;
        self.program.finish_relation(start, relation);
        Ok(None)
    }

    /// Reads what follows an optional protocol: nothing, `broadcast`, or qualifiers and their operands.
    fn primitive(
        &mut self,
        protocol: Option<Protocol>,
        column: usize,
    ) -> Result<Option<Qualifiers>, FilterError> {
        match self.peek() {
            Some(TokenKind::Keyword(Keyword::Broadcast)) => {
                self.advance();
                self.test(primitive::broadcast(protocol), column)?;
                return Ok(None);
            }
            Some(TokenKind::Keyword(Keyword::Multicast)) => {
                self.advance();
                self.test(primitive::multicast(protocol), column)?;
                return Ok(None);
            }
            _ => {}
        }
        let direction = self.direction()?;
        let kind = if direction.is_some() { self.directed_kind() } else { self.kind() };
        if direction.is_none() && kind.is_none() {
            if let Some(protocol) = protocol
                && !matches!(self.peek(), Some(TokenKind::Keyword(Keyword::Unsupported)))
            {
                self.test(primitive::abbreviation(protocol), column)?;
                return Ok(None);
            }
            return Err(self.unexpected(EXPECTED_TERM));
        }
        let qualifiers = Qualifiers {
            protocol,
            direction: direction.unwrap_or(Direction::Either),
            kind: kind.unwrap_or(OperandKind::Host),
        };
        self.operands(qualifiers, true)?;
        Ok(Some(qualifiers))
    }

    /// Reads `src`, `dst`, `src or dst` or `src and dst`, if it is there.
    fn direction(&mut self) -> Result<Option<Direction>, FilterError> {
        let is_source = match self.peek() {
            Some(TokenKind::Keyword(Keyword::Src)) => true,
            Some(TokenKind::Keyword(Keyword::Dst)) => false,
            _ => return Ok(None),
        };
        self.advance();
        let Some(skips_on) = self.conjunction() else {
            return Ok(Some(if is_source { Direction::Source } else { Direction::Destination }));
        };
        let (other, name) =
            if is_source { (Keyword::Dst, "`dst`") } else { (Keyword::Src, "`src`") };
        self.expect(TokenKind::Keyword(other), name)?;
        Ok(Some(if skips_on { Direction::Either } else { Direction::Both }))
    }

    /// Reads the kind of operand, if it is named.
    fn kind(&mut self) -> Option<OperandKind> {
        if self.peek() == Some(TokenKind::Keyword(Keyword::Proto)) {
            self.advance();
            return Some(OperandKind::Protocol);
        }
        self.directed_kind()
    }

    /// Reads a kind of operand that has a direction, if it is named.
    fn directed_kind(&mut self) -> Option<OperandKind> {
        let kind = match self.peek() {
            Some(TokenKind::Keyword(Keyword::Host)) => OperandKind::Host,
            Some(TokenKind::Keyword(Keyword::Net)) => OperandKind::Net,
            Some(TokenKind::Keyword(Keyword::Port)) => OperandKind::Port,
            Some(TokenKind::Keyword(Keyword::PortRange)) => OperandKind::PortRange,
            _ => return None,
        };
        self.advance();
        Some(kind)
    }

    /// Reads an operand, or several in parentheses.
    ///
    /// Straight after `proto`, where nothing else can follow, a protocol's name needs no backslash.
    fn operands(&mut self, qualifiers: Qualifiers, follows_head: bool) -> Result<(), FilterError> {
        self.enter()?;
        let negates = self.negations();
        if self.peek() == Some(TokenKind::LeftParenthesis) {
            self.advance();
            self.operands(qualifiers, follows_head)?;
            while let Some(skips_on) = self.conjunction() {
                let jump = self.program.emit_jump_if(skips_on);
                self.operands(qualifiers, follows_head)?;
                self.program.land(jump);
            }
            self.expect(TokenKind::RightParenthesis, "`and`, `or` or `)`")?;
        } else {
            let column = self.column();
            let operand = self.operand_of(qualifiers, follows_head)?;
            self.test(primitive::predicate(qualifiers, operand), column)?;
        }
        if negates {
            self.program.emit(Instruction::Not);
        }
        self.leave();
        Ok(())
    }
}

/// For each left parenthesis the index of its partner.
fn match_parentheses(tokens: &[Token<'_>]) -> Vec<Option<usize>> {
    let mut closing = vec![None; tokens.len()];
    let mut open = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::LeftParenthesis => open.push(index),
            TokenKind::RightParenthesis => {
                if let Some(left) = open.pop() {
                    closing[left] = Some(index);
                }
            }
            _ => {}
        }
    }
    closing
}
