//! The book lists every key of the configuration.

use serde::Deserialize as _;
use serde::de::value::Error;
use serde::de::{Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

use super::Config;

const BOOK: &str = include_str!("../../../docs/src/configuration.md");

/// Takes the names of the fields that a type asks for, and no values.
#[derive(Default)]
struct Names(&'static [&'static str]);

impl<'de> Deserializer<'de> for &mut Names {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Error> {
        self.0 = fields;
        Err(Error::custom("names only"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(Error::custom("not a struct"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[test]
fn every_key_is_in_the_book() {
    let mut names = Names::default();
    Config::deserialize(&mut names).expect_err("names only");
    assert!(names.0.len() > 20, "{:?}", names.0);
    // Another spelling of a key is not listed.
    let book = BOOK.to_lowercase();
    for name in names.0 {
        let key = format!("`{}`", name.to_lowercase());
        assert!(
            book.contains(&key),
            "docs/src/configuration.md lacks {name}"
        );
    }
}
