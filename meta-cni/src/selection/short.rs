//! The short form of the annotation: `[namespace/]name[@interface]`, separated by commas.

use cni::name::interface_name_problem;

use super::{Element, SelectionProblem, is_label};

pub(super) fn parse(text: &str) -> Result<Vec<Element>, Vec<SelectionProblem>> {
    let mut elements = Vec::new();
    let mut problems = Vec::new();
    for (index, item) in text.split(',').map(str::trim).enumerate() {
        match element(item) {
            Ok(element) => elements.push(element),
            Err(problem) => {
                problems.push(SelectionProblem::new(
                    format!("element {}", index + 1),
                    problem,
                ));
            }
        }
    }
    if problems.is_empty() {
        Ok(elements)
    } else {
        Err(problems)
    }
}

fn element(item: &str) -> Result<Element, String> {
    let form = || format!("{item:?} is not of the form [namespace/]name[@interface]");
    let (network, interface) = match item.split_once('@') {
        Some((network, interface)) => (network.trim(), Some(interface.trim())),
        None => (item, None),
    };
    let (namespace, name) = match network.split_once('/') {
        Some((namespace, name)) => (Some(namespace.trim()), name.trim()),
        None => (None, network),
    };
    if !is_label(name) || !namespace.is_none_or(is_label) {
        return Err(form());
    }
    // The kernel takes an `@` in a name; here it would be one separator too many.
    if interface.is_some_and(|interface| interface.contains('@')) {
        return Err(form());
    }
    if let Some(problem) = interface.and_then(interface_name_problem) {
        return Err(format!("{item:?}: {problem}"));
    }
    Ok(Element {
        name: name.to_owned(),
        namespace: namespace.map(str::to_owned),
        interface: interface.map(str::to_owned),
        ..Element::default()
    })
}
