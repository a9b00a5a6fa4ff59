//! Rules that choose a routing table (policy routing).

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{
    RuleAction as MessageAction, RuleAttribute, RuleHeader, RuleMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Netlink, NetlinkError, Prefix};

/// What happens to a packet that a rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleAction {
    /// It looks up this table; where that has no route, the next rule is tried.
    Lookup(u32),
    /// The rules are tried on from this priority, at which there must be one.
    Goto(u32),
    /// The next rule is tried.
    Nothing,
}

/// "What happens to packets that match all of this."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whether it is for IPv6; each family has its own rules.
    pub is_ipv6: bool,
    /// Rules are tried from the smallest; the main table is at 32766.
    pub priority: u32,
    /// The firewall mark (`SO_MARK`), and which of its bits count.
    pub mark: Option<(u32, u32)>,
    /// Where the packet comes from.
    pub from: Option<Prefix>,
    /// The interface that it came in by.
    pub input: Option<String>,
    /// The interface that its socket is bound to (`SO_BINDTODEVICE`).
    pub output: Option<String>,
    /// What happens then.
    pub action: RuleAction,
    /// Routes of the table to a network of this prefix length or a shorter one do not count.
    pub suppressed_length: Option<u8>,
    /// Who made it: 0 if nobody says, else the number of a program (RTPROT_).
    pub protocol: u8,
}

impl Rule {
    /// A rule that matches every packet of the family.
    #[must_use]
    pub const fn lookup(table: u32, is_ipv6: bool, priority: u32) -> Self {
        Self::doing(RuleAction::Lookup(table), is_ipv6, priority)
    }

    /// A rule for every packet of the family.
    #[must_use]
    pub const fn doing(action: RuleAction, is_ipv6: bool, priority: u32) -> Self {
        Self {
            is_ipv6,
            priority,
            mark: None,
            from: None,
            input: None,
            output: None,
            action,
            suppressed_length: None,
            protocol: 0,
        }
    }

    /// The same rule for packets with this firewall mark only.
    #[must_use]
    pub const fn with_mark(self, mark: u32) -> Self {
        self.with_masked_mark(mark, u32::MAX)
    }

    /// The same rule for packets only whose firewall mark is `mark` in the bits of `mask`.
    #[must_use]
    pub const fn with_masked_mark(mut self, mark: u32, mask: u32) -> Self {
        self.mark = Some((mark, mask));
        self
    }

    /// The same rule, but routes to networks of this prefix length or a shorter one do not count: with
    /// 0, default routes.
    #[must_use]
    pub const fn suppressing(mut self, length: u8) -> Self {
        self.suppressed_length = Some(length);
        self
    }

    /// The same rule, made by the program with this protocol number.
    #[must_use]
    pub const fn made_by(mut self, protocol: u8) -> Self {
        self.protocol = protocol;
        self
    }

    /// The same rule for packets from this prefix only.
    #[must_use]
    pub const fn with_source(mut self, prefix: Prefix) -> Self {
        self.from = Some(prefix);
        self
    }

    /// The same rule for packets that came in by this interface only.
    #[must_use]
    pub fn with_input(mut self, interface: &str) -> Self {
        self.input = Some(interface.to_owned());
        self
    }

    /// The same rule for sockets bound to this interface only.
    #[must_use]
    pub fn with_output(mut self, interface: &str) -> Self {
        self.output = Some(interface.to_owned());
        self
    }

    fn to_message(&self) -> RuleMessage {
        let mut message = RuleMessage::default();
        message.header.family = family(self.is_ipv6);
        let attributes = &mut message.attributes;
        match self.action {
            RuleAction::Lookup(table) => {
                message.header.action = MessageAction::ToTable;
                message.header.table = u8::try_from(table).unwrap_or(0);
                attributes.push(RuleAttribute::Table(table));
            }
            RuleAction::Goto(priority) => {
                message.header.action = MessageAction::Goto;
                attributes.push(RuleAttribute::Goto(priority));
            }
            RuleAction::Nothing => message.header.action = MessageAction::Nop,
        }
        attributes.push(RuleAttribute::Priority(self.priority));
        if let Some((mark, mask)) = self.mark {
            attributes.push(RuleAttribute::FwMark(mark));
            attributes.push(RuleAttribute::FwMask(mask));
        }
        if let Some(length) = self.suppressed_length {
            attributes.push(RuleAttribute::SuppressPrefixLen(length.into()));
        }
        if self.protocol != 0 {
            attributes.push(RuleAttribute::Protocol(RouteProtocol::from(self.protocol)));
        }
        if let Some(from) = self.from {
            message.header.src_len = from.length;
            attributes.push(RuleAttribute::Source(from.address));
        }
        attributes.extend(self.input.clone().map(RuleAttribute::Iifname));
        attributes.extend(self.output.clone().map(RuleAttribute::Oifname));
        message
    }

