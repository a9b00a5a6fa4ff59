//! Rules that choose a routing table (policy routing).

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Netlink, NetlinkError, Prefix};

/// "Packets that match all of this look up that table."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whether it is for IPv6; each family has its own rules.
    pub is_ipv6: bool,
    /// Rules are tried from the smallest; the main table is at 32766.
    pub priority: u32,
    /// The firewall mark (`SO_MARK`).
    pub mark: Option<u32>,
    /// Where the packet comes from.
    pub from: Option<Prefix>,
    /// The interface that it came in by.
    pub input: Option<String>,
    /// The interface that its socket is bound to (`SO_BINDTODEVICE`).
    pub output: Option<String>,
    /// The table to look up.
    pub table: u32,
}

impl Rule {
    /// A rule that matches every packet of the family.
    #[must_use]
    pub const fn lookup(table: u32, is_ipv6: bool, priority: u32) -> Self {
        Self { is_ipv6, priority, mark: None, from: None, input: None, output: None, table }
    }

    /// The same rule for packets with this firewall mark only.
    #[must_use]
    pub const fn with_mark(mut self, mark: u32) -> Self {
        self.mark = Some(mark);
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
        message.header.action = RuleAction::ToTable;
        message.header.table = u8::try_from(self.table).unwrap_or(0);
        let attributes = &mut message.attributes;
        attributes.push(RuleAttribute::Table(self.table));
        attributes.push(RuleAttribute::Priority(self.priority));
        if let Some(mark) = self.mark {
            attributes.push(RuleAttribute::FwMark(mark));
            attributes.push(RuleAttribute::FwMask(u32::MAX));
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
        if message.header.action != RuleAction::ToTable {
            return None;
        }
        let mut rule = Self::lookup(u32::from(message.header.table), is_ipv6, 0);
        for attribute in &message.attributes {
            match attribute {
                RuleAttribute::Table(table) => rule.table = *table,
                RuleAttribute::Priority(priority) => rule.priority = *priority,
                RuleAttribute::FwMark(mark) => rule.mark = Some(*mark),
                RuleAttribute::Source(ip) => {
                    rule.from = Some(Prefix::new(*ip, message.header.src_len));
                }
                RuleAttribute::Iifname(name) => rule.input = Some(name.clone()),
                RuleAttribute::Oifname(name) => rule.output = Some(name.clone()),
                _ => {}
            }
        }
        Some(rule)
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let version = if self.is_ipv6 { 6 } else { 4 };
        write!(f, "IPv{version} rule {} to look up table {}", self.priority, self.table)
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

    /// The rules that look up a table, both families, in the order in which they are tried.
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
