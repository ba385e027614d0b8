//! Rules that choose the routing table by where a packet comes from (ip-rule(8)).

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleHeader, RuleMessage};

use super::{Family, Netlink, NetlinkError, message};

/// A rule of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its family.
    pub family: Family,
    /// The table that it leads to.
    pub table: u32,
    /// The source that it is for, whose prefix is not kept; none for all.
    pub source: Option<IpAddr>,
    message: RuleMessage,
}

impl Netlink {
    /// The rules of both families, IPv4 first.
    ///
    /// # Errors
    /// All of [`NetlinkError`] but `Open`.
    pub fn rules(&mut self) -> Result<Vec<Rule>, NetlinkError> {
        let mut rules = Vec::new();
        for family in Family::BOTH {
            let mut request = RuleMessage::default();
            request.header.family = message::address_family(family);
            let answers = self.exchange.list(
                &format!("list {family} rules"),
                RouteNetlinkMessage::GetRule(request),
                NLM_F_DUMP,
            )?;
            rules.extend(answers.into_iter().filter_map(|answer| match answer {
                RouteNetlinkMessage::NewRule(found) => Some(rule(family, found)),
                _ => None,
            }));
        }
        Ok(rules)
    }

    /// Adds a rule for packets from one address, before all others but the one for this host, and beside one that is the same.
    ///
    /// # Errors
    /// All of [`NetlinkError`] but `Open`.
    pub fn add_rule(&mut self, source: IpAddr, table: u32) -> Result<(), NetlinkError> {
        self.exchange.request(
            &format!("add the rule from {source} to table {table}"),
            RouteNetlinkMessage::NewRule(from(source, table)),
            NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    /// Removes a rule that [`Netlink::add_rule`] added.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`] with ENOENT if there is no such rule; others as they are documented.
    pub fn remove_rule_from(&mut self, source: IpAddr, table: u32) -> Result<(), NetlinkError> {
        self.exchange.request(
            &format!("remove the rule from {source} to table {table}"),
            RouteNetlinkMessage::DelRule(from(source, table)),
            NLM_F_ACK,
        )
    }

    /// Removes a rule. A rule that does not exist is no error.
    ///
    /// # Errors
    /// All of [`NetlinkError`] but `Open`.
    pub fn remove_rule(&mut self, rule: &Rule) -> Result<(), NetlinkError> {
        let mut message = rule.message.clone();
        message.header.flags &= RuleFlags::Invert;
        let removed = self.exchange.request(
            &format!("remove a rule to table {}", rule.table),
            RouteNetlinkMessage::DelRule(message),
            NLM_F_ACK,
        );
        match removed {
            Err(error) if error.errno() == Some(nix::libc::ENOENT) => Ok(()),
            other => other,
        }
    }
}

fn from(source: IpAddr, table: u32) -> RuleMessage {
    let family = source.into();
    let mut message = RuleMessage::default();
    message.header = RuleHeader {
        family: message::address_family(family),
        src_len: message::host_prefix(family),
        // A table above 255 stands in the attribute alone.
        table: u8::try_from(table).unwrap_or(0),
        action: RuleAction::ToTable,
        ..RuleHeader::default()
    };
    message.attributes = vec![RuleAttribute::Source(source), RuleAttribute::Table(table)];
    message
}

fn rule(family: Family, message: RuleMessage) -> Rule {
    let mut table = u32::from(message.header.table);
    let mut source = None;
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Table(wide) => table = *wide,
            RuleAttribute::Source(from) => source = Some(*from),
            _ => {}
        }
    }
    Rule {
        family,
        table,
        source,
        message,
    }
}

#[cfg(test)]
mod tests;
