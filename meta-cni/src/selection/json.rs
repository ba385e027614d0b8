//! The JSON form of the annotation: a list of selection elements. Unknown fields are ignored; the case of
//! a field's name does not matter, as it does not for Multus.

use std::net::IpAddr;

use cni::name::interface_name_problem;
use cni::{hardware, key};
use ipnetwork::IpNetwork;
use serde_json::{Map, Value};

use super::entries::{bandwidth_problems, port_mapping_problems};
use super::{Element, SelectionProblem, is_label, is_subdomain};

pub(super) fn parse(text: &str) -> Result<Vec<Element>, Vec<SelectionProblem>> {
    let whole = |problem: String| vec![SelectionProblem::new("annotation", problem)];
    let value: Value =
        serde_json::from_str(text).map_err(|error| whole(format!("is not valid JSON: {error}")))?;
    let Value::Array(items) = value else {
        return Err(whole("must be a JSON list of objects".to_owned()));
    };
    let mut elements = Vec::new();
    let mut problems = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match item {
            Value::Object(fields) => {
                let mut reader = Reader {
                    fields,
                    place: format!("[{index}]"),
                    problems: &mut problems,
                };
                elements.push(reader.element());
            }
            _ => problems.push(SelectionProblem::new(
                format!("[{index}]"),
                "must be an object",
            )),
        }
    }
    if problems.is_empty() {
        Ok(elements)
    } else {
        Err(problems)
    }
}

/// Reads the fields of one element and collects what is wrong with them.
struct Reader<'a> {
    fields: &'a Map<String, Value>,
    place: String,
    problems: &'a mut Vec<SelectionProblem>,
}

impl Reader<'_> {
    fn element(&mut self) -> Element {
        let name = self.text("name", |name| {
            (!is_subdomain(name))
                .then(|| format!("{name:?} cannot name a NetworkAttachmentDefinition"))
        });
        if present(self.fields, "name").is_none_or(|name| name == "") {
            self.wrong::<()>("name", "is missing");
        }
        Element {
            name: name.unwrap_or_default(),
            namespace: self.text("namespace", |name| {
                (!is_label(name)).then(|| format!("{name:?} cannot name a namespace"))
            }),
            interface: self.interface(),
            ips: self.texts("ips", address_problem),
            mac: self.hardware("mac", &[6, 8, 20]),
            infiniband_guid: self.hardware("infiniband-guid", &[8]),
            port_mappings: self.port_mappings(),
            bandwidth: self.bandwidth(),
            default_route: self.gateways(),
            cni_args: self.object("cni-args"),
            device_id: self.text("deviceID", |_| None),
            ipam_claim_reference: self.text("ipam-claim-reference", |_| None),
        }
    }

    /// A hardware address of one of these lengths, in the one form in which plugins compare it.
    fn hardware(&mut self, field: &str, lengths: &[usize]) -> Option<String> {
        let octets =
            |text: &str| hardware::octets(text).filter(|octets| lengths.contains(&octets.len()));
        let problem = format!(
            "is not {} pairs of hexadecimal digits with colons between them",
            lengths[0]
        );
        let text = self.text(field, |text| {
            octets(text)
                .is_none()
                .then(|| format!("{text:?} {problem}"))
        })?;
        octets(&text).map(|octets| hardware::text(&octets))
    }

    /// `interface`, or its older name `interfaceRequest`.
    fn interface(&mut self) -> Option<String> {
        let problem =
            |name: &str| interface_name_problem(name).map(|problem| format!("{name:?}: {problem}"));
        self.text("interface", problem)
            .or_else(|| self.text("interfaceRequest", problem))
    }

    fn gateways(&mut self) -> Option<Vec<IpAddr>> {
        present(self.fields, "default-route")?;
        let texts = self.texts("default-route", |text| {
            text.parse::<IpAddr>()
                .is_err()
                .then(|| format!("{text:?} is not an IP address"))
        });
        let gateways: Vec<IpAddr> = texts.iter().filter_map(|text| text.parse().ok()).collect();
        for (family, is_of) in [
            ("IPv4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool),
            ("IPv6", IpAddr::is_ipv6),
        ] {
            if gateways.iter().filter(|gateway| is_of(gateway)).count() > 1 {
                self.wrong::<()>(
                    "default-route",
                    format!("names two {family} gateways; name one for each family"),
                );
            }
        }
        Some(gateways)
    }

    /// A text; the empty text counts as absent.
    fn text(&mut self, field: &str, problem: impl Fn(&str) -> Option<String>) -> Option<String> {
        match present(self.fields, field)? {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => match problem(text) {
                None => Some(text.clone()),
                Some(problem) => self.wrong(field, problem),
            },
            _ => self.wrong(field, "must be a string"),
        }
    }

    fn texts(&mut self, field: &str, problem: impl Fn(&str) -> Option<String>) -> Vec<String> {
        let Some(value) = present(self.fields, field) else {
            return Vec::new();
        };
        let Value::Array(items) = value else {
            return self
                .wrong(field, "must be a list of strings")
                .unwrap_or_default();
        };
        let mut texts = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let place = format!("{field}[{index}]");
            match item {
                Value::String(text) => match problem(text) {
                    None => texts.push(text.clone()),
                    Some(problem) => drop(self.wrong::<()>(&place, problem)),
                },
                _ => drop(self.wrong::<()>(&place, "must be a string")),
            }
        }
        texts
    }

    fn port_mappings(&mut self) -> Option<Value> {
        let field = "portMappings";
        let entries = present(self.fields, field)?;
        let Value::Array(items) = entries else {
            return self.wrong(field, "must be a list of objects");
        };
        for (index, item) in items.iter().enumerate() {
            let place = format!("{field}[{index}]");
            let Value::Object(entry) = item else {
                self.wrong::<()>(&place, "must be an object");
                continue;
            };
            for (key, problem) in port_mapping_problems(entry) {
                self.wrong::<()>(&format!("{place}.{key}"), problem);
            }
        }
        Some(entries.clone())
    }

    fn bandwidth(&mut self) -> Option<Value> {
        let limits = self.object("bandwidth")?;
        for (key, problem) in bandwidth_problems(&limits) {
            self.wrong::<()>(&format!("bandwidth.{key}"), problem);
        }
        Some(Value::Object(limits))
    }

    fn object(&mut self, field: &str) -> Option<Map<String, Value>> {
        match present(self.fields, field)? {
            Value::Object(object) => Some(object.clone()),
            _ => self.wrong(field, "must be an object"),
        }
    }

    fn wrong<T>(&mut self, field: &str, problem: impl Into<String>) -> Option<T> {
        self.problems.push(SelectionProblem::new(
            format!("{}.{field}", self.place),
            problem,
        ));
        None
    }
}

/// The field, unless it is absent or `null`.
fn present<'a>(fields: &'a Map<String, Value>, field: &str) -> Option<&'a Value> {
    key::value_of(fields, field).filter(|value| !value.is_null())
}

fn address_problem(text: &str) -> Option<String> {
    let good = if text.contains('/') {
        text.parse::<IpNetwork>().is_ok()
    } else {
        text.parse::<IpAddr>().is_ok()
    };
    (!good).then(|| format!("{text:?} is neither an IP address nor a CIDR"))
}
