//! A command line as a page of the book: a section a command, a row a flag.

use std::fmt::Write as _;

use clap::{Arg, Command};

const HEAD: &str = "\
<!-- written by `make flags` from the types of the command lines -->
# Flags

Every flag of every program, as `--help` shows it. A flag of `ipamctl` itself may stand behind each of its commands. [Commands and exit
status](commands.md) has the exit statuses and the JSON of `meta-cni doctor` and `meta-cni explain`.
";

/// The page of the book.
pub(crate) fn page(programs: &[Command]) -> String {
    let mut page = HEAD.to_owned();
    for program in programs {
        section(&mut page, program, program.get_name(), 2);
    }
    page
}

/// A command and those below it.
fn section(page: &mut String, command: &Command, name: &str, level: usize) {
    let _ = write!(page, "\n{} {name}\n", "#".repeat(level));
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        let _ = write!(page, "\n{}\n", prose(&about.to_string()));
    }
    let rows: Vec<String> = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set())
        .map(row)
        .collect();
    if !rows.is_empty() {
        page.push_str("\n| Flag | Environment | Default | Meaning |\n|---|---|---|---|\n");
        page.extend(rows);
    }
    if let Some(help) = command.get_after_long_help().or(command.get_after_help()) {
        let _ = write!(page, "\n```text\n{}\n```\n", help.to_string().trim_end());
    }
    for below in command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
    {
        section(page, below, &format!("{name} {}", below.get_name()), 3);
    }
}

fn row(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let (meaning, default) = split_default(&help);
    let environment = arg.get_env().map(|name| name.to_string_lossy());
    let environment = environment.map_or("–".to_owned(), |name| code(&name));
    format!(
        "| {} | {environment} | {} | {} |\n",
        names(arg),
        default_of(arg).or(default).unwrap_or("–".to_owned()),
        meaning_of(arg, meaning),
    )
}

/// `-o`, `--output FORMAT`, or the name of a value without a flag.
fn names(arg: &Arg) -> String {
    let value = arg.get_value_names().unwrap_or_default().join(" ");
    let takes_value = arg.get_action().takes_values();
    if arg.is_positional() {
        let value = if value.is_empty() {
            arg.get_id().as_str().to_uppercase()
        } else {
            value
        };
        return code(&value);
    }
    let value = match (takes_value, value.is_empty()) {
        (false, _) => String::new(),
        (true, true) => format!(" {}", arg.get_id().as_str().to_uppercase()),
        (true, false) => format!(" {value}"),
    };
    let short = arg.get_short().map(|short| code(&format!("-{short}")));
    let long = arg.get_long().map(|long| code(&format!("--{long}{value}")));
    let aliases = arg.get_visible_aliases().unwrap_or_default();
    let aliases = aliases.iter().map(|alias| code(&format!("--{alias}")));
    let names: Vec<String> = short.into_iter().chain(long).chain(aliases).collect();
    names.join(", ")
}

/// The default that clap knows.
fn default_of(arg: &Arg) -> Option<String> {
    let values: Vec<_> = arg
        .get_default_values()
        .iter()
        .filter(|value| !value.is_empty())
        .map(|value| code(&value.to_string_lossy()))
        .collect();
    (!values.is_empty() && arg.get_action().takes_values()).then(|| values.join(" "))
}

/// A text, and the default that it names in brackets at its end.
fn split_default(help: &str) -> (&str, Option<String>) {
    match help
        .trim_end()
        .strip_suffix(']')
        .map(|help| help.rsplit_once("[default: "))
    {
        Some(Some((text, default))) => (text.trim_end(), Some(cell(default))),
        _ => (help, None),
    }
}

fn meaning_of(arg: &Arg, text: &str) -> String {
    let text = cell(text);
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| match value.get_help() {
            Some(help) => format!("{} ({})", code(value.get_name()), cell(&help.to_string())),
            None => code(value.get_name()),
        })
        .collect();
    match (
        values.is_empty() || !arg.get_action().takes_values(),
        text.trim_end_matches('.'),
    ) {
        (true, text) => text.to_owned(),
        (false, text) => format!("{text}: {}", values.join(", ")),
    }
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

/// A text in one cell of a table.
fn cell(text: &str) -> String {
    escaped(&text.split_whitespace().collect::<Vec<_>>().join(" ")).replace('|', "\\|")
}

/// Paragraphs.
fn prose(text: &str) -> String {
    let paragraphs = text.trim().split("\n\n").map(escaped);
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

/// A plain text in Markdown: what stands in backquotes is code there, too.
fn escaped(text: &str) -> String {
    let parts = text.split('`').enumerate().map(|(at, part)| {
        if at % 2 == 1 {
            return part.to_owned();
        }
        part.replace('*', "\\*")
            .replace('<', "&lt;")
            .replace("_", "\\_")
    });
    parts.collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use clap::ArgAction;

    use super::*;

    #[test]
    fn a_flag_is_a_row_with_all_that_is_known_of_it() {
        let cases = [
            (
                Arg::new("output")
                    .short('o')
                    .long("output")
                    .value_name("FORMAT")
                    .value_parser(["text", "json"])
                    .default_value("text")
                    .help("How it is written."),
                "| `-o`, `--output FORMAT` | – | `text` | How it is written: `text`, `json` |\n",
            ),
            (
                Arg::new("node")
                    .long("node")
                    .env("X_NODE")
                    .help("A * of a|b, `c*`. [default: the host's name]"),
                "| `--node NODE` | `X_NODE` | the host's name | A \\* of a\\|b, `c*` |\n",
            ),
            (
                Arg::new("yes")
                    .long("yes")
                    .action(ArgAction::SetTrue)
                    .help("Does not ask"),
                "| `--yes` | – | – | Does not ask |\n",
            ),
            (
                Arg::new("file").value_name("FILE").help("A file"),
                "| `FILE` | – | – | A file |\n",
            ),
        ];
        for (arg, expected) in cases {
            assert_eq!(row(&arg), expected);
        }
    }

    #[test]
    fn a_command_is_a_section_behind_the_one_that_it_is_of() {
        let hidden = Command::new("secret").hide(true);
        let below = Command::new("list")
            .about("Lists")
            .after_help("Example:\n  x list\n");
        let program = Command::new("x")
            .about("An x_y.")
            .subcommands([below, hidden]);
        let page = page(&[program]);
        let sections = page.strip_prefix(HEAD).unwrap_or_default();
        assert_eq!(
            sections,
            "\n## x\n\nAn x\\_y.\n\n### x list\n\nLists\n\n```text\nExample:\n  x list\n```\n"
        );
    }
}
