//! The part of EDN that Jepsen's histories use: a writer, and a reader that trusts nothing.

use std::fmt;

/// Collections inside one another at most.
const DEPTH_MAX: usize = 32;

/// A value. Maps keep the order in which they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edn {
    /// `nil`
    Nil,
    /// `true` or `false`
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// `"text"`
    Text(String),
    /// `:name`, without the colon.
    Keyword(String),
    /// `[a b]`; a list or a set is read as one too.
    Vector(Vec<Edn>),
    /// `{a 1, b 2}`
    Map(Vec<(Edn, Edn)>),
}

/// A text that is not the EDN we read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: {what}")]
pub struct EdnError {
    /// Where, from 0.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl Edn {
    /// A keyword.
    pub fn keyword(name: &str) -> Self {
        Self::Keyword(name.to_owned())
    }

    /// A number; those above `i64::MAX` do not occur in histories and become that.
    pub fn number(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// A number or `nil`.
    pub fn number_or_nil(number: Option<u64>) -> Self {
        number.map_or(Self::Nil, Self::number)
    }

    /// The value of a keyword in a map.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Map(pairs) = self else { return None };
        let named = |key: &Self| matches!(key, Self::Keyword(found) if found == name);
        pairs.iter().find(|(key, _)| named(key)).map(|(_, value)| value)
    }

    /// It as a number that is not negative.
    pub fn as_number(&self) -> Option<u64> {
        if let Self::Int(number) = self { u64::try_from(*number).ok() } else { None }
    }

    /// It as a keyword's name.
    pub fn as_keyword(&self) -> Option<&str> {
        if let Self::Keyword(name) = self { Some(name) } else { None }
    }

    /// It as text.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// It as a list of values.
    pub fn as_vector(&self) -> Option<&[Self]> {
        if let Self::Vector(values) = self { Some(values) } else { None }
    }

    /// Reads one value and nothing else.
    ///
    /// # Errors
    /// [`EdnError`], with the place.
    pub fn parse(text: &str) -> Result<Self, EdnError> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.space();
        if reader.at == text.len() { Ok(value) } else { Err(reader.error("something follows the value")) }
    }
}