    fn from_message(message: &RuleMessage) -> Option<Self> {
        let is_ipv6 = match message.header.family {
            AddressFamily::Inet => false,
            AddressFamily::Inet6 => true,
            _ => return None,
        };
        let mut rule = Self::doing(action(&message.header)?, is_ipv6, 0);
        let (mut mark, mut mask) = (None, u32::MAX);
        for attribute in &message.attributes {
            match attribute {
                RuleAttribute::Table(table) => {
                    if let RuleAction::Lookup(number) = &mut rule.action {
                        *number = *table;
                    }
                }
                RuleAttribute::Goto(priority) => {
                    if let RuleAction::Goto(number) = &mut rule.action {
                        *number = *priority;
                    }
                }
                RuleAttribute::Priority(priority) => rule.priority = *priority,
                RuleAttribute::FwMark(value) => mark = Some(*value),
                RuleAttribute::FwMask(value) => mask = *value,
                RuleAttribute::Source(ip) => {
                    rule.from = Some(Prefix::new(*ip, message.header.src_len));
                }
                RuleAttribute::Iifname(name) => rule.input = Some(name.clone()),
                RuleAttribute::Oifname(name) => rule.output = Some(name.clone()),
                // The kernel says -1 for none.
                RuleAttribute::SuppressPrefixLen(length) => {
                    rule.suppressed_length = u8::try_from(*length).ok();
                }
                RuleAttribute::Protocol(protocol) => rule.protocol = (*protocol).into(),
                _ => {}
            }
        }
        rule.mark = mark.map(|mark| (mark, mask));
        Some(rule)
    }
}

fn action(header: &RuleHeader) -> Option<RuleAction> {
    match header.action {
        MessageAction::ToTable => Some(RuleAction::Lookup(u32::from(header.table))),
        MessageAction::Goto => Some(RuleAction::Goto(0)),
        MessageAction::Nop => Some(RuleAction::Nothing),
        _ => None,
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let version = if self.is_ipv6 { 6 } else { 4 };
        write!(f, "IPv{version} rule {}", self.priority)?;
        if let Some((mark, mask)) = self.mark {
            write!(f, " for mark {mark:#x}/{mask:#x}")?;
        }
        match self.action {
            RuleAction::Lookup(table) => write!(f, " to look up table {table}"),
            RuleAction::Goto(priority) => write!(f, " to go on at {priority}"),
            RuleAction::Nothing => write!(f, " to go on"),
        }
    }
}

impl Netlink {
    /// Adds a rule.
    ///
    /// # Errors
    /// When there is an equal one ([`NetlinkError::is_already_there`]).
    pub fn add_rule(&mut self, rule: &Rule) -> Result<(), NetlinkError> {
        self.execute(
            &|| format!("add the {rule}"),
            RouteNetlinkMessage::NewRule(rule.to_message()),
            NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    /// Deletes a rule.
    ///
    /// # Errors
    /// When there is none ([`NetlinkError::is_not_found`]).
    pub fn delete_rule(&mut self, rule: &Rule) -> Result<(), NetlinkError> {
        self.execute(
            &|| format!("delete the {rule}"),
            RouteNetlinkMessage::DelRule(rule.to_message()),
            0,
        )
    }

    /// The rules that do one of [`RuleAction`], both families, in the order in which they are tried.
    ///
    /// # Errors
    /// When the kernel refuses the dump.
    pub fn rules(&mut self) -> Result<Vec<Rule>, NetlinkError> {
        let mut rules = Vec::new();
        for is_ipv6 in [false, true] {
            let mut request = RuleMessage::default();
            request.header.family = family(is_ipv6);
            let request = RouteNetlinkMessage::GetRule(request);
            for answer in self.dump(&|| "list the routing rules".to_owned(), request)? {
                if let RouteNetlinkMessage::NewRule(message) = answer {
                    rules.extend(Rule::from_message(&message));
                }
            }
        }
        Ok(rules)
    }
}

const fn family(is_ipv6: bool) -> AddressFamily {
    if is_ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet }
}
