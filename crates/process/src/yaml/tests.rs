use proptest::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::*;

const POOLS: &str = "\
pools:
- name: blue
  ipv4:
    cidr: 10.0.0.0/24
- name: green
  ipv4: {cidr: 10.1.0.0/24,
    gateway: 10.1.0.1}
  default_ttl: 3s
";

#[test]
fn a_field_is_found_by_its_path() {
    for (path, expected) in [
        ("pools[0].ipv4.cidr", Some(4)),
        ("pools[1]", Some(5)),
        ("pools[1].ipv4.cidr", Some(6)),
        ("pools[1].ipv4.gateway", Some(7)),
        ("pools[1].defaultTtl", Some(8)),
        ("pools[1].nothing", Some(5)),
        ("pools[1].ipv4.gatway", Some(6)),
        ("pools[7]", Some(2)),
        ("", Some(1)),
    ] {
        let line = position(POOLS, 0, path).map(|at| at.line);
        assert_eq!(line, expected, "{path}");
    }
    let second = position("a: 1\n---\n---\nb: 2\n", 1, "b");
    assert_eq!(second, Some(Position { line: 4, column: 4 }));
}

#[test]
fn an_error_is_a_line_without_the_fields_that_would_be_right() {
    for (text, expected) in [
        (
            "unknown field `foo`, expected one of `a`, `b`",
            "unknown field `foo`",
        ),
        (
            "unknown field `foo`, there are no fields",
            "unknown field `foo`",
        ),
        (
            "invalid type: map, expected a string",
            "invalid type: map, expected a string",
        ),
        ("one\ntwo", "one"),
    ] {
        assert_eq!(short(&text), expected);
    }
}

#[test]
fn values_are_those_of_yaml_1_2() {
    for (text, expected) in [
        ("yes", json!("yes")),
        ("on", json!("on")),
        ("true", json!(true)),
        ("~", json!(null)),
        ("0x1f", json!(31)),
        ("00:11:22:33:44:55", json!("00:11:22:33:44:55")),
        ("12:30", json!("12:30")),
        ("2001-01-01", json!("2001-01-01")),
        ("10.20.0.0/24", json!("10.20.0.0/24")),
        ("fd00::1", json!("fd00::1")),
        ("'1'", json!("1")),
        ("[1, 2.5]", json!([1, 2.5])),
        ("{<<: {b: 1}}", json!({"<<": {"b": 1}})),
        ("[&x 1, *x]", json!([1, 1])),
    ] {
        let read: Value = read(&format!("a: {text}")).unwrap();
        assert_eq!(read, json!({ "a": expected }), "{text}");
    }
}

#[test]
fn what_is_no_yaml_is_named_with_its_place() {
    for (text, expected) in [
        ("a: b: c", "at line 1, column 5"),
        (
            "a: 1\na: 2",
            "duplicate mapping key: a not allowed here at line 2, column 1",
        ),
        ("a: *x", "reference to unknown value at line 1, column 4"),
        (
            "a: 1\n---\nb: 2",
            "there are several documents, one is wanted at line 3, column 1",
        ),
        ("a: [", "unclosed bracket '[' at line 1, column 4"),
        (
            "a: .nan",
            "value `.nan` is not a finite number at line 1, column 4",
        ),
    ] {
        let error = read::<Value>(text).unwrap_err().to_string();
        assert!(error.ends_with(expected), "{text}: {error}");
    }
}

#[test]
fn what_is_not_wanted_is_named_with_its_field_and_place() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Rules {
        #[serde(default, rename = "rules")]
        _rules: Vec<Rule>,
    }
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Rule {
        #[serde(rename = "port")]
        _port: u16,
    }
    for (text, expected) in [
        (
            "rules:\n- port: 1\n- port: 70000",
            "rules[1].port: invalid value: integer `70000`, expected u16 at line 3, column 9",
        ),
        (
            "rules:\n- port: '1'",
            "rules[0].port: invalid type: string \"1\", expected u16 at line 2, column 9",
        ),
        (
            "rules: []\nrule: 3",
            "rule: unknown field `rule`, expected `rules` at line 2, column 7",
        ),
        (
            "- 1",
            "[0]: invalid type: integer `1`, expected a sequence at line 1, column 3",
        ),
    ] {
        assert_eq!(read::<Rules>(text).unwrap_err().to_string(), expected);
    }
    for empty in ["", "# nothing\n", "---\n"] {
        assert!(read::<Rules>(empty).is_ok(), "{empty:?}");
    }
}

#[test]
fn documents_end_with_the_first_error() {
    let read = documents("a: 1\n---\n---\nb: [\n---\nc: 3\n");
    assert_eq!(read.len(), 2, "{read:?}");
    assert_eq!(read.first().unwrap().as_ref().unwrap(), &json!({"a": 1}));
    assert_eq!(
        read.last()
            .unwrap()
            .as_ref()
            .unwrap_err()
            .position
            .unwrap()
            .line,
        4
    );
}

#[test]
fn a_small_text_stays_small() {
    let deep = "[".repeat(100_000);
    let levels: String = (0..200)
        .map(|level| format!("{}a:\n", " ".repeat(level)))
        .collect();
    let mut bomb = "- &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("- &a{level} [{aliases}]\n"));
    }
    for (text, expected) in [
        (deep, "recursion limit exceeded at line 1, column 256"),
        (levels, "too large or too complex"),
        (bomb, "too large or too complex"),
    ] {
        let error = read::<Value>(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.len() < 300, "{error}");
    }
    let allowed = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    assert!(read::<Value>(&allowed).is_ok());
    assert!(position(&allowed, 0, "").is_some());
}

#[test]
fn a_large_text_is_read() {
    let text = "- {name: a, value: 3}\n".repeat(60_000);
    let read: Vec<Value> = read(&text).unwrap();
    assert_eq!(read.len(), 60_000);
}

#[test]
fn what_is_written_is_read_back_by_readers_of_both_versions() {
    let texts = [
        "yes",
        "012",
        "1_000",
        "~",
        "",
        " x",
        "a: b",
        "# x",
        "2001-01-01",
        "1\n2\n",
    ];
    let value = json!({"texts": texts, "n": null, "long": "word ".repeat(40), "empty": {}, "list": [[], 1.5]});
    let text = write(&value).unwrap();
    assert_eq!(read::<Value>(&text).unwrap(), value, "{text}");
    for quoted in ["- \"yes\"\n", "- \"012\"\n", "- \"1_000\"\n"] {
        assert!(text.contains(quoted), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "(?s)[-a-z0-9:{}\\[\\]&*|>, \n\"'!./]{0,120}", path in "[a-z.\\[\\]0-9]{0,12}") {
        let _ = documents(&text);
        let _ = position(&text, 0, &path);
    }

    #[test]
    fn a_text_is_written_and_read_back(text in "\\PC{0,40}") {
        let value = json!({ "text": text });
        prop_assert_eq!(read::<Value>(&write(&value).unwrap()).unwrap(), value);
    }
}