impl fmt::Display for Edn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Keyword(name) => write!(f, ":{name}"),
            Self::Text(text) => quoted(f, text),
            Self::Vector(values) => {
                f.write_str("[")?;
                for (turn, value) in values.iter().enumerate() {
                    let gap = if turn == 0 { "" } else { " " };
                    write!(f, "{gap}{value}")?;
                }
                f.write_str("]")
            }
            Self::Map(pairs) => {
                f.write_str("{")?;
                for (turn, (key, value)) in pairs.iter().enumerate() {
                    let gap = if turn == 0 { "" } else { ", " };
                    write!(f, "{gap}{key} {value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for letter in text.chars() {
        match letter {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            other => write!(f, "{other}")?,
        }
    }
    f.write_str("\"")
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, what: &'static str) -> EdnError {
        EdnError { at: self.at, what }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip(&mut self, letter: char) {
        self.at += letter.len_utf8();
    }

    /// White space, commas and comments.
    fn space(&mut self) {
        while let Some(letter) = self.peek() {
            if letter == ';' {
                self.at += self.rest().find('\n').unwrap_or(self.rest().len());
            } else if letter.is_whitespace() || letter == ',' {
                self.skip(letter);
            } else {
                return;
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Edn, EdnError> {
        if depth > DEPTH_MAX {
            return Err(self.error("too deep"));
        }
        self.space();
        let Some(letter) = self.peek() else { return Err(self.error("the text ends")) };
        match letter {
            '[' => self.list(']', depth).map(Edn::Vector),
            '(' => self.list(')', depth).map(Edn::Vector),
            '{' => self.map(depth),
            '"' => self.string(),
            '#' => self.tagged(depth),
            ':' => {
                self.skip(letter);
                match self.word() {
                    "" => Err(self.error("a keyword without a name")),
                    name => Ok(Edn::keyword(name)),
                }
            }
            _ => self.atom(),
        }
    }

    /// `#{...}` is read as a vector; the tag of `#jepsen.history.Op{...}` is dropped.
    fn tagged(&mut self, depth: usize) -> Result<Edn, EdnError> {
        self.skip('#');
        if self.peek() == Some('{') {
            return self.list('}', depth).map(Edn::Vector);
        }
        if self.word().is_empty() {
            return Err(self.error("a tag without a name"));
        }
        self.value(depth + 1)
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let ends = |letter: char| letter.is_whitespace() || ",;()[]{}\"".contains(letter);
        let word = rest.get(..rest.find(ends).unwrap_or(rest.len())).unwrap_or_default();
        self.at += word.len();
        word
    }

    fn atom(&mut self) -> Result<Edn, EdnError> {
        let before = self.at;
        let word = self.word();
        match word {
            "nil" => Ok(Edn::Nil),
            "true" => Ok(Edn::Bool(true)),
            "false" => Ok(Edn::Bool(false)),
            other => match other.parse() {
                Ok(number) => Ok(Edn::Int(number)),
                Err(_) if other.starts_with(|first: char| first.is_ascii_alphabetic()) => {
                    Ok(Edn::keyword(other))
                }
                Err(_) => Err(EdnError { at: before, what: "not a value that histories have" }),
            },
        }
    }

    fn list(&mut self, end: char, depth: usize) -> Result<Vec<Edn>, EdnError> {
        self.at += 1;
        let mut values = Vec::new();
        loop {
            self.space();
            if self.peek() == Some(end) {
                self.skip(end);
                return Ok(values);
            }
            values.push(self.value(depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Edn, EdnError> {
        let values = self.list('}', depth)?;
        if values.len() % 2 != 0 {
            return Err(self.error("a map with a key that has no value"));
        }
        let mut pairs = Vec::with_capacity(values.len() / 2);
        let mut values = values.into_iter();
        while let (Some(key), Some(value)) = (values.next(), values.next()) {
            pairs.push((key, value));
        }
        Ok(Edn::Map(pairs))
    }

    fn string(&mut self) -> Result<Edn, EdnError> {
        self.skip('"');
        let mut out = String::new();
        loop {
            let Some(letter) = self.peek() else { return Err(self.error("a string does not end")) };
            self.skip(letter);
            match letter {
                '"' => return Ok(Edn::Text(out)),
                '\\' => {
                    let Some(next) = self.peek() else { continue };
                    self.skip(next);
                    out.push(match next {
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        '"' | '\\' => next,
                        _ => return Err(self.error("an unknown escape")),
                    });
                }
                other => out.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_edn() -> impl Strategy<Value = Edn> {
        let leaf = prop_oneof![
            Just(Edn::Nil),
            any::<bool>().prop_map(Edn::Bool),
            any::<i64>().prop_map(Edn::Int),
            any::<String>().prop_map(Edn::Text),
            "[a-z][a-z-]{0,8}".prop_map(Edn::Keyword),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Edn::Vector),
                proptest::collection::vec((inner.clone(), inner), 0..4).prop_map(Edn::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in any_edn()) {
            prop_assert_eq!(Edn::parse(&value.to_string()), Ok(value));
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = Edn::parse(&text);
        }
    }

    #[test]
    fn jepsens_own_form_is_read() {
        let line = "#jepsen.history.Op{:index 4, :process :nemesis, :type :info, :value (1 #{2}), :error \"a\\\"b\"} ; end";
        let read = Edn::parse(line).unwrap();
        assert_eq!(read.get("index"), Some(&Edn::Int(4)));
        assert_eq!(read.get("error").and_then(Edn::as_text), Some("a\"b"));
        assert_eq!(read.get("value"), Some(&Edn::Vector(vec![Edn::Int(1), Edn::Vector(vec![Edn::Int(2)])])));
    }

    #[test]
    fn what_is_broken_is_refused_with_its_place() {
        for (text, what) in [
            ("", "the text ends"),
            ("{:a}", "a map with a key that has no value"),
            ("[1", "the text ends"),
            ("\"a", "a string does not end"),
            ("1 2", "something follows the value"),
            (":", "a keyword without a name"),
            ("-", "not a value that histories have"),
        ] {
            assert_eq!(Edn::parse(text).unwrap_err().what, what, "{text}");
        }
        assert_eq!(Edn::parse(&"[".repeat(1_000)).unwrap_err().what, "too deep");
    }
}
